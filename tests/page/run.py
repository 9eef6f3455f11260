#!/usr/bin/env python3
"""The page of `metrics.listen` in a real browser: tests/page/run.py PROGRAM, the gateway's; with CHROMIUM, another browser.

`--picture FILE SECONDS` has traffic for that long and takes a picture of the page instead: docs/page.png is one of 300
seconds, made smaller by pngquant --quality 80-98 and optipng.
"""

import http.server
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from browser import Browser
from world import HOSTILE, PROVIDERS, World

NARROW = 360
FACT = (
    "Object.fromEntries([...document.querySelectorAll('#facts div')]"
    ".map((f) => [f.children[0].textContent, f.children[1].firstChild.textContent]))"
)
ROWS = "[...document.querySelectorAll('#{} tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
PLOTTED = "[...document.querySelectorAll('.frame path.s0')].filter((p) => /^M.+L/.test(p.getAttribute('d'))).length"


def rows(browser, table):
    return browser.value(ROWS.format(table))


def clean(browser, origin):
    """Nothing went wrong in it, and it has asked nobody but its gateway."""
    assert browser.complaints == [], browser.complaints
    strangers = [url for url in browser.requests if not url.startswith((origin, "data:", "about:"))]
    assert strangers == [], strangers


def every_second(browser):
    browser.value("document.getElementById('interval').value = '1000'")
    browser.value("document.getElementById('interval').dispatchEvent(new Event('change'))")


def live_traffic(program, chromium):
    """Figures appear, of what really goes on."""
    with World(program, rate=15) as world, Browser(chromium) as browser:
        world.hold(HOSTILE, "agents")
        world.run_clients()
        browser.size(1280, 900)
        browser.go(f"http://{world.metrics}/")
        browser.wait("document.querySelector('#facts dd') !== null")
        every_second(browser)
        browser.wait("document.getElementById('version').textContent !== ''")
        browser.wait(f"Number({FACT}['Requests/s']) > 0")
        names = [row[0] for row in PROVIDERS]
        browser.wait(f"{ROWS.format('providers')}.filter((row) => {names!r}.includes(row[0])).length", len(names))
        browser.wait(f"{ROWS.format('streams')}.some((row) => row[1] === 'stream' && row[4] === 'agents')")
        browser.wait(f"{ROWS.format('keys')}.some((row) => row[0] === 'agents' && Number(row[4]) > 0)")
        browser.wait(f"{ROWS.format('errors')}.length > 0")
        browser.wait(f"{PLOTTED} >= 8")
        shown = {row[-1] for row in rows(browser, "streams")}
        assert HOSTILE in shown, shown
        assert browser.value("window.hacked === undefined && document.images.length === 0")
        added = browser.value(f"{FACT}['Added to requests']")
        assert re.fullmatch(r"[\d.]+(µs|ms)", added), added
        as_keyboard(browser)
        fits(browser)
        is_legible(browser)
        clean(browser, f"http://{world.metrics}/")


def as_keyboard(browser):
    """Everything can be reached and used without a mouse."""
    browser.value("document.querySelector('.frame').focus()")
    browser.key("ArrowLeft", 37)
    browser.key("ArrowLeft", 37)
    browser.wait("/^at .* ago$/.test(document.getElementById('cursor').textContent)")
    said = browser.value("document.getElementById('said').textContent")
    assert re.match(r"\d\d:\d\d:\d\d: all ", said), said
    label = browser.value("document.activeElement.getAttribute('aria-label')")
    assert re.search(r"all: now .*, least .*, most ", label), label
    browser.key("Escape", 27)
    browser.wait("document.getElementById('cursor').textContent === ''")
    browser.value("document.getElementById('pause').focus()")
    browser.key(" ", 32)
    browser.wait("document.getElementById('state').textContent.includes('paused')")
    browser.value("document.getElementById('pause').click()")
    browser.wait("document.getElementById('state').textContent.includes('running')")
    usable = "[...document.querySelectorAll('button, select, a, [tabindex]')]"
    assert browser.value(f"{usable}.filter((e) => !(e.textContent.trim() || e.ariaLabel)).length") == 0


