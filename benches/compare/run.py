#!/usr/bin/env python3
"""nginx, HAProxy and sluicegate side by side, doing a gateway's job on one core each.

    sudo apt install nginx haproxy wrk openssl
    cargo build --release && benches/compare/run.py

Each one checks a bearer key (401), takes it off, adds the provider's `x-api-key`, and relays to an
upstream over kept connections, unbuffered, and once more with an access log in JSON (sluicegate's with
metrics and Server-Timing besides). wrk sends 1 KiB and gets 1 KiB of JSON. Rounds of all proxies
alternate; the table has the medians. All of it runs on loopback, as any user, in a folder that goes
away. The upstream (an nginx) and wrk share the cores that the proxy leaves: on a machine with two, they
are what limits req/s, and `CPU us` is the figure to compare.

Other gateways for LLMs can be in it, with 64 connections and a plain upstream:

    python3 -m venv ~/litellm && ~/litellm/bin/pip install 'litellm[proxy]'
    npm install --prefix ~/portkey @portkey-ai/gateway
    LITELLM=~/litellm/bin/litellm PORTKEY=~/portkey/node_modules/.bin/gateway benches/compare/run.py

LiteLLM does the same job by its passthrough route. Portkey's gateway has no keys of its own: the
client's, which it passes on, is the provider's, and nothing is checked.
"""
import argparse, contextlib, functools, http.client, os, pathlib, platform, re, shutil, signal, socket
import statistics, subprocess, sys, tempfile, time, typing

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SLUICEGATE_BIN", str(ROOT / "target/release/sluicegate"))
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, OTHER_CORES = CORES[0], CORES[1:] or CORES
GATEWAY_KEY, UPSTREAM_KEY = "gateway-key", "upstream-key"
PREFIX = "/p/anthropic/v1"
PATH = f"{PREFIX}/messages"
CASES = [(tls, connections) for tls in (False, True) for connections in (64, 1)]

NGINX = """daemon off; worker_processes {workers}; {user} pid {name}.pid; error_log {name}.log crit;
worker_rlimit_nofile {files};
events {{ worker_connections 1000; multi_accept on; }}
http {{
  access_log off; tcp_nodelay on; server_tokens off; keepalive_requests 1000000000;
  client_body_temp_path {name}-body; proxy_temp_path {name}-proxy; fastcgi_temp_path {name}-fastcgi;
  uwsgi_temp_path {name}-uwsgi; scgi_temp_path {name}-scgi;
{http}
}}
"""
UPSTREAM = """  default_type application/json;
  ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.3;
  ssl_ecdh_curve X25519; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; keepalive_timeout 1h;
    if ($http_x_api_key != "{key}") {{ return 403; }}
    if ($http_authorization) {{ return 403; }}
    location = /v1/messages {{ return 200 '{content}'; }}
    location = /v1/seen {{ return 200 '$request_uri $http_x_api_key'; }}
  }}"""
NGINX_LOG = """
  log_format all escape=json '{"time":"$time_iso8601","request_id":"$request_id","client":"$remote_addr:$remote_port",'
    '"method":"$request_method","path":"$uri","status":$status,"bytes_in":$request_length,"bytes_out":$body_bytes_sent,'
    '"seconds":$request_time,"connect":"$upstream_connect_time","head":"$upstream_header_time",'
    '"upstream":"$upstream_response_time","upstream_request_id":"$upstream_http_request_id"}';"""
NGINX_PROXY = """
  upstream up {{ server 127.0.0.1:{to}; keepalive 1000; keepalive_requests 1000000000; }}
  map $http_authorization $allowed {{ default 0; "Bearer {gateway_key}" 1; }}
  server {{
    listen 127.0.0.1:{port};
    {log}
    location ^~ /p/anthropic/ {{
      if ($allowed = 0) {{ return 401; }}
      proxy_pass {scheme}://up/; proxy_http_version 1.1;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate cert.pem; proxy_ssl_name localhost;
      proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3;
      proxy_set_header Connection ""; proxy_set_header Host 127.0.0.1:{to};
      proxy_set_header Authorization ""; proxy_set_header x-api-key {upstream_key};
      proxy_buffering off; proxy_request_buffering off;
      proxy_buffer_size 16k; proxy_buffers 4 16k; proxy_busy_buffers_size 32k;
    }}
  }}"""
