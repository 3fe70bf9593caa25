"""Faults put into a daemon under load: each is found, named and placed in the report, and none where there is none."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time

from harness import BINARY, Claims, Daemon, Workplace, findings, started

# Faults begin so long after the load.
BEGIN_S = 40.0
SECONDS = 90
# Of a third of 120 requests a second: 12 MB a second, so that four minutes tell a machine of some dozens of GB that it has not long.
LEAK_SECONDS, LEAK_BYTES, LEAKS_PER_S = 240, 300_000, 40
# A window of the analysis, and a scrape or two.
WITHIN_S = 4.0
MODEL = {
    "backend": "simulated",
    "max_batch_size": 0,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [16]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [16]}],
    "instance_group": [{"count": 4}],
}
SCENARIO = """
kind = "endurance"
seed = 3
thresholds = ["error_rate <= 100%", "shed_rate <= 100%"]
[load]
model = "open"
arrivals = "poisson"
rate = "120/s"
warm_up = "5s"
duration = "{seconds}s"
[[mix]]
name = "asked"
weight = 1
protocol = "kserve-http-binary"
model = "asked"
inputs = [{{ name = "x", datatype = "FP32", shape = [16], data = "random" }}]
[[mix]]
name = "kept"
weight = 2
protocol = "kserve-http-binary"
model = "kept"
payload = "zipf"
zipf = {{ items = 4000, exponent = 0.8 }}
inputs = [{{ name = "x", datatype = "FP32", shape = [16], data = "random" }}]
[slo]
latency = "500ms"
percentile = 95.0
error_rate = "1%"
"""


def config(name, mean_ms=8, **parameters):
    values = {"mean_ms": mean_ms, "service_time": "exponential", **parameters}
    written = {key: {"string_value": str(value)} for key, value in values.items()}
    return MODEL | {"name": name, "response_cache": {"enable": name == "kept"}, "parameters": written}


def text(message):
    """A configuration in the text format of model repositories."""
    word = lambda value: str(value).lower() if isinstance(value, (bool, int)) else str(value) if str(value).startswith("TYPE_") else json.dumps(value)
    lines = []
    for key, value in message.items():
        if key == "parameters":
            lines += [f'parameters {{ key: "{name}" value {{ {text(about)} }} }}' for name, about in value.items()]
        elif isinstance(value, dict):
            lines.append(f"{key} {{ {text(value)} }}")
        elif isinstance(value, list) and isinstance(value[0], dict):
            lines += [f"{key} {{ {text(each)} }}" for each in value]
        else:
            lines.append(f"{key}: {value if isinstance(value, list) else word(value)}")
    return "\n".join(lines)


def repository(place):
    folder = place.path / "models"
    for name in ("asked", "kept"):
        (folder / name / "1").mkdir(parents=True, exist_ok=True)
        (folder / name / "config.pbtxt").write_text(text(config(name)))
    return folder


def post(address, path, body=b""):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("POST", path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"POST {path}: {answer.status} {said[:300]}")


def reload(server, **parameters):
    """The model `asked` in another configuration, without a gap."""
    body = {"parameters": {"config": json.dumps(config("asked", **parameters))}}
    post(server.http, "/v2/repository/models/asked/load", json.dumps(body))


def for_a_while(seconds, begin, end):
    begin()
    time.sleep(seconds)
    end()


def stop(server):
    pause = lambda sent: lambda: os.kill(server.process.pid, sent)
    for_a_while(2.0, pause(signal.SIGSTOP), pause(signal.SIGCONT))


def slow(server):
    for_a_while(16.0, lambda: reload(server, mean_ms=40), lambda: reload(server))


def failing(server):
    for_a_while(6.0, lambda: reload(server, fail_share=0.5), lambda: reload(server))


def cleared(server):
    post(server.http, "/api/v1/cache/clear")


def neighbour(_):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    time.sleep(16.0)
    for process in busy:
        process.kill()
        process.wait()


def driven(place, name, fault, seconds=SECONDS, leak_bytes=0):
    """Drives the load at a daemon of its own; gives the findings and when the fault was there, on the run's clock."""
    options = place.path / "daemon.toml"
    options.write_text('[cache]\nenabled = true\n[models]\ncontrol = "explicit"\nload = ["*"]\n')
    scenario = place.scenario(name, SCENARIO.format(seconds=seconds))
    with Daemon("--config", options, "--model-repository", repository(place)) as server:
        reload(server, leak_bytes=leak_bytes)
        process, folder = place.start(scenario, name, "--target", server.url)
        assert started(folder)
        begun = time.monotonic()
        time.sleep(BEGIN_S)
        at = time.monotonic() - begun
        fault(server)
        ended = time.monotonic() - begun
        code = process.wait()
    return code, findings(folder), (at, ended), folder


