#!/usr/bin/env python3
"""Checks Triton's extensions with the real Triton client: every data type, shared memory, decoupled streams, classes,
generate, settings, loading and unloading, and statistics of all of it.

Starts a daemon of its own, with identity models of every data type, whose answers must be, to the bit, what was sent.

Usage: extensions_check.py COMMAND...   the command that starts the daemon, such as target/release/proofload daemon
Prints one line for each check and exits non-zero when one fails.
"""

import asyncio
import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import urllib.request

import ml_dtypes
import numpy as np
import tritonclient.grpc as tritongrpc
import tritonclient.grpc.aio as tritongrpc_aio
import tritonclient.http as tritonhttp
import tritonclient.http.aio as tritonhttp_aio
import tritonclient.utils.shared_memory as shm
from checks import Checks
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

CONFIG_TYPE = {"BYTES": "STRING"}
NUMPY = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BYTES": np.object_,
}  # fmt: skip
DECOUPLED = 'model_transaction_policy { decoupled: true }'
PATIENCE_S = 30


def config(datatype, dims, more="", output=""):
    kind = CONFIG_TYPE.get(datatype, datatype)
    return (
        f'backend: "identity" {more}\n'
        f'input {{ name: "x" data_type: TYPE_{kind} dims: {dims} }}\n'
        f'output {{ name: "y" data_type: TYPE_{kind} dims: {dims} {output} }}\n'
    )


def parameter(key, value):
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def repository(folder):
    """Models for everything that is checked."""
    models = {f"identity_{datatype}": config(datatype, [-1, -1]) for datatype in [*NUMPY, "BF16"]}
    models["classes"] = config("FP32", [4], "max_batch_size: 8", 'label_filename: "labels.txt"')
    models["thrice"] = config("BYTES", [1], f"{DECOUPLED} {parameter('repeat', 3)}")
    models["never"] = config("BYTES", [1], f"{DECOUPLED} {parameter('repeat', 0)}")
    models["endless"] = config("BYTES", [1], f"{DECOUPLED} {parameter('repeat', 1000000)} {parameter('delay_ms', 5)}")
    for name, text in models.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(text)
    (folder / "classes" / "labels.txt").write_text("cat\ndog\nowl\n")


def sample(datatype, rows=2):
    random = np.random.default_rng(7)
    if datatype == "BYTES":
        return np.array([[b"", "é\0".encode()], [b"a\nb", bytes(range(32, 64))]], dtype=np.object_)
    if datatype == "BOOL":
        return random.integers(0, 2, (rows, 3)).astype(np.bool_)
    kind = np.dtype(NUMPY[datatype])
    if kind.kind == "f":
        return random.standard_normal((rows, 3)).astype(kind)
    limits = np.iinfo(kind)
    return np.array([[limits.min, limits.max, 1], [0, 2, 3]], dtype=kind)


def tensor(module, data, name="x"):
    made = module.InferInput(name, list(data.shape), np_to_triton_dtype(data.dtype))
    made.set_data_from_numpy(data)
    return made


def text(value):
    return np.array([value], dtype=np.object_)


def same(got, sent):
    assert got is not None and got.shape == sent.shape, f"{got}, sent was {sent}"
    # Texts that came as JSON are strings, all others bytes.
    raw = lambda value: value.encode() if isinstance(value, str) else value
    assert [raw(value) for value in got.flat] == list(sent.flat), f"{got}, sent was {sent}"


def datatypes(checks, http, grpc):
    def over_http(datatype, binary_in, binary_out):
        data = sample(datatype)
        sent = tritonhttp.InferInput("x", list(data.shape), datatype)
        sent.set_data_from_numpy(data, binary_data=binary_in)
        outputs = [tritonhttp.InferRequestedOutput("y", binary_data=binary_out)]
        same(http.infer(f"identity_{datatype}", [sent], outputs=outputs).as_numpy("y"), data)

    def over_grpc(datatype):
        data = sample(datatype)
        same(grpc.infer(f"identity_{datatype}", [tensor(tritongrpc, data)]).as_numpy("y"), data)

    for datatype in NUMPY:
        checks.run(f"http: {datatype}, binary", lambda: over_http(datatype, True, True))
        if datatype != "FP16":
            checks.run(f"http: {datatype}, JSON", lambda: over_http(datatype, False, False))
        checks.run(f"grpc: {datatype}", lambda: over_grpc(datatype))
    binary_only = lambda: over_http("FP16", True, False)
    checks.refuses("http: FP16 is refused as JSON", binary_only, "500", "JSON cannot carry")

    def brain(module, client):
        data = np.array([[1.0, -2.5], [0.0, 1e30]], dtype=ml_dtypes.bfloat16)
        sent = module.InferInput("x", list(data.shape), "BF16")
        sent.set_data_from_numpy(data)
        same(client.infer("identity_BF16", [sent]).as_numpy("y").astype(data.dtype), data)

    checks.run("http: BF16, binary", lambda: brain(tritonhttp, http))
    checks.run("grpc: BF16", lambda: brain(tritongrpc, grpc))


