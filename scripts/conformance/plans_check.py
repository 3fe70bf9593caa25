#!/usr/bin/env python3
"""Checks the plans of the CUDA executor by their CPU twin: ONNX's own test cases of every operator in the set, more of them
made here, and whole networks, all beside ONNX Runtime: FP32 to 1e-5 relative, FP16 to 1e-2, and INT8 to a step.

Usage: plans_check.py PLAN_TWIN [--gpu] [--refused]
  PLAN_TWIN   the built example plan_twin
  --gpu       compute by CUDA instead (INT8, of which it knows nothing, stays with the twin); with the stand-in of CUDA's
              libraries on the loader's path, daemon/tests/standin, no GPU is needed
  --refused   say which of ONNX's cases are not computed, and why
Prints one line for each check and exits non-zero when one fails.
"""

import collections
import functools
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import traceback
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
RANDOM = np.random.RandomState(11)
FP32_TOLERANCE, FP16_TOLERANCE = 1e-5, 1e-2
# What is planned; the official cases of anything else must be refused by name.
ELEMENTWISE = "Add Sub Mul Div Pow Min Max Relu LeakyRelu Elu Sigmoid HardSigmoid HardSwish Tanh Gelu Swish Erf Exp Log Sqrt Reciprocal Neg Abs Clip Identity Dropout Cast"
LAYERS = "Conv ConvTranspose Gemm MatMul BatchNormalization LayerNormalization Softmax MaxPool AveragePool GlobalMaxPool GlobalAveragePool ReduceSum ReduceMean ReduceMax ReduceMin ReduceSumSquare ReduceL2 Resize QuantizeLinear DequantizeLinear"
MOVEMENT = "Concat Split Reshape Flatten Squeeze Unsqueeze Transpose Slice Expand Gather Shape ConstantOfShape Pad Constant"
SET = set(f"{ELEMENTWISE} {LAYERS} {MOVEMENT}".split())
# Of the official cases these may be refused, since they are outside of what is computed: the beginning of what is said.
OUTSIDE = (
    "is of a type", "element type", "is not understood", "is not computed", "are not computed", "are computed",
    "does not know", "is kept", "must be", "training_mode", "is none of pictures", "is computed for no", "at inference only", "only pictures", "not known before",
    "cannot be meant", "outputs;", "as large as the window", "no elements", "do not go together", "is not quantised to",
    "only 0 is computed", "only 1 is computed", "opset", "has a scale or a bias", "do not depend", "not among those", "no tensor",
)  # fmt: skip


def numbers(*shape, kind=np.float32, low=-1.0, high=1.0):
    return RANDOM.uniform(low, high, shape).astype(kind)


def network(nodes, inputs, outputs, constants, opset):
    """A model whose inputs are arrays: only how many dimensions they have is written down."""

    def port(name, array):
        shape = [f"{name}{at}" for at in range(array.ndim)]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)

    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given = [port(name, array) for name, array in inputs.items()]
    wanted = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs]
    graph = helper.make_graph(nodes, "made", given, wanted, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(10, 9 if opset < 21 else 10))
    return model


def runtime(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([port.name for port in session.get_inputs()], inputs, strict=True)))


class Cases:
    """Folders of cases, computed by the twin all at once."""

    def __init__(self, twin, root):
        self.twin, self.root, self.count = twin, pathlib.Path(root), itertools.count()

    def write(self, model, inputs):
        folder = self.root / f"{next(self.count):05}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        for at, array in enumerate(inputs):
            (folder / f"input_{at}.pb").write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())
        return folder

    def run(self, how, folders):
        where = ["--gpu"] if "--gpu" in sys.argv and how != "int8" else []
        said = subprocess.run([self.twin, how, *where, *map(str, folders)], capture_output=True, text=True, timeout=600)
        assert said.returncode == 0, said.stderr
        return [json.loads(line) for line in said.stdout.splitlines()]

    def outputs(self, folder, count):
        read = lambda at: numpy_helper.to_array(onnx.load_tensor(str(folder / f"plan_{at}.pb")))
        return [read(at) for at in range(count)]


