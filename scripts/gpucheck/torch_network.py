"""A network of an ONNX file in PyTorch: the few operators of relief networks, with the file's weights, so that PyTorch and
the daemon compute the same numbers. Sizes are Python's integers, so that nothing is read back from the device."""

import json

import numpy as np
import torch
import torch.nn.functional as F


class Unknown(Exception):
    """An operator that is not among those."""


def load(path):
    """The network that pack.py wrote down beside `path`: .json and .npz."""
    described = json.loads(path.with_suffix(".json").read_text())
    constants = np.load(path.with_suffix(".npz"))
    return Network(described, {name: constants[name] for name in constants.files})


class Network(torch.nn.Module):
    def __init__(self, described, constants):
        super().__init__()
        (self.source,), (self.result,) = described["inputs"], described["outputs"]
        self.nodes = [(node["operator"], node["inputs"], node["outputs"], node["attributes"]) for node in described["nodes"]]
        unknown = sorted({operator for operator, *_ in self.nodes} - set(OPERATORS))
        if unknown:
            raise Unknown(f"{', '.join(unknown)} is not among the operators that are known to PyTorch's side")
        self.places, self.numbers = {}, {}
        for at, (name, value) in enumerate(constants.items()):
            if value.dtype.kind == "f":
                self.register_buffer(f"constant{at}", torch.from_numpy(np.array(value, np.float32)))
                self.places[name] = f"constant{at}"
            else:
                self.numbers[name] = value.tolist()

    def forward(self, image):
        values = {self.source: image, "": None, **self.numbers}
        values.update({name: getattr(self, place) for name, place in self.places.items()})
        for operator, inputs, outputs, attributes in self.nodes:
            values[outputs[0]] = OPERATORS[operator](attributes, *[values[name] for name in inputs])
        return values[self.result]


def pairs(pads):
    """ONNX's paddings, first all beginnings; PyTorch pads both sides alike."""
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise Unknown(f"paddings {pads} that are not the same on both sides")
    return pads[:half]


def conv(a, x, weight, bias=None):
    return F.conv2d(x, weight, bias, a.get("strides", 1), pairs(a.get("pads", [0] * 4)), a.get("dilations", 1), a.get("group", 1))


def conv_transpose(a, x, weight, bias=None):
    more = a.get("output_padding", 0)
    return F.conv_transpose2d(x, weight, bias, a.get("strides", 1), pairs(a.get("pads", [0] * 4)), more, a.get("group", 1), a.get("dilations", 1))


def shape(a, x):
    return list(x.shape)[a.get("start", 0) : a.get("end")]


def cut(a, x, starts, ends, axes=None, steps=None):
    for at, (start, end) in enumerate(zip(starts, ends)):
        step = steps[at] if steps else 1
        axis = axes[at] if axes else at
        if isinstance(x, list):
            x = x[start:end:step]
        elif (start, step) != (0, 1) or end < x.shape[axis]:
            place = [slice(None)] * x.dim()
            place[axis] = slice(start, end, step)
            x = x[tuple(place)]
    return x


def resize(a, x, _roi=None, scales=None, sizes=None):
    if a.get("coordinate_transformation_mode", "half_pixel") != "half_pixel" or a.get("mode") != "linear":
        raise Unknown(f"Resize with {a}")
    size = sizes[2:] if sizes is not None else [round(side * float(scale)) for side, scale in zip(x.shape[2:], scales[2:])]
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def concat(a, *parts):
    return sum(parts, []) if isinstance(parts[0], list) else torch.cat(parts, a["axis"])


def cast(a, x):
    # What is real stays as wide as the whole network is.
    return x


OPERATORS = {
    "Add": lambda a, x, y: x + y,
    "Cast": cast,
    "Clip": lambda a, x, low=None, high=None: x.clamp(low, high),
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Identity": lambda a, x: x,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "MaxPool": lambda a, x: F.max_pool2d(x, a["kernel_shape"], a.get("strides"), pairs(a.get("pads", [0] * 4))),
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: F.relu(x),
    "Resize": resize,
    "Shape": shape,
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": cut,
    "Tanh": lambda a, x: torch.tanh(x),
}
