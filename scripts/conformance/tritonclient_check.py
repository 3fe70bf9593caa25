#!/usr/bin/env python3
"""Checks a running daemon with the real Triton client: every call that a user of it would make.

Prints one line per check and exits non-zero if any failed. Results are compared with the ONNX project's own
reference implementation, which runs the same model file.
"""

import argparse
import asyncio
import json
import sys
import urllib.request

import numpy as np
import onnx.reference
import tritonclient.grpc as tritongrpc
import tritonclient.grpc.aio as tritongrpc_aio
import tritonclient.http as tritonhttp
import tritonclient.http.aio as tritonhttp_aio
from checks import Checks

TOLERANCE = 1e-5


class Model:
    """The model under test, and what it should answer."""

    def __init__(self, name, file):
        self.name = name
        self.reference = onnx.reference.ReferenceEvaluator(file)
        self.input = self.reference.input_names[0]
        self.output = self.reference.output_names[0]
        self.random = np.random.default_rng(7)

    def sample(self, batch=1):
        return self.random.standard_normal((batch, 16)).astype(np.float32)

    def expect(self, got, sample):
        wanted = self.reference.run(None, {self.input: sample})[0]
        assert got is not None, "the output is missing"
        assert got.dtype == np.float32 and got.shape == wanted.shape, f"{got.dtype} {got.shape}, wanted {wanted.shape}"
        worst = float(np.max(np.abs(got - wanted)))
        assert worst < TOLERANCE, f"differs from the reference by {worst}"


def tensor(module, model, sample, datatype="FP32", **how):
    made = module.InferInput(model.input, list(sample.shape), datatype)
    made.set_data_from_numpy(sample, **how)
    return made


def counts(client, model):
    """Successful requests, inferences and executions of the model, and failures, over HTTP."""
    (entry,) = client.get_inference_statistics(model.name)["model_stats"]
    stats = entry["inference_stats"]
    return np.array([stats["success"]["count"], entry["inference_count"], stats["fail"]["count"]])


def server_checks(checks, protocol, client, model):
    """What the HTTP and gRPC clients have in common; gRPC answers are asked for as JSON."""
    how = {} if protocol == "http" else {"as_json": True}

    def metadata():
        found = client.get_server_metadata(**how)
        assert found["name"] and found["version"], found
        return f"{found['name']} {found['version']}: {', '.join(found['extensions'])}"

    def model_metadata():
        found = client.get_model_metadata(model.name, **how)
        (taken,), (given,) = found["inputs"], found["outputs"]
        assert found["name"] == model.name and "1" in found["versions"], found
        assert (taken["name"], taken["datatype"]) == (model.input, "FP32"), found
        assert [int(size) for size in taken["shape"]] == [-1, 16], found
        assert given["name"] == model.output and [int(size) for size in given["shape"]] == [-1, 4], found

    def config():
        found = client.get_model_config(model.name, **how)
        found = found.get("config", found)
        assert found["name"] == model.name and found["max_batch_size"] > 1, found
        assert found["input"][0]["data_type"] == "TYPE_FP32", found
        assert "dynamic_batching" in found, found

    def index():
        found = client.get_model_repository_index(**how)
        found = found.get("models", found) if isinstance(found, dict) else found
        (entry,) = [entry for entry in found if entry["name"] == model.name]
        assert (entry["version"], entry["state"]) == ("1", "READY"), entry
        return ", ".join(sorted(entry["name"] for entry in found))

    def statistics():
        everything = client.get_inference_statistics(**how)["model_stats"]
        assert model.name in [entry["name"] for entry in everything], everything

    def yes(found):
        assert found is True, found

    checks.run(f"{protocol}: server is live", lambda: yes(client.is_server_live()))
    checks.run(f"{protocol}: server is ready", lambda: yes(client.is_server_ready()))
    checks.run(f"{protocol}: model is ready", lambda: yes(client.is_model_ready(model.name)))
    checks.run(f"{protocol}: version 1 is ready", lambda: yes(client.is_model_ready(model.name, "1")))
    checks.run(f"{protocol}: an unknown model is not", lambda: yes(not client.is_model_ready("no_such_model")))
    checks.run(f"{protocol}: server metadata", metadata)
    checks.run(f"{protocol}: model metadata", model_metadata)
    checks.run(f"{protocol}: model configuration", config)
    checks.run(f"{protocol}: repository index", index)
    checks.run(f"{protocol}: statistics of all models", statistics)


