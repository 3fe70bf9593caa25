#!/usr/bin/env python3
"""Checks both engines that compute ONNX models, ONNX Runtime and the built-in rten, through the daemon and the real Triton
client: the same answers to 1e-4, what each computes, what is said of it, and what loading costs.

Starts daemons of its own. ONNX Runtime is the shared library of the Python package; the models are made here with `onnx`.

Usage: onnx_engines_check.py COMMAND...   the command that starts the daemon, such as target/release/proofload daemon
Prints one line for each check and exits non-zero when one fails.
"""

import concurrent.futures
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

import ml_dtypes
import numpy as np
import onnx
import tritonclient.http as tritonhttp
from onnx import TensorProto, helper, numpy_helper
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TOLERANCE = 1e-4
# What both engines may differ by in the heights of a picture, which are a few tenths apart.
HEIGHTS_APART, INT8_APART = 1e-3, 0.05
READY_S = 10
SECOND_LOAD_S = 1
BUILT_IN = pathlib.Path(__file__).resolve().parents[2] / "daemon" / "models"
RANDOM = np.random.RandomState(7)
sys.path.insert(0, str(BUILT_IN / "relief" / "train"))

import data  # noqa: E402
import export  # noqa: E402
import layers  # noqa: E402


def model(nodes, inputs, outputs, constants=(), opset=20):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "made",
        [info(name, kind, shape) for name, kind, shape in inputs],
        [info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def numbers(*shape, kind=np.float32):
    return (RANDOM.standard_normal(shape) * 0.3).astype(kind)


def convolution():
    nodes = [
        node("Conv", "x w1 b1", "c1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c1", "r1"),
        node("MaxPool", "r1", "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p1 w2 b2", "c2", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Sigmoid", "c2", "s2"),
        node("GlobalAveragePool", "s2", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w3 b3", "l"),
        node("Softmax", "l", "y", axis=1),
    ]
    constants = [("w1", numbers(8, 3, 3, 3)), ("b1", numbers(8)), ("w2", numbers(16, 8, 3, 3)), ("b2", numbers(16)),
                 ("w3", numbers(16, 10)), ("b3", numbers(10))]  # fmt: skip
    float_ = TensorProto.FLOAT
    return model(nodes, [("x", float_, ["n", 3, 16, 16])], [("y", float_, ["n", 10])], constants)


def attention():
    nodes = [
        node("MatMul", "x q", "xq"), node("MatMul", "x k", "xk"), node("MatMul", "x v", "xv"),
        node("Transpose", "xk", "xkt", perm=[0, 2, 1]),
        node("MatMul", "xq xkt", "scores"), node("Softmax", "scores", "shares", axis=-1),
        node("MatMul", "shares xv", "mixed"), node("Add", "mixed x", "sum"),
        node("LayerNormalization", "sum scale bias", "y", axis=-1),
    ]  # fmt: skip
    constants = [(name, numbers(24, 24)) for name in "qkv"] + [("scale", numbers(24)), ("bias", numbers(24))]
    float_ = TensorProto.FLOAT
    return model(nodes, [("x", float_, ["n", 12, 24])], [("y", float_, ["n", 12, 24])], constants)


def quantised():
    weights = RANDOM.randint(-20, 20, (16, 8)).astype(np.int8)
    nodes = [
        node("DynamicQuantizeLinear", "x", "xq xs xz"),
        node("MatMulInteger", "xq w xz", "product"),
        node("Cast", "product", "wide", to=TensorProto.FLOAT),
        node("Mul", "wide xs", "y"),
    ]
    float_ = TensorProto.FLOAT
    return model(nodes, [("x", float_, [4, 16])], [("y", float_, [4, 8])], [("w", weights)])


def embedding():
    nodes = [node("Gather", "table x", "rows", axis=0), node("ReduceMean", "rows axes", "y", keepdims=0)]
    constants = [("table", numbers(50, 6)), ("axes", np.array([1], np.int64))]
    return model(nodes, [("x", TensorProto.INT64, ["n", 5])], [("y", TensorProto.FLOAT, ["n", 6])], constants)


def product(kind, dtype):
    nodes = [node("MatMul", "x w", "m"), node("Relu", "m", "y")]
    return model(nodes, [("x", kind, ["n", 6])], [("y", kind, ["n", 3])], [("w", numbers(6, 3, kind=dtype))])


def joined_strings():
    string = TensorProto.STRING
    inputs = [("x", string, ["n", 2]), ("z", string, ["n", 2])]
    return model([node("StringConcat", "x z", "y")], inputs, [("y", string, ["n", 2])])


def from_bfloat():
    nodes = [node("Cast", "x", "y", to=TensorProto.FLOAT)]
    return model(nodes, [("x", TensorProto.BFLOAT16, ["n", 3])], [("y", TensorProto.FLOAT, ["n", 3])])


def relief_network():
    """The network that `daemon/models/relief/train` trains, before it has learned anything."""
    begun = {name: dict(layer) for name, layer in layers.initial(7).items()}
    for layer in begun.values():
        # As quiet as training keeps them, so that rounding stays rounding.
        layer["kernel"] = layer["kernel"] * np.float32(0.8)
    begun["head"]["kernel"] *= 5
    return export.build(begun | layers.detail()).SerializeToString()


def light(count, rows, columns):
    """Pictures, as the relief network takes them."""
    return {"image": RANDOM.random_sample((count, 3, rows, columns)).astype(np.float32)}


NETWORK = relief_network()
# By name: the file, and the inputs that it is asked with.
BOTH = {
    "network": (NETWORK, light(1, 256, 256)),
    "network_odd": (NETWORK, light(3, 85, 128)),
    "network_tiny": (NETWORK, light(1, 2, 3)),
    "tiny_mlp": ((BUILT_IN / "tiny_mlp/1/model.onnx").read_bytes(), {"input": numbers(3, 16)}),
    "relief_depth": ((BUILT_IN / "relief_depth/1/model.onnx").read_bytes(), {"image": np.abs(numbers(1, 3, 64, 64))}),
    "convolution": (convolution(), {"x": numbers(2, 3, 16, 16)}),
    "attention": (attention(), {"x": numbers(2, 12, 24)}),
    "quantised": (quantised(), {"x": numbers(4, 16)}),
    "embedding": (embedding(), {"x": RANDOM.randint(0, 50, (2, 5)).astype(np.int64)}),
}
BFLOAT = np.array([[1.0, -2.5, 0.15625]], ml_dtypes.bfloat16)
STRINGS = np.array([[b"a", "gr\u00fc\u00df".encode()]], np.object_)
ONNX_RUNTIME_ONLY = {
    "half": (product(TensorProto.FLOAT16, np.float16), {"x": numbers(2, 6, kind=np.float16)}),
    "double": (product(TensorProto.DOUBLE, np.float64), {"x": numbers(2, 6, kind=np.float64)}),
    "strings": (joined_strings(), {"x": STRINGS, "z": np.array([[b"", b" dich"]], np.object_)}),
    "bfloat": (from_bfloat(), {"x": BFLOAT}),
}
# What is said of a model beside its file.
SETTINGS = {
    "several": """max_batch_size: 4 instance_group { count: 3 }
        parameters { key: "intra_op_thread_count" value { string_value: "2" } }"""
}
SKIPPED_BY_RTEN = {"half": "FP16", "strings": "BYTES", "bfloat": "BF16"}


def library():
    package = importlib.util.find_spec("onnxruntime")
    folders = package.submodule_search_locations
    return next(path for folder in folders for path in sorted(pathlib.Path(folder, "capi").glob("libonnxruntime.so*")))


class Daemon:
    """A daemon with all models, of which those that load are loaded."""

    def __init__(self, command, engine, models, control="none"):
        self.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(self.folder.name)
        for name, (file, *_) in models.items():
            (root / "models" / name / "1").mkdir(parents=True)
            (root / "models" / name / "config.pbtxt").write_text(SETTINGS.get(name, ""))
            (root / "models" / name / "1" / "model.onnx").write_bytes(file)
        settings = f'[models]\nrepositories = ["{root}/models"]\nonnxruntime = "{engine}"\ncontrol = "{control}"\n'
        (root / "daemon.toml").write_text(settings + "exit_on_error = false\n")
        arguments = ["--config", f"{root}/daemon.toml", "--http-port", "0", "--grpc-port", "0"]
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*command, *arguments, "--ready-json", "--until-stdin-closes"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(root / "log", "w"), text=True,
        )  # fmt: skip
        line = self.process.stdout.readline()
        self.ready_s = time.monotonic() - began
        self.log = lambda: (root / "log").read_text()
        assert line, f"the daemon did not start: {self.log()}"
        self.http = json.loads(line)["http"]
        self.client = tritonhttp.InferenceServerClient(self.http, network_timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.stdin.close()
        self.process.wait(30)
        self.folder.cleanup()

    def ask(self, name, inputs):
        def tensor(key, array):
            tensor = tritonhttp.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            return tensor

        answer = self.client.infer(name, [tensor(*item) for item in inputs.items()])
        return answer.as_numpy(answer.get_response()["outputs"][0]["name"])

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10) as answer:
            return answer.read().decode()


def check_both_engines_agree(command):
    models = BOTH | ONNX_RUNTIME_ONLY
    with Daemon(command, library(), models) as ours, Daemon(command, "off", models) as built_in:
        for daemon, engine in ((ours, "onnxruntime"), (built_in, "rten")):
            assert daemon.ready_s < READY_S, f"{engine}: ready after {daemon.ready_s:.1f} s"
            config = daemon.client.get_model_config("tiny_mlp")
            assert config["parameters"]["engine"]["string_value"] == engine, config["parameters"]
            assert daemon.client.get_model_metadata("tiny_mlp")["platform"] == "onnxruntime_onnx"
            label = f'proofload_model_info{{model="tiny_mlp",version="1",engine="{engine}"}} 1'
            assert label in daemon.metrics(), daemon.metrics()
            assert "ONNX models are computed by" in daemon.log(), daemon.log()
        worst = 0.0
        for name, (_, inputs) in BOTH.items():
            one, other = ours.ask(name, inputs), built_in.ask(name, inputs)
            assert one.shape == other.shape and one.dtype == other.dtype, name
            np.testing.assert_allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
            worst = max(worst, float(np.abs(one - other).max()))
        return f"{len(BOTH)} models, at most {worst:.1e} apart; ready after {ours.ready_s:.2f} and {built_in.ready_s:.2f} s"


def relief_files():
    """The relief network that is served, and its variants."""
    files = {"served": BUILT_IN / "relief_depth" / "1" / "model.onnx"}
    variants = (BUILT_IN / "relief" / "variants").glob("*/relief_depth/1/model.onnx")
    return files | {file.parents[2].name: file for file in sorted(variants)}


def check_the_relief_network_is_the_same_in_both(command):
    models = {name: (file.read_bytes(),) for name, file in relief_files().items()}
    planes = [data.held_out(4, side)[0].transpose(0, 3, 1, 2) for side in (128, 256)]
    asked = [{"image": image} for image in (*planes, np.ascontiguousarray(planes[0][:, :, :85]))]
    apart = {}
    with Daemon(command, library(), models) as ours, Daemon(command, "off", models) as built_in:
        for name in models:
            answers = [(ours.ask(name, inputs), built_in.ask(name, inputs)) for inputs in asked]
            assert all(one.shape == other.shape and np.ptp(one) > 0.05 for one, other in answers), name
            apart[name] = max(float(np.abs(one - other).max()) for one, other in answers)
    # In 8 bits both round where they see fit.
    assert sorted(apart) == ["fp16", "int8", "pruned", "served"] and apart["int8"] < INT8_APART, apart
    assert all(most < HEIGHTS_APART for name, most in apart.items() if name != "int8"), apart
    return ", ".join(f"{name} {most:.1e}" for name, most in apart.items())


def check_every_type_is_computed_or_named(command):
    with Daemon(command, library(), ONNX_RUNTIME_ONLY) as daemon:
        for name in ("half", "double"):
            file, inputs = ONNX_RUNTIME_ONLY[name]
            weights = numpy_helper.to_array(onnx.load_from_string(file).graph.initializer[0])
            expected = np.maximum(inputs["x"] @ weights, 0)
            answer = daemon.ask(name, inputs)
            assert answer.dtype == expected.dtype, name
            tolerance = 2e-3 if name == "half" else 1e-12
            np.testing.assert_allclose(answer, expected, rtol=tolerance, atol=tolerance)
        texts = daemon.ask("strings", ONNX_RUNTIME_ONLY["strings"][1])
        assert texts.tolist() == [[b"a", "gr\u00fc\u00df dich".encode()]], texts
        assert (daemon.ask("bfloat", {"x": BFLOAT}) == BFLOAT.astype(np.float32)).all()
        try:
            daemon.ask("strings", {"x": np.array([[b"\xff", b""]], np.object_), "z": STRINGS})
            raise AssertionError("what is no text was taken")
        except InferenceServerException as error:
            assert "element 0 is no UTF-8 text" in str(error), error
    with Daemon(command, "off", ONNX_RUNTIME_ONLY) as daemon:
        index = {entry["name"]: entry for entry in daemon.client.get_model_repository_index()}
        for name, kind in SKIPPED_BY_RTEN.items():
            reason = index[name]["reason"]
            assert f"is {kind}, which rten" in reason and "models.onnxruntime" in reason, (name, reason)
    return "FP16, BF16, FP64 and strings by ONNX Runtime; by name what rten lacks"


def check_instances_compute_side_by_side(command):
    file, inputs = BOTH["convolution"]
    with Daemon(command, library(), {"several": (file, inputs), "one": (file, inputs)}) as daemon:
        expected = daemon.ask("one", inputs)

        def ask(_):
            with tritonhttp.InferenceServerClient(daemon.http, network_timeout=60) as client:
                tensor = tritonhttp.InferInput("x", list(inputs["x"].shape), "FP32").set_data_from_numpy(inputs["x"])
                return client.infer("several", [tensor]).as_numpy("y")

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, range(200)))
        for answer in answers:
            np.testing.assert_allclose(answer, expected, rtol=TOLERANCE, atol=TOLERANCE)
        counted = re.findall(r'proofload_instance_executions_total\{model="several".*\} (\d+)', daemon.metrics())
        assert len(counted) == 3 and sum(map(int, counted)) == 200, counted
    return f"200 answers of three instances: {', '.join(counted)}"


