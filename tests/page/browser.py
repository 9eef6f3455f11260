"""A headless Chromium, driven over a pipe by its DevTools protocol, and what it complains of."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE = 30
# Free ones, above those that the browser is told to use.
ABOVE = 64


class Browser:
    """One browser with one page; everything that went wrong in it is in `complaints`, what it asked for in `requests`."""

    def __init__(self, program="chromium"):
        self.complaints, self.requests, self.credentials = [], [], None
        self.serial, self.buffer = 0, b""
        self.profile = tempfile.mkdtemp()
        ours, theirs = pipes(), pipes()
        their_ends = (ours[0], theirs[1])

        def at_their_places():
            os.dup2(their_ends[0], 3)
            os.dup2(their_ends[1], 4)

        self.process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                f"--user-data-dir={self.profile}",
                "about:blank",
            ],
            close_fds=False,
            preexec_fn=at_their_places,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in their_ends:
            os.close(end)
        self.write_end, self.read_end = ours[1], theirs[0]
        target = self.call("Target.createTarget", {"url": "about:blank"}, session=None)
        attached = {"targetId": target["targetId"], "flatten": True}
        self.session = self.call("Target.attachToTarget", attached, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    session = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        shutil.rmtree(self.profile, ignore_errors=True)

    def send(self, method, parameters=None, session=""):
        """Gives a command, and says its number."""
        self.serial += 1
        number = self.serial
        message = {"id": number, "method": method, "params": parameters or {}}
        session = self.session if session == "" else session
        if session:
            message["sessionId"] = session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        return number

    def call(self, method, parameters=None, session=""):
        """What a command comes to."""
        number = self.send(method, parameters, session)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            got = self.receive(until)
            if got is not None and got.get("id") == number:
                assert "error" not in got, f"{method}: {got['error']}"
                return got["result"]
        raise TimeoutError(method)

    def receive(self, until):
        """The next message, noted if it is news."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_end], [], [], max(0, until - time.monotonic()))
            if not ready:
                return None
            piece = os.read(self.read_end, 1 << 20)
            assert piece, "the browser has ended"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        self.note(message.get("method"), message.get("params", {}))
        return message

    def note(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {parameters['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console: {parameters['args']}")
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {parameters['entry']}")
        elif method == "Audits.issueAdded":
            self.complaints.append(f"issue: {parameters['issue']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Fetch.authRequired":
            user, password = self.credentials
            typed = {"response": "ProvideCredentials", "username": user, "password": password}
            answer = {"requestId": parameters["requestId"], "authChallengeResponse": typed}
            self.send("Fetch.continueWithAuth", answer)
        elif method == "Fetch.requestPaused":
            self.send("Fetch.continueRequest", {"requestId": parameters["requestId"]})

    def has_password(self, user, password):
        """Whoever uses it types this in, when it is asked for."""
        self.credentials = (user, password)
        self.call("Fetch.enable", {"handleAuthRequests": True})

    def go(self, url):
        # Answered once the gateway has answered, which may ask for a password first.
        self.send("Page.navigate", {"url": url})

    def value(self, expression):
        """What a script comes to in the page."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        got = self.call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in got, f"{expression}: {got['exceptionDetails']}"
        return got["result"].get("value")

    def wait(self, expression, wanted=True):
        """Waits until a script comes to what is wanted, or to anything that is true."""
        until = time.monotonic() + PATIENCE
        while True:
            got = self.value(expression)
            if got == wanted or (wanted is True and got):
                return got
            assert time.monotonic() < until, f"{expression} is {got!r}; {self.complaints}"
            self.receive(time.monotonic() + 0.1)

    def key(self, key, code=0):
        for kind in ("rawKeyDown", "keyUp"):
            pressed = {"type": kind, "key": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", pressed)

    def size(self, width, height, scale=1, mobile=False):
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, name):
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", {"features": [feature]})

    def picture(self):
        """All of the page, as PNG."""
        asked = {"format": "png", "captureBeyondViewport": False}
        return base64.b64decode(self.call("Page.captureScreenshot", asked)["data"])


def pipes():
    """Both ends of a pipe, where they stand in nobody's way."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, ABOVE))
        os.close(end)
    return ends
