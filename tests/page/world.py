"""A gateway with traffic: mock providers on loopback, keys, and clients that ask for all kinds of things."""

import asyncio
import hashlib
import json
import math
import os
import random
import secrets
import subprocess
import tempfile
import threading
import time

# Visible ASCII that a request's target may have, and markup if it is taken for that.
HOSTILE = "/p/openai/v1/chat/<img/src=x/onerror=window.hacked=1>'&\"</td><script>window.hacked=1</script>"

SETTINGS = """
[server]
listen = ["127.0.0.1:0"]
workers = 2
{server}
[auth]
keys_file = "keys.toml"
[metrics]
listen = ["127.0.0.1:0"]
{metrics}
[log]
format = "json"
"""

PROVIDER = """
[providers.{name}]
type = "{kind}"
base_url = "http://127.0.0.1:{port}/{name}"
api_key = "provider-key"
"""

# Name, type, seconds until the head, seconds between events, and the share of its answers that are errors.
PROVIDERS = [
    ("anthropic", "anthropic", 0.32, 0.05, 0.004),
    ("openai", "openai", 0.18, 0.03, 0.006),
    ("openrouter", "openrouter", 0.45, 0.06, 0.02),
    ("vllm", "vllm", 0.05, 0.02, 0.0),
]
KEYS = ["agents", "ci", "search", "evals", "notebooks"]
PATHS = {
    "anthropic": ["v1/messages", "v1/messages", "v1/messages/count_tokens"],
    "openai": ["v1/chat/completions", "v1/responses", "v1/embeddings"],
    "openrouter": ["v1/chat/completions"],
    "vllm": ["v1/chat/completions", "v1/completions"],
}


class World:
    """`rate` requests a second at most times; a `server` and `metrics` table may have more lines."""

    def __init__(self, binary, rate=20, server="", metrics=""):
        self.folder = tempfile.TemporaryDirectory()
        self.rate, self.began = rate, time.monotonic()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.mock(),), daemon=True)
        self.thread.start()
        assert self.ready.wait(10)
        text = SETTINGS.format(server=server, metrics=metrics)
        for name, kind, *_ in PROVIDERS:
            text += PROVIDER.format(name=name, kind=kind, port=self.port)
        with open(f"{self.folder.name}/sluicegate.toml", "w") as file:
            file.write(text)
        self.binary = os.path.abspath(binary)
        self.env = {"PATH": os.environ["PATH"], "NO_PROXY": "*"}
        self.keys, self.held = self.new_keys(), []
        self.process = subprocess.Popen([self.binary], cwd=self.folder.name, env=self.env, stderr=subprocess.PIPE, text=True)
        found = {}
        for line in self.process.stderr:
            line = json.loads(line)
            found[line.get("msg") or line.get("message")] = line.get("addr")
            if "listening" in found and "serving metrics" in found:
                break
        self.gateway, self.metrics = found["listening"], found["serving metrics"]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join()
        self.folder.cleanup()

    def new_keys(self):
        """Keys whose ids are their names."""
        keys, text = {}, ""
        for name in KEYS:
            keys[name] = f"sk_sg_{secrets.token_urlsafe(30)}"
            text += f'[[key]]\nid = "{name}"\nsha256 = "{hashlib.sha256(keys[name].encode()).hexdigest()}"\n'
        with open(f"{self.folder.name}/keys.toml", "w") as file:
            file.write(text)
        return keys

    async def mock(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.done = asyncio.Event()
        self.ready.set()
        await self.done.wait()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        """One connection from the gateway."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                await reader.readexactly(int(length[0].split(":")[1]) if length else 0)
                path = head.split()[1].split("/")
                await self.answer(writer, path[1], "/".join(path[2:]))
                if "held" in path:
                    await self.done.wait()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, writer, name, path):
        _, _, first, between, failing = next(row for row in PROVIDERS if row[0] == name)
        if name == "vllm" and self.is_down():
            raise ConnectionResetError
        if "<" in path or "held" in path:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
            await writer.drain()
            return await self.done.wait()
        await asyncio.sleep(first * random.lognormvariate(0, 0.35))
        if random.random() < failing:
            status = random.choice(["429 Too Many Requests", "529 Overloaded", "500 Internal Server Error"])
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            return await writer.drain()
        if not ("messages" in path or "completions" in path or "responses" in path) or "count" in path:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n" + b" " * 900)
            return await writer.drain()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(int(random.lognormvariate(3.4, 0.9)) + 2):
            event = b"data: " + b"x" * random.randint(40, 160) + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(between * random.lognormvariate(0, 0.5))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    # Seconds from the start on, and how long, that one provider does not answer.
    outage = (None, 0)

    def is_down(self):
        begin, seconds = self.outage
        return begin is not None and begin <= time.monotonic() - self.began < begin + seconds

    def run_clients(self):
        self.held.append(asyncio.run_coroutine_threadsafe(self.clients(), self.loop))

    async def clients(self):
        """Comes and goes in waves, as people do."""
        tasks = set()
        while not self.done.is_set():
            at = time.monotonic() - self.began
            wave = 1 + 0.35 * math.sin(at / 23) + 0.2 * math.sin(at / 7)
            await asyncio.sleep(random.expovariate(self.rate * wave))
            task = asyncio.create_task(self.client())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def client(self):
        name = random.choices([row[0] for row in PROVIDERS], [5, 4, 1.5, 3])[0]
        path = f"/p/{name}/{random.choice(PATHS[name])}"
        key = self.keys[random.choices(KEYS, [8, 3, 4, 2, 1])[0]]
        draw = random.random()
        if draw < 0.004:
            key = "sk-wrong"
        elif draw < 0.006:
            path = "/v1/messages"
        patience = random.choice([0.3, 2]) if random.random() < 0.01 else 120
        try:
            await asyncio.wait_for(self.ask(path, key, random.randint(200, 4000)), patience)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass

    async def ask(self, path, key, length=2):
        host, port = self.gateway.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, port)
        try:
            head = f"POST {path} HTTP/1.1\r\nHost: g\r\nx-api-key: {key}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + b" " * length)
            while await reader.read(1 << 16):
                pass
        finally:
            writer.close()

    def hold(self, path, key):
        """A request that stays under way."""
        self.held.append(asyncio.run_coroutine_threadsafe(self.ask(path, self.keys[key]), self.loop))
