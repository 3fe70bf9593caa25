"""Our isolation forest beside scikit-learn's on the same data: as good at telling odd rows (ROC-AUC), and how much faster."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

# scripts/prove sets it to the interpreter that has scikit-learn.
if os.environ.get("FOREST_PYTHON", sys.executable) != sys.executable:
    os.execv(os.environ["FOREST_PYTHON"], [os.environ["FOREST_PYTHON"], *sys.argv])

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from harness import TARGET

TREES, SEEDS, REPEATS = 200, 10, 3
FARTHEST_AUC, LEAST_RATIO = 0.01, 3.0
BINARY = TARGET / "release" / "examples" / "grow_forest"


def shifted(rng, rows, columns, share, by):
    """Ordinary rows vary together; odd ones are off in three columns."""
    mix = rng.normal(size=(columns, columns)) / np.sqrt(columns)
    data = rng.normal(size=(rows, columns)) @ mix
    odd = rng.random(rows) < share
    for row in np.flatnonzero(odd):
        data[row, rng.choice(columns, 3, replace=False)] += by * rng.choice([-1, 1], 3)
    return data, odd


def clusters(rng, rows, columns, share):
    """Ordinary rows lie in four clusters of different size and width; odd ones anywhere between."""
    centres, widths = rng.uniform(-6, 6, (4, columns)), rng.uniform(0.4, 1.5, 4)
    which = rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
    data = centres[which] + rng.normal(size=(rows, columns)) * widths[which, None]
    odd = rng.random(rows) < share
    data[odd] = rng.uniform(-8, 8, (odd.sum(), columns))
    return data, odd


def heavy(rng, rows, columns, share):
    """Heavy tails, and odd rows that are moderately large everywhere."""
    data = rng.standard_t(4, (rows, columns))
    odd = rng.random(rows) < share
    data[odd] += rng.choice([-1, 1], (odd.sum(), columns)) * 1.2
    return data, odd


def ours(folder, data, seed):
    path = folder / "rows"
    path.write_bytes(np.ascontiguousarray(data, float).tobytes())
    said = subprocess.run(
        [BINARY, path, str(data.shape[1]), str(TREES), str(seed), str(REPEATS)], check=True, capture_output=True, text=True
    ).stdout.split()
    return np.frombuffer((folder / "rows.scores").read_bytes()), float(said[0]) + float(said[1])


def theirs(data, seed):
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.perf_counter()
        forest = IsolationForest(n_estimators=TREES, max_samples=256, random_state=seed, n_jobs=1).fit(data)
        scores = -forest.score_samples(data)
        best = min(best, time.perf_counter() - begun)
    return scores, best


def main():
    cases = {
        "shifted 4000x24": lambda rng: shifted(rng, 4000, 24, 0.03, 2.0),
        "clusters 4000x8": lambda rng: clusters(rng, 4000, 8, 0.03),
        "heavy tails 4000x12": lambda rng: heavy(rng, 4000, 12, 0.05),
        "clusters 20000x16": lambda rng: clusters(rng, 20000, 16, 0.02),
    }
    wrong = []
    print(f"{'data':22}{'AUC ours':>10}{'theirs':>9}{'off':>9}{'ms ours':>10}{'theirs':>9}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as place:
        for name, make in cases.items():
            rows = []
            for seed in range(SEEDS):
                data, odd = make(np.random.default_rng([3, seed]))
                (own, own_s), (other, other_s) = ours(pathlib.Path(place), data, seed), theirs(data, seed)
                rows.append((roc_auc_score(odd, own), roc_auc_score(odd, other), own_s, other_s))
            own_auc, other_auc, own_s, other_s = np.mean(rows, axis=0)
            ratio = other_s / own_s
            print(
                f"{name:22}{own_auc:10.4f}{other_auc:9.4f}{own_auc - other_auc:+9.4f}{own_s * 1e3:10.1f}{other_s * 1e3:9.1f}{ratio:8.1f}"
            )
            if abs(own_auc - other_auc) > FARTHEST_AUC:
                wrong.append(f"{name}: AUC off by {own_auc - other_auc:+.4f}")
            if ratio < LEAST_RATIO:
                wrong.append(f"{name}: only {ratio:.1f} times as fast")
    print("\n".join(wrong) if wrong else f"{SEEDS} seeds each, {TREES} trees: within {FARTHEST_AUC}, at least {LEAST_RATIO:g} times as fast")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
