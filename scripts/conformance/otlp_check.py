#!/usr/bin/env python3
"""Checks the daemon's traces with a real OTLP collector, and that a dead collector disturbs nothing.

Starts PyPI's `rotel` and the daemon on free ports. One request with a W3C traceparent must arrive as one trace:
InferRequest -> model -> queue, copy_in, compute, copy_out, under the caller's trace id. Then the collector is
killed; requests must be answered as before, and the daemon must still end well and soon.

Usage: otlp_check.py COMMAND...   the command that starts the daemon, such as target/release/proofload daemon
Prints one line for each check and exits non-zero when one fails.
"""

import json
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import rotel

SPANS = ["InferRequest", "tiny_mlp", "queue", "copy_in", "compute", "copy_out"]
BODY = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 16], "data": [0.5] * 16}]}
).encode()
failures = 0


def check(name, passed, detail=""):
    global failures
    failures += not passed
    print(f"{'ok  ' if passed else 'FAIL'}  {name}{'' if passed else f': {detail}'}", flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_collector(grpc_port, log):
    agent = pathlib.Path(rotel.__file__).parent / "rotel-agent"
    arguments = ["start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"]
    arguments += ["--otlp-http-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "blackhole"]
    arguments += ["--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    collector = subprocess.Popen([agent, *arguments], stdout=log, stderr=subprocess.STDOUT)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", grpc_port)) == 0:
                return collector
        time.sleep(0.1)
    raise SystemExit("the collector does not start")


def infer(http, trace_id=None):
    headers = {"content-type": "application/json"}
    if trace_id:
        headers["traceparent"] = f"00-{trace_id}-{secrets.token_hex(8)}-01"
    request = urllib.request.Request(f"http://{http}/v2/models/tiny_mlp/infer", data=BODY, headers=headers)
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()
    return time.monotonic() - begun


def wait_for(path, text, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if text in path.read_text(errors="replace"):
            return True
        time.sleep(0.2)
    return False


def check_spans(log, trace_id):
    check("the caller's trace arrives at the collector", wait_for(log, trace_id, 15), "not within 15 s")
    time.sleep(0.5)
    text = log.read_text(errors="replace")
    for span in SPANS:
        check(f"span {span}", re.search(rf"Name\s*:\s*{span}\b", text) is not None, "not in the collector's log")


def set_level(http, level):
    body = json.dumps({"trace_level": [level]}).encode()
    with urllib.request.urlopen(f"http://{http}/v2/trace/setting", data=body, timeout=10) as response:
        response.read()


def check_settings(http, log):
    silent, heard = secrets.token_hex(16), secrets.token_hex(16)
    set_level(http, "OFF")
    infer(http, silent)
    set_level(http, "TIMESTAMPS")
    infer(http, heard)
    check("traces that are switched on again arrive", wait_for(log, heard, 15), "not within 15 s")
    check("those that were switched off do not", silent not in log.read_text(errors="replace"), silent)


def check_dead_collector(http, collector):
    before = sorted(infer(http) for _ in range(200))[100]
    collector.kill()
    collector.wait()
    after = sorted(infer(http) for _ in range(200))[100]
    detail = f"median {before * 1e3:.2f} ms before, {after * 1e3:.2f} ms after"
    check("a dead collector does not slow requests down", after < 2 * before + 0.005, detail)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "collector.log"
        with log.open("w") as out:
            collector = start_collector(port, out)
            command = [*sys.argv[1:], "--http-port", "0", "--grpc-port", "0", "--ready-json", "--until-stdin-closes"]
            command += ["--otlp-endpoint", f"http://127.0.0.1:{port}"]
            daemon = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                http = json.loads(daemon.stdout.readline())["http"]
                trace_id = secrets.token_hex(16)
                infer(http, trace_id)
                check_spans(log, trace_id)
                check_settings(http, log)
                check_dead_collector(http, collector)
                begun = time.monotonic()
                daemon.stdin.close()
                check("the daemon ends well without its collector", daemon.wait(timeout=30) == 0, daemon.returncode)
                took = time.monotonic() - begun
                check("and soon", took < 8, f"{took:.1f} s")
            finally:
                for process in (daemon, collector):
                    process.kill()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
