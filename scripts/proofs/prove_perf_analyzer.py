"""perf_analyzer and proofload in turn on one Triton at the same rates: same throughput; where latencies differ, who is right."""

import csv
import os
import re
import statistics
import subprocess
import sys

from harness import Claims, Workplace, findings
from triton import Triton
from wire import Wire

RATES = (100, 200)
# More than `timed` can do in batches of four.
OVERLOAD = 600
WINDOW_S, WINDOWS = 2, 3
PATIENCE_S = 60
TOOLS = ("proofload", "perf_analyzer -a", "perf_analyzer --sync")
# Without more threads than its four, --sync reaches no 200/s at 20 ms: it is let have what it needs, but for the overload.
THREADS = ("--max-threads", "64")
SCENARIO = """
kind = "sustained"
thresholds = ["error_rate < 100%"]
[target]
http = "{server.http}"
grpc = "{server.grpc}"
[load]
arrivals = "constant"
rate = "{rate}/s"
duration = "{seconds}s"
[[mix]]
name = "timed"
protocol = "{protocol}"
model = "timed"
inputs = [{{ name = "x", datatype = "FP32", shape = [1, 16], data = "random" }}]
"""
PERCENTILES = ("p50", "p95", "p99")


def by_proofload(place, server, protocol, rate, name):
    """Rate of answers, mean and percentiles as the client saw them, and the mean that the server states (ms)."""
    text = {"http": "kserve-http-binary", "grpc": "kserve-grpc"}[protocol]
    text = SCENARIO.format(server=server, rate=rate, protocol=text, seconds=WINDOW_S * WINDOWS)
    _, folder = place.run(place.scenario(name, text), name)
    found = findings(folder)
    row = {"rate": found["rates"]["throughput_per_s"], "mean": found["latency"]["mean_ns"] / 1e6}
    for percentile in found["latency"]["percentiles"]:
        row[f"p{percentile['percentile']:g}"] = percentile["latency_ns"] / 1e6
    row["server"] = sum(part["mean_ns"] for part in found["server_phases"][0]["parts"]) / 1e6
    return row


