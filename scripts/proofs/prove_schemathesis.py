"""schemathesis against /openapi.json of a real daemon: 10,000 cases, no 5xx, and no answer that the document does not know."""

import collections
import json
import os
import pathlib
import subprocess
import sys
import urllib.request

from harness import Claims, Daemon, Workplace

HOOKS = pathlib.Path(__file__).with_name("schemathesis_hooks.py")
CASES = 10_000
SEED = 1
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]
# What KServe and Triton answer with a 5xx by their own rules. These operations are run apart, and what they answer must be
# in the document: CUDA memory and settings that do nothing here are 501, loading an unknown model is 500 there.
CONTROL = {"repository", "shared memory", "settings"}
CONFIGURATION = """
[server]
allow_client_shm = true
[models]
control = "explicit"
load = ["*"]
[telemetry]
otlp_endpoint = "http://127.0.0.1:9"
trace_share = 0.0
[jobs]
workers = 2
queued = 10000
queued_bytes = 536870912
"""


def schemathesis(place, daemon, name, operations, examples, checks):
    """Runs it; gives exit code, what it said, and how often each operation answered with each status."""
    report = place.path / f"{name}.ndjson"
    command = [os.environ["SCHEMATHESIS"], "run", f"{daemon.url}/openapi.json", "--checks", ",".join(checks)]
    command += ["--max-examples", str(examples), "--seed", str(SEED), "--phases", "coverage,fuzzing"]
    command += ["--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--request-timeout", "60"]
    command += ["--warnings", "off", "--report", "ndjson", "--report-ndjson-path", report]
    command += [word for tag in operations for word in ("--include-tag", tag)]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=place.path)
    return done.returncode, done.stdout + done.stderr, statuses(report)


def statuses(report):
    """How often each operation answered with each status."""
    counted = collections.Counter()
    for line in report.read_text().splitlines():
        scenario = json.loads(line).get("ScenarioFinished")
        recorder = (scenario or {}).get("recorder", {})
        for interaction in recorder.get("interactions", {}).values():
            answer = interaction.get("response")
            counted[recorder["label"], answer["status_code"] if answer else None] += 1
    return counted


def main():
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    claims = Claims()
    with Workplace() as place:
        file = place.path / "daemon.toml"
        file.write_text(CONFIGURATION)
        with Daemon("--config", file) as daemon:
            document = json.load(urllib.request.urlopen(f"{daemon.url}/openapi.json", timeout=10))
            tags = {}
            for item in document["paths"].values():
                for operation in item.values():
                    tags[operation["tags"][0]] = tags.get(operation["tags"][0], 0) + 1
            plain = [tag for tag in tags if tag not in CONTROL]
            each = max(1, cases * 3 // (2 * sum(tags[tag] for tag in plain)) + 1)
            code, said, counted = schemathesis(place, daemon, "plain", plain, each, CHECKS)
            show(said, code)
            total = sum(counted.values())
            broken = {key: count for key, count in counted.items() if key[1] is None or key[1] >= 500}
            claims.claim(total >= cases, f"{total} cases over {len(plain)} parts of the document, at least {cases}")
            claims.claim(not broken, f"no 5xx and no broken connection {broken or ''}")
            claims.claim(code == 0, f"every answer is one that the document describes (exit {code})")
            code, said, counted = schemathesis(place, daemon, "control", sorted(CONTROL), max(1, each // 10), CHECKS[1:])
            show(said, code)
            by_rule = sum(count for (_, status), count in counted.items() if status and status >= 500)
            claims.claim(code == 0, f"of {sum(counted.values())} cases of {', '.join(sorted(CONTROL))} every answer is described (exit {code})")
            print(f"  {by_rule} of them are 5xx by KServe's and Triton's rules")
            print("  by status:", dict(sorted(by_status(counted).items())))
            with urllib.request.urlopen(f"{daemon.url}/v2/health/ready", timeout=10) as answer:
                claims.claim(answer.status == 200, "the daemon is ready as before")
    claims.finish()


def by_status(counted):
    found = collections.Counter()
    for (_, status), count in counted.items():
        found[str(status)] += count
    return found


def show(said, code):
    if code:
        print("\n".join(f"  | {line}" for line in said.splitlines()[-120:]))


if __name__ == "__main__":
    main()
