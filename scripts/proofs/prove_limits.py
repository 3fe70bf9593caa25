"""Limits: an adaptive one finds a model's capacity at 3x, a rate is exact to one request, new keys lose no request."""

import http.client
import json
import math
import subprocess
import threading
import time
import urllib.request

from harness import BINARY, Claims, Daemon, Workplace, answers, percentile

# Four slots of exactly 10 ms.
SLOTS, SERVICE_S = 4, 0.010
CAPACITY_PER_S = SLOTS / SERVICE_S
MODEL = """
backend: "simulated"
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
instance_group { count: 4 }
parameters { key: "mean_ms" value { string_value: "10" } }
parameters { key: "concurrency_limit" value { string_value: "adaptive" } }
"""
OVERLOAD = """
kind = "sustained"
seed = 1
thresholds = ["error_rate <= 0%", "shed_rate <= 100%"]
[target]
http = "http://{http}"
[load]
model = "open"
arrivals = "poisson"
rate = "1200/s"
duration = "20s"
request_timeout = "5s"
[[mix]]
name = "slots"
protocol = "kserve-http-binary"
model = "m"
inputs = [{{ name = "x", datatype = "FP32", shape = [1], data = "random" }}]
"""
SETTLE_S = 5.0
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})
PATH = "/v2/models/m/infer"
# 100 at once, then one every 0.6 s.
BURST, INTERVAL_S = 100, 0.6


def daemon(place, *settings):
    """A daemon with the one model."""
    folder = place.path / "models" / "m"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(MODEL)
    return Daemon("--model-repository", place.path / "models", *(f"--set={setting}" for setting in settings))


class Client:
    """One connection that asks again and again."""

    def __init__(self, address, key=None):
        self.connection = http.client.HTTPConnection(address, timeout=30)
        self.headers = {"authorization": f"Bearer {key}"} if key else {}

    def ask(self):
        self.connection.request("POST", PATH, BODY, self.headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def gauge(address, name):
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    return float(next(line for line in text.splitlines() if line.startswith(name + "{")).rsplit(" ", 1)[1])


def prove_adaptive(claims, place):
    with daemon(place) as server:
        address = server.http
        limits, done = [], threading.Event()

        def watch():
            while not done.wait(0.25):
                limits.append(gauge(address, "proofload_concurrency_limit"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code, folder = place.run(place.scenario("overload", OVERLOAD.format(http=address)), "overload")
        done.set()
        watcher.join()
        settled = [row for row in answers(folder) if row[0] >= SETTLE_S]
    span = max(row[0] for row in settled) - SETTLE_S
    served = [took for _, took, outcome in settled if outcome == "ok"]
    other = sum(outcome not in ("ok", "shed") for _, _, outcome in settled)
    rate, late = len(served) / span, percentile(served, 0.99)
    limit = sum(limits[int(SETTLE_S * 4) :]) / len(limits[int(SETTLE_S * 4) :])
    print(f"  3x for {span:.0f} s: served {rate:.1f}/s of {CAPACITY_PER_S:.0f}/s, p99 {late * 1e3:.1f} ms, limit {limit:.1f}")
    claims.claim(code == 0, f"exit code {code}: what is not served is shed, in time")
    claims.claim(abs(rate - CAPACITY_PER_S) <= 0.2 * CAPACITY_PER_S, "the rate is within 20 % of the declared capacity")
    # What runs, as much again that waits, and what is being answered, which on a busy machine takes a while, too.
    low, high = 0.8 * 2 * SLOTS, 2 * 2 * SLOTS
    claims.claim(low <= limit <= high, f"the limit is between {low:.1f} and {high}")
    claims.claim(late < 0.2, "whoever is let in is served soon: p99 below 200 ms")
    claims.claim(other == 0, f"{other} requests were neither served nor shed")


def prove_rate(claims, place):
    with daemon(place, "rate_limit.profile=100-per-minute") as server:
        client, begun, accepted, refused, honest = Client(server.http), time.monotonic(), 0, 0, True
        while True:
            before = time.monotonic() - begun
            status, headers = client.ask()
            after = time.monotonic() - begun
            accepted += status == 200
            refused += status == 429
            honest &= status == 200 or int(headers["retry-after"]) == 1
            if after >= 60.0:
                break
            if status != 200:
                time.sleep(0.02)
        low, high = BURST + math.floor(before / INTERVAL_S), BURST + math.floor(after / INTERVAL_S)
    print(f"  a minute: {accepted} accepted, {refused} refused; by arithmetic {low} to {high}")
    claims.claim(low - 1 <= accepted <= high + 1, "the rate is exact to one request over a minute")
    claims.claim(honest, "every refusal said to come again in a second, and that was true")


TIERS = '[tiers.open]\n[tiers.metered]\nrequests_per_minute = 600000\n'


def new_key(name, tier):
    output = subprocess.run([BINARY, "daemon", "key", "new", "--name", name, "--tier", tier], capture_output=True, text=True, check=True)
    key, _, entry = output.stdout.partition("\n")
    return key, entry


def prove_reload(claims, place):
    file = place.path / "keys.toml"

    def write(*entries):
        beside = file.with_suffix(".new")
        beside.write_text(TIERS + "".join(entries))
        beside.replace(file)

    steady, passing = new_key("steady", "metered"), [new_key(f"passing-{at}", "open") for at in range(8)]
    write(steady[1])
    with daemon(place, f"access.keys_file={file}") as server:
        address = server.http
        stop, statuses = threading.Event(), []

        def ask():
            client = Client(address, steady[0])
            while not stop.is_set():
                statuses.append(client.ask()[0])

        users = [threading.Thread(target=ask) for _ in range(4)]
        [user.start() for user in users]
        slowest = 0.0
        for key, entry in passing:
            write(steady[1], entry)
            begun, guest = time.monotonic(), Client(address, key)
            while guest.ask()[0] != 200 and time.monotonic() - begun < 10:
                time.sleep(0.02)
            slowest = max(slowest, time.monotonic() - begun)
        gone = Client(address, passing[0][0]).ask()[0]
        stop.set()
        [user.join() for user in users]
    failed = sum(status != 200 for status in statuses)
    print(f"  {len(passing)} reloads, {len(statuses)} requests meanwhile, a new key counts after {slowest:.2f} s at most")
    claims.claim(failed == 0 and len(statuses) > 1000, f"{failed} of {len(statuses)} requests failed")
    claims.claim(slowest < 5.0, "a new key is known within 5 s")
    claims.claim(gone == 401, "a key that was taken out is refused")


def main():
    claims = Claims()
    with Workplace() as place:
        prove_adaptive(claims, place)
        prove_rate(claims, place)
        prove_reload(claims, place)
    claims.finish()


if __name__ == "__main__":
    main()
