#!/usr/bin/env python3
"""Writes a trained network as ONNX. variants.py makes smaller forms of that.

    image  FP32 [N, 3, H, W]  red, green, blue in 0..1, of any size from one pixel up (trained for 64 to 512)
    depth  FP32 [N, 1, H, W]  larger is nearer; only differences count, and those of a picture are a few tenths

What ONNX Runtime makes of a scene has to be what JAX makes of it, or nothing is written.

Usage: export.py CHECKPOINT OUTPUT.onnx
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from layers import detail

OPSET, IR_VERSION = 17, 8
# What rounding may do.
SAME = 1e-4
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


class Graph:
    """Collects nodes and constants; each method adds a step and gives the name of its result."""

    def __init__(self, layers, half):
        self.layers, self.kind = layers, np.float16 if half else np.float32
        self.nodes, self.constants = [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _weighted(self, operator, name, source, kernel, bias, **attributes):
        inputs = [source, self.constant(f"{name}_weight", kernel), self.constant(f"{name}_bias", bias)]
        # Each attribute is said although it may be the default: not every runtime fills in defaults.
        size = list(kernel.shape[2:])
        return self.node(operator, inputs, name, kernel_shape=size, dilations=[1, 1], group=1, **attributes)

    def convolution(self, name, source, stride=1):
        kernel = self.layers[name]["kernel"].transpose(3, 2, 0, 1).astype(self.kind)
        pads = [kernel.shape[2] // 2] * 4
        bias = self.layers[name]["bias"].astype(self.kind)
        return self._weighted("Conv", name, source, kernel, bias, strides=[stride] * 2, pads=pads)

    def relu(self, source):
        return self.node("Relu", [source], f"{source}_relu")

    def block(self, name, source):
        inner = self.relu(self.convolution(f"{name}_a", source))
        added = self.node("Add", [source, self.convolution(f"{name}_b", inner)], f"{name}_sum")
        return self.relu(added)

    def enlarged(self, source, like):
        """At the size of `like`, which has as many channels."""
        size = self.node("Shape", [like], f"{source}_size")
        settings = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.node("Resize", [source, "", "", size], f"{source}_large", **settings)

    def detail(self, image):
        """What the fixed layers add. Edges are repeated outwards, so that the border is neither darkened nor raised."""
        light = self.convolution("detail_light", image)
        reach = self.layers["detail_down"]["kernel"].shape[0] // 2
        pads = self.constant("detail_pads", np.int64([0, 0, reach, reach] * 2))
        x = self.node("Pad", [light, pads], "detail_padded", mode="edge")
        for name in ("detail_down", "detail_across"):
            kernel = self.layers[name]["kernel"].transpose(3, 2, 0, 1).astype(self.kind)
            bias = self.layers[name]["bias"].astype(self.kind)
            x = self._weighted("Conv", name, x, kernel, bias, strides=[1, 1], pads=[0] * 4)
        return self.node("Sub", [light, x], "detail")

    def head(self, source):
        """Four pixels of each: a 3 x 3 convolution to four channels and putting those in their places is one transposed
        convolution of 6 x 6."""
        return self._weighted(
            "ConvTranspose", "head", source, spread(self.layers["head"]["kernel"]).astype(self.kind),
            self.layers["head"]["bias"].astype(self.kind), strides=[2, 2], pads=[2] * 4,
        )  # fmt: skip


def spread(kernel):
    """The kernel [3, 3, in, 4] as that of the transposed convolution, [in, 1, 6, 6]."""
    large = np.zeros((kernel.shape[2], 1, 6, 6), np.float32)
    for row in range(3):
        for column in range(3):
            for quarter in range(4):
                down, across = quarter // 2 - 2 * (row - 1) + 2, quarter % 2 - 2 * (column - 1) + 2
                large[:, 0, down, across] = kernel[row, column, :, quarter]
    return large


def depths_of(layers):
    """How many scales there are, and how many blocks the encoder has at each."""
    scales = 1 + sum(name.startswith("down") for name in layers)
    return [sum(name.startswith(f"encoder{level}_") for name in layers) // 2 for level in range(scales)]


def build(layers, half=False):
    """The model of folded layers: {name: {"kernel": [height, width, in, out], "bias": [out]}}, with or without those of detail."""
    graph = Graph(layers, half)
    image = graph.node("Cast", ["image"], "image_half", to=HALF) if half else "image"
    x, skips = graph.relu(graph.convolution("stem", image, 2)), []
    depths = depths_of(layers)
    for level, depth in enumerate(depths):
        if level:
            skips.append(x)
            x = graph.relu(graph.convolution(f"down{level}", x, 2))
        for number in range(depth):
            x = graph.block(f"encoder{level}_{number}", x)
    for level in reversed(range(len(depths) - 1)):
        large = graph.enlarged(graph.convolution(f"up{level}", x), skips[level])
        x = graph.block(f"decoder{level}", graph.node("Add", [large, skips[level]], f"joined{level}"))
    x = graph.head(x)
    # A picture of an odd size was rounded up on its way down.
    size = graph.node("Shape", ["image"], "size", start=2, end=4)
    start, axes = graph.constant("corner", np.int64([0, 0])), graph.constant("sides", np.int64([2, 3]))
    names = [name for name, there in (("cut", True), ("detailed", "detail_light" in layers), ("depth", half)) if there]
    names[-1] = "depth"
    x = graph.node("Slice", [x, start, size, axes], names[0])
    if "detail_light" in layers:
        x = graph.node("Add", [x, graph.detail(image)], names[1])
    if half:
        graph.node("Cast", [x], "depth", to=FLOAT)
    return _model(graph)


def _model(graph):
    ports = [("image", 3), ("depth", 1)]
    image, depth = (helper.make_tensor_value_info(name, FLOAT, ["batch", count, "height", "width"]) for name, count in ports)
    body = helper.make_graph(graph.nodes, "relief_depth", [image], [depth], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, producer_name="relief/train/export.py", opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def layers_of(model):
    """The folded layers of a model that `build` wrote in single precision: to go on from it without its checkpoint."""
    values = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
    names = [name.removesuffix("_weight") for name in values if name.endswith("_weight")]
    layers = {
        name: {"kernel": values[f"{name}_weight"].transpose(2, 3, 1, 0), "bias": values[f"{name}_bias"]} for name in names
    }
    layers["head"] = {"kernel": gathered(values["head_weight"]), "bias": values["head_bias"]}
    return layers


def gathered(large):
    """What `spread` was given."""
    kernel = np.zeros((3, 3, large.shape[0], 4), np.float32)
    for row in range(3):
        for column in range(3):
            for quarter in range(4):
                down, across = quarter // 2 - 2 * (row - 1) + 2, quarter % 2 - 2 * (column - 1) + 2
                kernel[row, column, :, quarter] = large[:, 0, down, across]
    return kernel


def write(model, output):
    output = pathlib.Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(model.SerializeToString(deterministic=True))


def apart(model, layers):
    """How far the model and the network are from each other on scenes, at most."""
    import data
    import network
    import onnxruntime

    pictures, _ = data.held_out(4, 96)
    engine = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = engine.run(None, {"image": pictures.transpose(0, 3, 1, 2)})[0][:, 0]
    return float(np.abs(found - np.asarray(network.apply(layers, pictures))).max())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    import train

    trained = train.averaged(sys.argv[1])
    layers = {name: {part: np.asarray(value) for part, value in layer.items()} for name, layer in trained.items()}
    layers |= detail()
    model = build(layers)
    difference = apart(model, layers)
    if difference > SAME:
        sys.exit(f"export.py: the graph and the network are {difference} apart on the same pictures, at most {SAME} is rounding")
    write(model, sys.argv[2])
    print(f"{sys.argv[2]}: {difference:.1e} from the network")


if __name__ == "__main__":
    main()