class Region:
    """A shared memory object of this process, gone at the end of the block."""

    def __init__(self, name, size):
        self.name, self.size = name, size
        self.key = f"/proofload_conformance_{name}"

    def __enter__(self):
        self.handle = shm.create_shared_memory_region(self.name, self.key, self.size)
        return self

    def __exit__(self, *_):
        shm.destroy_shared_memory_region(self.handle)


def shared_memory(checks, protocol, module, client):
    def round_trip(data):
        content = serialize_byte_tensor(data) if data.dtype == np.object_ else data
        size = len(content.item()) if data.dtype == np.object_ else data.nbytes
        with Region(f"{protocol}_in", size) as taken, Region(f"{protocol}_out", size + 64) as given:
            shm.set_shared_memory_region(taken.handle, [content])
            for region in (taken, given):
                client.register_system_shared_memory(region.name, region.key, region.size)
            datatype = np_to_triton_dtype(data.dtype)
            sent = module.InferInput("x", list(data.shape), datatype)
            sent.set_shared_memory(taken.name, size)
            wanted = module.InferRequestedOutput("y")
            wanted.set_shared_memory(given.name, size, offset=64)
            result = client.infer(f"identity_{datatype}", [sent], outputs=[wanted])
            output = result.get_output("y")
            shape = list(output["shape"] if isinstance(output, dict) else output.shape)
            assert shape == list(data.shape), output
            same(shm.get_contents_as_numpy(given.handle, data.dtype, shape, offset=64), data)
            names = client.get_system_shared_memory_status()
            names = [entry["name"] for entry in names] if isinstance(names, list) else list(names.regions)
            assert sorted(names) == [taken.name, given.name], names
            client.unregister_system_shared_memory(taken.name)
            client.unregister_system_shared_memory()
            left = client.get_system_shared_memory_status()
            assert not (left if isinstance(left, list) else left.regions), left

    def large():
        data = np.random.default_rng(3).standard_normal((1024, 1024)).astype(np.float32)
        round_trip(data)
        return f"{data.nbytes} bytes"

    checks.run(f"{protocol}: shared memory, numbers", lambda: round_trip(sample("INT64")))
    checks.run(f"{protocol}: shared memory, texts", lambda: round_trip(sample("BYTES")))
    checks.run(f"{protocol}: shared memory, a large tensor", large)
    checks.run(f"{protocol}: CUDA shared memory has nothing to forget", client.unregister_cuda_shared_memory)
    wrong = lambda: client.register_system_shared_memory("r", "/proofload_no_such_object", 4)
    status = {"http": "400", "grpc": "INVALID_ARGUMENT"}[protocol]
    checks.refuses(f"{protocol}: an object that is not there is refused", wrong, status, "Unable to open")
    unknown = module.InferInput("x", [1, 1], "FP32")
    unknown.set_shared_memory("nobody", 4)
    status = {"http": "404", "grpc": "NOT_FOUND"}[protocol]
    infer = lambda: client.infer("identity_FP32", [unknown])
    checks.refuses(f"{protocol}: a region that is not registered is refused", infer, status, "nobody")


def classes(checks, protocol, module, client):
    def check():
        data = np.array([[1, 5, 10, 4], [0.5, 0, 0, 0.25]], dtype=np.float32)
        wanted = module.InferRequestedOutput("y", class_count=2)
        got = client.infer("classes", [tensor(module, data)], outputs=[wanted]).as_numpy("y")
        expected = [[b"10.000000:2:owl", b"5.000000:1:dog"], [b"0.500000:0:cat", b"0.250000:3"]]
        assert got.tolist() == expected, got

    checks.run(f"{protocol}: classification", check)


