#!/usr/bin/env python3
"""Checks the CUDA kernels, compiled for the host, against ONNX Runtime: operators with many shapes and attributes are
computed by it here, and the test `onnxruntime` of the daemon's `kernels` tests must compute the same from the same numbers.

Usage: kernels_check.py COMMAND...   the command that runs that test, such as cargo test --release --workspace --test
kernels; `-- --ignored --nocapture onnxruntime` is added to it.
"""

import base64
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import helper

OPSET = 20
RANDOM = np.random.RandomState(11)


def numbers(*shape, low=-1.0, high=1.0):
    return np.asarray(RANDOM.uniform(low, high, shape), np.float32)


def computed(operator, inputs, attributes, more, output):
    """What ONNX Runtime computes; `more` are inputs that become attributes of our kernels."""
    everything = [*inputs, *more]
    names = [f"x{at}" if value is not None else "" for at, value in enumerate(everything)]
    kinds = [helper.np_dtype_to_tensor_dtype(value.dtype) if value is not None else None for value in everything]
    info = helper.make_tensor_value_info
    given = [(name, kind, value) for name, kind, value in zip(names, kinds, everything) if name]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], **attributes)],
        "case",
        [info(name, kind, value.shape) for name, kind, value in given],
        [info("y", output or helper.np_dtype_to_tensor_dtype(np.dtype(np.float32)), None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value for name, _, value in given})[0]


def tensor(value):
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"kind": value.dtype.name, "shape": list(value.shape), "data": data}


class Cases:
    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def add(self, operator, inputs, *, more=(), given=None, attributes=None, output=None, sums=False, terms=None, **parameters):
        """One case. `given` are the kernel's inputs where they are not ONNX's; `sums` says that terms may cancel, so
        that numbers are as near as the largest of them asks, or `terms`, where these are larger."""
        answer = computed(operator, inputs, attributes or {}, more, output)
        self.write(operator, given or inputs, answer, sums, parameters, terms)

    def write(self, operator, inputs, answer, sums, parameters, terms=None):
        floating = answer.dtype == np.float32
        case = {
            "name": f"{operator} {self.count} {[list(value.shape) for value in inputs]} {parameters}",
            "operator": operator,
            "inputs": [tensor(value) for value in inputs],
            "output": tensor(answer),
            "size": terms or (float(np.abs(answer).max()) if sums and floating else 0.0),
            **parameters,
        }
        (self.folder / f"{self.count:04}.json").write_text(json.dumps(case))
        self.count += 1


