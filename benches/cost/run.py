#!/usr/bin/env python3
"""What one request, event, MiB, connection and handshake cost, in counts rather than in time.

    cargo build --release && benches/cost/run.py            # table; fails where a limit is passed
    cargo build --release && benches/cost/run.py --calls    # without instructions, in half a minute
    cargo build --release && benches/cost/run.py --record   # writes the counts down as limits.toml

The release binary runs between a client and an upstream that are both this one thread: each step
waits for the one before, so the counts hang on the gateway alone and not on who was scheduled.
System calls are those strace sees, allocations and copies those count.c sees, instructions those of
callgrind (user space, on epoll, as valgrind cannot run our rings). A tool that is missing costs its
columns: "-". A figure is the mean of one batch of units in a warm run, the least of several: what
the clock does every 100 ms falls into others. What seems worse than its limit is measured again.
"""
import argparse, contextlib, hashlib, os, pathlib, re, shutil, signal, socket, ssl, struct, subprocess, sys
import tempfile, time, tomllib

HERE = pathlib.Path(__file__).resolve().parent
BINARY = os.environ.get("SLUICEGATE_BIN", HERE.parents[1] / "target/release/sluicegate")
GATEWAY_KEY, UPSTREAM_KEY = "gateway-key", "upstream-key"
MIB = 1 << 20
LIMITS = HERE / "limits.toml"
BATCHES = 5
AGAIN = 3
PIECE = 64 << 10  # of a large body: what surely fits the sockets' buffers with nobody reading
KINDS = {
    "send": "sendto sendmsg write writev", "recv": "recvfrom recvmsg read readv",
    "wait": "io_uring_enter epoll_wait epoll_pwait epoll_pwait2",
}
COLUMNS = ["send", "recv", "wait", "other", "allocs", "bytes", "copies", "copied", "instructions"]


def slack(row, column):
    """How far above its limit a count may be: a part of it and this much; None: no limit."""
    if row.startswith("all on") and column in ("send", "wait", "other", "copies", "copied"):
        return None  # The log's writer takes as many lines at once as there are.
    bulk, long = "MiB" in row, "connection" in row or "handshake" in row or "resumed" in row
    if column == "instructions":
        return (0.3, 0) if row.startswith("plain: MiB") else (0.03, 20)
    if bulk or long:  # How much is there when a side looks is the kernel's choice.
        if column == "wait" or bulk and column == "recv":
            return None
        return (0.25, 2) if bulk or column == "recv" else (0.03, 0.5)
    if column in ("copies", "copied"):  # which way the clock's few go differs
        return (0.02, 0.5)
    return (0.01, 1) if column == "bytes" else (0, 0.05)


class Rig:
    """Both ends of the gateway: what a client and an upstream do, one step at a time."""

    def __init__(self, listener, address, server_tls, client_tls):
        self.listener, self.address = listener, address
        self.server_tls, self.client_tls = server_tls, client_tls
        self.upstream = None

    def client(self, session=None):
        sock = socket.create_connection(self.address, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.client_tls.wrap_socket(sock, session=session) if self.client_tls else sock

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server_tls:
            sock = self.server_tls.wrap_socket(sock, server_side=True)
        self.upstream = sock

    def ask(self, client, length=1024, content=None):
        """A request goes up; without `content` only its head."""
        content = b"x" * length if content is None else content
        client.sendall(REQUEST % length + content)
        if self.upstream is None:
            self.accept()
        got = read_to(self.upstream, b"\r\n\r\n", len(content))
        assert b"x-api-key: " + UPSTREAM_KEY.encode() in got, got

    def answer(self, client, head, content=b""):
        self.upstream.sendall(head + content)
        assert read_to(client, b"\r\n\r\n", len(content)).startswith(b"HTTP/1.1 200"), "no answer"

    def exchange(self, client, head=None):
        self.ask(client)
        self.answer(client, head or ANSWER % 1024, b"y" * 1024)


REQUEST = (b"POST /p/anthropic/v1/messages HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer "
           + GATEWAY_KEY.encode() + b"\r\nuser-agent: cost/1\r\naccept: application/json\r\n"
           b"anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
           b"content-length: %d\r\n\r\n")
ANSWER = (b"HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 00:00:00 GMT\r\nserver: mock\r\n"
          b"content-type: application/json\r\nrequest-id: req_0123456789\r\n"
          b"content-length: %d\r\n\r\n")
LAST_ANSWER = ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
STREAM = ANSWER.replace(b"content-length: %d", b"transfer-encoding: chunked")
EVENT = b"event: content_block_delta\r\ndata: " + b"z" * 86 + b"\n\n"
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)


