#!/usr/bin/env python3
"""Judges models on scenes that no training has seen, beside two ways that learn nothing: luminance as height, and the graph of
fixed filters. Prints tables, of the models and of the first one's errors by kind of scene, and writes them as JSON.

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
import layers
from metrics import aligned_error

# Scenes by their side in pixels.
HELD_OUT = {128: 512, 256: 64}
# Of this side they are also looked at by kind.
BY_KIND = 128
LUMINANCE = np.array(layers.LUMINANCE, np.float32)
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
    """Processor time of one execution, the median over about a second and a half, after a first one."""
    picture = np.random.default_rng(0).random((batch, 3, side, side), np.float32)
    engine.run(None, {"image": picture})
    took, began = [], time.monotonic()
    while time.monotonic() - began < TIMED_S or len(took) < 3:
        # The session has one thread, which is this one.
        start = time.thread_time()
        engine.run(None, {"image": picture})
        took.append(time.thread_time() - start)
    return 1e3 * float(np.median(took))


def weights(path):
    """Numbers in kernels and biases. Of a quantised model also scales and zero points, which are few."""
    constants = onnx.load(path).graph.initializer
    return sum(int(np.prod(constant.dims)) for constant in constants if constant.data_type != onnx.TensorProto.INT64)


def named(path):
    """What a file is called here: `model.onnx` of a repository by its model, and by the variant if it is one."""
    if path.name != "model.onnx":
        return path.stem
    folders = path.resolve().parents
    return folders[2].name if folders[3].name == "variants" else folders[1].name


def judged(scenes, heights):
    """Errors of each scene, by side."""
    return {side: np.array(errors(heights, pictures, truths)) for side, (pictures, truths, _) in scenes.items()}


def summed(found, luminance):
    row = {}
    for side, each in found.items():
        row[f"rmse_{side}"] = float(each.mean())
        row[f"below_luminance_{side}"] = float(1 - each.mean() / luminance[side].mean())
        row[f"better_than_luminance_{side}"] = float(np.mean(each < luminance[side]))
    return row


def by_kind(kinds, found):
    """Mean errors of each kind of scene by each of several models; `found` has the errors of each scene by model."""
    kinds = np.array(kinds)
    rows = {kind: kinds == kind for kind in sorted(set(kinds), key=lambda kind: (not kind.startswith("relief"), kind))}
    rows["all"] = np.ones(len(kinds), bool)
    return {
        kind: {"scenes": int(these.sum())} | {name: float(each[these].mean()) for name, each in found.items()}
        for kind, these in rows.items()
    }


COLUMNS = {
    "bytes": "{:,}", "weights": "{:,}",
    "rmse_128": "{:.4f}", "below_luminance_128": "{:.1%}", "better_than_luminance_128": "{:.0%}",
    "rmse_256": "{:.4f}", "below_luminance_256": "{:.1%}", "ms_128": "{:.1f}", "ms_256": "{:.1f}", "ms_256_batch_4": "{:.1f}",
}  # fmt: skip


def table(head, columns, rows):
    """The rows in Markdown."""
    lines = [[head, *columns], ["---"] * (1 + len(columns))]
    for name, row in rows.items():
        lines.append([name, *(form.format(row[key]) if key in row else "" for key, form in columns.items())])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    scenes = {side: data.held_out_of_kinds(count, side) for side, count in HELD_OUT.items()}
    filters = session(fixed_filters.build().SerializeToString())
    found = {
        "luminance": judged(scenes, lambda picture: picture @ LUMINANCE),
        "fixed filters": judged(scenes, heights_by(filters)),
    }
    costs = {}
    for path in map(pathlib.Path, sys.argv[2:]):
        name, engine = named(path), session(path)
        found[name] = judged(scenes, heights_by(engine))
        costs[name] = {"bytes": path.stat().st_size, "weights": weights(path), "ms_256_batch_4": milliseconds(engine, 256, 4)}
        costs[name] |= {f"ms_{side}": milliseconds(engine, side) for side in (128, 256)}
    rows = {name: costs.get(name, {}) | summed(each, found["luminance"]) for name, each in found.items()}
    shown = ["luminance", "fixed filters", named(pathlib.Path(sys.argv[2]))]
    kinds = by_kind(scenes[BY_KIND][2], {name: found[name][BY_KIND] for name in shown})
    print(table("model", COLUMNS, rows))
    print("\n" + table("kind", {"scenes": "{}"} | dict.fromkeys(shown, "{:.3f}"), kinds))
    report = {"held_out": HELD_OUT, "models": rows, "kinds": kinds}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
