#!/usr/bin/env python3
"""Writes the small model that scenarios and tests send tensors to.

    input   FP32 [N, 16]
    output  FP32 [N, 4]    softmax(relu(input W1 + b1) W2 + b2)

The weights come from a fixed seed and mean nothing. What matters is that it is a real graph, that its
answer depends on every input, and that it computes in microseconds, so that a server's own cost shows.

Usage: make_tiny_mlp.py [OUTPUT]   (default: 1/model.onnx beside this script)
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUTS, HIDDEN, OUTPUTS = 16, 32, 4
SEED = 20260101
OPSET, IR_VERSION = 17, 8


def weights(random, name, *shape):
    scale = 1 / np.sqrt(shape[0])
    return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)


def build():
    # A legacy generator on purpose: its stream is frozen, so every NumPy writes the same bytes.
    random = np.random.RandomState(SEED)
    constants = [
        weights(random, "w1", INPUTS, HIDDEN),
        weights(random, "b1", HIDDEN),
        weights(random, "w2", HIDDEN, OUTPUTS),
        weights(random, "b2", OUTPUTS),
    ]
    nodes = [
        helper.make_node("Gemm", ["input", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["output"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny_mlp",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", INPUTS])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", OUTPUTS])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    default = pathlib.Path(__file__).resolve().parent / "1" / "model.onnx"
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(build().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
