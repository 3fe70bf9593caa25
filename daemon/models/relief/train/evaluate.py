#!/usr/bin/env python3
"""Judges models on scenes that no training has seen, beside two ways that learn nothing: luminance as height, and the graph of
fixed filters. Prints a table, and writes it as JSON.

Usage: evaluate.py OUTPUT.json MODEL.onnx…    models by ONNX Runtime on one thread
"""

import json
import pathlib
import sys
import time

import numpy as np
import onnx
import onnxruntime

import data
import fixed_filters
from metrics import aligned_error

# Scenes by their side in pixels.
HELD_OUT = {128: 256, 256: 64}
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
TIMED_S = 1.5


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = model if isinstance(model, bytes) else pathlib.Path(model).read_bytes()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def heights_by(engine):
    """A function that gives the heights of one picture [H, W, 3]."""
    return lambda picture: engine.run(None, {"image": picture.transpose(2, 0, 1)[None]})[0][0, 0]


def errors(heights, pictures, truths):
    return [aligned_error(heights(picture), truth) for picture, truth in zip(pictures, truths)]


def milliseconds(engine, side, batch=1):
    """The median over about a second and a half, after a first execution."""
    picture = np.random.default_rng(0).random((batch, 3, side, side), np.float32)
    engine.run(None, {"image": picture})
    took, began = [], time.monotonic()
    while time.monotonic() - began < TIMED_S or len(took) < 3:
        start = time.perf_counter()
        engine.run(None, {"image": picture})
        took.append(time.perf_counter() - start)
    return 1e3 * float(np.median(took))


def weights(path):
    """Numbers in kernels and biases. Of a quantised model also scales and zero points, which are few."""
    return sum(int(np.prod(constant.dims)) for constant in onnx.load(path).graph.initializer if "corner" not in constant.name)


def judged(scenes, heights, baselines=None):
    row = {}
    for side, (pictures, truths) in scenes.items():
        found = errors(heights, pictures, truths)
        row[f"rmse_{side}"] = float(np.mean(found))
        if baselines:
            row[f"below_luminance_{side}"] = 1 - row[f"rmse_{side}"] / baselines[f"rmse_{side}"]
            row[f"better_than_luminance_{side}"] = float(np.mean(np.array(found) < baselines[f"each_{side}"]))
        else:
            row[f"each_{side}"] = found
    return row


COLUMNS = {
    "bytes": "{:,}", "weights": "{:,}",
    "rmse_128": "{:.4f}", "below_luminance_128": "{:.1%}", "better_than_luminance_128": "{:.0%}",
    "rmse_256": "{:.4f}", "below_luminance_256": "{:.1%}", "ms_128": "{:.1f}", "ms_256": "{:.1f}", "ms_256_batch_4": "{:.1f}",
}  # fmt: skip


def table(rows):
    """The rows in Markdown."""
    lines = [["model", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    for name, row in rows.items():
        lines.append([name, *(form.format(row[key]) if key in row else "" for key, form in COLUMNS.items())])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    scenes = {side: data.held_out(count, side) for side, count in HELD_OUT.items()}
    luminance = judged(scenes, lambda picture: picture @ LUMINANCE)
    filters = session(fixed_filters.build().SerializeToString())
    rows = {"fixed filters": judged(scenes, heights_by(filters), luminance)}
    for path in map(pathlib.Path, sys.argv[2:]):
        engine = session(path)
        row = judged(scenes, heights_by(engine), luminance)
        row |= {"bytes": path.stat().st_size, "weights": weights(path)}
        row |= {f"ms_{side}": milliseconds(engine, side) for side in (128, 256)}
        row["ms_256_batch_4"] = milliseconds(engine, 256, 4)
        rows[path.stem if path.stem != "model" else "relief_depth"] = row
    rows["luminance"] = {key: value for key, value in luminance.items() if not key.startswith("each")}
    print(table(rows))
    pathlib.Path(sys.argv[1]).write_text(json.dumps({"held_out": HELD_OUT, "models": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
