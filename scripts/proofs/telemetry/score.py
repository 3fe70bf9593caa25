#!/usr/bin/env python3
"""Scores alerts against the labels of generate.py.

  score.py labels.json alerts.json [--min-detect 0.95 --max-fpr 0.05 --min-top3 0.85]

alerts.json: {"sys1_faulty_0.csv": [[from_s, to_s, "metric", ["metric", …]], …], …}; the list ranks metrics, the strongest
first, and may stand in the place of the metric. A missing file has no alert.

Detected is a fault that an alert overlaps in [start, end + 10). False positives are the share of ten-second windows of
healthy time (from 120 s on, outside [start, guard_end) of every fault) that overlap an alert, by kind of run. False alarms
are alerts that begin in healthy time. Attribution is of detected faults: right is the first, or one of the first three,
metrics of the first alert that overlaps the fault for the first time or longest."""

import json
import sys
from collections import defaultdict


def ranked(alert):
    if len(alert) > 3:
        return alert[3]
    if len(alert) > 2:
        return alert[2] if isinstance(alert[2], list) else [alert[2]]
    return []


def overlap(alert, event):
    return min(alert[1], event["end"] + 10) - max(alert[0], event["start"])


def score(labels, alerts, length_s=1800):
    detected, by_severity = defaultdict(lambda: [0, 0]), defaultdict(lambda: [0, 0])
    top = defaultdict(lambda: [0, 0, 0, 0])
    wrong, windows, false_alarms, healthy_s = defaultdict(int), defaultdict(int), 0, 0
    for file, about in labels.items():
        if about["split"] == "train":
            continue
        found = alerts.get(file, [])
        for event in about["events"]:
            hits = [a for a in found if a[1] > event["start"] and a[0] < event["end"] + 10]
            for tally in (detected[event["type"]], by_severity[event["severity"]]):
                tally[0] += bool(hits)
                tally[1] += 1
            if hits:
                names = ranked(max(hits, key=lambda a: overlap(a, event)))
                row = top[event["type"]]
                row[0] += bool(set(names[:1]) & set(event["expect"]))
                row[1] += bool(set(names[:3]) & set(event["expect"]))
                row[2] += bool(set(ranked(hits[0])[:3]) & set(event["expect"]))
                row[3] += 1
        bad = [(event["start"], event["guard_end"]) for event in about["events"]]
        for at in range(120, length_s - 9, 10):
            if any(at + 10 > start and at < end for start, end in bad):
                continue
            windows[about["split"]] += 1
            healthy_s += 10
            wrong[about["split"]] += any(a[1] > at and a[0] < at + 10 for a in found)
        false_alarms += sum(1 for a in found if a[0] >= 120 and not any(a[1] > s and a[0] < e for s, e in bad))
    total = [sum(tally[i] for tally in detected.values()) for i in (0, 1)]
    tops = [sum(row[i] for row in top.values()) for i in range(4)]
    return {
        "detection": total[0] / max(1, total[1]),
        "events": total[1],
        "by_fault": {k: (v[0], v[1], top[k][0], top[k][1]) for k, v in sorted(detected.items())},
        "by_severity": {k: tuple(v) for k, v in sorted(by_severity.items())},
        "fpr": {k: wrong[k] / max(1, windows[k]) for k in windows},
        "false_alarms_per_h": false_alarms / max(healthy_s / 3600, 1e-9),
        "top1": tops[0] / max(1, tops[3]),
        "top3": tops[1] / max(1, tops[3]),
        "top3_first": tops[2] / max(1, tops[3]),
    }


def show(found):
    print(f"{'fault':18}{'detected':>12}{'top 1':>8}{'top 3':>8}")
    for name, (hit, all_, first, third) in found["by_fault"].items():
        print(f"{name:18}{f'{hit}/{all_}':>12}{first / max(1, hit):8.0%}{third / max(1, hit):8.0%}")
    print("  ".join(f"{name} {hit}/{all_} ({hit / all_:.1%})" for name, (hit, all_) in found["by_severity"].items()))
    fpr = ", ".join(f"{split} {share:.2%}" for split, share in found["fpr"].items())
    print(
        f"detection {found['detection']:.1%} of {found['events']}, false positives {fpr}, "
        f"false alarms {found['false_alarms_per_h']:.2f}/h, attribution top 1 {found['top1']:.1%}, top 3 {found['top3']:.1%}"
        f" (of the first alert alone {found['top3_first']:.1%})"
    )


def main(arguments):
    labels, alerts = (json.load(open(path)) for path in arguments[:2])
    found = score(labels, alerts)
    show(found)

    def bound(name):
        return float(arguments[arguments.index(name) + 1]) if name in arguments else None

    checks = [("--min-detect", found["detection"], 1), ("--max-fpr", max(found["fpr"].values()), -1), ("--min-top3", found["top3"], 1)]
    return int(any(bound(name) is not None and sign * value < sign * bound(name) for name, value, sign in checks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
