"""A model whose batches gain: adaptive batching reaches 0.95 of a loop over the best size, and one client waits for nobody."""

import json
import resource
import subprocess

from harness import TARGET, Claims, Daemon, Workplace, findings, percentile

# Reading the weights, 151 MB, is what an execution costs; elements of a batch share it.
WIDTH = 6144
FEW = 16
SIZES = [1, 2, 4, 6, 8, 12, 16, 24, 32]
USERS = 64
CONFIG = """
backend: "onnxruntime"
max_batch_size: 32
instance_group { count: 1 kind: KIND_CPU }
parameters { key: "adaptive_batching" value { string_value: "true" } }
"""
SCENARIO = """
kind = "sustained"
thresholds = ["error_rate <= 0%"]
[target]
http = "http://{http}"
[load]
model = "closed"
users = {users}
warm_up = "{warm_up}s"
duration = "{seconds}s"
request_timeout = "30s"
[[mix]]
name = "wide"
protocol = "kserve-http-binary"
model = "wide"
inputs = [{{ name = "x", datatype = "FP32", shape = [1, {few}], data = "random" }}]
"""


def write_model(folder):
    """x [n, 16] times weights [16, 6144], [6144, 6144], [6144, 16], with what keeps numbers small between."""
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = numpy.random.default_rng(1)
    widths = [FEW, WIDTH, WIDTH, FEW]
    weights, nodes = [], []
    for index, (rows, columns) in enumerate(zip(widths, widths[1:])):
        values = random.standard_normal((rows, columns), dtype=numpy.float32) / numpy.float32(rows**0.5)
        weights.append(numpy_helper.from_array(values, f"w{index}"))
        source = "x" if index == 0 else f"a{index - 1}"
        nodes.append(helper.make_node("MatMul", [source, f"w{index}"], [f"m{index}"]))
        nodes.append(helper.make_node("Tanh", [f"m{index}"], ["y" if index == 2 else f"a{index}"]))
    port = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", FEW])
    graph = helper.make_graph(nodes, "wide", [port("x")], [port("y")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    version = folder / "wide" / "1"
    version.mkdir(parents=True)
    onnx.save(model, version / "model.onnx")
    (folder / "wide" / "config.pbtxt").write_text(CONFIG)


def loop(repository, seconds, sizes):
    """Elements a second of a loop without a server, by batch size."""
    command = [TARGET / "release" / "examples" / "batch_loop", repository, "wide", str(seconds), *map(str, sizes)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {row["size"]: row["per_second"] for row in map(json.loads, lines)}


def client_cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def drive(place, http, users, warm_up, seconds):
    """Runs so many users; gives the findings, the folder, and the client's processor time for each request."""
    text = SCENARIO.format(http=http, users=users, warm_up=warm_up, seconds=seconds, few=FEW)
    before = client_cpu_s()
    code, folder = place.run(place.scenario(f"users-{users}", text), f"run-{users}")
    found = findings(folder)
    requests = found["rates"]["errors"]["n"]
    return code, found, folder, (client_cpu_s() - before) / max(1, requests)


def added_ns(folder):
    """What each request spent in the server beside computing, by the server's own phases."""
    import pyarrow.parquet

    phases = ["queue_ns", "copy_in_ns", "copy_out_ns"]
    rows = pyarrow.parquet.read_table(folder / "samples-00000.parquet", columns=[*phases, "compute_ns", "outcome"])
    return [sum(row[phase] for phase in phases) for row in rows.to_pylist() if row["compute_ns"]]


def metric(http, name):
    import urllib.request

    text = urllib.request.urlopen(f"http://{http}/metrics", timeout=10).read().decode()
    return next((line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name}{{")), None)


def main():
    claims = Claims()
    with Workplace() as place:
        repository = place.path / "models"
        write_model(repository)
        direct = loop(repository, 3, SIZES)
        print("  direct loop, one thread, elements a second:", {size: round(rate, 1) for size, rate in direct.items()})
        best = max(direct, key=direct.get)
        gain = direct[best] / direct[1]
        claims.claim(1000 / direct[1] >= 5, f"an inference takes {1000 / direct[1]:.2f} ms alone, 5 at least")
        claims.claim(gain > 1.5, f"the best size, {best}, serves {gain:.2f} times as much as one by one")
        with Daemon("--model-repository", repository, "--compute-threads", "1") as daemon:
            code, found, _, cpu_s = drive(place, daemon.http, USERS, 20, 20)
            size = metric(daemon.http, "proofload_adaptive_batch_elements")
            goodput = found["rates"]["goodput_per_s"]
            # Again, since a machine is not always equally fast; the server's own figure lies between the two.
            again = loop(repository, 5, [best])[best]
            possible = (direct[best] + again) / 2
            print(f"  {USERS} users: {goodput:.1f}/s in batches of {size}; a loop {direct[best]:.1f} and {again:.1f}/s")
            print(f"  the client took {cpu_s * 1e6:.0f} µs of processor time a request")
            claims.claim(code == 0, f"exit code {code} at {USERS} users: no errors")
            share = goodput / possible
            claims.claim(share >= 0.95, f"under saturation it serves {share:.3f} of the loop over the best size")
            code, found, folder, cpu_s = drive(place, daemon.http, 1, 3, 15)
            added = added_ns(folder)
            median, p99 = percentile(added, 0.5) / 1e3, percentile(added, 0.99) / 1e3
            print(f"  one user: {len(added)} requests; beside computing p50 {median:.1f} µs, p99 {p99:.1f} µs")
            claims.claim(code == 0 and bool(added), f"exit code {code} with one user")
            claims.claim(median < 100, f"with one user the server adds {median:.1f} µs, less than 100")
    claims.finish()


if __name__ == "__main__":
    main()
