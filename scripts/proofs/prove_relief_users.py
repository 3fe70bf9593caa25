"""150 users on the relief service for 60 s: no errors, sheds counted as sheds, goodput at least 90 % of the best."""

from harness import Claims, Workplace, findings

SCENARIO = """
kind = "sustained"
thresholds = ["error_rate <= 0%", "shed_rate <= 100%"]
[load]
model = "closed"
users = {users}
duration = "{seconds}s"
request_timeout = "30s"
warm_up = "3s"
[[mix]]
name = "relief"
protocol = "http"
model = "relief_depth"
method = "POST"
path = "/api/v1/generate-3d?format=stl"
files = ["{payloads}/*.png", "{payloads}/*.jpg"]
"""


def main():
    from harness import ROOT

    claims = Claims()
    payloads = ROOT / "scenarios" / "payloads"
    best = 0.0
    with Workplace() as place:
        for users, seconds in [(1, 15), (2, 15), (4, 15), (8, 15), (16, 15), (32, 15), (64, 15), (150, 60)]:
            text = SCENARIO.replace("{users}", str(users)).replace("{seconds}", str(seconds))
            text = text.replace("{payloads}", str(payloads))
            code, folder = place.run(place.scenario(f"users-{users}", text), f"run-{users}")
            found = findings(folder)
            rates = found["rates"]
            p95 = next((p["latency_ns"] for p in (found["latency"] or {}).get("percentiles", []) if p["percentile"] == 95), 0)
            print(
                f"  {users:4d} users  goodput {rates['goodput_per_s']:7.2f}/s  p95 {p95 / 1e6:8.1f} ms  "
                f"errors {rates['errors']['count']}  sheds {rates['sheds']['count']}  exit {code}",
                flush=True,
            )
            if users < 150:
                best = max(best, rates["goodput_per_s"])
        claims.claim(rates["errors"]["count"] == 0, f"no errors at 150 users ({rates['errors']['n']} requests)")
        claims.claim(code == 0, f"exit code {code} at 150 users")
        claims.claim(
            rates["goodput_per_s"] >= 0.9 * best,
            f"goodput {rates['goodput_per_s']:.2f}/s at 150 users is at least 90 % of the best at fewer, {best:.2f}/s",
        )
    claims.finish()


if __name__ == "__main__":
    main()
