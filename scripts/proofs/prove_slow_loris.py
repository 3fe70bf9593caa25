"""2,000 slow clients (heads, bodies, readers that drip): a normal load beside them is served as without, memory is bounded."""

import collections
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading

from harness import Claims, Daemon, Workplace, answers, percentile, wait_until

CONNECTIONS = 2000
DURATION_S = 30
RATE = 200
SCENARIO = """
kind = "sustained"
seed = 1
thresholds = ["error_rate <= 100%", "shed_rate <= 100%"]
[target]
http = "http://{http}"
grpc = "http://{grpc}"
[load]
model = "open"
arrivals = "poisson"
rate = "{rate}/s"
duration = "{duration}s"
[[mix]]
name = "http"
protocol = "kserve-http-json"
model = "tiny_mlp"
inputs = [{{ name = "input", datatype = "FP32", shape = [1, 16], data = "random" }}]
[[mix]]
name = "grpc"
protocol = "kserve-grpc"
model = "tiny_mlp"
inputs = [{{ name = "input", datatype = "FP32", shape = [1, 16], data = "random" }}]
"""
# What a connection may cost at most, on average: a slow reader's answer, buffers, and what the allocator keeps.
KB_PER_CONNECTION = 100


class Readings(threading.Thread):
    """The last line that the slow clients printed, and how many were open at most."""

    def __init__(self, lines):
        super().__init__(daemon=True)
        self.lines, self.last, self.most = lines, {}, 0

    def run(self):
        for line in self.lines:
            self.last = json.loads(line)
            self.most = max(self.most, sum(self.last["open"].values()))


def rss_mb(pid):
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def outcomes(folder):
    """p99 of the answered in ms, and the number of arrivals by what became of them."""
    found = answers(folder)
    served = [took_s * 1e3 for _, took_s, outcome in found if outcome == "ok"]
    return percentile(served, 0.99), dict(collections.Counter(outcome for _, _, outcome in found))


@contextlib.contextmanager
def crowd(address):
    """So many slow clients while the block lasts; gives what they say of themselves."""
    slow = [sys.executable, pathlib.Path(__file__).parent / "slow_clients.py", address, str(CONNECTIONS)]
    process = subprocess.Popen(slow, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.nice(10))
    readings = Readings(process.stdout)
    readings.start()
    try:
        yield readings
    finally:
        process.kill()
        process.wait()


def main():
    claims = Claims()
    with Workplace() as place, Daemon() as daemon:
        text = SCENARIO.format(http=daemon.http, grpc=daemon.grpc, rate=RATE, duration=DURATION_S)
        scenario = place.scenario("normal", text)
        _, alone = place.run(scenario, "alone")
        before = rss_mb(daemon.process.pid)
        with crowd(daemon.http) as readings:
            claims.claim(wait_until(lambda: readings.most > 0.9 * CONNECTIONS, 60), f"{readings.most} slow clients are in")
            _, beside = place.run(scenario, "beside")
            after = rss_mb(daemon.process.pid)
            cut = readings.last["cut"]
        (p99_alone, alone), (p99_beside, beside) = outcomes(alone), outcomes(beside)
        print(f"  alone:  p99 {p99_alone:.2f} ms, {alone}")
        print(f"  beside: p99 {p99_beside:.2f} ms, {beside}")
        print(f"  slow clients: {readings.last}; the daemon's memory {before:.1f} to {after:.1f} MB")
        claims.claim(set(beside) == {"ok"}, f"no request of the normal load fails beside them: {beside}")
        # The slow clients take their share of the processors, too: what is asked is that nobody waits for them.
        claims.claim(p99_beside < p99_alone + 20, f"p99 {p99_beside:.2f} ms beside them, {p99_alone:.2f} ms alone")
        claims.claim(all(count > 0 for count in cut.values()), f"each kind was cut off: {cut}")
        most = CONNECTIONS * KB_PER_CONNECTION / 1024
        claims.claim(after - before < most, f"memory grew by {after - before:.1f} MB, less than {most:.0f}")
    claims.finish()


if __name__ == "__main__":
    main()
