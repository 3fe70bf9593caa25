"""The daemon's fronts beside bare ones: 16 floats over HTTP JSON, HTTP binary and gRPC at 0.6 of an echo server's rate or more; and a tenth of Triton's latency."""

import json
import re
import statistics
import struct
import subprocess
import sys
import urllib.request

from harness import TARGET, Claims, Daemon, Server, Workplace, findings
from triton import Triton

ECHO = TARGET / "release" / "examples" / "echo"
FLOATS = [n / 8 for n in range(16)]
CONNECTIONS = 16
MODEL = """
backend: "identity"
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: 16 }
output { name: "y" data_type: TYPE_FP32 dims: 16 }
"""
PATH = "/v2/models/echo16/infer"
ONE_AT_A_TIME = """
kind = "sustained"
[target]
http = "{url}"
[load]
model = "closed"
users = 1
duration = "8s"
[[mix]]
name = "echo"
protocol = "kserve-http-binary"
model = "{model}"
inputs = [{{ name = "x", datatype = "FP32", shape = {shape}, data = "random" }}]
"""


def bodies(place):
    """Writes the three bodies; gives for each of the HTTP ones the wrk script that posts it, and the gRPC message's file."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [16]}
    plain = json.dumps({"inputs": [{**tensor, "data": FLOATS}]}).encode()
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 64}}], "parameters": {"binary_data_output": True}}).encode()
    raw = struct.pack("<16f", *FLOATS)
    scripts = {
        "JSON": wrk_script(place, "json", plain, {"Content-Type": "application/json"}),
        "binary": wrk_script(place, "binary", head + raw, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}),
    }
    message = field(1, b"echo16") + field(5, field(1, b"x") + field(2, b"FP32") + field(3, bytes([16]))) + field(7, raw)
    frame = place / "frame"
    frame.write_bytes(struct.pack(">BI", 0, len(message)) + message)
    return scripts, frame


def field(number, content):
    """A length-delimited field of protocol buffers."""
    return bytes([number << 3 | 2, len(content)]) + content


def wrk_script(place, name, body, headers):
    (place / f"{name}.body").write_bytes(body)
    lines = [f'wrk.headers["{key}"] = "{value}"' for key, value in headers.items()]
    script = place / f"{name}.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.body = io.open("{place}/{name}.body", "rb"):read("*a")\n' + "\n".join(lines))
    return script


def wrk(address, script, seconds):
    """Answers of a run: how many, and whether all were 2xx."""
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", script, f"http://{address}{PATH}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"errors while measuring:\n{said}")
    return int(re.search(r"(\d+) requests in", said).group(1))


def h2load(address, frame, seconds):
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    url = f"http://{address}/inference.GRPCInferenceService/ModelInfer"
    command = ["h2load", "-t", "1", "-c", "4", "-m", "4", "-D", str(seconds), "-d", frame, *headers, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", said)
    if not count or int(count.group(2)) or int(count.group(3)):
        sys.exit(f"errors while measuring:\n{said}")
    return int(count.group(1))


def successes(address):
    page = json.load(urllib.request.urlopen(f"http://{address}/v2/models/echo16/stats", timeout=10))
    return page["model_stats"][0]["inference_stats"]["success"]["count"]


def rounds(name, daemon, bare, measure, claims, count, seconds):
    """Measures both in turn; prints a line for each round and claims the median of the ratios."""
    ratios = []
    for number in range(count):
        measured = []
        for server in (daemon, bare):
            before_s = server.cpu_s()
            answers = measure(server, seconds)
            measured.append((answers / seconds, (server.cpu_s() - before_s) * 1e6 / answers))
        (ours, our_cpu), (theirs, their_cpu) = measured
        ratios.append(ours / theirs)
        print(
            f"{name:7} round {number + 1}: {ours:7.0f}/s {our_cpu:5.1f} us of processor; "
            f"echo {theirs:7.0f}/s {their_cpu:5.1f} us; {ratios[-1]:.2f} of its rate",
            flush=True,
        )
    claims.claim(statistics.median(ratios) >= 0.6, f"{name}: at least 0.6 of a bare server's rate ({statistics.median(ratios):.2f})")


def one_at_a_time(place, url, model, shape, name):
    """Latency (ms, p50) of one user who sends one request after the other."""
    scenario = place.scenario(name, ONE_AT_A_TIME.format(url=url, model=model, shape=shape))
    _, folder = place.run(scenario, name)
    return findings(folder)["latency"]["percentiles"][0]["latency_ns"] / 1e6


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    claims = Claims()
    with Workplace() as place:
        model = place.path / "models" / "echo16"
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(MODEL)
        scripts, frame = bodies(place.path)
        with Daemon("--model-repository", place.path / "models") as daemon, Server(ECHO) as bare:
            before, sent = successes(daemon.http), 0

            def counted(server, answers):
                nonlocal sent
                sent += answers if server is daemon else 0
                return answers

            for name, script in scripts.items():
                rounds(name, daemon, bare, lambda s, t, script=script: counted(s, wrk(s.http, script, t)), claims, 3, seconds)
            rounds("gRPC", daemon, bare, lambda s, t: counted(s, h2load(s.grpc, frame, t)), claims, 3, seconds)
            served = successes(daemon.http) - before
            # Whoever is still sending when the time is up leaves without its answer.
            claims.claim(sent <= served <= sent + 9 * CONNECTIONS, f"the daemon computed what was answered ({served} and {sent})")
            ours = one_at_a_time(place, daemon.url, "echo16", "[16]", "ours")
        with Triton() as triton:
            theirs = one_at_a_time(place, triton.http, "echo", "[1, 16]", "triton")
        print(f"one at a time, p50: {ours:.3f} ms, Triton with the same in Python {theirs:.3f} ms")
        claims.claim(ours <= theirs / 10, f"a tenth of Triton's latency ({ours / theirs:.3f})")
    claims.finish()


if __name__ == "__main__":
    main()