def refusals(checks, protocol, module, client, model):
    """Requests that are wrong in one way each."""
    status = {"wrong": "400", "unknown": "404", "not allowed": "503"}
    if protocol == "grpc":
        status = {"wrong": "INVALID_ARGUMENT", "unknown": "NOT_FOUND", "not allowed": "UNAVAILABLE"}

    def send(*inputs, name=model.name, **more):
        return lambda: client.infer(name, list(inputs), **more)

    good = tensor(module, model, model.sample())
    long = tensor(module, model, np.zeros((1, 17), np.float32))
    wide = tensor(module, model, model.sample(1000))
    double = tensor(module, model, np.zeros((1, 16), np.float64), "FP64")
    stray = module.InferInput("no_such_input", [1, 16], "FP32")
    stray.set_data_from_numpy(model.sample())
    asked = [module.InferRequestedOutput("no_such_output")]
    refuses = lambda what, call, kind, *words: checks.refuses(f"{protocol}: {what}", call, status[kind], *words)
    refuses("an unknown model is refused", send(good, name="no_such_model"), "unknown", "no_such_model")
    refuses("an unknown version is refused", send(good, model_version="77"), "unknown", "77")
    refuses("a wrong shape is refused", send(long), "wrong", "shape", model.input)
    refuses("a batch that is too large is refused", send(wide), "wrong", "batch")
    refuses("a wrong datatype is refused", send(double), "wrong", "FP64", "FP32")
    refuses("an unknown input is refused", send(stray), "wrong", "no_such_input")
    refuses("a missing input is refused", send(), "wrong", "input")
    refuses("an unknown output is refused", send(good, outputs=asked), "wrong", "no_such_output")
    refuses("loading a model is not allowed", lambda: client.load_model(model.name), "not allowed", "load")


def expect_counts(client, model, before, **sent):
    grown = (counts(client, model) - before).tolist()
    wanted = [sent["requests"], sent["inferences"], sent["failures"]]
    assert grown == wanted, f"requests, inferences, failures grew by {grown}, sent were {wanted}"
    return f"{wanted[0]} requests, {wanted[1]} inferences, {wanted[2]} failures"


def compressed(checks, protocol, module, client, model, url):
    """Requests and answers in every coding that the clients know, over a body that is worth compressing."""
    sample = model.sample(32)
    codings = [None, "gzip", "deflate"]

    def infer(ask, answer):
        def check():
            how = {"request_compression_algorithm": ask, "response_compression_algorithm": answer}
            how = how if protocol == "http" else {"compression_algorithm": ask}
            asked = None
            if protocol == "http":
                asked = [module.InferRequestedOutput(model.output, binary_data=False)]
            result = client.infer(model.name, [tensor(module, model, sample)], outputs=asked, **how)
            model.expect(result.as_numpy(model.output), sample)

        return check

    def coded():
        """What the client hides: that the answer really comes compressed."""
        body = {"name": model.input, "datatype": "FP32", "shape": [32, 16], "data": sample.ravel().tolist()}
        for answer in codings[1:]:
            asked = urllib.request.Request(
                f"http://{url}/v2/models/{model.name}/infer",
                data=json.dumps({"inputs": [body]}).encode(),
                headers={"Accept-Encoding": answer},
            )
            with urllib.request.urlopen(asked) as response:
                said = response.headers["Content-Encoding"]
            assert said == answer, f"{said}, wanted {answer}"

    if protocol == "http":
        checks.run("http: answers are compressed on the wire", coded)
    for ask in codings:
        for answer in codings if protocol == "http" else [None]:
            checks.run(f"{protocol}: request coded as {ask}, answer as {answer}", infer(ask, answer))


def http_infer(checks, client, model):
    def infer(binary_in, binary_out):
        def check():
            sample = model.sample(3)
            sent = tensor(tritonhttp, model, sample, binary_data=binary_in)
            outputs = [tritonhttp.InferRequestedOutput(model.output, binary_data=binary_out)]
            result = client.infer(model.name, [sent], outputs=outputs, request_id="17")
            model.expect(result.as_numpy(model.output), sample)
            answer = result.get_response()
            assert (answer["id"], answer["model_name"], answer["model_version"]) == ("17", model.name, "1"), answer
            assert ("data" in answer["outputs"][0]) != binary_out, answer

        return check

    def all_outputs():
        sample = model.sample()
        model.expect(client.infer(model.name, [tensor(tritonhttp, model, sample)]).as_numpy(model.output), sample)

    def with_timeout():
        sample = model.sample()
        result = client.infer(model.name, [tensor(tritonhttp, model, sample)], timeout=5_000_000)
        model.expect(result.as_numpy(model.output), sample)

    def many_at_once():
        samples = [model.sample() for _ in range(40)]
        waiting = [client.async_infer(model.name, [tensor(tritonhttp, model, sample)]) for sample in samples]
        for sample, handle in zip(samples, waiting):
            model.expect(handle.get_result().as_numpy(model.output), sample)

    async def asynchronous(url):
        client = tritonhttp_aio.InferenceServerClient(url)
        try:
            samples = [model.sample() for _ in range(10)]
            calls = [client.infer(model.name, [tensor(tritonhttp, model, sample)]) for sample in samples]
            for sample, result in zip(samples, await asyncio.gather(*calls)):
                model.expect(result.as_numpy(model.output), sample)
        finally:
            await client.close()

    before = counts(client, model)
    checks.run("http: infer, JSON", infer(False, False))
    checks.run("http: infer, binary", infer(True, True))
    checks.run("http: infer, JSON in, binary out", infer(False, True))
    checks.run("http: infer, binary in, JSON out", infer(True, False))
    checks.run("http: infer, no output named", all_outputs)
    checks.run("http: infer, with a timeout", with_timeout)
    checks.run("http: infer, many at once", many_at_once)
    checks.run("http: infer, asyncio", lambda: asyncio.run(asynchronous(client._parsed_url.netloc)))
    checks.run(
        "http: statistics grew by exactly what was sent",
        lambda: expect_counts(client, model, before, requests=56, inferences=64, failures=0),
    )