def worst(found, expected):
    """The largest difference, relative to the largest number; infinite where they are not comparable."""
    assert len(found) == len(expected), f"{len(found)} outputs instead of {len(expected)}"
    largest = 0.0
    for ours, theirs in zip(found, expected):
        theirs = np.asarray(theirs)
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, (ours.shape, ours.dtype, theirs.shape, theirs.dtype)
        if theirs.size == 0:
            continue
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        finite = np.isfinite(theirs)
        same = np.array_equal(ours[~finite], theirs[~finite], equal_nan=True)
        scale = max(np.abs(theirs[finite]).max(initial=0.0), 1e-3)
        difference = np.abs(ours[finite] - theirs[finite]).max(initial=0.0) / scale
        largest = max(largest, difference if same else np.inf)
    return largest


def compare(cases, named, tolerance, how="fp32"):
    """Plans and computes cases of (name, model, inputs, expected); says how far the worst one is off."""
    folders = [cases.write(model, inputs) for _, model, inputs, _ in named]
    wrong, far = [], 0.0
    for (name, _, _, expected), folder, said in zip(named, folders, cases.run(how, folders), strict=True):
        if "error" in said:
            wrong.append(f"{name}: {said['stage']}: {said['error']}")
            continue
        difference = worst(cases.outputs(folder, len(expected)), expected)
        far = max(far, difference)
        if not difference <= tolerance:
            wrong.append(f"{name}: {difference:.1e} apart")
    assert not wrong, f"{len(wrong)} of {len(named)} are wrong:\n  " + "\n  ".join(wrong)
    return f"{len(named)} cases, at most {far:.1e} apart"


