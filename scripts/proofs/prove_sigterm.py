"""SIGTERM under 500 requests/s over HTTP and gRPC: no request that was taken is lost, the rest is refused cleanly."""

import json
import signal
import subprocess
import time

from harness import BINARY, Claims, OUTCOMES, Workplace, started

ROUNDS = 5
RATE = 500
DURATION_S = 8
STOPPED_AT_S = 4.0
SCENARIO = """
kind = "sustained"
seed = {seed}
thresholds = ["error_rate <= 100%", "shed_rate <= 100%"]
[target]
http = "http://{http}"
grpc = "http://{grpc}"
[load]
model = "open"
arrivals = "poisson"
rate = "{rate}/s"
duration = "{duration}s"
request_timeout = "5s"
[[mix]]
name = "json"
protocol = "kserve-http-json"
model = "sim_4x10ms"
inputs = [{{ name = "input", datatype = "FP32", shape = [16], data = "random" }}]
[[mix]]
name = "http"
protocol = "kserve-http-binary"
model = "tiny_mlp"
inputs = [{{ name = "input", datatype = "FP32", shape = [1, 16], data = "random" }}]
[[mix]]
name = "grpc"
protocol = "kserve-grpc"
model = "tiny_mlp"
inputs = [{{ name = "input", datatype = "FP32", shape = [1, 16], data = "random" }}]
"""
# A clean refusal: it was not taken, and the client knows it. Everything else but an answer is a loss.
CLEAN = {"ok", "shed", "connect_error"}


def samples(folder):
    """Of each arrival: its entry and what became of it."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(folder / "samples-00000.parquet").to_pylist()
    name = lambda row: row["outcome"] if isinstance(row["outcome"], str) else OUTCOMES[row["outcome"]]
    return [(name(row), row) for row in rows]


def one_round(place, claims, number):
    command = [BINARY, "daemon", "--http-port", "0", "--grpc-port", "0", "--ready-json"]
    daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(daemon.stdout.readline())
        text = SCENARIO.format(
            http=ready["http"], grpc=ready["grpc"], rate=RATE, duration=DURATION_S, seed=number
        )
        run, folder = place.start(place.scenario(f"round-{number}", text), f"run-{number}")
        claims.claim(started(folder), "the load has begun")
        time.sleep(STOPPED_AT_S)
        asked = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(timeout=30)
        took = time.monotonic() - asked
        run.wait(timeout=60)
        found = samples(folder)
        counts = {}
        for outcome, row in found:
            counts[outcome] = counts.get(outcome, 0) + 1
        lost = [row for outcome, row in found if outcome not in CLEAN]
        print(f"  round {number}: drained in {took:.2f} s, exit {code}; {counts}")
        for row in lost[:5]:
            print("   lost:", {key: row[key] for key in row if key in ("entry", "outcome", "sent_ns", "done_ns", "detail")})
        claims.claim(code == 0, f"round {number}: the daemon says that every request in flight was answered")
        claims.claim(counts.get("ok", 0) > RATE, f"round {number}: it was under load: {counts.get('ok', 0)} answered")
        claims.claim(not lost, f"round {number}: {len(lost)} requests were lost")
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


def main():
    claims = Claims()
    with Workplace() as place:
        for number in range(1, ROUNDS + 1):
            one_round(place, claims, number)
    claims.finish()


if __name__ == "__main__":
    main()
