"""perf_analyzer runs to its end against our daemon: -a and --sync, HTTP and gRPC, concurrency and rate, shared memory, streams."""

import csv
import os
import subprocess

from harness import Claims, Daemon, Workplace

PATIENCE_S = 120
WINDOW_MS = 1000
CONFIG = 'backend: "identity" max_batch_size: 8 dynamic_batching {{ }} {more}\n' + "".join(
    '{direction} {{{{ name: "{name}" data_type: TYPE_FP32 dims: 16 }}}}\n'.format(direction=direction, name=name)
    for direction, name in (("input", "x"), ("output", "y"))
)
LOADS = {"concurrency 4": ["--concurrency-range", "4"], "rate 200/s": ["--request-rate-range", "200"]}
WAYS = {
    "-a": ["-a"],
    "--sync": ["--sync"],
    "-a, shared memory": ["-a", "--shared-memory", "system", "--output-shared-memory-size", "64"],
    "--sync, shared memory": ["--sync", "--shared-memory", "system", "--output-shared-memory-size", "64"],
}


def repository(place):
    """A folder with the models."""
    folder = place.path / "models"
    decoupled = 'model_transaction_policy { decoupled: true } parameters { key: "repeat" value { string_value: "3" } }'
    for name, more in (("plain", ""), ("thrice", decoupled)):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(CONFIG.format(more=more))
    return folder


def run(place, daemon, name, model, protocol, options):
    """Runs perf_analyzer; gives its exit code, what it said and its table."""
    sheet = place.path / f"{name}.csv"
    command = [os.environ["PERF_ANALYZER"], "-m", model, "-u", getattr(daemon, protocol), "-i", protocol]
    command += ["-s", "999", "-r", "3", "-p", str(WINDOW_MS), "-f", sheet, "--verbose-csv", *options]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.environ["PERF_ANALYZER_LIBRARIES"]}
    try:
        done = subprocess.run(command, env=environment, timeout=PATIENCE_S, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return -1, f"it did not end within {PATIENCE_S} s", []
    rows = list(csv.DictReader(sheet.open())) if sheet.exists() else []
    return done.returncode, (done.stdout + done.stderr)[-1500:], rows


def check(claims, place, daemon, label, model, protocol, options):
    name = "".join(letter if letter.isalnum() else "-" for letter in label)
    code, said, rows = run(place, daemon, name, model, protocol, options)
    rate = float(rows[0]["Inferences/Second"]) if rows else 0.0
    holds = code == 0 and rate > 0
    claims.claim(holds, f"{label}: exit {code}, {rate:.0f} inferences a second")
    if not holds:
        print(said)


def main():
    claims = Claims()
    with Workplace() as place, Daemon("--allow-client-shm", "--model-repository", repository(place)) as daemon:
        for protocol in ("http", "grpc"):
            for way, options in WAYS.items():
                for load, level in LOADS.items():
                    check(claims, place, daemon, f"{protocol} {way}, {load}", "plain", protocol, [*options, *level])
        stream = ["-a", "--streaming", "--concurrency-range", "2"]
        check(claims, place, daemon, "grpc --streaming, concurrency 2", "plain", "grpc", stream)
        check(claims, place, daemon, "grpc --streaming of a decoupled model, concurrency 2", "thrice", "grpc", stream)
    claims.finish()


if __name__ == "__main__":
    main()
