"""The gateway against the real SDKs: sluicegate between them and a mock provider, plain and with TLS on both sides."""

import asyncio
import atexit
import hashlib
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import anthropic
import httpx
import openai
import trustme
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from mock_provider import ANTHROPIC_KEY, GATEWAY_KEY, OPENAI_KEY, Mock

ROOT = Path(__file__).resolve().parents[2]
TEXT = "one two three four five – sechs, sieben"
SDKS = {"openai": openai, "anthropic": anthropic}


def binary():
    if named := os.environ.get("SLUICEGATE_BIN"):
        return Path(named).resolve()
    built = [ROOT / "target" / profile / "sluicegate" for profile in ("release", "debug")]
    return next((path for path in built if path.exists()), built[-1])


class Half:
    """One gateway and one provider, and clients for them."""

    def __init__(self, name, directory):
        self.trust = ssl.create_default_context()
        tls_env, pem = {}, None
        if name == "tls":
            ca = trustme.CA()
            ca.configure_trust(self.trust)
            pem, root = str(directory / "leaf.pem"), str(directory / "ca.pem")
            ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
            ca.cert_pem.write_to_path(root)
            tls_env = {"SSL_CERT_FILE": root, "SLUICEGATE_TLS_CERT": pem, "SLUICEGATE_TLS_KEY": pem}
        self.mock = Mock(pem)
        self.addr = self.start(directory, tls_env)
        secure = "s" if tls_env else ""
        self.url = f"http{secure}://{self.addr}"
        self.ws = f"ws{secure}://{self.addr}/p/openai/v1/realtime?model=echo"
        self.ws_tls = {"ssl": self.trust} if tls_env else {}
        self.openai_url, self.anthropic_url = self.url + "/p/openai/v1", self.url + "/p/anthropic"
        self.openai, self.anthropic = self.client("openai"), self.client("anthropic")

    def start(self, directory, tls_env):
        env = {
            "SLUICEGATE_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json", "GOMODEL_MASTER_KEY": GATEWAY_KEY,
            "OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": self.mock.url,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY, "ANTHROPIC_BASE_URL": self.mock.url,
        } | tls_env  # fmt: skip
        self.log = (directory / "log").read_text
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen([binary()], cwd=directory, env=env, stderr=log)
        atexit.register(self.process.kill)
        deadline = time.monotonic() + 30
        while not (found := re.search(r'"message":"listening".*"addr":"([^"]+)"', self.log())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the gateway did not start:\n{self.log()}\n0 passed, 1 failed")
            time.sleep(0.01)
        return found[1]

    def client(self, sdk, asynchronous=False, **settings):
        module, prefix = SDKS[sdk], "Async" if asynchronous else ""
        http = getattr(module, f"Default{prefix}HttpxClient")(verify=self.trust, trust_env=False)
        settings = {"api_key": GATEWAY_KEY, "max_retries": 0, "timeout": 20} | settings
        kind = getattr(module, prefix + {"openai": "OpenAI", "anthropic": "Anthropic"}[sdk])
        return kind(base_url=getattr(self, sdk + "_url"), http_client=http, **settings)

    def ask(self, sdk, model="echo", text=TEXT, client=None, **options):
        """A message through either SDK: what it returns (an awaitable for an asynchronous client)."""
        client = client or getattr(self, sdk)
        options |= {"model": model, "messages": [{"role": "user", "content": text}]}
        if sdk == "openai":
            return client.chat.completions.create(**options)
        return client.messages.create(max_tokens=100, **options)


def word(sdk, event):
    """The text of one streamed event."""
    if sdk == "openai":
        return event.choices[0].delta.content or ""
    return event.delta.text if event.type == "content_block_delta" else ""


def raised(kind, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except kind as error:
        assert type(error) is kind, f"{type(error)} instead of {kind}"
        return error
    raise AssertionError(f"no {kind.__name__}")


def test_message(half):
    completion = half.ask("openai")
    assert completion.choices[0].message.content == TEXT
    assert completion._request_id == "req_openai_1", completion._request_id
    message = half.ask("anthropic")
    assert message.content[0].text == TEXT
    assert message._request_id == "req_anthropic_1", message._request_id
    # This version of the SDK sends its key as a bearer token; older ones send x-api-key, some clients both.
    both = half.client("anthropic", api_key="another", default_headers={"x-api-key": GATEWAY_KEY})
    assert half.ask("anthropic", client=both).content[0].text == TEXT


def test_streamed_message(half):
    for sdk in SDKS:
        half.mock.gate.clear()
        words = []
        with half.ask(sdk, "gated", stream=True) as stream:
            for event in stream:
                words.append(word(sdk, event))
                if words[-1]:
                    half.mock.gate.set()
        assert "".join(words) == TEXT, words
    messages = [{"role": "user", "content": TEXT}]
    with half.anthropic.messages.stream(max_tokens=9, model="echo", messages=messages) as stream:
        assert stream.get_final_text() == TEXT


def test_stream_bytes_unchanged(half):
    call = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": TEXT}]}
    with httpx.Client(verify=half.trust, trust_env=False) as http:
        direct, through = (
            http.post(url + "/chat/completions", json=call, headers={"Authorization": f"Bearer {key}"})
            for url, key in ((half.mock.url, OPENAI_KEY), (half.openai_url, GATEWAY_KEY))
        )
        assert http.get(half.url + "/health").json() == {"status": "ok"}
    assert through.status_code == direct.status_code == 200, through.text
    assert through.content == direct.content and through.content.endswith(b"data: [DONE]\n\n")


def test_errors(half):
    expected = {401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError", 529: "InternalServerError"}
    for sdk, module in SDKS.items():
        for status, name in expected.items():
            kind = getattr(module, "OverloadedError" if (sdk, status) == ("anthropic", 529) else name)
            for options in ({}, {"stream": True}):
                error = raised(kind, half.ask, sdk, f"error-{status}", **options)
                assert error.status_code == status and f"asked for error-{status}" in error.message, error
                assert error.request_id == f"req_{sdk}_1", error.request_id
                assert error.response.headers.get("retry-after") == ("7" if status == 429 else None)


def test_wrong_gateway_key(half):
    """No retry although the SDK would do two, and nothing reaches the provider."""
    before = half.mock.requests
    for sdk, module in SDKS.items():
        client = half.client(sdk, api_key="wrong", max_retries=2)
        start = time.monotonic()
        error = raised(module.AuthenticationError, half.ask, sdk, client=client)
        assert time.monotonic() - start < 1
        assert error.body.get("error", error.body)["code"] == "invalid_key", error.body
        assert error.request_id and error.response.headers["x-should-retry"] == "false"
    assert half.mock.requests == before


def test_model_list(half):
    assert [model.id for model in half.openai.models.list()] == ["a", "b"]
    # Two pages.
    assert [model.id for model in half.anthropic.models.list(limit=1)] == ["a", "b"]


def test_upload(half):
    content = os.urandom(20_000_000)
    digest = hashlib.sha256(content).hexdigest()
    sent = half.openai.files.create(file=("big.bin", content), purpose="user_data")
    assert (sent.bytes, sent.sha256) == (len(content), digest)
    sent = half.anthropic.files.upload(file=("big.bin", content))
    assert (sent.size_bytes, sent.sha256) == (len(content), digest)


def test_abandoned_stream(half):
    for sdk in SDKS:
        for kind in ("endless", "silent"):
            model = f"{kind}-{sdk}"
            with half.ask(sdk, model, stream=True) as stream:
                assert any(word(sdk, event) for event in stream)
                assert not half.mock.watch(model).is_set()
            assert half.mock.watch(model).wait(2), f"{model}: the provider was not told"


async def test_cancelled_stream(half):
    async def consume(sdk, client, started):
        async for _ in await half.ask(sdk, f"endless-async-{sdk}", client=client, stream=True):
            started.set()

    for sdk in SDKS:
        async with half.client(sdk, asynchronous=True) as client:
            started = asyncio.Event()
            task = asyncio.create_task(consume(sdk, client, started))
            await asyncio.wait_for(started.wait(), 10)
            task.cancel()
            left = half.mock.watch(f"endless-async-{sdk}")
            assert await asyncio.to_thread(left.wait, 2), f"{sdk}: the provider was not told"


async def test_concurrent_streams(half):
    async def one(sdk, client, number):
        text = f"{TEXT} in stream {number}"
        stream = await half.ask(sdk, text=text, client=client, stream=True)
        assert "".join([word(sdk, event) async for event in stream]) == text

    for sdk in SDKS:
        async with half.client(sdk, asynchronous=True) as client:
            await asyncio.gather(*(one(sdk, client, number) for number in range(50)))


def test_websocket(half):
    browser = {"subprotocols": ["realtime", f"openai-insecure-api-key.{GATEWAY_KEY}"]}
    header = {"additional_headers": {"Authorization": f"Bearer {GATEWAY_KEY}"}}
    for options in (header, browser):
        with connect(half.ws, proxy=None, max_size=None, **half.ws_tls, **options) as socket:
            assert socket.subprotocol == ("realtime" if options is browser else None)
            for message in (TEXT, b"\x00\xff", os.urandom(1 << 20)):
                socket.send(message)
                assert socket.recv(timeout=10) == message
            assert socket.ping().wait(10)
            socket.send("close")
            closed = raised(ConnectionClosedError, socket.recv, timeout=10).rcvd
            assert (closed.code, closed.reason) == (4001, "as asked"), closed


def check_end(half):
    """After all tests: a clean end, and a log without secrets or panics."""
    half.process.terminate()
    code = half.process.wait(10)
    half.mock.stop()
    assert code == 0, f"the gateway ended with {code}"
    log = half.log()
    for unwanted in (GATEWAY_KEY, OPENAI_KEY, ANTHROPIC_KEY, "panicked", TEXT[:20]):
        assert unwanted not in log, f"{unwanted!r} in the log"


def main():
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "ANTHROPIC_"))]:
        del os.environ[name]
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    tests = [test for name, test in globals().items() if name.startswith("test_") and wanted in name]
    passed = failed = 0
    for name in ("plain", "tls"):
        with tempfile.TemporaryDirectory() as directory:
            half = Half(name, Path(directory))
            for test in [*tests, check_end]:
                start = time.monotonic()
                try:
                    if result := test(half):
                        asyncio.run(result)
                except Exception:
                    failed += 1
                    traceback.print_exc(file=sys.stdout)
                    print(f"{name} {test.__name__}: FAILED; the end of the gateway's log:\n{half.log()[-2000:]}")
                else:
                    passed += 1
                    print(f"{name} {test.__name__}: ok ({time.monotonic() - start:.2f} s)")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
