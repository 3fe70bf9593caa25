"""The daemon under test, and what is asked of it: models of a repository made for it, tensors in binary, figures."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import threading
import time

import numpy as np

READY_S = 60
DATATYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_}
NAMES = {np.dtype(kind): name for name, kind in DATATYPES.items()}


class Refused(Exception):
    """An answer that is none."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class Connection:
    """One connection that is kept."""

    def __init__(self, address, timeout_s=60):
        self.http = http.client.HTTPConnection(address, timeout=timeout_s)

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body."""
        self.http.request(method, path, body, headers or {})
        response = self.http.getresponse()
        return response.status, response.headers, response.read()

    def get(self, path):
        return self.checked("GET", path)[1]

    def json(self, path):
        return json.loads(self.get(path))

    def checked(self, method, path, body=None, headers=None):
        status, headers, answer = self.ask(method, path, body, headers)
        if status != 200:
            raise Refused(status, answer[:500].decode(errors="replace"))
        return headers, answer

    def infer(self, model, inputs, outputs):
        """Arrays by name in, arrays by name out, all of them in binary."""
        raw = [np.ascontiguousarray(array).tobytes() for array in inputs.values()]
        ports = [
            {"name": name, "datatype": NAMES[array.dtype], "shape": list(array.shape), "parameters": {"binary_data_size": len(data)}}
            for (name, array), data in zip(inputs.items(), raw)
        ]
        wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
        head = json.dumps({"inputs": ports, "outputs": wanted}).encode()
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        answered, body = self.checked("POST", f"/v2/models/{model}/infer", head + b"".join(raw), headers)
        length = int(answered["inference-header-content-length"])
        found, at = {}, length
        for port in json.loads(body[:length])["outputs"]:
            size = port["parameters"]["binary_data_size"]
            kind = DATATYPES[port["datatype"]]
            found[port["name"]] = np.frombuffer(body[at : at + size], kind).reshape(port["shape"])
            at += size
        return found


class Daemon:
    """`proofload-daemon` on free ports, while the block lasts."""

    def __init__(self, context, repository=None, gpu=None, settings=(), arguments=()):
        self.context = context
        gpu = context.gpu if gpu is None else gpu
        self.command = [*context.daemon, f"--gpu={'on' if gpu else 'off'}", "--http-port", "0", "--grpc-port", "0"]
        self.command += ["--ready-json", "--until-stdin-closes", "--allow-client-shm"]
        self.command += ["--model-repository", str(repository)] if repository else []
        # Room for the largest batches of several clients.
        for setting in ("server.total_body_bytes=4294967296", "server.max_body_bytes=268435456", "models.queue_bytes=4294967296", *settings):
            self.command += ["--set", setting]
        self.command += arguments

    def __enter__(self):
        log = open(self.context.out / "daemon.log", "a", encoding="utf-8")
        log.write(f"\n== {' '.join(self.command)}\n")
        log.flush()
        self.log_from = log.tell()
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        timer = threading.Timer(READY_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        self.ready_s = time.monotonic() - began
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"the daemon did not start, exit code {code}: {self.log()[-500:]}")
        self.address = json.loads(line)["http"]
        self.grpc = json.loads(line)["grpc"]
        self.connection = Connection(self.address)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log(self):
        with open(self.context.out / "daemon.log", "rb") as source:
            source.seek(self.log_from)
            return source.read().decode(errors="replace")

    def engine(self, model):
        """What computes a model."""
        parameters = self.connection.json(f"/v2/models/{model}/config").get("parameters", {})
        return parameters.get("engine", {}).get("string_value", "")

    def metrics(self, name):
        """The samples of a metric: labels by name, and the value."""
        found = []
        for line in self.connection.get("/metrics").decode().splitlines():
            matched = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: .*)?", line)
            if matched and matched[1] == name:
                found.append((dict(re.findall(r'(\w+)="([^"]*)"', matched[2] or "")), float(matched[3])))
        return found

    def resident_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGESIZE")


def repository(context, name, models):
    """A model repository: of each model its file and its configuration."""
    root = context.place / "repositories" / name
    for model, (file, config) in models.items():
        (root / model / "1").mkdir(parents=True, exist_ok=True)
        link = root / model / "1" / "model.onnx"
        link.unlink(missing_ok=True)
        # What is simulated has none.
        if file:
            link.symlink_to(file)
        (root / model / "config.pbtxt").write_text(config)
    return root


def picture_model(datatype, precision, instances=1, batching=False, most=128):
    """The configuration of a network from pictures to depths."""
    return f"""max_batch_size: {most}
input {{ name: "image" data_type: TYPE_{datatype} dims: [ 3, -1, -1 ] }}
output {{ name: "depth" data_type: TYPE_FP32 dims: [ 1, -1, -1 ] }}
instance_group {{ count: {instances} kind: KIND_AUTO }}
parameters {{ key: "precision" value {{ string_value: "{precision}" }} }}
{"dynamic_batching { }" if batching else ""}
"""


def apart(found, expected):
    """The largest difference, relative to the largest number."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if found.shape != expected.shape:
        return float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    if not np.isfinite(found[finite]).all():
        return float("inf")
    scale = max(np.abs(expected[finite]).max(initial=0.0), 1e-3)
    return float(np.abs(found[finite] - expected[finite]).max(initial=0.0) / scale)


def pictures(count, rows, columns, seed=1, kind=np.float32):
    """Smooth pictures with some noise, by seed: red, green and blue in 0 to 1, or in bytes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / max(rows, columns)
    waves = random.uniform(1, 9, (count, 3, 2)).astype(np.float32)
    light = 0.5 + 0.3 * np.sin(waves[..., :1, None] * 6.28 * x + waves[..., 1:, None] * 6.28 * y)
    light = np.clip(light + random.uniform(-0.1, 0.1, light.shape), 0, 1)
    return (light * 255).astype(np.uint8) if kind == np.uint8 else light.astype(np.float32)