def read_exactly(sock, length):
    got = bytearray()
    while len(got) < length:
        piece = sock.recv(min(1 << 18, length - len(got)))
        assert piece, "the gateway closed the connection"
        got += piece
    return bytes(got)


def read_to(sock, end, beyond):
    """Reads to the end of a head and so many bytes of content."""
    got = b""
    while end not in got:
        piece = sock.recv(1 << 16)
        assert piece, "the gateway closed the connection"
        got += piece
    missing = got.index(end) + len(end) + beyond - len(got)
    assert missing >= 0, "more than was asked for"
    return got + read_exactly(sock, missing)


# Scenarios: each step of one of these generators is one unit; up to the first is preparation.

def request(rig):
    client = rig.client()
    while True:
        rig.exchange(client)
        yield


def event(rig):
    client = rig.client()
    rig.ask(client)
    rig.answer(client, STREAM)
    while True:
        rig.upstream.sendall(CHUNK)
        read_exactly(client, len(CHUNK))
        yield


def download(rig):
    client = rig.client()
    rig.ask(client)
    rig.answer(client, ANSWER % (1 << 40))
    while True:
        pieces(rig.upstream, client)
        yield


def upload(rig):
    client = rig.client()
    rig.ask(client, 1 << 40, b"")
    while True:
        pieces(client, rig.upstream)
        yield