def streams(checks, url):
    def ask(answers, client, model, requests, **more):
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for number in range(requests):
            client.async_stream_infer(model, [tensor(tritongrpc, text("a"))], request_id=str(number), **more)

    def collect(model, requests, expected, **more):
        answers = queue.Queue()
        with tritongrpc.InferenceServerClient(url) as client:
            ask(answers, client, model, requests, **more)
            found = [answers.get(timeout=PATIENCE_S) for _ in range(expected)]
            client.stop_stream()
        assert answers.empty(), answers.get()
        assert all(error is None for _, error in found), found
        responses = [result.get_response() for result, _ in found]
        last = [response.parameters["triton_final_response"].bool_param for response in responses]
        return [(response.id, len(response.outputs), final) for response, final in zip(responses, last)]

    def each_three_times():
        found = collect("thrice", 2, 6)
        assert sorted(found) == [("0", 1, False)] * 3 + [("1", 1, False)] * 3, found

    def told_when_it_is_over():
        found = collect("thrice", 1, 4, enable_empty_final_response=True)
        assert found == [("0", 1, False)] * 3 + [("0", 0, True)], found
        assert collect("never", 1, 1, enable_empty_final_response=True) == [("0", 0, True)]

    def one_answer_is_the_last():
        with tritongrpc.InferenceServerClient(url) as client:
            answers = queue.Queue()
            client.start_stream(callback=lambda result, error: answers.put((result, error)))
            client.async_stream_infer("identity_INT8", [tensor(tritongrpc, sample("INT8"))])
            result, error = answers.get(timeout=PATIENCE_S)
            client.stop_stream()
        assert error is None and result.get_response().parameters["triton_final_response"].bool_param, error

    def cancelled():
        answers = queue.Queue()
        with tritongrpc.InferenceServerClient(url) as client:
            ask(answers, client, "endless", 1)
            for _ in range(3):
                _, error = answers.get(timeout=PATIENCE_S)
                assert error is None, error
            client.stop_stream(cancel_requests=True)
        # The only instance of the model is free again only if the first request was given up.
        with tritongrpc.InferenceServerClient(url) as client:
            again = queue.Queue()
            ask(again, client, "endless", 1)
            _, error = again.get(timeout=PATIENCE_S)
            assert error is None, error
            client.stop_stream(cancel_requests=True)

    async def asynchronous():
        async def requests():
            for number in range(2):
                yield {"model_name": "thrice", "inputs": [tensor(tritongrpc, text("a"))], "request_id": str(number)}

        async with tritongrpc_aio.InferenceServerClient(url) as client:
            found = [result.get_response().id async for result, error in client.stream_infer(requests()) if not error]
        assert sorted(found) == ["0"] * 3 + ["1"] * 3, found

    def alone():
        with tritongrpc.InferenceServerClient(url) as client:
            client.infer("thrice", [tensor(tritongrpc, text("a"))])

    checks.run("grpc: a decoupled model answers each request three times", each_three_times)
    checks.run("grpc: and says when it is over to who asks", told_when_it_is_over)
    checks.run("grpc: a single answer is the last one", one_answer_is_the_last)
    checks.run("grpc: a stream that is cancelled stops the model", cancelled)
    checks.run("grpc: a decoupled stream, asyncio", lambda: asyncio.run(asynchronous()))
    checks.refuses("grpc: a decoupled model is refused alone", alone, "UNIMPLEMENTED", "decoupled")


