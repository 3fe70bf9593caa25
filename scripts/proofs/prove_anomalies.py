"""Anomalies in labelled telemetry: faults found, false positives, attribution; a number after the name is the first system."""

import json
import subprocess
import sys

from harness import BINARY, ROOT, Claims, Workplace

TELEMETRY = ROOT / "scripts" / "proofs" / "telemetry"
sys.path.insert(0, str(TELEMETRY))
import score  # noqa: E402

SYSTEMS, TRAIN, HEALTHY, FAULTY = 10, 10, 4, 8


def generated(folder, systems):
    names = [str(system) for system in systems]
    counts = ["--train", str(TRAIN), "--healthy", str(HEALTHY), "--faulty", str(FAULTY)]
    command = [sys.executable, TELEMETRY / "generate.py", "--out", folder, *counts, "--system", *names]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "labels.json").read_text())


def scored(folder, labels, *options):
    files = [folder / name for name, about in labels.items() if about["split"] != "train"]
    out = folder / "alerts.json"
    subprocess.run([BINARY, "anomalies", "--quiet", *files, *options, "--out", out], check=True)
    return score.score(labels, json.loads(out.read_text()))


def main():
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    claims = Claims()
    with Workplace() as place:
        labels = generated(place.path, range(first, first + SYSTEMS))
        found = scored(place.path, labels, "--train", place.path)
        score.show(found)
        fpr = max(found["fpr"].values())
        claims.claim(found["detection"] >= 0.95, f"{found['detection']:.1%} of {found['events']} faults are found")
        claims.claim(fpr < 0.05, f"{fpr:.2%} of healthy windows are in an alert, {found['false_alarms_per_h']:.1f} alarms an hour")
        claims.claim(found["top3"] >= 0.85, f"of {found['top3']:.1%} a right metric is among the first three")
        alone = scored(place.path, labels)
        print("without training, each run compared with itself:")
        score.show(alone)
        claims.claim(max(alone["fpr"].values()) < 0.05, "without training fewer than 5 % of healthy windows are in an alert")
    claims.finish()


if __name__ == "__main__":
    main()
