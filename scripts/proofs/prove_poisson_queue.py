"""With Poisson arrivals on 4 slots of 10 ms, every step's latency agrees with a simulation of that queue."""

import heapq

import pyarrow.parquet

from harness import Claims, Workplace, findings, manifest, percentile

SCENARIO = """
kind = "stress"
seed = 7
[load]
model = "open"
arrivals = "poisson"
request_timeout = "5s"
stop_after_break = false  # every step is compared, above the break too
[load.steps]
from = "280/s"
to = "420/s"
step = "20/s"
hold = "10s"
settle = "1s"
[[mix]]
name = "slots"
protocol = "kserve-http-binary"
model = "sim_4x10ms"
inputs = [{ name = "input", datatype = "FP32", shape = [16], data = "random" }]
[slo]
latency = "30ms"
percentile = 95.0
"""

SLOTS = 4
SERVICE_NS = 10_000_000
SLO_NS = 30_000_000
ALLOWED = 0.10
# What a request costs beside the queue: connection, parsing, two thread hand-overs.
OVERHEAD_NS = 2_000_000


def simulate(arrivals_ns):
    """First come first served on SLOTS servers of SERVICE_NS: latency of every arrival."""
    free = [0] * SLOTS
    latencies = []
    for arrival in arrivals_ns:
        start = max(arrival, heapq.heappop(free))
        heapq.heappush(free, start + SERVICE_NS)
        latencies.append(start + SERVICE_NS - arrival)
    return latencies


def main():
    claims = Claims()
    with Workplace() as place:
        code, folder = place.run(place.scenario("poisson", SCENARIO), "run")
        claims.claim(code == 0, f"exit code {code}")
        table = pyarrow.parquet.read_table(folder / "samples-00000.parquet", columns=["intended_ns", "done_ns", "outcome"])
        rows = sorted(zip(*(table[name].to_pylist() for name in ("intended_ns", "done_ns", "outcome"))))
        claims.claim(all(outcome == 0 for *_, outcome in rows), f"{len(rows)} requests, all answered")
        truth = simulate([intended for intended, *_ in rows])
        missed_truth = None
        for step in manifest(folder)["steps"]:
            start, end = step["start_ns"] + step["settle_ns"], step["end_ns"]
            inside = [i for i, (intended, *_) in enumerate(rows) if start <= intended < end]
            if not inside or step["warm_up"]:
                continue
            measured = percentile([rows[i][1] - rows[i][0] for i in inside], 0.95)
            simulated = percentile([truth[i] for i in inside], 0.95)
            if missed_truth is None and simulated > SLO_NS:
                missed_truth = step["level_start"]
            claims.claim(
                abs(measured - simulated) <= ALLOWED * simulated + OVERHEAD_NS,
                f"{step['level_start']:5.0f}/s: p95 measured {measured / 1e6:7.2f} ms, simulated {simulated / 1e6:7.2f} ms",
            )
        breaking = findings(folder)["breaking_point"]
        claims.claim(
            breaking["first_missed_level"] == missed_truth,
            f"first step that misses: measured {breaking['first_missed_level']}/s, simulated {missed_truth}/s",
        )
    claims.finish()


if __name__ == "__main__":
    main()