HAPROXY = """global
    nbthread 1
    maxconn 1000
defaults
    mode http
    {log}
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-request 10s
frontend clients
    bind 127.0.0.1:{port}
    acl allowed req.hdr(authorization) -m str "Bearer {gateway_key}"
    http-request deny deny_status 401 unless allowed
    http-request deny deny_status 404 unless {{ path_beg /p/anthropic/ }}
    http-request del-header authorization
    http-request set-header x-api-key {upstream_key}
    http-request set-header host 127.0.0.1:{to}
    http-request set-path %[path,bytes(12)]
    default_backend up
backend up
    server up 127.0.0.1:{to} pool-max-conn -1 pool-purge-delay 60s{server_tls}
"""
HAPROXY_LOG = """log stdout format raw local0 info
    log-format '{"time":"%tr","request_id":"%ID","client":"%ci:%cp","method":"%HM","path":"%HP","status":%ST,"bytes_in":%U,\
"bytes_out":%B,"request":%TR,"queue":%Tw,"connect":%Tc,"head":%Tr,"active":%Ta,"server":"%s","end":"%ts","retries":%rc}'
    unique-id-format %[uuid()]"""
HAPROXY_TLS = " ssl verify required ca-file cert.pem sni str(localhost) verifyhost localhost"
SLUICEGATE_LOG = """[server]
server_timing = true
[metrics]
enabled = true
[log]
format = "json"
file = "{name}-access.log"
"""
WRK = """wrk.method, wrk.path = "POST", "%s"
wrk.body = '{"content":"' .. string.rep("x", 1010) .. '"}'
wrk.headers["Content-Type"] = "application/json"
%s
function done(summary, latency)
  local bad = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    bad.connect + bad.read + bad.write + bad.status + bad.timeout))
end
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Process:
    """A program on its cores; everything it started is its own to end and its own to count."""

    def __init__(self, folder, port, cores, command, environment=None, seconds=10):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.seconds, self.port, self.log = seconds, port, open(folder / "output.log", "ab")
        self.process = subprocess.Popen(
            command, cwd=folder, env=kept | (environment or {}), stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, preexec_fn=lambda: os.sched_setaffinity(0, cores))

    def __enter__(self):
        for _ in range(100 * self.seconds):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            time.sleep(0.01)
        self.__exit__()
        sys.exit(f"did not start: {self.process.args}\n{pathlib.Path(self.log.name).read_text()}")

    def __exit__(self, *_):
        family = self.family()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in family:  # still its own: the parent has not been waited for
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def family(self):
        pids = [self.process.pid]
        for pid in pids:
            with contextlib.suppress(OSError):
                for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                    pids += map(int, children.read_text().split())
        return pids

    def cpu_seconds(self):
        """User and system time of all its processes, their ended threads included."""
        fields = (pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                  for pid in self.family())
        return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", folder / "key.pem",
         "-addext", "basicConstraints=critical,CA:FALSE", "-out", folder / "cert.pem",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, stderr=subprocess.DEVNULL)


def nginx(folder, name, port, cores, http):
    text = NGINX.format(name=name, workers=len(cores), http=http, files=4000,
                        user="user root;" if os.geteuid() == 0 else "")
    (folder / f"{name}.conf").write_text(text)
    command = ["nginx", "-e", f"{name}.log", "-p", str(folder), "-c", f"{name}.conf"]
    return Process(folder, port, cores, command)


def upstream(stack, folder, name, cores):
    """Starts one; its plain port and the one with TLS."""
    plain, tls = free_port(), free_port()
    content = '{"content":"' + "y" * 1010 + '"}'
    stack.enter_context(nginx(folder, name, plain, cores, UPSTREAM.format(
        plain=plain, tls=tls, key=UPSTREAM_KEY, content=content)))
    return plain, tls


def nginx_proxy(folder, name, port, values, cores=(PROXY_CORE,), log=False):
    file = f"access_log {name}-access.log all buffer=64k flush=1s;" if log else ""
    http = (NGINX_LOG if log else "") + NGINX_PROXY.format(log=file, **values)
    return nginx(folder, name, port, cores, http)


def haproxy(folder, name, port, values, log=False):
    text = HAPROXY.format(log=HAPROXY_LOG if log else "no log", **values)
    (folder / f"{name}.cfg").write_text(text)
    return Process(folder, port, [PROXY_CORE], ["haproxy", "-db", "-f", f"{name}.cfg"])


def sluicegate(folder, name, port, values, cores=(PROXY_CORE,), log=False, driver="auto"):
    settings = folder / f"{name}.toml"
    settings.write_text(SLUICEGATE_LOG.format(name=name) if log else "")
    return Process(folder, port, cores, [BINARY], {
        "SLUICEGATE_LISTEN": f"127.0.0.1:{port}", "SLUICEGATE_WORKERS": str(len(cores)),
        "SLUICEGATE_CONFIG": str(settings), "SLUICEGATE_DRIVER": driver,
        "LOG_LEVEL": "info" if log else "warn",
        "GOMODEL_MASTER_KEY": GATEWAY_KEY, "ANTHROPIC_API_KEY": UPSTREAM_KEY,
        "ANTHROPIC_BASE_URL": "{scheme}://127.0.0.1:{to}/v1".format(**values),
        "SSL_CERT_FILE": str(folder / "cert.pem")})


def litellm(folder, name, port, values):
    (folder / f"{name}.yaml").write_text(
        f"model_list: []\ngeneral_settings: {{ master_key: sk-{GATEWAY_KEY} }}\n"
        "litellm_settings: { telemetry: false, request_timeout: 600 }\n")
    command = [os.environ["LITELLM"], "--config", f"{name}.yaml", "--host", "127.0.0.1",
               "--port", str(port), "--num_workers", "1"]
    return Process(folder, port, [PROXY_CORE], command, {
        "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True",
        "ANTHROPIC_API_KEY": UPSTREAM_KEY,
        "ANTHROPIC_API_BASE": "http://127.0.0.1:{to}".format(**values)}, seconds=120)


def portkey(folder, name, port, values):
    return Process(folder, port, [PROXY_CORE], [os.environ["PORTKEY"], f"--port={port}", "--headless"],
                   seconds=30)


class Asked(typing.NamedTuple):
    """How a gateway wants to be asked for what is below the provider's `path`, and what it says to other keys."""
    path: str
    fields: typing.Callable
    key: str = GATEWAY_KEY
    refusals: tuple = (401,)


