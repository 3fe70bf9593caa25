#!/usr/bin/env python3
"""Writes the two steps of the relief ensemble that stand before and behind its depth model.

    relief_prepare   picture  UINT8 [N, H, W, 3]    red, green, blue, as a decoder gives them
                     image    FP32  [N, 3, H, W]    in 0..1, as the depth model takes them
    relief_height    depth    FP32  [N, 1, H, W]    larger is nearer, of any range
                     height   FP32  [N, 1, H, W]    0 (farthest) .. 1 (nearest) of each picture

Depths that differ by less than 1e-4 are not stretched to the whole of it: that would only show rounding.

Usage: make_steps.py [FOLDER]   (default: the folder of all models, above this script's)
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST_CONTRAST = 1e-4
OPSET, IR_VERSION = 17, 8
SIZES = ["height", "width"]


def build(name, nodes, constants, source, target):
    value = helper.make_tensor_value_info
    initializers = [numpy_helper.from_array(np.array(array), key) for key, array in constants.items()]
    graph = helper.make_graph(nodes, name, [value(*source)], [value(*target)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def prepare():
    nodes = [
        helper.make_node("Cast", ["picture"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["bytes", "most"], ["shares"]),
        helper.make_node("Transpose", ["shares"], ["image"], perm=[0, 3, 1, 2]),
    ]
    source = ("picture", TensorProto.UINT8, ["batch", *SIZES, 3])
    target = ("image", TensorProto.FLOAT, ["batch", 3, *SIZES])
    return build("relief_prepare", nodes, {"most": np.float32(255)}, source, target)


def height():
    nodes = [
        helper.make_node("ReduceMin", ["depth"], ["least"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("ReduceMax", ["depth"], ["most"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["most", "least"], ["range"]),
        helper.make_node("Max", ["range", "least_contrast"], ["stretch"]),
        helper.make_node("Sub", ["depth", "least"], ["above"]),
        helper.make_node("Div", ["above", "stretch"], ["height"]),
    ]
    shape = ["batch", 1, *SIZES]
    source, target = ("depth", TensorProto.FLOAT, shape), ("height", TensorProto.FLOAT, shape)
    return build("relief_height", nodes, {"least_contrast": np.float32(LEAST_CONTRAST)}, source, target)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1]
    for model in (prepare(), height()):
        output = folder / model.graph.name / "1" / "model.onnx"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