def functions(cases):
    for shape in [(1,), (7,), (2, 3, 5), (1030,)]:
        x = numbers(*shape, low=-6, high=6)
        for operator in ["Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "Exp", "Neg", "Abs", "Reciprocal"]:
            cases.add(operator, [x], sums=operator in ("Erf", "HardSwish", "Tanh", "Sigmoid"))
        for operator in ["Log", "Sqrt"]:
            cases.add(operator, [np.abs(x) + np.float32(0.01)], sums=operator == "Log")
        cases.add("LeakyRelu", [x], attributes={"alpha": 0.02}, floats=[0.02])
        cases.add("Elu", [x], attributes={"alpha": 1.5}, floats=[1.5], sums=True)
        cases.add("HardSigmoid", [x], attributes={"alpha": 0.2, "beta": 0.5}, floats=[0.2, 0.5], sums=True)
        for mode in ["none", "tanh"]:
            # ONNX Runtime adds 1 and what may be nearly -1, times half of x; our kernels do not.
            terms = float(np.abs(x).max()) / 2
            cases.add("Gelu", [x], attributes={"approximate": mode}, mode=mode, terms=terms)
        bounds = [np.array(-0.5, np.float32), np.array(4.0, np.float32)]
        cases.add("Clip", [x], more=bounds, floats=[-0.5, 4.0])
    pairs = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 3, 4), (3, 1)), ((5,), ()), ((2, 1, 4), (3, 1)), ((1, 3, 1, 5), (2, 1, 4, 1))]
    for (a, b), operator in itertools.product(pairs, ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"]):
        cases.add(operator, [numbers(*a, low=0.2, high=2), numbers(*b, low=0.5, high=2)], sums=operator in ("Add", "Sub", "Pow"))


def movements(cases):
    for shape in [(3, 4), (40, 70), (2, 3, 5), (2, 30, 9, 11), (2, 3, 4, 5)]:
        axes = list(itertools.permutations(range(len(shape))))
        for perm in axes[:: max(1, len(axes) // 6)]:
            cases.add("Transpose", [numbers(*shape)], attributes={"perm": perm}, sizes=perm)
    for shape, starts, ends, steps in [
        ((10,), [2], [9], [3]), ((10,), [8], [0], [-2]), ((4, 6, 5), [1, 5, 0], [4, 1, 5], [1, -1, 2]), ((3, 7), [0, 3], [3, 4], [1, 1]),
    ]:  # fmt: skip
        more = [np.array(values, np.int64) for values in (starts, ends, list(range(len(shape))), steps)]
        cases.add("Slice", [numbers(*shape)], more=more, integers=starts + steps)
    for shape, result in [((3, 1), (3, 4)), ((1,), (2, 5)), ((2, 1, 3), (4, 2, 5, 3))]:
        cases.add("Expand", [numbers(*shape)], more=[np.array(result, np.int64)])
    for mode in ["constant", "edge", "reflect"]:
        made = [((5, 6), [1, 2, 2, 0]), ((2, 3, 4, 5), [0, 0, 1, 2, 0, 0, 3, 1]), ((4, 4), [-1, 2, 1, -2])]
        # ONNX Runtime mirrors only what is left of an axis that is cut.
        for shape, pads in made[: 2 if mode == "reflect" else 3]:
            value = np.array(0.25, np.float32)
            more = [np.array(pads, np.int64), value]
            cases.add("Pad", [numbers(*shape)], more=more, attributes={"mode": mode}, integers=pads, mode=mode, floats=[0.25])
    for shape, axis in [((5, 7), 0), ((2, 6, 3), 1), ((3, 4), 1)]:
        for kind in [np.int32, np.int64]:
            indices = np.array([0, 2, -1, 1, 2, -3], kind)
            cases.add("Gather", [numbers(*shape), indices], attributes={"axis": axis}, sizes=[axis])
    for axis in range(3):
        parts = [list((2, 3, 4)) for _ in range(3)]
        for at, part in enumerate(parts):
            part[axis] = at + 1
        cases.add("Concat", [numbers(*part) for part in parts], attributes={"axis": axis}, sizes=[axis])


def layers(cases):
    for shape in [(3, 5), (2, 7, 65), (4, 300), (2, 3, 1025)]:
        axis = len(shape) - 1
        x, scale, bias = numbers(*shape, low=-2, high=3), numbers(shape[-1]), numbers(shape[-1])
        cases.add("LayerNormalization", [x, scale, bias], attributes={"axis": axis, "epsilon": 1e-3}, sums=True, sizes=[axis], floats=[1e-3])
        for axis in range(len(shape)):
            cases.add("Softmax", [x * 4], attributes={"axis": axis}, sizes=[axis])
            for operator in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL2"]:
                more = [np.array([axis], np.int64)]
                cases.add(operator, [x], more=more, attributes={"keepdims": 0}, sums=True, sizes=[axis])
    for shape in [(2, 3, 4, 5), (1, 7, 3, 3)]:
        scale, bias, mean, variance = (numbers(shape[1], low=0.5, high=2) for _ in range(4))
        factor = scale / np.sqrt(variance + np.float32(1e-5))
        x = numbers(*shape)
        cases.add("BatchNormalization", [x, scale, bias, mean, variance], given=[x, factor, bias - mean * factor], sums=True)


def windows(cases):
    made = [
        ((1, 1, 5, 5), [2, 2], [2, 2], [1, 1], [0, 0, 0, 0]),
        ((2, 3, 7, 9), [3, 2], [2, 1], [1, 1], [1, 0, 1, 1]),
        ((1, 2, 11, 8), [3, 3], [2, 3], [2, 1], [1, 1, 0, 1]),
        ((2, 5, 16, 16), [3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
    ]
    for (shape, kernel, strides, dilations, pads), up in itertools.product(made, [0, 1]):
        attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads, "ceil_mode": up}
        sizes = [*kernel, *strides, *dilations, *pads]
        cases.add("MaxPool", [numbers(*shape)], attributes=attributes, sizes=sizes)
        for counts in [0, 1]:
            more = {**attributes, "count_include_pad": counts}
            cases.add("AveragePool", [numbers(*shape)], attributes=more, sums=True, sizes=[*sizes, counts])
    ways = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
    filters = ["linear", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
    for (h, w), (to_h, to_w) in [((4, 5), (8, 10)), ((7, 6), (3, 4)), ((3, 3), (7, 5)), ((5, 4), (1, 9)), ((1, 6), (4, 13))]:
        for way, filter_ in itertools.product(ways, filters):
            attributes = {"coordinate_transformation_mode": way, "mode": "linear" if filter_ == "linear" else "nearest"}
            if filter_ != "linear":
                attributes["nearest_mode"] = filter_
            scales = [np.float32(to_h / h), np.float32(to_w / w)]
            more = [None, None, np.array([2, 3, to_h, to_w], np.int64)]
            floats = [float(scale) for scale in scales]
            cases.add("Resize", [numbers(2, 3, h, w)], more=more, attributes=attributes, sums=True, mode=f"{way} {filter_}", floats=floats)


def products(cases):
    for a, b in [((3, 4), (4, 5)), ((65, 17), (17, 66)), ((2, 5, 7), (2, 7, 3)), ((2, 3, 8, 130), (2, 3, 130, 9)), ((4, 6), (3, 6, 2))]:
        cases.add("MatMul", [numbers(*a), numbers(*b)], sums=True)
    made = [
        ((1, 3, 8, 8), 4, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1),
        ((2, 4, 9, 7), 6, [3, 2], [2, 1], [1, 1], [1, 0, 0, 1], 2),
        ((1, 6, 10, 10), 6, [3, 3], [1, 2], [2, 1], [2, 1, 2, 1], 6),
        ((1, 8, 5, 5), 70, [1, 1], [1, 1], [1, 1], [0, 0, 0, 0], 1),
        ((1, 2, 20, 20), 3, [5, 5], [3, 3], [1, 1], [2, 2, 2, 2], 1),
    ]
    for shape, out, kernel, strides, dilations, pads, group in made:
        attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads, "group": group}
        sizes = [*kernel, *strides, *dilations, *pads, group]
        weights = numbers(out, shape[1] // group, *kernel)
        cases.add("Conv", [numbers(*shape), weights], attributes=attributes, sums=True, sizes=sizes)
        weights = numbers(shape[1], out // group, *kernel)
        cases.add("ConvTranspose", [numbers(*shape), weights], attributes=attributes, sums=True, sizes=sizes)


def conversions(cases):
    kinds = [np.float32, np.float16, np.int32, np.int64, np.uint8, np.int8, np.bool_]
    for from_, to in itertools.product(kinds, kinds):
        if from_ is to:
            continue
        x = (numbers(300) * 100).astype(from_) if from_ is not np.uint8 else RANDOM.randint(0, 100, 300).astype(np.uint8)
        # What a type cannot hold is not the operator's to say.
        if to is np.uint8 and from_ is not np.bool_:
            x = np.abs(x)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(to))
        cases.add("Cast", [x], attributes={"to": kind}, output=kind)
    for shape, axis in [((4, 9), None), ((2, 5, 3, 3), 1), ((6, 8), 0)]:
        for kind in [np.int8, np.uint8]:
            channels = () if axis is None else (shape[axis],)
            scale = numbers(*channels, low=0.01, high=0.05)
            low = -20 if kind is np.int8 else 100
            zero = np.array(RANDOM.randint(low, low + 40, channels or 1).astype(kind).reshape(channels))
            attributes = {} if axis is None else {"axis": axis}
            # One scale for all is one channel in front.
            flat = lambda value: value.reshape(1, -1) if axis is None else value  # noqa: E731
            output = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
            x = numbers(*shape, low=-4, high=4)
            answer = computed("QuantizeLinear", [x, scale, zero], attributes, (), output)
            cases.write("QuantizeLinear", [flat(x), scale, zero], flat(answer), False, {"sizes": [axis or 0]})
            back = computed("DequantizeLinear", [answer, scale, zero], attributes, (), None)
            cases.write("DequantizeLinear", [flat(answer), scale, zero], flat(back), False, {"sizes": [axis or 0]})


def main():
    command = [*sys.argv[1:], "--", "--ignored", "--nocapture", "onnxruntime"]
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(pathlib.Path(folder))
        for made in (functions, movements, layers, windows, products, conversions):
            made(cases)
        print(f"{cases.count} cases made by ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}", flush=True)
        return subprocess.run(command, env={**os.environ, "PROOFLOAD_KERNEL_CASES": folder}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