def bearer(key, _):
    return {"Authorization": f"Bearer {key}"}


def portkey_fields(key, to):
    return {"Authorization": f"Bearer {key}", "x-portkey-provider": "anthropic",
            "x-portkey-custom-host": f"http://127.0.0.1:{to}/v1"}


PROXIES = {
    "nginx": nginx_proxy, "HAProxy": haproxy, "sluicegate": sluicegate,
    "sluicegate, epoll": functools.partial(sluicegate, driver="epoll"),
    "nginx, log": functools.partial(nginx_proxy, log=True),
    "HAProxy, log": functools.partial(haproxy, log=True),
    "sluicegate, log": functools.partial(sluicegate, log=True),
}
GATEWAYS = {
    name: start for name, start in {"LiteLLM": litellm, "Portkey": portkey}.items()
    if name.upper() in os.environ
}
PROXY_ASKED = Asked(PREFIX, bearer)
ASKED = {
    "LiteLLM": Asked("/anthropic/v1", bearer, f"sk-{GATEWAY_KEY}", (400, 401, 500)),
    "Portkey": Asked("/v1", portkey_fields, UPSTREAM_KEY, ()),
}


def start_proxies(stack, folder, plain, tls_port):
    """Each proxy twice, towards the plain and the TLS port, a gateway once; they sleep out of turn."""
    proxies = {}
    for tls, starts in (False, PROXIES | GATEWAYS), (True, PROXIES):
        for name, start in starts.items():
            port, to = free_port(), tls_port if tls else plain
            file = f"{name}-{tls}".replace(", ", "-")
            proxy = stack.enter_context(start(folder, file, port, proxy_values(port, to, tls)))
            asked = ASKED.get(name, PROXY_ASKED)
            verify(name, port, asked, to)
            (folder / f"{name}.lua").write_text(script(
                f"{asked.path}/messages", asked.fields(asked.key, to)))
            proxies[name, tls] = proxy
    return proxies