def grpc_infer(checks, client, http, model, url):
    def infer():
        sample = model.sample(3)
        result = client.infer(model.name, [tensor(tritongrpc, model, sample)], request_id="17")
        model.expect(result.as_numpy(model.output), sample)
        answer = result.get_response()
        assert (answer.id, answer.model_name, answer.model_version) == ("17", model.name, "1"), answer

    def with_timeouts():
        sample = model.sample()
        sent = [tensor(tritongrpc, model, sample)]
        result = client.infer(model.name, sent, client_timeout=5.0, timeout=5_000_000)
        model.expect(result.as_numpy(model.output), sample)

    def stream():
        samples = [model.sample() for _ in range(20)]
        answers = []
        client.start_stream(callback=lambda result, error: answers.append((result, error)))
        for at, sample in enumerate(samples):
            client.async_stream_infer(model.name, [tensor(tritongrpc, model, sample)], request_id=str(at))
        wrong = tensor(tritongrpc, model, np.zeros((1, 17), np.float32))
        client.async_stream_infer(model.name, [wrong], request_id="wrong")
        client.stop_stream()
        assert len(answers) == 21, f"{len(answers)} answers to 21 requests"
        for at, (sample, (result, error)) in enumerate(zip(samples, answers)):
            assert error is None, error
            assert result.get_response().id == str(at), "the answers keep the order of the requests"
            model.expect(result.as_numpy(model.output), sample)
        assert "shape" in str(answers[20][1]), answers[20]

    async def asynchronous():
        client = tritongrpc_aio.InferenceServerClient(url)
        try:
            samples = [model.sample() for _ in range(10)]
            calls = [client.infer(model.name, [tensor(tritongrpc, model, sample)]) for sample in samples]
            for sample, result in zip(samples, await asyncio.gather(*calls)):
                model.expect(result.as_numpy(model.output), sample)
        finally:
            await client.close()

    before = counts(http, model)
    checks.run("grpc: infer", infer)
    checks.run("grpc: infer, with timeouts", with_timeouts)
    checks.run("grpc: infer, a stream", stream)
    checks.run("grpc: infer, asyncio", lambda: asyncio.run(asynchronous()))
    checks.run(
        "grpc: statistics grew by exactly what was sent",
        lambda: expect_counts(http, model, before, requests=32, inferences=34, failures=0),
    )


def ensemble(checks, protocol, module, client):
    """The built-in relief as an ensemble answers what its steps answer one after the other."""

    def ask(model, name, array, *outputs):
        sent = module.InferInput(name, list(array.shape), "UINT8" if array.dtype == np.uint8 else "FP32")
        sent.set_data_from_numpy(array)
        result = client.infer(model, [sent], outputs=[module.InferRequestedOutput(output) for output in outputs])
        return [result.as_numpy(output) for output in outputs]

    def check():
        picture = np.random.default_rng(3).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
        height, depth = ask("relief", "picture", picture, "height", "depth")
        assert height.shape == depth.shape == (2, 1, 20, 30), f"{height.shape} {depth.shape}"
        (image,) = ask("relief_prepare", "picture", picture, "image")
        (by_hand,) = ask("relief_depth", "image", image, "depth")
        assert np.array_equal(depth, by_hand), f"depths differ by {np.max(np.abs(depth - by_hand))}"
        (by_hand,) = ask("relief_height", "depth", by_hand, "height")
        assert np.array_equal(height, by_hand), f"heights differ by {np.max(np.abs(height - by_hand))}"

    checks.run(f"{protocol}: an ensemble is its steps", check)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", required=True, metavar="HOST:PORT")
    parser.add_argument("--grpc", required=True, metavar="HOST:PORT")
    parser.add_argument("--model", default="tiny_mlp", help="takes 16 floats, gives 4, batches (default: %(default)s)")
    parser.add_argument("--model-file", required=True, help="the ONNX file that the daemon serves as MODEL")
    arguments = parser.parse_args()
    model = Model(arguments.model, arguments.model_file)
    checks = Checks()
    http = tritonhttp.InferenceServerClient(arguments.http, concurrency=8)
    grpc = tritongrpc.InferenceServerClient(arguments.grpc)
    server_checks(checks, "http", http, model)
    server_checks(checks, "grpc", grpc, model)
    http_infer(checks, http, model)
    grpc_infer(checks, grpc, http, model, arguments.grpc)
    compressed(checks, "http", tritonhttp, http, model, arguments.http)
    compressed(checks, "grpc", tritongrpc, grpc, model, arguments.grpc)
    ensemble(checks, "http", tritonhttp, http)
    ensemble(checks, "grpc", tritongrpc, grpc)
    refusals(checks, "http", tritonhttp, http, model)
    refusals(checks, "grpc", tritongrpc, grpc, model)
    grpc.close()
    http.close()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
