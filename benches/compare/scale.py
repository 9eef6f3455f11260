#!/usr/bin/env python3
"""What sluicegate makes of more cores: one core, all cores, and as many gateways on one core each.

    sudo apt install nginx wrk openssl
    cargo build --release && benches/compare/scale.py

Every core carries its share of everything, gateway, upstream (an nginx) and wrk, so that all of it is
bound by the processor and grows by the same factor. The gateways that have a core each share nothing:
what they reach together is what the machine gives, and one gateway on all cores is held against that.
Small requests as in run.py, 64 connections a core. Rounds alternate; the table has the medians.
"""
import argparse, contextlib, os, pathlib, re, shutil, statistics, subprocess, sys, tempfile

import run

SETUPS = {
    "one core": [run.CORES[:1]],
    "one gateway on all cores": [run.CORES],
    "a gateway on each core": [[core] for core in run.CORES],
}


class Part:
    """A gateway, its upstream and its load, all on these cores."""

    def __init__(self, stack, folder, cores):
        self.cores, self.port = cores, run.free_port()
        name, to = f"upstream-{self.port}", run.free_port()
        content = '{"content":"' + "y" * 1010 + '"}'
        upstream = run.UPSTREAM.format(plain=to, tls=run.free_port(), key=run.UPSTREAM_KEY,
                                       content=content)
        stack.enter_context(run.nginx(folder, name, to, cores, upstream))
        values = {"scheme": "http", "to": to}
        stack.enter_context(run.sluicegate(folder, name, self.port, values, cores))
        run.verify("sluicegate", self.port)

    def load(self, folder, seconds):
        count = len(self.cores)
        command = ["wrk", "-t", str(count), "-c", str(64 * count), "-d", f"{seconds}s",
                   "-s", "proxy.lua", f"http://127.0.0.1:{self.port}{run.PATH}"]
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, self.cores))


def requests_per_second(folder, parts, seconds):
    rate = 0
    for process in [part.load(folder, seconds) for part in parts]:
        output, _ = process.communicate()
        found = re.search(r"^RESULT (\d+) (\d+) \d+ \d+ (\d+)", output, re.M)
        if not found or int(found[3]):
            sys.exit(f"wrk failed:\n{output}")
        rate += int(found[1]) / int(found[2]) * 1e6
    return rate


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=4, help="of each measurement")
    chosen = options.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    if missing := [tool for tool in ("nginx", "wrk", "openssl", run.BINARY) if not shutil.which(tool)]:
        sys.exit(f"missing: {' '.join(missing)} (see the head of this file)")
    rates = {name: [] for name in SETUPS}
    with tempfile.TemporaryDirectory(prefix="scale-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        run.certificate(folder)
        script = run.WRK % (run.PATH, "Authorization", f"Bearer {run.GATEWAY_KEY}")
        (folder / "proxy.lua").write_text(script)
        setups = {name: [Part(stack, folder, cores) for cores in parts]
                  for name, parts in SETUPS.items()}
        for turn in range(chosen.rounds):
            names = list(setups)
            for name in names[turn % 3:] + names[:turn % 3]:
                requests_per_second(folder, setups[name], 1)
                rates[name].append(requests_per_second(folder, setups[name], chosen.seconds))
            print(f"round {turn + 1} of {chosen.rounds}", file=sys.stderr)
    print(f"{len(run.CORES)} cores\n\n| | req/s | times one core |\n| --- | ---: | ---: |")
    for name, found in rates.items():
        times = statistics.median(rate / one for rate, one in zip(found, rates["one core"]))
        print(f"| {name} | {statistics.median(found):,.0f} | {times:.2f} |")


if __name__ == "__main__":
    main()