def by_perf_analyzer(place, server, protocol, rate, name, options):
    """The same of perf_analyzer."""
    port = {"http": server.http, "grpc": server.grpc}[protocol].rsplit("/", 1)[1]
    sheet = place.path / f"{name}.csv"
    command = [os.environ["PERF_ANALYZER"], "-m", "timed", "-u", port, "-i", protocol, *options]
    # No limit on how steady it must be, so that it always reports.
    command += ["--request-rate-range", str(rate), "-s", "999", "-r", str(WINDOWS), "-p", str(WINDOW_S * 1000)]
    command += ["--verbose-csv", "-f", sheet]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.environ["PERF_ANALYZER_LIBRARIES"]}
    done = subprocess.run(command, env=environment, timeout=PATIENCE_S, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not sheet.exists():
        raise RuntimeError(f"perf_analyzer ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    line = list(csv.DictReader(sheet.open()))[0]
    row = {"rate": float(line["Inferences/Second"]), "mean": float(line["Avg latency"]) / 1e3}
    row |= {name: float(line[f"{name} latency"]) / 1e3 for name in PERCENTILES}
    row["server"] = sum(float(line[name]) for name in line if name.startswith("Server ")) / 1e3
    delayed = re.search(r"([0-9.]+)% of the requests were delayed", done.stdout)
    row["delayed"] = float(delayed.group(1)) if delayed else 0.0
    return row


def measure(place, server, tool, protocol, rate, name, options=()):
    """One run of one tool, with what the kernel saw of it beside where that can be told."""
    with Wire(int(server.http.rsplit(":", 1)[1])) as wire:
        if tool == "proofload":
            row = by_proofload(place, server, protocol, rate, name)
        else:
            row = by_perf_analyzer(place, server, protocol, rate, name, [tool.split()[1], *options])
    row["wire"] = wire.mean_ms() if protocol == "http" else None
    return row


def middle(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else None


def show(label, rows):
    cell = lambda value: f"{value:9.2f}" if value is not None else f"{'-':>9}"
    keys = ("rate", "mean", *PERCENTILES, "wire", "server")
    print(f"  {label:<38}" + "".join(cell(middle(rows, key)) for key in keys), flush=True)


def alike(claims, place, server, rounds):
    """Below what the model can do: everybody sends the same, and the wire judges between the latencies."""
    print(f"medians of {rounds} rounds, ms:{'':14}" + "".join(f"{key:>9}" for key in ("rate", "mean", *PERCENTILES, "wire", "server")))
    for protocol in ("http", "grpc"):
        for rate in RATES:
            rows = {tool: [] for tool in TOOLS}
            for number in range(rounds):
                for tool in TOOLS:
                    name = f"{protocol}-{rate}-{number}-{tool.replace(' ', '')}"
                    rows[tool].append(measure(place, server, tool, protocol, rate, name, THREADS))
            for tool in TOOLS:
                show(f"{protocol} {rate}/s {tool}", rows[tool])
            judge(claims, f"{protocol} {rate}/s", rows)


def judge(claims, label, rows):
    ours = rows["proofload"]
    for tool in TOOLS[1:]:
        ratio = middle(ours, "rate") / middle(rows[tool], "rate")
        claims.claim(abs(ratio - 1) <= 0.03, f"{label}: throughput is {ratio:.4f} of {tool}'s")
    if middle(ours, "wire") is not None:
        off = {tool: statistics.median(row["mean"] - row["wire"] for row in rows[tool]) for tool in TOOLS}
        print("    more than the kernel saw: " + ", ".join(f"{tool} {off[tool]:.3f} ms" for tool in TOOLS))
        least = min(off[tool] for tool in TOOLS[1:])
        # Ours counts from when a request was due, not from when it was sent, so a little more is right.
        claims.claim(0 < off["proofload"] < least + 0.3, f"{label}: our latency is the wire's and {off['proofload']:.3f} ms")
    outside = statistics.median(row["mean"] - row["server"] for row in ours)
    claims.claim(0 < outside < 2, f"{label}: {outside:.3f} ms more than the server states of itself")


def overload(claims, place, server):
    """More than the model can do. Little's law says how many of the wanted requests a tool really had under way."""
    print(f"wanted {OVERLOAD}/s, which is more than the model can do:")
    rows = {}
    for tool in TOOLS:
        rows[tool] = measure(place, server, tool, "http", OVERLOAD, f"overload-{tool.replace(' ', '')}")
        show(f"http {OVERLOAD}/s {tool}", [rows[tool]])
        under_way = rows[tool]["rate"] * rows[tool]["mean"] / 1e3
        print(f"    rate x mean latency = {under_way:.1f} under way; {rows[tool].get('delayed', 0):.0f} % sent late, by its own word")
    ours, waiting, sync = (rows[tool] for tool in TOOLS)
    # Request i is due after i / rate and answered after i / capacity.
    sent = OVERLOAD * WINDOW_S * WINDOWS
    truth_ms = sent / 2 * (1 / ours["rate"] - 1 / OVERLOAD) * 1e3
    claims.claim(abs(ours["mean"] / truth_ms - 1) < 0.05, f"proofload: mean {ours['mean']:.0f} ms, by arithmetic {truth_ms:.0f} ms")
    claims.claim(abs(ours["mean"] / ours["wire"] - 1) < 0.03, f"proofload: the kernel saw {ours['wire']:.0f} ms")
    claims.claim(
        waiting["mean"] < waiting["wire"] * 0.8,
        f"perf_analyzer -a states {waiting['mean']:.0f} ms where the kernel saw {waiting['wire']:.0f} ms for all it sent: "
        "what was still waiting when its windows ended is left out",
    )
    claims.claim(
        sync["delayed"] > 50 and sync["mean"] < ours["mean"] / 5,
        f"perf_analyzer --sync sends {sync['rate']:.0f}/s of {OVERLOAD}/s and states {sync['mean']:.0f} ms: the waiting of "
        "requests that it sent late is left out",
    )


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    claims = Claims()
    with Workplace() as place, Triton(statistics=True) as server:
        alike(claims, place, server, rounds)
        overload(claims, place, server)
    claims.finish()


if __name__ == "__main__":
    main()