def fits(browser):
    """On a telephone nothing is beyond the edge."""
    browser.size(NARROW, 740, mobile=True)
    browser.wait(f"window.innerWidth === {NARROW}")
    assert browser.value("document.documentElement.scrollWidth") <= NARROW
    beyond = browser.value(
        "[...document.querySelectorAll('body *')].filter((e) => { const box = e.getBoundingClientRect();"
        " return !e.closest('thead, .unseen, svg') && box.width > 0 && (box.right > innerWidth + 0.5 || box.left < -0.5) })"
        ".map((e) => e.outerHTML.slice(0, 200))"
    )
    assert beyond == [], beyond
    shown = browser.value(
        "getComputedStyle(document.querySelector('#providers tbody td'), '::before').content"
    )
    assert "data-label" in shown or "state" in shown, shown
    browser.size(1280, 900)


def is_legible(browser):
    """Every text has the contrast that WCAG asks for, 4.5 to 1, whatever the colours."""
    for theme in ("light", "dark"):
        browser.theme(theme)
        worst = browser.value(CONTRAST)
        assert worst["ratio"] >= 4.5, f"{theme}: {worst}"
        is_dark = browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] < 128")
        assert is_dark == (theme == "dark")
    browser.theme("light")


CONTRAST = """(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((n) => n / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const { backgroundColor } = getComputedStyle(e);
      if (!/, 0\\)$/.test(backgroundColor)) return backgroundColor;
    }
    return 'rgb(255, 255, 255)';
  };
  let worst = { ratio: 21 };
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== '');
    if (!own || e.closest('script, noscript, .unseen, option') || e.getBoundingClientRect().width === 0) continue;
    const [a, b] = [getComputedStyle(e).color, behind(e)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) worst = { ratio, of: e.outerHTML.slice(0, 120) };
  }
  return worst;
})()"""


class StandIn:
    """Serves a gateway's page with figures of its own, so that anything can happen to them."""

    def __init__(self, page, fields):
        self.page, self.fields = page, fields
        self.figures, self.list, self.status = "", '{"in_flight":0,"silent_workers":0,"streams":[]}', 200
        self.port, self.server = 0, None

    def start(self):
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body, kind = stand_in.page, "text/html; charset=utf-8"
                status = 200
                if self.path == "/metrics":
                    body, kind, status = stand_in.figures, "text/plain; charset=utf-8", stand_in.status
                elif self.path == "/streams":
                    body, kind = stand_in.list, "application/json"
                self.send_response(status)
                if self.path == "/":
                    for name, value in stand_in.fields:
                        self.send_header(name, value)
                self.send_header("Content-Type", kind)
                body = body.encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def metrics(started, requests, provider="one", key="k", code="upstream_connect"):
    def quoted(text):
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    provider, key, code = quoted(provider), quoted(key), quoted(code)
    added = f'sluicegate_request_overhead_seconds_bucket{{provider="{provider}",connection="pooled"'
    return "\n".join(
        [
            'sluicegate_build_info{version="1.2.3"} 1',
            f"process_start_time_seconds {started}",
            f"sluicegate_requests_in_flight {3}",
            f'sluicegate_requests_total{{provider="{provider}",method="POST",class="2xx"}} {requests}',
            f'sluicegate_requests_total{{provider="{provider}",method="POST",class="5xx"}} {requests // 2}',
            f'sluicegate_key_requests_total{{key="{key}"}} {requests}',
            f'sluicegate_gateway_errors_total{{code="{code}"}} {requests // 4}',
            f'sluicegate_provider_errors_total{{provider="{provider}",code="{code}"}} {requests // 4}',
            f'{added},le="0.00001"}} {requests // 2}',
            f'{added},le="0.00002"}} {requests}',
            f'{added},le="+Inf"}} {requests}',
            "",
        ]
    )


MARKUP = "<img src=x onerror=\"window.hacked=1\">'&\\__proto__\n</td><script>window.hacked=1</script>"


