#!/usr/bin/env python3
"""What sluicegate and nginx make of more cores: one core, all cores, and as many proxies on one core each.

    sudo apt install nginx wrk openssl
    cargo build --release && benches/compare/scale.py

Every core carries its share of everything, proxy, upstream (an nginx) and wrk, so that all of it is
bound by the processor and grows by the same factor. The proxies that have a core each share nothing:
what they reach together is the most that the machine gives. A proxy on all cores also pays for what
crosses cores, which is the kernel's and the machine's: that is what nginx is there for. CPU per request
that stays the same is the surest sign: a busy host takes from requests a second first.
Small requests as in run.py, 64 connections a core. Rounds alternate; the table has the medians.
"""
import contextlib, pathlib, statistics, sys, tempfile

import run

PROXIES = {"nginx": run.nginx_proxy, "sluicegate": run.sluicegate}
SPREADS = {
    "one core": [run.CORES[:1]],
    "one on all cores": [run.CORES],
    "one on each core": [[core] for core in run.CORES],
}
SETUPS = [(proxy, spread) for proxy in PROXIES for spread in SPREADS]


class Part:
    """A proxy, its upstream and its load, all on these cores."""

    def __init__(self, stack, folder, proxy, cores):
        self.cores, self.port = cores, run.free_port()
        to, _ = run.upstream(stack, folder, f"upstream-{self.port}", cores)
        values = run.proxy_values(self.port, to)
        start, name = PROXIES[proxy], f"{proxy}-{self.port}"
        self.proxy = stack.enter_context(start(folder, name, self.port, values, cores))
        run.verify(proxy, self.port)

    def load(self, folder, seconds):
        count, url = len(self.cores), f"http://127.0.0.1:{self.port}{run.PATH}"
        return run.Load(folder, "proxy.lua", url, count, 64 * count, seconds, self.cores)


def measure(folder, parts, seconds):
    """Requests per second, and CPU microseconds of the proxies for each."""
    before = sum(part.proxy.cpu_seconds() for part in parts)
    rate, requests = 0, 0
    for load in [part.load(folder, seconds) for part in parts]:
        done, micros, _, _ = load.result()
        requests += done
        rate += done / micros * 1e6
    cpu = sum(part.proxy.cpu_seconds() for part in parts) - before
    return rate, cpu * 1e6 / requests


def main():
    chosen = run.begin(__doc__, "nginx", "wrk", "openssl")
    results = {setup: [] for setup in SETUPS}
    with tempfile.TemporaryDirectory(prefix="scale-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        run.certificate(folder)
        script = run.WRK % (run.PATH, "Authorization", f"Bearer {run.GATEWAY_KEY}")
        (folder / "proxy.lua").write_text(script)
        parts = {(proxy, spread): [Part(stack, folder, proxy, cores) for cores in SPREADS[spread]]
                 for proxy, spread in SETUPS}
        for turn in range(chosen.rounds):
            for setup in SETUPS[turn % len(SETUPS):] + SETUPS[:turn % len(SETUPS)]:
                measure(folder, parts[setup], 1)
                results[setup].append(measure(folder, parts[setup], chosen.seconds))
            print(f"round {turn + 1} of {chosen.rounds}", file=sys.stderr)
    print(f"{len(run.CORES)} cores\n\n| proxy | | req/s | times one core | CPU us/request |"
          "\n| --- | --- | ---: | ---: | ---: |")
    for (proxy, spread), found in results.items():
        ones = results[proxy, "one core"]
        times = statistics.median(rate / one for (rate, _), (one, _) in zip(found, ones))
        rate, cpu = map(statistics.median, zip(*found))
        print(f"| {proxy} | {spread} | {rate:,.0f} | {times:.2f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
