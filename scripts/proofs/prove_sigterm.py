"""SIGTERM under 500 requests/s over HTTP and gRPC: no request that was taken is lost, the rest is refused cleanly."""

import collections
import signal
import time

from harness import Claims, Daemon, Workplace, answers, started

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


def one_round(place, claims, number):
    with Daemon() as daemon:
        text = SCENARIO.format(http=daemon.http, grpc=daemon.grpc, rate=RATE, duration=DURATION_S, seed=number)
        run, folder = place.start(place.scenario(f"round-{number}", text), f"run-{number}")
        claims.claim(started(folder), "the load has begun")
        time.sleep(STOPPED_AT_S)
        asked = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        code = daemon.process.wait(timeout=30)
        took = time.monotonic() - asked
        run.wait(timeout=60)
    found = answers(folder)
    counts = collections.Counter(outcome for _, _, outcome in found)
    lost = [row for row in found if row[2] not in CLEAN]
    print(f"  round {number}: drained in {took:.2f} s, exit {code}; {dict(counts)}")
    for intended_s, took_s, outcome in lost[:5]:
        print(f"   lost: intended at {intended_s:.3f} s, {outcome} after {took_s:.3f} s")
    claims.claim(code == 0, f"round {number}: the daemon says that every request in flight was answered")
    claims.claim(counts["ok"] > RATE, f"round {number}: it was under load: {counts['ok']} answered")
    claims.claim(not lost, f"round {number}: {len(lost)} requests were lost")


def main():
    claims = Claims()
    with Workplace() as place:
        for number in range(1, ROUNDS + 1):
            one_round(place, claims, number)
    claims.finish()


if __name__ == "__main__":
    main()