def script(path, fields):
    return WRK % (path, "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in fields.items()))


def proxy_values(port, to, tls=False):
    return {"port": port, "to": to, "scheme": "https" if tls else "http",
            "server_tls": HAPROXY_TLS if tls else "",
            "gateway_key": GATEWAY_KEY, "upstream_key": UPSTREAM_KEY}


def verify(name, port, asked, to):
    """No key, no service; with it, the upstream sees its own key and no other (it answers 403)."""
    right, wrong = asked.fields(asked.key, to), asked.fields("wrong", to)
    asks = [("POST", "messages", right, (200,), None)]
    if asked.refusals:
        asks += [("GET", "seen", right, (200,), f"/v1/seen {UPSTREAM_KEY}")]
        asks += [("GET", "seen", headers, asked.refusals, None) for headers in ({}, wrong)]
    for method, what, headers, statuses, expected in asks:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        json = {"Content-Type": "application/json"}
        content = '{"model":"claude","max_tokens":1,"messages":[]}' if method == "POST" else None
        connection.request(method, f"{asked.path}/{what}", content, headers | json)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        if answer.status not in statuses or expected not in (None, content):
            sys.exit(f"{name} answers {answer.status} {content!r} to {headers}, not {statuses}, {expected}")


class Load:
    """wrk, running; a request as the script says, on these cores."""

    def __init__(self, folder, script, url, threads, connections, seconds, cores):
        command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s",
                   "--timeout", "30s", "-s", script, url]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores))

    def result(self):
        """Waits for its end: requests, and microseconds of all, of p50 and of p99."""
        output, _ = self.process.communicate()
        found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", output, re.M)
        if not found or int(found[5]):
            sys.exit(f"failed: {' '.join(self.process.args)}\n{output}")
        return [int(number) for number in found.groups()[:4]]


def load(folder, script, url, connections, seconds):
    threads = min(len(OTHER_CORES), 2, connections)
    return Load(folder, script, url, threads, connections, seconds, OTHER_CORES).result()


def measure(folder, proxy, script, url, connections, seconds):
    load(folder, script, url, connections, 1)
    before = proxy.cpu_seconds() if proxy else 0
    requests, micros, p50, p99 = load(folder, script, url, connections, seconds)
    cpu = (proxy.cpu_seconds() - before) * 1e6 if proxy else 0
    return requests / micros * 1e6, p50, p99, cpu / requests, 100 * cpu / micros


def versions():
    processor = re.search(r"model name\s*: (.*)|$", pathlib.Path("/proc/cpuinfo").read_text())[1]
    print(time.strftime("%Y-%m-%d"), processor, f"{len(CORES)} cores", platform.release(), sep=", ")
    for command in (["nginx", "-v"], ["haproxy", "-v"], [BINARY, "--version"]):
        run = subprocess.run(command, capture_output=True, text=True)
        print((run.stdout + run.stderr).splitlines()[0])


def print_table(results):
    print("\n| upstream, connections | proxy | req/s | p50 us | p99 us | CPU us/request | core % |"
          "\n| --- | --- |" + " ---: |" * 5)
    for (tls, connections, name), rounds in results.items():
        rate, p50, p99, cpu, busy = map(statistics.median, zip(*rounds))
        costs = "- | -" if name == "none" else f"{cpu:.1f} | {busy:.0f}"
        print(f"| {'TLS' if tls else 'plain'}, {connections} | {name} "
              f"| {rate:,.0f} | {p50:.0f} | {p99:.0f} | {costs} |")


def begin(description, *tools):
    """The options, once all that is needed is found."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=4, help="of each measurement")
    chosen = options.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    if missing := [tool for tool in (*tools, BINARY) if not shutil.which(tool)]:
        sys.exit(f"missing: {' '.join(missing)} (see the head of this file)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    return chosen


def main():
    chosen = begin(__doc__, "nginx", "haproxy", "wrk", "openssl")
    versions()
    results = {}
    with tempfile.TemporaryDirectory(prefix="compare-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        certificate(folder)
        plain, tls_port = upstream(stack, folder, "upstream", OTHER_CORES)
        proxies = start_proxies(stack, folder, plain, tls_port)
        (folder / "none.lua").write_text(script("/v1/messages", {"x-api-key": UPSTREAM_KEY}))
        for turn in range(chosen.rounds):
            for tls, connections in CASES:
                names = ["none", *PROXIES, *(GATEWAYS if (tls, connections) == CASES[0] else ())]
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    proxy = proxies.get((name, tls))
                    url = (f"http://127.0.0.1:{proxy.port}" if proxy else
                           f"https://localhost:{tls_port}" if tls else f"http://127.0.0.1:{plain}")
                    results.setdefault((tls, connections, name), []).append(
                        measure(folder, proxy, f"{name}.lua", url, connections, chosen.seconds))
            print(f"round {turn + 1} of {chosen.rounds}", file=sys.stderr)
    print_table(dict(sorted(results.items(), key=lambda row: CASES.index(row[0][:2]))))


if __name__ == "__main__":
    main()
