#!/usr/bin/env python3
"""What sluicegate and nginx make of more cores: one core, all cores, and as many proxies on one core each.

    sudo apt install nginx wrk openssl
    cargo build --release && benches/compare/scale.py

Every core carries its share of everything, proxy, upstream (an nginx) and wrk, so that all of it is
bound by the processor and grows by the same factor. Proxies that have a core each share nothing with
one another: where upstream and wrk have that core too, what they reach is the most that the machine
gives; where upstream and wrk run on any core, what is missing is the price of loopback traffic that
crosses cores. Only what a proxy on all cores falls behind those is its own.
Small requests as in run.py, 64 connections a core. All of it starts afresh for each measurement, since
placement lasts; rounds alternate, the table has the medians.
"""
import contextlib, pathlib, statistics, sys, tempfile

import run

PROXIES = {"nginx": run.nginx_proxy, "sluicegate": run.sluicegate}
ALL, EACH = [run.CORES], [[core] for core in run.CORES]
# Name: the cores of each proxy, the cores of each upstream and its load.
SPREADS = {
    "one core": (EACH[:1], EACH[:1]),
    "one on all cores": (ALL, ALL),
    "one a core, upstream and load on any": (EACH, ALL),
    "one a core, upstream and load there": (EACH, EACH),
}
SETUPS = [(proxy, spread) for proxy in PROXIES for spread in SPREADS]


def measure(folder, name, start, proxies, others, seconds):
    """Requests per second, and CPU microseconds of the proxies for each."""
    with contextlib.ExitStack() as stack:
        upstreams = [run.upstream(stack, folder, f"{name}-upstream-{index}", cores)[0]
                     for index, cores in enumerate(others)]
        parts = []
        for index, cores in enumerate(proxies):
            port, which = run.free_port(), index % len(others)
            values = run.proxy_values(port, upstreams[which])
            proxy = stack.enter_context(start(folder, f"{name}-{index}", port, values, cores))
            run.verify(name, port, run.PROXY_ASKED, upstreams[which])
            # One wrk for each of the proxy's cores.
            parts += [(proxy, others[which])] * len(cores)
        load(folder, parts, 1)
        before = sum(proxy.cpu_seconds() for proxy in {proxy for proxy, _ in parts})
        rate, requests = load(folder, parts, seconds)
        cpu = sum(proxy.cpu_seconds() for proxy in {proxy for proxy, _ in parts}) - before
        return rate, cpu * 1e6 / requests


def load(folder, parts, seconds):
    """Requests per second, and requests."""
    loads = [run.Load(folder, "proxy.lua", f"http://127.0.0.1:{proxy.port}{run.PATH}", 1, 64, seconds, cores)
             for proxy, cores in parts]
    results = [each.result() for each in loads]
    return (sum(requests / micros * 1e6 for requests, micros, *_ in results),
            sum(requests for requests, *_ in results))


def main():
    chosen = run.begin(__doc__, "nginx", "wrk", "openssl")
    results = {setup: [] for setup in SETUPS}
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = pathlib.Path(name)
        run.certificate(folder)
        script = run.script(run.PATH, run.bearer(run.GATEWAY_KEY, None))
        (folder / "proxy.lua").write_text(script)
        for turn in range(chosen.rounds):
            for number, (proxy, spread) in enumerate(SETUPS[turn % len(SETUPS):] + SETUPS[:turn % len(SETUPS)]):
                results[proxy, spread].append(measure(
                    folder, f"{turn}-{number}", PROXIES[proxy], *SPREADS[spread], chosen.seconds))
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