def stood_in(program, chromium):
    """Names that are markup, a gateway that was started anew, one that is gone, and a long time."""
    with World(program) as world:
        with urllib.request.urlopen(f"http://{world.metrics}/") as answer:
            own = ("Date", "Content-Length", "Content-Type")
            fields = [(name, value) for name, value in answer.getheaders() if name not in own]
            page = answer.read().decode()
    stand_in = StandIn(page, fields)
    stand_in.figures = metrics(1000, 1000, MARKUP, MARKUP, MARKUP)
    row = {"age_us": 1, "idle_us": None, "phase": MARKUP, "provider": MARKUP, "key": MARKUP, "method": MARKUP}
    row |= {"path": MARKUP, "status": 502, "bytes_in": 1, "bytes_out": 2}
    stand_in.list = json.dumps({"in_flight": 2, "silent_workers": 1, "streams": [row]})
    stand_in.start()
    with Browser(chromium) as browser:
        browser.go(f"http://127.0.0.1:{stand_in.port}/")
        browser.wait(f"{ROWS.format('providers')}.length > 0")
        every_second(browser)
        stand_in.figures = metrics(1000, 1400, MARKUP, MARKUP, MARKUP)
        browser.wait(f"{ROWS.format('providers')}[0][2] !== '0'")
        for table, columns in (("providers", [0]), ("streams", [1, 3, 4, 5, 9]), ("keys", [0]), ("errors", [0])):
            cells = rows(browser, table)[0]
            assert all(cells[column] == MARKUP for column in columns), (table, cells)
        # Half of what ended failed: said in words, not by a colour alone.
        assert MARKUP in rows(browser, "providers")[0][1] and "% fail" in rows(browser, "providers")[0][1]
        note = browser.value("document.getElementById('streams-note').textContent")
        assert note == "2, the 1 oldest are listed, 1 workers silent", note
        assert browser.value("window.hacked === undefined && document.images.length === 0")
        pure(browser)
        clean(browser, f"http://127.0.0.1:{stand_in.port}/")
        started_anew(browser, stand_in)
        clean(browser, f"http://127.0.0.1:{stand_in.port}/")
        gone(browser, stand_in)
    stand_in.stop()


def started_anew(browser, stand_in):
    stand_in.figures = metrics(2000, 8)
    browser.wait("document.getElementById('said').textContent.startsWith('The gateway was started anew')")
    browser.wait("/^M/.test(document.querySelector('path.anew').getAttribute('d'))")
    # Not 8 less than before, nor 8 in no time; what was there before is no figure of this process.
    assert browser.value(f"{FACT}['Requests/s']") == "–"
    stand_in.figures = metrics(2000, 16)
    browser.wait(f"Number({FACT}['Requests/s']) > 0 && Number({FACT}['Requests/s']) < 100")
    assert len(rows(browser, "providers")) == 1


def gone(browser, stand_in):
    stand_in.stop()
    browser.wait("document.getElementById('trouble').textContent.startsWith('The gateway cannot be reached, since ')")
    assert browser.value("!document.getElementById('trouble').hidden && document.title.startsWith('■')")
    assert browser.value("document.getElementById('state').textContent.includes('no figures')")
    stand_in.start()
    browser.wait("document.getElementById('trouble').hidden && !document.body.classList.contains('stale')")
    stand_in.status = 503
    browser.wait("document.getElementById('trouble').textContent.startsWith('The gateway answers with 503')")
    stand_in.status, stand_in.figures = 200, "<!DOCTYPE html>"
    browser.wait("document.getElementById('trouble').textContent.startsWith('These are no metrics of a sluicegate')")


def pure(browser):
    """What is reckoned and kept."""
    for expression, wanted in (
        (
            "[0, 0.000045, 0.0021, 0.05, 6, 59.97, 100, 3700, 90000, null].map(time).join(' ')",
            "0.0µs 45µs 2.1ms 50ms 6.0s 1m00s 1m40s 1h01m 1d01h –",
        ),
        ("[0, 0.004, 0.5, 3.14, 34, 1500, 250000, 7.5e7, null].map(count).join(' ')", "0 <0.01 0.50 3.1 34 1500 250k 75.0M –"),
        ("[0, 1023, 1024, 2400, 1048575, 34e6].map(bytes).join(' ')", "0 1023 1.0K 2.3K 1.0M 32M"),
        ("[0, 0.5, 1, 1.2, 34, 51, 999, 1010].map(ceiling).join(' ')", "1 0.5 1 1.5 50 75 1000 1500"),
        ("quantile([[1, 0], [2, 10], [4, 20], [Infinity, 20]], 0.75)", 3),
        ("quantile([[1, 0], [Infinity, 20]], 0.5)", 1),
        ("quantile([[1, 0], [Infinity, 0]], 0.5)", None),
        ("readMetrics('nothing')", None),
        ("(() => { const h = new History(); for (let i = 0; i < 5000; i += 1) h.push({ at: i * 100 });"
         " return [h.points.length <= POINTS_MAX, h.points[h.points.length - 1].at].join() })()", "true,499900"),
    ):
        got = browser.value(expression)
        assert got == wanted, f"{expression}: {got!r}, not {wanted!r}"