def check_the_second_load_is_short(command):
    took = {}
    for engine in (library(), "off"):
        file, inputs = BOTH["relief_depth"]
        models = {"first": (file, inputs), "second": (file, inputs)}
        with Daemon(command, engine, models, "explicit") as daemon:
            for name in models:
                began = time.monotonic()
                daemon.client.load_model(name)
                took[f"{'rten' if engine == 'off' else 'onnxruntime'} {name}"] = time.monotonic() - began
            assert (daemon.ask("first", inputs) == daemon.ask("second", inputs)).all()
            phases = re.findall(r'proofload_load_seconds\{model="second",version="1",phase="(\w+)"\}', daemon.metrics())
            assert sorted(phases) == ["read", "start", "warm_up"], phases
    assert all(seconds < SECOND_LOAD_S for name, seconds in took.items() if name.endswith("second")), took
    return ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items())


def check_a_wrong_library_is_named(command):
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder, "libonnxruntime.so")
        text.write_text("this is no library")
        for path in (text, "/nowhere/libonnxruntime.so", "libm.so.6"):
            pathlib.Path(folder, "daemon.toml").write_text(f'[models]\nonnxruntime = "{path}"\n')
            arguments = ["--config", f"{folder}/daemon.toml", "--http-port", "0", "--grpc-port", "0"]
            ended = subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
            said = ended.stdout + ended.stderr
            assert ended.returncode > 0 and f"cannot use ONNX Runtime at {path}" in said, (ended.returncode, said)
    return "three files that are none"


def main():
    command, failed = sys.argv[1:], 0
    for name, check in [(name, check) for name, check in globals().items() if name.startswith("check_")]:
        try:
            print(f"ok    {name[6:].replace('_', ' ')}: {check(command)}")
        except Exception:
            failed += 1
            print(f"FAIL  {name[6:].replace('_', ' ')}")
            traceback.print_exc(file=sys.stdout)
    sys.exit(failed > 0)


main()
