"""Ten million samples on two processors: the full report within 15 s and 2 GB, in no more than ten times the time of one million."""

import json
import os
import statistics
import subprocess
import sys
import time

from harness import BINARY, TARGET, Claims, Workplace, findings

MOST_S = 15
MOST_RESIDENT_MB = 2000
ROUNDS = 3
# Time may grow linearly; what is constant, such as drawing, makes it grow less. A tenth is for a machine that is not idle.
MOST_GROWTH = 10 * 1.1

PEER = """
import json, sys, time
import duckdb, numpy
table, findings = sys.argv[1:]
found = json.load(open(findings))
began = time.monotonic()
measured = " or ".join(
    f"(intended_ns >= {step['measured_from_ns']} and intended_ns < {step['end_ns']})" for step in found["steps"] if not step["warm_up"]
)
connection = duckdb.connect()
connection.execute("set threads to 2")
query = f"select done_ns - intended_ns as latency_ns from '{table}' where outcome = 0 and ({measured})"
latencies = connection.execute(query).fetchnumpy()["latency_ns"]
n = len(latencies)
wanted = [p["percentile"] for p in found["latency"]["percentiles"]] + [p["percentile"] for p in found["shape"]["curve"]]
ranks = [max(1, -int(-n * percentile // 100)) - 1 for percentile in wanted]
latencies.partition(sorted(set(ranks)))
values = [int(latencies[rank]) for rank in ranks]
ours = [p["latency_ns"] for p in found["latency"]["percentiles"] + found["shape"]["curve"]]
print(json.dumps({"n": n, "same": values == ours and n == found["latency"]["n"], "wanted": len(wanted), "seconds": time.monotonic() - began}))
"""


def measured(*command):
    """Runs a command on two processors; gives seconds, processor seconds and resident memory at most, in MB."""
    began = time.monotonic()
    process = subprocess.Popen(["taskset", "-c", "0,1", *map(str, command)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1, 3, 4):
        sys.exit(f"it failed: {command}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def reported(place, millions):
    """Writes a run of so many samples with the project's own writers and reports on it; gives the folder and the medians."""
    folder = place.path / f"{millions}"
    subprocess.run([TARGET / "release" / "examples" / "million", f"{millions}e6", folder], check=True, stdout=subprocess.DEVNULL)
    rounds = [measured(BINARY, "report", folder, "--quiet") for _ in range(ROUNDS)]
    took, cpu, resident = (statistics.median(values) for values in zip(*rounds))
    said = ", ".join(f"{one[0]:.1f}" for one in rounds)
    print(f"  {millions} million: {said} s, {cpu:.1f} s of processor time, {resident:.0f} MB resident at most")
    return folder, took, cpu, resident


def main():
    claims = Claims()
    with Workplace() as place:
        _, one_s, one_cpu, _ = reported(place, 1)
        folder, took, cpu, resident = reported(place, 10)
        claims.claim(took <= MOST_S, f"the report of ten million samples takes {took:.1f} s, at most {MOST_S}")
        claims.claim(resident <= MOST_RESIDENT_MB, f"and {resident:.0f} MB, at most {MOST_RESIDENT_MB}")
        grows = f"{took / one_s:.1f} times one million's, {cpu / one_cpu:.1f} in processor time"
        claims.claim(cpu / one_cpu <= MOST_GROWTH, f"that is {grows}, at most {MOST_GROWTH:.0f}")
        page = (folder / "report.html").stat().st_size
        claims.claim(page < 3_000_000, f"its page has {page / 1e6:.2f} MB, below 3")
        duckdb = [os.environ["DUCKDB_PYTHON"], "-c", PEER, folder / "samples-00000.parquet", folder / "findings.json"]
        peer = json.loads(subprocess.run(list(map(str, duckdb)), check=True, capture_output=True).stdout)
        claims.claim(peer["same"], f"DuckDB and NumPy find the same {peer['wanted']} percentiles of {peer['n']} latencies, in {peer['seconds']:.1f} s")
        print(f"  samples: {findings(folder)['totals']['samples']}")
    claims.finish()


if __name__ == "__main__":
    main()
