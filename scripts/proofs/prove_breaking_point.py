"""The breaking point of 4 slots of exactly 10 ms, constant arrivals, lies within 5 % of 400/s."""

from harness import Claims, Workplace, findings

SCENARIO = """
kind = "stress"
seed = 1
[load]
model = "open"
arrivals = "constant"
request_timeout = "5s"
[load.steps]
from = "340/s"
to = "460/s"
step = "10/s"
hold = "5s"
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

TRUTH_PER_S = 400.0


def main():
    claims = Claims()
    with Workplace() as place:
        code, folder = place.run(place.scenario("slots", SCENARIO), "run")
        found = findings(folder)
        for step in found["steps"]:
            p95 = next((p["latency_ns"] for p in (step["latency"] or {}).get("percentiles", []) if p["percentile"] == 95), 0)
            print(f"  {step['name']:>12} {step['level']:7.1f}/s  p95 {p95 / 1e6:8.2f} ms  {step['kept']}")
        breaking = found["breaking_point"]
        print(" ", breaking["sentence"])
        claims.claim(code == 0, f"exit code {code} is 0: crossing the SLO is a stress scenario's result")
        claims.claim(found["verdict"] == "PASS", f"verdict {found['verdict']}")
        missed, met = breaking["first_missed_level"], breaking["last_met_level"]
        claims.claim(
            missed is not None and abs(missed - TRUTH_PER_S) <= 0.05 * TRUTH_PER_S,
            f"first step that misses, {missed}/s, is within 5 % of {TRUTH_PER_S}/s",
        )
        claims.claim(
            met is not None and abs(met - TRUTH_PER_S) <= 0.05 * TRUTH_PER_S,
            f"last step that meets, {met}/s, is within 5 % of {TRUTH_PER_S}/s",
        )
    claims.finish()


if __name__ == "__main__":
    main()