def pieces(sender, receiver):
    for _ in range(MIB // PIECE):
        sender.sendall(b"\0" * PIECE)
        read_exactly(receiver, PIECE)


def client_connection(rig, resume=False):
    session = None
    while True:
        client = rig.client(session)
        rig.exchange(client)
        session = client.session if resume else None
        client.close()
        yield


def upstream_connection(rig, tickets=0):
    client = rig.client()
    if rig.server_tls:
        rig.server_tls.num_tickets = tickets
    if rig.upstream:
        rig.exchange(client, LAST_ANSWER % 1024)
        rig.upstream.close()
    while True:
        rig.upstream = None
        rig.exchange(client, LAST_ANSWER % 1024)
        rig.upstream.close()
        yield


BASIC = [("request", request, 100), ("event", event, 200),
         ("MiB down", download, 2), ("MiB up", upload, 2)]
MODES = {
    # Everything that operators can switch on.
    "all on": BASIC[:2],
    # Everything that can be chosen for a request, and held because of that.
    "choices": BASIC[:2],
    "plain": BASIC + [("client connection", client_connection, 10),
                      ("upstream connection", upstream_connection, 10)],
    "TLS up": BASIC + [("upstream handshake", upstream_connection, 10),
                       ("upstream resumed", lambda rig: upstream_connection(rig, 2), 10)],
    "TLS both": BASIC + [("client handshake", client_connection, 10),
                         ("client resumed", lambda rig: client_connection(rig, True), 10)],
}


# Meters: how a run of the gateway is started, and what has been counted so far.

class Calls:
    """strace, and count.c preloaded."""

    driver, rings = "auto", False

    def __init__(self, folder):
        # Present is not enough: a container may forbid tracing.
        works = shutil.which("strace") and not subprocess.call(
            ["strace", "-o", folder / "trace", "true"], stderr=subprocess.DEVNULL)
        self.trace = folder / "trace" if works else None
        self.counters = folder / "counters"
        self.preload = folder / "count.so"
        flags = ["-O2", "-shared", "-fPIC", "-fno-builtin", "-fno-tree-loop-distribute-patterns"]
        self.counts = shutil.which("cc") and subprocess.run(
            ["cc", *flags, "-o", self.preload, HERE / "count.c"], check=True)

    def command(self):
        self.seen, self.calls = 0, dict.fromkeys(COLUMNS[:4], 0)
        self.counters.write_bytes(bytes(32))
        hooks = []
        if self.counts:
            hooks = [f"LD_PRELOAD={self.preload}", f"COST_COUNTERS={self.counters}"]
        if self.trace is None:
            return ["env", *hooks]
        self.trace.write_bytes(b"")
        return ["strace", "-f", "-qq", "-o", str(self.trace), *(f"-E{hook}" for hook in hooks)]

    def read(self, pid):
        settle(pid)
        counters = struct.unpack("4Q", self.counters.read_bytes())
        found = dict(zip(COLUMNS[4:8], counters)) if self.counts else {}
        return found | (self.read_trace() if self.trace else {})

    def read_trace(self):
        with self.trace.open(errors="replace") as file:
            file.seek(self.seen)
            lines = file.read()
        lines = lines[:lines.rfind("\n") + 1]
        self.seen += len(lines.encode())
        for name, rest in re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(.*)", lines, re.M):
            kind = next((kind for kind, names in KINDS.items() if name in names.split()), "other")
            if rest.endswith("<unfinished ...>"):
                continue  # counted when it returns
            if name == "timerfd_settime":  # The clock's, and so is the wait that it ended.
                self.calls["wait"] -= 1
            else:
                self.calls[kind] += 1
        return dict(self.calls)


def settle(pid):
    """Waits until every thread sleeps: what was asked for is done."""
    quiet, deadline = 0, time.monotonic() + 20
    while quiet < 3:
        assert time.monotonic() < deadline, "the gateway never rests"
        states = [stat.read_text().rpartition(")")[2].split()[0]
                  for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
        quiet = quiet + 1 if set(states) == {"S"} else 0
        time.sleep(0.005)


class Instructions:
    """callgrind; each look at it dumps what was counted since the last."""

    driver, rings = "epoll", False

    def __init__(self, folder):
        self.folder = folder

    def command(self):
        self.total = 0
        for old in self.folder.glob("callgrind.*"):
            old.unlink()
        return ["valgrind", "--tool=callgrind", "-q", f"--vgdb-prefix={self.folder}/vgdb",
                f"--callgrind-out-file={self.folder}/callgrind.out"]

    def read(self, pid):
        settle(pid)
        done = len(list(self.folder.glob("callgrind.out.*")))
        self.tell(pid, "dump")
        text = (self.folder / f"callgrind.out.{done + 1}").read_text()
        self.total += int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
        # A dump takes so long that the clock is due after it: that is nobody's cost.
        settle(pid)
        self.tell(pid, "zero")
        return {"instructions": self.total}

    def tell(self, pid, command):
        subprocess.run(["vgdb", f"--pid={pid}", f"--vgdb-prefix={self.folder}/vgdb", command],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def running(meter, mode, folder):
    """A gateway under the meter; gives its process id and the rig around it."""
    server, client = None, None
    cert = folder / "cert.pem"
    if "TLS" in mode:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(cert, folder / "key.pem")
    if mode == "TLS both":
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(cert)
        client.check_hostname = False
    listener = socket.create_server(("0.0.0.0" if mode == "choices" else "127.0.0.1", 0))
    listener.settimeout(60)
    scheme = "https" if server else "http"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    environment = kept | {
        "GOMODEL_MASTER_KEY": GATEWAY_KEY, "ANTHROPIC_API_KEY": UPSTREAM_KEY,
        "ANTHROPIC_BASE_URL": f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1",
        "SLUICEGATE_LISTEN": "127.0.0.1:0", "SLUICEGATE_WORKERS": "1", "SLUICEGATE_WARM": "0",
        "SLUICEGATE_DRIVER": meter.driver, "LOG_FORMAT": "json", "SSL_CERT_FILE": str(cert),
    }
    if client:
        environment["SLUICEGATE_TLS_CERT"] = str(cert)
        environment["SLUICEGATE_TLS_KEY"] = str(folder / "key.pem")
    config = folder / "gateway.toml"
    text = "[timeouts]\nconnect = 60\nrequest_header = 60\n"
    if mode == "choices":
        del environment["ANTHROPIC_BASE_URL"], environment["ANTHROPIC_API_KEY"]
        text += choices(listener.getsockname()[1])
    if mode == "all on":
        keys = folder / "keys.toml"
        keys.write_text("".join(managed_keys()))
        text += f'[auth]\nkeys_file = "{keys}"\n[metrics]\nenabled = true\n'
        text += f'[log]\nfile = "{folder}/access.log"\n[server]\nserver_timing = true\n'
        environment["GOMODEL_MASTER_KEY"] = "another-key"
    else:
        text += "[log]\naccess = false\n"
    config.write_text(text)
    command = [*meter.command(), str(BINARY), "--config", str(config)]
    process = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, text=True)
    pid = process.pid
    try:
        line = ""
        for line in process.stderr:
            meter.rings |= '"driver":"io_uring' in line
            if found := re.search(r'"listening","addr":"([^"]+):(\d+)"', line):
                break
        else:
            sys.exit(f"the gateway did not start under {command[0]}: {line}")
        if command[0] == "strace":
            pid = int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        yield pid, Rig(listener, (found[1], int(found[2])), server, client)
    finally:
        os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        listener.close()


def choices(port):
    """A provider with all there is to choose: eight keys, 64 instances, a limit, and answers that send a request on."""
    keys = [f"{UPSTREAM_KEY}-{index}" for index in range(8)]
    urls = [f"http://127.0.0.{index}:{port}/v1" for index in range(1, 65)]
    return (f'[providers.anthropic]\napi_keys = {keys}\nbase_urls = {urls}\nbalance = "session"\n'
            'failover_on = [503]\nconcurrency = 100\nqueue = { length = 100, wait = "30s" }\n')


def managed_keys():
    """10,000, and among them the one that is used, limited as far as it can be without being in the way."""
    for index in range(10_000):
        key = GATEWAY_KEY if index == 5_000 else f"key {index}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        limits = 'providers = ["anthropic"]\nrate = "1000000/s"\nstreams = 100\n' * (index == 5_000)
        yield f'[[key]]\nid = "k{index}"\nname = "n{index}"\nsha256 = "{digest}"\n{limits}\n'


def measure(meter, mode, folder):
    rows = {}
    with running(meter, mode, folder) as (pid, rig):
        for name, scenario, units in MODES[mode]:
            steps = scenario(rig)
            for _ in range(5):
                next(steps)
            before, batches = meter.read(pid), []
            for _ in range(BATCHES):
                for _ in range(units):
                    next(steps)
                after = meter.read(pid)
                batches.append({key: (after[key] - before[key]) / units for key in after})
                before = after
            rows[name] = {key: min(batch[key] for batch in batches) for key in after}
            steps.close()
            if scenario in (event, download, upload):  # their exchange is still under way
                rig.upstream.close()
            if rig.upstream.fileno() < 0:
                rig.upstream = None
    return rows


def certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, stderr=subprocess.DEVNULL)


def text(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}".removesuffix(".00")


def toolchain():
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    processor = re.search(r"model name\s*: (.*)|$", pathlib.Path("/proc/cpuinfo").read_text())[1]
    return f"{rustc}, {processor}"


def write_limits(found):
    lines = ["# What benches/cost/run.py found and lets no change exceed; --record writes it anew.",
             "# Instructions are compared where compiler and processor are these.",
             f'toolchain = "{toolchain()}"']
    for row, counts in found.items():
        values = (f"{column} = {value:.2f}".removesuffix(".00") for column, value in counts.items()
                  if slack(row, column))
        lines.append(f'"{row}" = {{ {", ".join(values)} }}')
    LIMITS.write_text("\n".join(lines) + "\n")


def compare(found, rings):
    """What got worse, and what got so much better that its limit should follow."""
    limits, skipped = tomllib.loads(LIMITS.read_text()), set()
    if limits.pop("toolchain") != toolchain():
        skipped |= {"instructions"}
    if not rings:
        skipped |= {"wait", "other"}
    worse, better = [], []
    for row, columns in limits.items():
        for column in columns.keys() & found[row].keys() - skipped:
            value, limit, (part, fixed) = found[row][column], columns[column], slack(row, column)
            if abs(value - limit) > limit * part + fixed:
                side = worse if value > limit else better
                side.append(f"{row}: {column} {text(value)}, limit {text(limit)}")
    return worse, better, skipped


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--record", action="store_true", help="write limits.toml")
    options.add_argument("--calls", action="store_true", help="no instructions, which take longest")
    chosen = options.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="cost-") as name:
        folder = pathlib.Path(name)
        certificate(folder)
        calls = Calls(folder)
        meters = [calls]
        if shutil.which("valgrind") and not chosen.calls:
            meters.append(Instructions(folder))
        measure_all(meters, MODES, folder, found)
        for _ in range(0 if chosen.record else AGAIN):
            worse = compare(found, calls.rings)[0]
            measure_all(meters, {row.partition(": ")[0] for row in worse}, folder, found)
    print("| per unit | " + " | ".join(COLUMNS) + " |\n| --- |" + " ---: |" * len(COLUMNS))
    for row, counts in found.items():
        print(f"| {row} | " + " | ".join(text(counts.get(column)) for column in COLUMNS) + " |")
    if chosen.record:
        return write_limits(found)
    worse, better, skipped = compare(found, calls.rings)
    for title, lines in (("not compared, other compiler, processor or driver:", skipped),
                         ("better than its limit, which --record lowers:", better),
                         ("worse than its limit:", worse)):
        if lines:
            print("\n  ".join(["\n" + title, *lines]))
    return 1 if worse else 0


def measure_all(meters, modes, folder, found):
    """Puts the least of each count into what was found."""
    for meter in meters:
        for mode in modes:
            for row, counts in measure(meter, mode, folder).items():
                known = found.setdefault(f"{mode}: {row}", {})
                for column, count in counts.items():
                    known[column] = min(count, known.get(column, count))


if __name__ == "__main__":
    sys.exit(main())
