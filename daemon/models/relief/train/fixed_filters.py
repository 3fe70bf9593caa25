#!/usr/bin/env python3
"""The depth model that the relief service had before it had a trained one: a small ONNX graph with fixed filters. It is what a
trained network has to be better than (evaluate.py).

It guesses depth from brightness, as a bas-relief does: large bright areas stand out, and so does what is brighter than its
neighbourhood. Its input and output are those of export.py. The steps, on a picture of any size from one pixel up:

1. luminance;
2. a pyramid of four halvings of luminance and of its square, blended back up, which gives the mean
   and the variance of the neighbourhood over several scales at once;
3. local contrast: how many standard deviations a lightly smoothed pixel lies from that mean;
4. the mean and the local contrast, weighed and squeezed into 0..1.

Edges are repeated outwards before each filter, so that the border is neither darkened nor raised.

Usage: fixed_filters.py OUTPUT.onnx
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

# ITU-R BT.601: the weights of red, green and blue in luminance.
LUMINANCE = [0.299, 0.587, 0.114]
# Halving keeps the centres of four pixels and of the one they become in the same place.
HALVING_TAPS = [1, 3, 3, 1]
SMOOTHING_TAPS = [1, 2, 1]
# How much of each pyramid level, from the finest halving to the second-coarsest, goes into the
# neighbourhood; what remains comes from the coarser ones.
LEVEL_SHARES = [0.2, 0.25, 0.3]
# Variance that counts as none: sensor noise of about 3 % of the full range.
NOISE_VARIANCE = 0.001
FORM_WEIGHT = 4.0
CONTRAST_WEIGHT = 0.9


class Graph:
    """Collects nodes and constants; each method adds one step and returns the name of its result."""

    def __init__(self):
        self.nodes = []
        self.constants = []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def scalar(self, name, value):
        return self.constant(name, np.float32(value))

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, source, weights, output, channels=1, stride=1):
        # Each attribute is said although it may be the default: not every runtime fills in defaults.
        attributes = {"group": channels, "strides": [stride] * 2, "dilations": [1] * 2, "pads": [0] * 4}
        return self.node("Conv", [source, weights], output, **attributes)

    def filter(self, source, output, taps, channels, before, after, stride=1):
        """A separable filter over each channel on its own, with the edges repeated."""
        line = np.asarray(taps, np.float32) / np.float32(sum(taps))
        kernel = np.tile(np.outer(line, line), (channels, 1, 1, 1)).astype(np.float32)
        pads = self.constant(f"{output}_pads", np.int64([0, 0, before, before, 0, 0, after, after]))
        padded = self.node("Pad", [source, pads], f"{output}_padded", mode="edge")
        weights = self.constant(f"{output}_kernel", kernel)
        return self.convolution(padded, weights, output, channels, stride)

    def blend(self, coarse, fine, output, share):
        """Enlarges `coarse` to the size of `fine` and mixes `share` of `fine` into it."""
        large = self.enlarge(coarse, fine, f"{output}_coarse")
        kept = self.node("Mul", [large, self.scalar(f"{output}_rest", 1.0 - share)], f"{output}_kept")
        added = self.node("Mul", [fine, self.scalar(f"{output}_share", share)], f"{output}_added")
        return self.node("Add", [kept, added], output)

    def enlarge(self, source, like, output):
        size = self.node("Shape", [like], f"{output}_size")
        return self.node(
            "Resize",
            [source, "", "", size],
            output,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )


def luminance(graph):
    weights = graph.constant("luminance_weights", np.float32(LUMINANCE).reshape(1, 3, 1, 1))
    return graph.convolution("image", weights, "luminance")


def neighbourhood(graph, light):
    """Mean and mean square of the surroundings, as two channels."""
    square = graph.node("Mul", [light, light], "square")
    level = graph.node("Concat", [light, square], "moments", axis=1)
    levels = [level]
    for number in range(1, len(LEVEL_SHARES) + 2):
        level = graph.filter(level, f"half_{number}", HALVING_TAPS, channels=2, before=1, after=2, stride=2)
        levels.append(level)
    for number in range(len(LEVEL_SHARES), 0, -1):
        level = graph.blend(level, levels[number], f"blend_{number}", LEVEL_SHARES[number - 1])
    return graph.enlarge(level, levels[0], "neighbourhood")


def deviation(graph, mean, mean_square):
    """Standard deviation of the surroundings, never below that of noise."""
    squared = graph.node("Mul", [mean, mean], "squared_mean")
    difference = graph.node("Sub", [mean_square, squared], "raw_variance")
    variance = graph.node("Relu", [difference], "variance")
    floor = graph.scalar("noise_variance", NOISE_VARIANCE)
    return graph.node("Sqrt", [graph.node("Add", [variance, floor], "floored_variance")], "deviation")


def depth(graph):
    light = luminance(graph)
    around = neighbourhood(graph, light)
    mean, mean_square = "mean", "mean_square"
    halves = graph.constant("channel_split", np.int64([1, 1]))
    graph.nodes.append(helper.make_node("Split", [around, halves], [mean, mean_square], name="moments_apart", axis=1))
    smooth = graph.filter(light, "smooth", SMOOTHING_TAPS, channels=1, before=1, after=1)
    above = graph.node("Sub", [smooth, mean], "above_mean")
    contrast = graph.node("Div", [above, deviation(graph, mean, mean_square)], "local_contrast")
    centred = graph.node("Sub", [mean, graph.scalar("middle", 0.5)], "centred_mean")
    form = graph.node("Mul", [centred, graph.scalar("form_weight", FORM_WEIGHT)], "form")
    detail = graph.node("Mul", [contrast, graph.scalar("contrast_weight", CONTRAST_WEIGHT)], "detail")
    return graph.node("Sigmoid", [graph.node("Add", [form, detail], "relief")], "depth")


def build():
    graph = Graph()
    depth(graph)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    output = helper.make_tensor_value_info("depth", TensorProto.FLOAT, ["batch", 1, "height", "width"])
    body = helper.make_graph(graph.nodes, "relief_depth", [image], [output], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, producer_name="make_depth_model", opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    pathlib.Path(sys.argv[1]).write_bytes(build().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