@functools.cache
def official():
    """ONNX's own cases: (name, model, inputs, expected, operators)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    cases = []
    for case in found:
        model = case.model
        if model is None or any(s.domain not in ("", "ai.onnx") for s in model.opset_import):
            continue
        for inputs, outputs in case.data_sets[:1]:
            if all(isinstance(array, np.ndarray | np.generic) for array in [*inputs, *outputs]):
                cases.append((case.name, model, inputs, outputs, {node.op_type for node in model.graph.node}))
    return cases


# What says shapes, axes, bounds and parameters is an input in ONNX's cases, and a constant in models.
PARAMETERS = set("Clip BatchNormalization Resize Split Reshape Squeeze Unsqueeze Slice Expand Pad ReduceSum ReduceMean ReduceMax ReduceMin ReduceSumSquare ReduceL2".split())
# ONNX's reference counts 2.4 columns of an output that has two; ONNX Runtime counts two, and so does the plan.
OTHERWISE = {"test_resize_downsample_scales_linear_align_corners"}
# Its expected numbers are written down with four digits.
FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}


def with_constants(name, model, inputs, expected, operators):
    """The case with its parameters as constants, and without the statistics that only training wants."""
    if operators == {"LayerNormalization"}:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        del model.graph.node[0].output[1:], model.graph.output[1:]
        expected = expected[:1]
    first = 0 if operators == {"ConstantOfShape"} else 1 if operators & PARAMETERS else len(inputs)
    if first == len(inputs) or len(model.graph.input) != len(inputs):
        return name, model, inputs, expected, operators
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    for port, array in list(zip(changed.graph.input, inputs))[first:]:
        changed.graph.initializer.append(numpy_helper.from_array(np.asarray(array), port.name))
    del changed.graph.input[first:]
    return name, changed, inputs[:first], expected, operators


def known_cases():
    return [with_constants(*case) for case in official() if case[4] <= SET and case[0] not in OTHERWISE]


def check_official_cases(cases):
    known = known_cases()
    folders = [cases.write(model, inputs) for _, model, inputs, _, _ in known]
    passed, refused, wrong, far = collections.Counter(), [], [], 0.0
    for (name, model, inputs, expected, operators), folder, said in zip(known, folders, cases.run("fp32", folders), strict=True):
        if "error" in said:
            allowed = said["stage"] in ("graph", "plan", "input") and any(part in said["error"] for part in OUTSIDE)
            (refused if allowed else wrong).append(f"{name}: {said['stage']}: {said['error']}")
            continue
        try:
            difference = worst(cases.outputs(folder, len(expected)), expected)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
            continue
        if not difference <= (1e-3 if name in FOUR_DIGITS else FP32_TOLERANCE):
            wrong.append(f"{name}: {difference:.1e} apart")
        far = max(far, 0.0 if name in FOUR_DIGITS else difference)
        passed.update(operators)
    if "--refused" in sys.argv:
        print("\n".join(refused))
    # ONNX's cases of quantisation are of a version that is too new; `check_integers` has others.
    missing = SET - set(passed) - {"Constant", "QuantizeLinear", "DequantizeLinear"}
    assert not wrong, f"{len(wrong)} of {len(known)} are wrong:\n  " + "\n  ".join(wrong)
    assert not missing, f"no case of {missing} was computed"
    return f"{sum(passed.values())} of {len(passed)} operators, at most {far:.1e} apart; {len(refused)} refused by name"


def check_other_operators_are_named(cases):
    others = {}
    for name, model, inputs, _, operators in official():
        if len(operators) == 1 and not operators & SET:
            others.setdefault(next(iter(operators)), (model, inputs))
    folders = [cases.write(*case) for case in others.values()]
    for operator, said in zip(others, cases.run("fp32", folders), strict=True):
        assert said.get("stage") == "graph", (operator, said)
        assert f"'{operator}'" in said["error"] or "is of a type" in said["error"] or "opset" in said["error"] or "no tensor" in said["error"], (operator, said)
    return f"{len(others)} operators"


def single(kind, inputs, constants=None, opset=17, outputs=1, order=None, **attributes):
    """A model of one node, beside what ONNX Runtime says of it."""
    constants = constants or {}
    names = order or [*inputs, *constants]
    wanted = [f"y{at}" for at in range(outputs)]
    node = helper.make_node(kind, names, wanted, **attributes)
    model = network([node], inputs, [(name, FLOAT) for name in wanted], constants, opset)
    return model, list(inputs.values()), runtime(model, list(inputs.values()))


def convolutions():
    shapes = [(1, 3, 7, 9), (2, 4, 8, 5), (1, 6, 1, 1), (3, 2, 17, 16)]
    for (n, c, h, w), kernel, stride, dilation in itertools.product(shapes, [(1, 1), (3, 3), (2, 5)], [1, 2], [1, 2]):
        reach = [dilation * (size - 1) + 1 for size in kernel]
        pads = [size // 2 for size in reach] * 2
        for groups in {1, c}:
            weights = numbers(groups * 2, c // groups, *kernel)
            attributes = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": pads, "group": groups}
            yield "Conv", {"x": numbers(n, c, h, w)}, {"w": weights, "b": numbers(groups * 2)}, attributes
            back = numbers(c, 2, *kernel)
            room = [(size - 1) * stride + reach for size, reach in zip((h, w), reach)]
            if all(size > pad * 2 for size, pad in zip(room, pads)):
                more = {"output_padding": [stride - 1] * 2} if stride > 1 else {}
                yield "ConvTranspose", {"x": numbers(n, c, h, w)}, {"w": back}, attributes | more
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield "Conv", {"x": numbers(1, 2, 9, 8)}, {"w": numbers(3, 2, 4, 3)}, {"auto_pad": auto, "strides": [2, 3]}
    yield "Conv", {"x": numbers(2, 3, 11)}, {"w": numbers(4, 3, 3)}, {"pads": [2, 0], "strides": [2]}
    yield "Conv", {"x": numbers(1, 2, 6, 6)}, {"w": numbers(3, 2, 3, 3)}, {"pads": [0, 1, 2, 1]}


def pools():
    sizes = itertools.product([(5, 5), (8, 7)], [(2, 2), (3, 3), (3, 2)], [1, 2, 3], [0, 1], [0, 1])
    for (h, w), kernel, stride, pad, ceil in sizes:
        shared = {"kernel_shape": kernel, "strides": [stride] * 2, "pads": [pad] * 4, "ceil_mode": ceil}
        yield "MaxPool", {"x": numbers(2, 3, h, w)}, {}, shared
        for counts in (0, 1):
            yield "AveragePool", {"x": numbers(2, 3, h, w)}, {}, shared | {"count_include_pad": counts}


def resizes():
    coordinates = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    empty = np.float32([])
    # No sizes between which a place falls right between two pixels by a scale that binary numbers do not hold: which of
    # the two is nearer is then a matter of rounding, and ONNX Runtime's own.
    for (h, w), (oh, ow), mode in itertools.product([(4, 6), (1, 5), (9, 7)], [(8, 12), (3, 3), (1, 1), (5, 11)], coordinates):
        sizes = {"roi": empty, "scales": empty, "sizes": np.int64([2, 3, oh, ow])}
        shared = {"coordinate_transformation_mode": mode}
        yield "Resize", {"x": numbers(2, 3, h, w)}, sizes, shared | {"mode": "linear"}
        for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            yield "Resize", {"x": numbers(2, 3, h, w)}, sizes, shared | {"mode": "nearest", "nearest_mode": nearest}
    for scale in ([2, 2], [1.5, 0.7], [3, 1]):
        scales = {"roi": empty, "scales": np.float32([1, 1, *scale])}
        for mode in ("linear", "nearest"):
            yield "Resize", {"x": numbers(1, 2, 6, 10)}, scales, {"mode": mode, "coordinate_transformation_mode": "asymmetric"}


def products():
    pairs = [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5))]
    pairs += [((2, 1, 3, 4), (5, 4, 6)), ((3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)), ((6, 2, 3, 4), (6, 2, 4, 3)), ((2, 3, 4), (2, 1, 4, 1))]
    for a, b in pairs:
        yield "MatMul", {"a": numbers(*a), "b": numbers(*b)}, {}, {}
    for left, right, c in itertools.product([0, 1], [0, 1], [(), (5,), (1, 5), (3, 1), (3, 5)]):
        a, b = numbers(*((4, 3) if left else (3, 4))), numbers(*((5, 4) if right else (4, 5)))
        for alpha, beta in ((1.0, 1.0), (0.5, -2.0)):
            yield "Gemm", {"a": a, "b": b}, {"c": numbers(*c)}, {"transA": left, "transB": right, "alpha": alpha, "beta": beta}


def elementwise():
    shapes = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (1, 4)), ((), (5,)), ((2, 3, 4, 5), (3, 1, 1)), ((1, 3), (2, 2, 1, 3))]
    for kind, (a, b) in itertools.product(["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"], shapes):
        low = 0.2 if kind in ("Div", "Pow") else -1.0
        yield kind, {"a": numbers(*a, low=low), "b": numbers(*b, low=low)}, {}, {}
    for kind in ["Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Exp", "Neg", "Abs"]:
        yield kind, {"x": numbers(3, 5, 7, low=-6, high=6)}, {}, {}
    for kind in ["Log", "Sqrt", "Reciprocal"]:
        yield kind, {"x": numbers(3, 5, low=0.1, high=9)}, {}, {}
    yield "LeakyRelu", {"x": numbers(9)}, {}, {"alpha": 0.3}


def reductions():
    kinds = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL2"]
    for kind, axes, keep in itertools.product(kinds, [[0], [1, 2], [-1], [0, 2], [0, 1, 2, 3], [1, 3]], [0, 1]):
        given = {"constants": {"axes": np.int64(axes)}} if kind == "ReduceSum" else {"axes": axes}
        yield kind, {"x": numbers(2, 3, 4, 5)}, given.pop("constants", {}), given | {"keepdims": keep}
    for axis in range(-4, 4):
        yield "Softmax", {"x": numbers(2, 3, 4, 5, low=-20, high=20)}, {}, {"axis": axis}
    for axis in (-1, 1, 2):
        size = [2, 3, 4, 5][axis:]
        yield "LayerNormalization", {"x": numbers(2, 3, 4, 5)}, {"s": numbers(*size), "b": numbers(*size)}, {"axis": axis}
    yield "LayerNormalization", {"x": numbers(7, 33)}, {"s": numbers(33)}, {"epsilon": 0.1}


def movements():
    x = {"x": numbers(2, 3, 4, 5)}
    for order in itertools.permutations(range(4)):
        yield "Transpose", x, {}, {"perm": order}
    for pads, mode in itertools.product([[0, 0, 1, 2, 0, 0, 2, 1], [0, 1, 0, 0, 1, 0, 3, 0]], ["constant", "edge", "reflect"]):
        fits = mode != "reflect" or pads[4] == 0
        if fits:
            yield "Pad", x, {"pads": np.int64(pads)}, {"mode": mode}
    yield "Pad", x, {"pads": np.int64([0, 0, -1, 2, 0, 0, 1, -2]), "v": np.float32(0.5)}, {}
    cuts = [([1], [3], [2], [1]), ([0, 0], [9, -1], [2, 3], [2, 3]), ([-1], [-9], [3], [-2]), ([3], [1], [1], [1])]
    for starts, ends, axes, steps in cuts[:3]:
        yield "Slice", x, dict(zip("seat", map(np.int64, (starts, ends, axes, steps)))), {}
    for axis in range(-4, 4):
        yield "Concat", {"a": numbers(2, 3, 4, 5), "b": numbers(*[6 if at == axis % 4 else size for at, size in enumerate((2, 3, 4, 5))])}, {}, {"axis": axis}
    for axis, indices in itertools.product(range(4), [np.int64([[0, 1], [-1, 0]]), np.int64(1), np.int64([1])]):
        yield "Gather", x, {"i": indices}, {"axis": axis}
    yield "Expand", {"x": numbers(3, 1)}, {"s": np.int64([2, 1, 4])}, {}


FAMILIES = (convolutions, pools, resizes, products, elementwise, reductions, movements)


def made_of(family):
    for kind, inputs, constants, attributes in family():
        model, given, expected = single(kind, inputs, constants, **attributes)
        yield f"{kind} {[a.shape for a in given]} {attributes}", model, given, expected


def check_many_shapes(cases):
    said = []
    for family in FAMILIES:
        named = list(made_of(family))
        said.append(f"{family.__name__}: {compare(cases, named, FP32_TOLERANCE)}")
        halved = [case for case in named if not case[0].startswith(("Pow", "Exp"))]
        said.append(f"FP16 {compare(cases, halved, FP16_TOLERANCE, 'fp16')}")
    return "; ".join(said)


class Network:
    """A model that grows, layer by layer."""

    def __init__(self, opset):
        self.nodes, self.constants, self.opset = [], {}, opset

    def node(self, kind, inputs, **attributes):
        output = f"v{len(self.nodes)}"
        names = [self.constant(value) if isinstance(value, np.ndarray | np.generic) else value for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], name=f"{kind}{len(self.nodes)}", **attributes))
        return output

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def model(self, inputs, *outputs):
        return network(self.nodes, inputs, [(name, FLOAT) for name in outputs], self.constants, self.opset)

    def block(self, x, channels, filters):
        x = self.node("Conv", [x, numbers(filters, channels, 3, 3) / 4, numbers(filters)], pads=[1] * 4)
        statistics = [numbers(filters, low=0.5), numbers(filters), numbers(filters), numbers(filters, low=0.5)]
        return self.node("Relu", [self.node("BatchNormalization", [x, *statistics])])


def unet():
    """An encoder and a decoder with bridges between them, of any height and width."""
    made = Network(17)
    first = made.block("image", 3, 8)
    second = made.block(made.node("MaxPool", [first], kernel_shape=[2, 2], strides=[2, 2]), 8, 12)
    deep = made.block(made.node("AveragePool", [second], kernel_shape=[2, 2], strides=[2, 2]), 12, 16)
    deep = made.node("Add", [made.block(deep, 16, 16), deep])
    up = made.node("ConvTranspose", [deep, numbers(16, 12, 2, 2) / 4, numbers(12)], strides=[2, 2])
    up = made.block(made.node("Concat", [up, second], axis=1), 24, 8)
    size = made.node("Concat", [made.node("Slice", [made.node("Shape", [up]), np.int64([0]), np.int64([2])]), made.node("Slice", [made.node("Shape", ["image"]), np.int64([2]), np.int64([4])])], axis=0)
    up = made.node("Resize", [up, "", "", size], mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    up = made.block(made.node("Concat", [up, first], axis=1), 16, 8)
    gate = made.node("Conv", [up, numbers(8, 8, 1, 1)])
    up = made.node("Mul", [gate, made.node("Sigmoid", [gate])])
    return made, made.node("Sigmoid", [made.node("Conv", [up, numbers(1, 8, 1, 1), numbers(1)])])


def encoder(width=24, heads=3, layers=2):
    """A transformer encoder as PyTorch exports one: shapes computed in the graph, attention in parts, GELU by erf."""
    made = Network(17)
    x = made.node("Gather", [numbers(50, width), "tokens"])
    x = made.node("Add", [x, made.node("Slice", [numbers(1, 64, width), np.int64([0]), made.node("Unsqueeze", [made.node("Gather", [made.node("Shape", ["tokens"]), np.int64(1)], axis=0), np.int64([0])]), np.int64([1])])])
    shape = made.node("Shape", ["tokens"])
    split = made.node("Concat", [shape, np.int64([heads, width // heads])], axis=0)
    joined = made.node("Concat", [shape, np.int64([width])], axis=0)

    def linear(value, wide, narrow):
        return made.node("Add", [made.node("MatMul", [value, numbers(wide, narrow) / 3]), numbers(narrow)])

    def parts(value, order):
        return made.node("Transpose", [made.node("Reshape", [linear(value, width, width), split])], perm=order)

    for _ in range(layers):
        normal = made.node("LayerNormalization", [x, numbers(width), numbers(width)], axis=-1)
        query, key, value = parts(normal, [0, 2, 1, 3]), parts(normal, [0, 2, 3, 1]), parts(normal, [0, 2, 1, 3])
        scores = made.node("Div", [made.node("MatMul", [query, key]), np.float32((width / heads) ** 0.5)])
        mixed = made.node("MatMul", [made.node("Softmax", [scores], axis=-1), value])
        mixed = made.node("Reshape", [made.node("Transpose", [mixed], perm=[0, 2, 1, 3]), joined])
        x = made.node("Add", [x, linear(mixed, width, width)])
        normal = made.node("LayerNormalization", [x, numbers(width), numbers(width)], axis=-1)
        wide = linear(normal, width, 4 * width)
        erf = made.node("Erf", [made.node("Div", [wide, np.float32(2**0.5)])])
        gelu = made.node("Mul", [made.node("Mul", [wide, made.node("Add", [erf, np.float32(1)])]), np.float32(0.5)])
        x = made.node("Add", [x, linear(gelu, 4 * width, width)])
    pooled = made.node("ReduceMean", [x], axes=[1], keepdims=0)
    first = made.node("Gather", [x, np.int64(0)], axis=1)
    return made, made.node("Softmax", [linear(made.node("Concat", [pooled, first], axis=-1), 2 * width, 5)], axis=-1)


def whole():
    made, output = unet()
    for batch, h, w in ((1, 16, 16), (2, 24, 36), (4, 8, 20)):
        image = {"image": numbers(batch, 3, h, w, low=0.0)}
        model = made.model(image, output)
        yield f"U-Net {batch} x {h} x {w}", model, [image["image"]], runtime(model, image.values())
    made, output = encoder()
    for batch, length in ((1, 7), (3, 16), (2, 1)):
        tokens = {"tokens": RANDOM.randint(0, 50, (batch, length))}
        model = made.model(tokens, output)
        yield f"encoder {batch} x {length}", model, [tokens["tokens"]], runtime(model, tokens.values())


def check_whole_networks(cases):
    named = list(whole())
    said = [f"FP32 {compare(cases, named, FP32_TOLERANCE)}", f"FP16 {compare(cases, named, FP16_TOLERANCE, 'fp16')}"]
    said.append(f"unshortened {compare(cases, named, FP32_TOLERANCE, 'plain')}")
    for name, model, inputs, _ in (named[1], named[4]):
        (plan,) = cases.run("fp32", [cases.write(model, inputs)])
        share = plan["arena_bytes"] / plan["values_bytes"]
        said.append(f"{name}: {plan['nodes']} nodes in {len(plan['steps'])} steps, memory {share:.0%} of all values")
        allowed = {"unary", "cast", "expand"} if name.startswith("U-Net") else {"unary", "cast", "pad"}
        assert not allowed & set(plan["steps"]), plan["steps"]
    return "; ".join(said)


def quantised():
    """Convolutions and a product between QDQ pairs, symmetric and not, per tensor and per channel."""
    kinds = itertools.product([np.int8(0), np.int8(3), np.uint8(128)], [True, False], ["Conv", "MatMul"])
    for zero, per_channel, kind in kinds:
        made = Network(17)
        shape, filters = ((2, 4, 6, 6), (5, 4, 3, 3)) if kind == "Conv" else ((3, 8), (8, 5))
        x, scale = numbers(*shape), np.float32(1 / 127)
        pair = lambda value: made.node("DequantizeLinear", [made.node("QuantizeLinear", [value, scale, zero]), scale, zero])
        weights = RANDOM.randint(-127, 128, filters).astype(np.int8)
        scales = numbers(5, low=0.001, high=0.01) if per_channel else np.float32(0.005)
        zeros = np.zeros(5 if per_channel else (), np.int8)
        real = made.node("DequantizeLinear", [weights, scales, zeros], **({"axis": 0 if kind == "Conv" else 1} if per_channel else {}))
        y = made.node(kind, [pair("x"), real], **({"pads": [1] * 4} if kind == "Conv" else {}))
        y = made.node("Relu", [y])
        model = made.model({"x": x}, y)
        yield f"{kind} {zero.dtype} {zero} {per_channel}", model, [x], runtime(model, [x]), zero == 0 and zero.dtype == np.int8


def check_integers(cases):
    named = list(quantised())
    said = compare(cases, [case[:4] for case in named], 1e-4, "int8")
    inside = 0
    for name, model, inputs, _, symmetric in named:
        (plan,) = cases.run("int8", [cases.write(model, inputs)])
        # In integers the step before the heavy one is a quantisation, else a dequantisation.
        heavy = next(at for at, step in enumerate(plan["steps"]) if step in ("convolution", "matrix product"))
        assert (plan["steps"][heavy - 1] == "quantize") == symmetric, (name, plan["steps"])
        inside += symmetric
    return f"{said}; {inside} in integers"


def check_our_own_models(cases):
    root = pathlib.Path(__file__).resolve().parents[2] / "daemon" / "models"
    named = []
    for file in sorted(root.glob("*/1/model.onnx")):
        model = onnx.load(file)
        for port in model.graph.input:
            sizes = [size.dim_value for size in port.type.tensor_type.shape.dim]
        fixed = {1: 2}.get(len(sizes))
        shape = [size or default for size, default in zip(sizes, [fixed or 2, 3, 32, 48])]
        kind = helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
        if len(model.graph.input) > 1 or np.dtype(kind).kind != "f":
            continue
        x = numbers(*shape, kind=kind, low=0.0)
        named.append((file.parts[-3], model, [x], runtime(model, [x])))
    folders = [cases.write(model, inputs) for _, model, inputs, _ in named]
    said = []
    for (name, _, _, expected), folder, plan in zip(named, folders, cases.run("fp32", folders), strict=True):
        if "error" in plan:
            said.append(f"{name}: {plan['error']}")
            continue
        difference = worst(cases.outputs(folder, len(expected)), expected)
        assert difference <= 1e-4, (name, difference)
        said.append(f"{name}: {len(plan['steps'])} steps, {difference:.1e} apart")
    return "; ".join(said)


def for_a_gpu(twin, each=4):
    """Cases for the executor itself: whole networks, one of `each` of those made here, and the official ones that the twin
    computes: (name, model, inputs, expected)."""
    yield from whole()
    for family in FAMILIES:
        yield from itertools.islice(made_of(family), 0, None, each)
    with tempfile.TemporaryDirectory() as folder:
        cases, known = Cases(twin, folder), [case[:4] for case in known_cases() if case[0] not in FOUR_DIGITS]
        folders = [cases.write(model, inputs) for _, model, inputs, _ in known]
        yield from [case for case, said in zip(known, cases.run("fp32", folders), strict=True) if "error" not in said]


def main():
    twin, failed = sys.argv[1], 0
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(twin, folder)
        for name, check in [(name, check) for name, check in globals().items() if name.startswith("check_")]:
            try:
                print(f"ok    {name[6:].replace('_', ' ')}: {check(cases)}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {name[6:].replace('_', ' ')}")
                traceback.print_exc(file=sys.stdout)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