def post(http, path, body):
    request = urllib.request.Request(f"http://{http}{path}", data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return response.headers["content-type"], response.read().decode()


def generate(checks, http):
    def one():
        _, body = post(http, "/v2/models/identity_INT32/generate", {"id": "7", "x": [1, 2], "temperature": 0.5})
        expected = {"id": "7", "model_name": "identity_INT32", "model_version": "1", "y": [1, 2]}
        assert json.loads(body) == expected, body

    def many():
        kind, body = post(http, "/v2/models/thrice/generate_stream", {"x": "a\nb"})
        assert kind == "text/event-stream; charset=utf-8", kind
        events = [json.loads(event.removeprefix("data: ")) for event in body.split("\n\n") if event]
        assert [event["y"] for event in events] == ["a\nb"] * 3, events

    checks.run("http: generate", one)
    checks.run("http: generate_stream", many)


def asyncio_http(checks, http):
    async def check():
        data = sample("UINT64")
        async with tritonhttp_aio.InferenceServerClient(http) as client:
            calls = [client.infer("identity_UINT64", [tensor(tritonhttp, data)]) for _ in range(8)]
            for result in await asyncio.gather(*calls):
                same(result.as_numpy("y"), data)
            with Region("aio", data.nbytes) as region:
                shm.set_shared_memory_region(region.handle, [data])
                await client.register_system_shared_memory(region.name, region.key, region.size)
                sent = tritonhttp.InferInput("x", list(data.shape), "UINT64")
                sent.set_shared_memory(region.name, region.size)
                same((await client.infer("identity_UINT64", [sent])).as_numpy("y"), data)
                await client.unregister_system_shared_memory(region.name)

    checks.run("http: asyncio, with shared memory", lambda: asyncio.run(check()))


def settings(checks, protocol, client, others):
    how = {} if protocol == "http" else {"as_json": True}
    values = lambda found: found.get("settings", found)

    def trace_level(found):
        level = values(found)["trace_level"]
        return level["value"] if isinstance(level, dict) else level

    def trace():
        client.update_trace_settings("classes", {"trace_level": ["OFF"], "trace_rate": "5"})
        assert trace_level(client.get_trace_settings("classes", **how)) == ["OFF"]
        assert trace_level(others.get_trace_settings()) == ["TIMESTAMPS"], "the server's are as they were"
        client.update_trace_settings("classes", {"trace_level": None, "trace_rate": None})
        assert trace_level(client.get_trace_settings("classes", **how)) == ["TIMESTAMPS"]

    def log():
        client.update_log_settings({"log_verbose_level": 1, "log_info": False})
        found = others.get_log_settings()
        assert (found["log_verbose_level"], found["log_info"], found["log_error"]) == (1, False, True), found
        client.update_log_settings({"log_verbose_level": 0, "log_info": True})

    checks.run(f"{protocol}: trace settings of a model", trace)
    checks.run(f"{protocol}: log settings", log)
    file = lambda: client.update_trace_settings(settings={"trace_file": "/tmp/x"})
    status = {"http": "501", "grpc": "UNIMPLEMENTED"}[protocol]
    checks.refuses(f"{protocol}: no trace file from afar", file, status, "network protocol")


def repository_control(checks, protocol, client):
    how = {} if protocol == "http" else {"as_json": True}

    def state(name):
        found = client.get_model_repository_index(**how)
        found = found.get("models", found) if isinstance(found, dict) else found
        (entry,) = [entry for entry in found if entry["name"] == name]
        return entry.get("state", "")

    def check():
        assert client.is_model_ready("identity_INT8") and state("identity_INT8") == "READY"
        client.unload_model("identity_INT8")
        assert not client.is_model_ready("identity_INT8") and state("identity_INT8") != "READY"
        client.load_model("identity_INT8")
        assert client.is_model_ready("identity_INT8") and state("identity_INT8") == "READY"

    checks.run(f"{protocol}: a model is unloaded and loaded again", check)


def statistics(checks, http):
    def check():
        (thrice,) = http.get_inference_statistics("thrice")["model_stats"]
        success = thrice["inference_stats"]["success"]["count"]
        # Two and one over a stream, two over asyncio, one over generate_stream.
        assert (success, thrice["execution_count"]) == (6, 6), thrice
        counts = {key: (part["success"]["count"], part["empty_response"]["count"]) for key, part in thrice["response_stats"].items()}
        assert counts == {"0": (6, 0), "1": (6, 0), "2": (6, 0), "3": (0, 6)}, counts
        (endless,) = http.get_inference_statistics("endless")["model_stats"]
        assert endless["inference_stats"]["success"]["count"] == 0, endless

    checks.run("http: statistics of decoupled models", check)
    extensions = http.get_server_metadata()["extensions"]
    wanted = {"system_shared_memory", "classification", "trace", "logging", "statistics", "binary_tensor_data"}
    missing = wanted - set(extensions)
    checks.run("http: extensions are announced", lambda: None if not missing else 1 / 0)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        repository(pathlib.Path(folder))
        arguments = ["--http-port", "0", "--grpc-port", "0", "--ready-json", "--until-stdin-closes"]
        arguments += ["--model-control-mode", "explicit", "--load-model", "*"]
        arguments += ["--model-repository", folder, "--allow-client-shm", "--otlp-endpoint", "http://127.0.0.1:9"]
        daemon = subprocess.Popen(
            [*sys.argv[1:], *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        ready = json.loads(daemon.stdout.readline())
        http = tritonhttp.InferenceServerClient(ready["http"], concurrency=8)
        grpc = tritongrpc.InferenceServerClient(ready["grpc"])
        datatypes(checks, http, grpc)
        for protocol, module, client in (("http", tritonhttp, http), ("grpc", tritongrpc, grpc)):
            shared_memory(checks, protocol, module, client)
            classes(checks, protocol, module, client)
            settings(checks, protocol, client, http)
            repository_control(checks, protocol, client)
        asyncio_http(checks, ready["http"])
        streams(checks, ready["grpc"])
        generate(checks, ready["http"])
        statistics(checks, http)
        grpc.close()
        http.close()
        daemon.stdin.close()
        checks.run("the daemon ends well", lambda: None if daemon.wait(PATIENCE_S) == 0 else 1 / 0)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
