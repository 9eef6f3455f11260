"""An OpenAI-style and an Anthropic-style provider on loopback, which checks what reaches it.

A request is Anthropic's when it has an `anthropic-version`, else OpenAI's. The model's name asks for behaviour:
`error-NNN` that status; `gated…` a stream whose end waits for `Mock.gate`; `endless…` a stream without an end;
`silent…` one that says nothing more after its first event; anything else echoes the last message.
"""

import asyncio
import hashlib
import json
import re
import threading

import uvicorn

OPENAI_KEY = "provider-key-openai"
ANTHROPIC_KEY = "provider-key-anthropic"
GATEWAY_KEY = "gateway-key-of-the-client"
CREDENTIALS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"}


class Mock:
    """The provider, served by a thread of its own; what it saw is read by the tests."""

    def __init__(self, pem=None):
        self.requests = 0
        self.gate = threading.Event()
        self.abandoned = {}  # model: event set once its client has gone
        config = uvicorn.Config(  # fmt: skip
            self.app, interface="asgi3", host="127.0.0.1", port=0, ssl_certfile=pem,
            lifespan="off", proxy_headers=False, log_level="warning", access_log=False,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            if not self.thread.is_alive():
                raise RuntimeError("the mock provider did not start")
            self.thread.join(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"{'https' if pem else 'http'}://127.0.0.1:{self.port}/v1"

    def stop(self):
        self.server.should_exit = self.server.force_exit = True
        self.thread.join()

    def watch(self, model):
        return self.abandoned.setdefault(model, threading.Event())

    async def app(self, scope, receive, send):
        self.requests += 1
        headers = scope["headers"]
        anthropic = any(name == b"anthropic-version" for name, _ in headers)
        wrong = complaint(scope, anthropic)
        if scope["type"] == "websocket":
            return await echo_websocket(scope, receive, send, wrong)
        reply = Reply(send, anthropic)
        if wrong:
            return await reply.error(500, wrong)
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body")
        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/v1/models"):
            return await reply.json(models(anthropic, scope["query_string"]))
        if (method, path) == ("POST", "/v1/files"):
            return await reply.json(file_object(dict(headers)[b"content-type"], body))
        if (method, path) != ("POST", "/v1/messages" if anthropic else "/v1/chat/completions"):
            return await reply.error(404, f"no route {method} {path}")
        call = json.loads(body)
        model = call["model"]
        if status := re.fullmatch(r"error-(\d+)", model):
            return await reply.error(int(status[1]), f"asked for {model}")
        text = call["messages"][-1]["content"]
        if call.get("stream"):
            return await self.stream(reply, receive, model, text)
        await reply.json((anthropic_message if anthropic else openai_completion)(model, text))

    async def stream(self, reply, receive, model, text):
        await reply.start(200, b"text/event-stream; charset=utf-8")
        events = (anthropic_events if reply.anthropic else openai_events)(model, text)
        if not model.startswith(("endless", "silent")):
            for number, event in enumerate(events):
                if model.startswith("gated") and number == 4:
                    # The client has its first word by now: nothing on the way may hold it back.
                    if not await asyncio.to_thread(self.gate.wait, 5):
                        return await reply.part(b": the gate stayed closed\n\n")
                await reply.part(event)
                await asyncio.sleep(0.002)
            return await reply.part(b"", more=False)
        left = asyncio.ensure_future(receive())  # answers with http.disconnect
        for event in events[:4]:
            await reply.part(event)
        while not left.done():
            await asyncio.wait([left], timeout=0.02)
            if model.startswith("endless"):
                await reply.part(b": still here\n\n" if left.done() else events[3])
        self.watch(model).set()


def complaint(scope, anthropic):
    """What is wrong with the request's credentials, or None."""
    name, value = (b"x-api-key", ANTHROPIC_KEY) if anthropic else (b"authorization", f"Bearer {OPENAI_KEY}")
    sent = [header for header in scope["headers"] if header[0] in CREDENTIALS]
    if sent != [(name, value.encode())]:
        return f"expected the provider's credential once, got {sent}"
    if GATEWAY_KEY.encode() in b"".join(sum(scope["headers"], ())) + scope["query_string"]:
        return "the gateway's key came through"
    return None


class Reply:
    def __init__(self, send, anthropic):
        self.send = send
        self.anthropic = anthropic

    async def start(self, status, content_type, extra=()):
        request_id = (b"request-id", b"req_anthropic_1") if self.anthropic else (b"x-request-id", b"req_openai_1")
        headers = [(b"content-type", content_type), request_id, *extra]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def part(self, body, more=True):
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def json(self, value, status=200, extra=()):
        body = json.dumps(value).encode()
        await self.start(status, b"application/json", [(b"content-length", b"%d" % len(body)), *extra])
        await self.part(body, more=False)

    async def error(self, status, message):
        error = {"type": "api_error", "message": message}
        value = {"type": "error", "error": error, "request_id": "req_anthropic_1"}
        if not self.anthropic:
            value = {"error": error | {"param": None, "code": None}}
        await self.json(value, status, [(b"retry-after", b"7")] if status == 429 else [])


def models(anthropic, query):
    if not anthropic:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "mock"} for name in ("a", "b")]
        return {"object": "list", "data": data}
    name = "b" if b"after_id=a" in query else "a"
    model = {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
    return {"data": [model], "has_more": name == "a", "first_id": name, "last_id": name}


def file_object(content_type, body):
    boundary = b"--" + content_type.split(b"boundary=")[1].strip(b'"')
    start = body.index(b"\r\n\r\n", body.index(b"filename=")) + 4
    content = body[start : body.index(b"\r\n" + boundary, start)]
    # The fields of both providers.
    return {"id": "file_1", "object": "file", "type": "file", "filename": "big.bin", "created_at": 1,
            "bytes": len(content), "size_bytes": len(content), "purpose": "user_data", "status": "processed",
            "mime_type": "text/plain", "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip


def openai_completion(model, text):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": "c_1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}


def openai_events(model, text):
    common = {"id": "c_1", "object": "chat.completion.chunk", "created": 1, "model": model}
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in re.findall(r"\S+\s*", text)), {}]
    choices = ({"index": 0, "delta": delta, "finish_reason": None if delta else "stop"} for delta in deltas)
    chunks = [json.dumps(common | {"choices": [choice]}).encode() for choice in choices]
    return [b"data: %s\n\n" % data for data in [*chunks, b"[DONE]"]]


def anthropic_message(model, text):
    usage = {"input_tokens": 1, "output_tokens": 1}
    content = [{"type": "text", "text": text}] if text else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": "end_turn" if text else None, "stop_sequence": None, "usage": usage}  # fmt: skip


def anthropic_events(model, text):
    deltas = [{"type": "text_delta", "text": word} for word in re.findall(r"\S+\s*", text)]
    events = [
        {"type": "message_start", "message": anthropic_message(model, "")},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return [b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in events]


async def echo_websocket(scope, receive, send, wrong):
    await receive()
    if wrong or scope["path"] != "/v1/realtime":
        # Before it is accepted, a close is a 403.
        return await send({"type": "websocket.close", "code": 1008})
    await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "close":
            return await send({"type": "websocket.close", "code": 4001, "reason": "as asked"})
        reply = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
        await send({"type": "websocket.send", **reply})
