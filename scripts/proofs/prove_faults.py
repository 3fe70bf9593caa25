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
# A window of the analysis, and a scrape or two.
WITHIN_S = 4.0
MODEL = {
    "backend": "simulated",
    "max_batch_size": 0,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [16]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [16]}],
    "instance_group": [{"count": 4}],
}
SCENARIO = f"""
kind = "endurance"
seed = 3
thresholds = ["error_rate <= 100%", "shed_rate <= 100%"]
[load]
model = "open"
arrivals = "poisson"
rate = "120/s"
warm_up = "5s"
duration = "{SECONDS}s"
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


def driven(place, name, fault, leak_bytes=0):
    """Drives the load at a daemon of its own; gives the findings and when the fault was there, on the run's clock."""
    options = place.path / "daemon.toml"
    options.write_text('[cache]\nenabled = true\n[models]\ncontrol = "explicit"\nload = ["*"]\n')
    scenario = place.scenario(name, SCENARIO)
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


def main():
    claims = Claims()
    with Workplace() as place:
        _, found, _, _ = driven(place, "healthy", lambda _: None)
        claims.claim(not told(found), "a healthy run has no incident")
        check(claims, place, "stopped", stop, "freeze")
        check(claims, place, "slow", slow, "slow_compute")
        check(claims, place, "cleared", cleared, "cache_collapse")
        check(claims, place, "neighbour", neighbour, "busy_neighbour")
    claims.finish()


if __name__ == "__main__":
    main()