def with_a_key(program, chromium):
    """A browser asks its user for the key, once, and so does one whose address has it; the wrong one shows nothing."""
    key = "a-key-for-the-metrics"
    with World(program, metrics=f'key = "{key}"') as world:
        with Browser(chromium) as browser:
            browser.has_password("anyone", key)
            browser.go(f"http://{world.metrics}/")
            browser.wait(f"{FACT}.Up !== undefined")
            clean(browser, f"http://{world.metrics}/")
        with Browser(chromium) as browser:
            browser.go(f"http://anyone:{key}@{world.metrics}/")
            browser.wait(f"{FACT}.Up !== undefined")


def agrees(program, chromium):
    """The page, `top` and the metrics count the same faults."""
    faults = {"missing_key": 3, "not_found": 2}
    with World(program) as world, Browser(chromium) as browser:
        for path, code in (("/p/openai/v1/models", "missing_key"), ("/nowhere", "not_found")):
            for _ in range(faults[code]):
                try:
                    urllib.request.urlopen(f"http://{world.gateway}{path}")
                except urllib.error.HTTPError as error:
                    error.read()
        url = f"http://{world.metrics}"
        browser.go(f"{url}/")
        shown = f"Object.fromEntries({ROWS.format('errors')}.map((row) => [row[0], Number(row[2])]))"
        browser.wait(shown, faults)
        top = [world.binary, "top", "--json", "--once", "--url", url]
        told = json.loads(subprocess.check_output(top, cwd=world.folder.name, env=world.env))
        assert {error["code"]: error["total"] for error in told["errors"]} == faults, told["errors"]
        text = urllib.request.urlopen(f"{url}/metrics").read().decode()
        counted = re.findall(r'^sluicegate_gateway_errors_total\{code="(\w+)"\} (\d+)$', text, re.MULTILINE)
        assert {code: int(total) for code, total in counted} == faults, counted


def below_a_path(program, chromium):
    """Where the gateway is mounted below a path, at the root and there, and the metrics elsewhere."""
    with World(program, server='base_path = "/g"', metrics='endpoint = "/a&b/figures"') as world:
        for path in ("/", "/g/"):
            with Browser(chromium) as browser:
                browser.go(f"http://{world.metrics}{path}")
                browser.wait(f"{FACT}.Up !== undefined")
                browser.wait("document.getElementById('streams-note').textContent === '0'")
                clean(browser, f"http://{world.metrics}/")


def picture(program, chromium, file, seconds):
    with World(program, rate=28) as world, Browser(chromium) as browser:
        world.outage = (seconds * 0.62, seconds * 0.08)
        browser.size(1400, 1240)
        browser.go(f"http://{world.metrics}/")
        world.run_clients()
        time.sleep(seconds)
        with open(file, "wb") as out:
            out.write(browser.picture())
        clean(browser, f"http://{world.metrics}/")


def main():
    program, *rest = sys.argv[1:]
    chromium = os.environ.get("CHROMIUM", "chromium")
    if rest[:1] == ["--picture"]:
        return picture(program, chromium, rest[1], float(rest[2]))
    for test in (live_traffic, stood_in, with_a_key, agrees, below_a_path):
        if rest and test.__name__ not in rest:
            continue
        began = time.monotonic()
        test(program, chromium)
        print(f"{test.__name__}: ok ({time.monotonic() - began:.1f}s)", flush=True)


main()
