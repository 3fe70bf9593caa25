#!/usr/bin/env python3
"""Smaller forms of a trained network: half precision, 8 bits (QDQ, calibrated), and with fewer channels (fine-tuned).

Usage: variants.py half MODEL.onnx OUTPUT.onnx
       variants.py int8 MODEL.onnx OUTPUT.onnx
       variants.py pruned MODEL.onnx OUTPUT.onnx --scenes CACHE [--share 0.3] [--steps 300]
"""

import argparse
import pathlib
import tempfile

import numpy as np
import onnx

import data
import export
import layers as architecture

# Scenes that are neither trained on nor judged by.
CALIBRATION = 2_000_000
CALIBRATION_SCENES = 48
SIDE = 128
FINE_TUNING_RATE = 4e-4
BATCH = 16


def half(model, _):
    return export.build(export.layers_of(model), half=True)


class Calibration:
    """What onnxruntime's calibration reads: pictures, one at a time."""

    def __init__(self, count):
        import scenes

        pictures = (scenes.render(CALIBRATION + number, SIDE).picture for number in range(count))
        self.feeds = ({"image": (picture.transpose(2, 0, 1)[None] / 255).astype(np.float32)} for picture in pictures)

    def get_next(self):
        return next(self.feeds, None)


def int8(model, _):
    """Weights and activations of every convolution in 8 bits, but for the first, the last and those of detail, which see few
    channels."""
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "source.onnx"), pathlib.Path(folder, "target.onnx")
        onnx.save(model, source)
        quantization.quantize_static(
            source, target, Calibration(CALIBRATION_SCENES), per_channel=True,
            op_types_to_quantize=["Conv"], nodes_to_exclude=["stem", *architecture.detail()],
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(target)


def cut(layers, share):
    """Without the inner channels of each block that carry least, by the size of what goes in and comes out of them."""
    layers = {name: dict(layer) for name, layer in layers.items()}
    for name in [name.removesuffix("_a") for name in layers if name.endswith("_a")]:
        first, second = layers[f"{name}_a"], layers[f"{name}_b"]
        carried = np.sqrt((first["kernel"] ** 2).sum((0, 1, 2)) * (second["kernel"] ** 2).sum((0, 1, 3)))
        # Whole groups of four: engines compute so many at once.
        count = max(4, 4 * round(len(carried) * (1 - share) / 4))
        kept = np.sort(np.argsort(carried)[-count:])
        layers[f"{name}_a"] = {"kernel": first["kernel"][..., kept], "bias": first["bias"][kept]}
        layers[f"{name}_b"] = {"kernel": second["kernel"][:, :, kept], "bias": second["bias"]}
    return layers


def pruned(model, given):
    """Cut, then trained further on the scenes of its training."""
    import jax
    import jax.numpy as jnp

    import train

    layers = cut(architecture.learned(export.layers_of(model)), given.share)
    pool = data.Pool(given.scenes)
    pool.grow(len(list(pathlib.Path(given.scenes).glob("*.npz"))))
    state = train.begun(jax.tree.map(jnp.asarray, layers))
    step = train.make_step(lambda layers: layers)
    for number in range(given.steps):
        pictures, heights = pool.batch(np.random.default_rng([3, number]), BATCH, SIDE)
        rate = FINE_TUNING_RATE * (1 - number / given.steps)
        state, value = step(state, pictures, heights, number, rate)
        if number % 50 == 0:
            print(f"step {number} of {given.steps}: loss {float(value):.3f}", flush=True)
    return export.build(jax.tree.map(np.asarray, state["average"]) | architecture.detail())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=["half", "int8", "pruned"])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--scenes", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    if given.form == "pruned" and given.scenes is None:
        parser.error("pruned: say with --scenes where the scenes of the training are kept")
    make = {"half": half, "int8": int8, "pruned": pruned}[given.form]
    export.write(make(onnx.load(given.model), given), given.output)


if __name__ == "__main__":
    main()