def told(found):
    """Names of what happened, with times in seconds."""
    incidents = [(i["kind"], i["start_ns"] / 1e9, i["end_ns"] / 1e9, i["sentence"]) for i in found["incidents"]]
    for kind, begin, end, sentence in incidents:
        print(f"    {kind} from {begin:.1f} to {end:.1f} s: {sentence}")
    return incidents


def check(claims, place, name, fault, kind):
    """That the fault is there under its name, about when it was put in, and that nothing of the kind is elsewhere."""
    code, found, (begin, end), folder = driven(place, name, fault)
    incidents = [incident for incident in told(found) if incident[0] == kind]
    near = [i for i in incidents if abs(i[1] - begin) <= WITHIN_S and (kind == "cache_collapse" or abs(i[2] - end) <= WITHIN_S)]
    claims.claim(code in (0, 1), f"{name}: exit code {code}, the run is valid")
    claims.claim(len(near) == 1 == len(incidents), f"{name}: one {kind} from {begin:.1f} to {end:.1f} s, told {len(incidents)}")
    page = (folder / "report.html").read_text()
    claims.claim('id="incidents"' in page and near[0][3][:40] in (folder / "summary.md").read_text().replace("\\", "") if near else False, f"{name}: the page and the summary say so")


def check_errors(claims, place):
    """That errors which come together are told as a burst, with its time and what they were."""
    code, found, (begin, end), _ = driven(place, "failing", failing)
    errors = found["endurance"]["errors"]
    print(f"    {errors['sentence']}")
    bursts = [(burst["from_ns"] / 1e9, burst["to_ns"] / 1e9, burst["classes"][0]) for burst in errors["bursts"]]
    near = [burst for burst in bursts if abs(burst[0] - begin) <= WITHIN_S and abs(burst[1] - end) <= WITHIN_S]
    claims.claim(code in (0, 1) and errors["pattern"] == "bursts", f"failing: exit code {code}, errors come in {errors['pattern']}")
    named = bool(near) and (near[0][2]["entry"], near[0][2]["outcome"]) == ("asked", "server_error")
    claims.claim(named and len(bursts) == 1, f"failing: one burst from {begin:.1f} to {end:.1f} s, of server errors of 'asked'")


def check_leak(claims, place):
    """That memory which grows is told with its slope, and that it stays level where nothing leaks."""
    code, found, _, _ = driven(place, "leaking", lambda _: None, LEAK_SECONDS, LEAK_BYTES)
    [memory] = [trend for trend in found["endurance"]["memory"] if trend["name"] == "process_resident_memory_bytes"]
    print(f"    {memory['sentence']}")
    slope, true = memory["bytes_per_s"], LEAK_BYTES * LEAKS_PER_S
    claims.claim(code in (0, 1) and memory["trend"] == "rises", f"leaking: exit code {code}, the target's memory {memory['trend']}")
    off = slope["value"] / true - 1
    claims.claim(abs(off) < 0.1, f"leaking: {slope['value'] / 1e6:.2f} MB/s ({slope['low'] / 1e6:.2f} to {slope['high'] / 1e6:.2f}), of {true / 1e6:.1f} MB/s that it leaks: {off:+.1%}")


def main():
    claims = Claims()
    with Workplace() as place:
        _, found, _, _ = driven(place, "healthy", lambda _: None)
        claims.claim(not told(found), "a healthy run has no incident")
        trends = [trend["trend"] for trend in found["endurance"]["memory"]]
        claims.claim("rises" not in trends and not found["endurance"].get("errors"), f"nor does its memory rise ({', '.join(trends)}), and there are no errors")
        check(claims, place, "stopped", stop, "freeze")
        check(claims, place, "slow", slow, "slow_compute")
        check(claims, place, "cleared", cleared, "cache_collapse")
        check_errors(claims, place)
        check_leak(claims, place)
        check(claims, place, "neighbour", neighbour, "busy_neighbour")
    claims.finish()


if __name__ == "__main__":
    main()
