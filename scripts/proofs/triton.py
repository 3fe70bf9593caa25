"""A real Triton while a block lasts, and what it says about itself. Needs the environment that `triton_environment` in
scripts/setup.sh makes; scripts/prove does so."""

import json
import os
import pathlib
import re
import select
import subprocess
import tempfile
import urllib.error
import urllib.request

SERVER = pathlib.Path(__file__).resolve().parent / "triton_server.py"
# How long the model `timed` takes for each execution.
SERVICE_S = 0.010
# How many requests may wait for the model `narrow`.
QUEUE = 8
# Of the inputs and outputs of the model `types`: datatype and what numpy calls it. Halves have a model of their own, since
# JSON has no form for them.
DATATYPES = {
    "BOOL": "bool_", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP32": "float32", "FP64": "float64", "BYTES": "bytes_",
}  # fmt: skip
# Pieces of text that the model `tokens` gives, and how far apart.
TOKENS = 10
GAP_S = 0.020
# PyTriton needs 10 to 20 s on an idle machine.
PATIENCE_S = 180


class Triton:
    """PyTriton with the models of triton_server.py. Its statistics are closed, as PyTriton has them by default, unless
    they are asked for."""

    def __init__(self, statistics=False):
        self.arguments = ["--statistics"] if statistics else []

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        command = [os.environ["TRITON_PYTHON"], SERVER, *self.arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.log)
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.stop()
            self.log.seek(0)
            raise RuntimeError(f"Triton did not start:\n{self.log.read().decode()[-4000:]}")
        ready = json.loads(line)
        self.http, self.grpc, self.metrics = ready["http"], ready["grpc"], ready["metrics"]
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def metric(self, name, model):
        """One of the counters on its Prometheus page."""
        page = urllib.request.urlopen(self.metrics, timeout=10).read().decode()
        return float(re.search(rf'^{name}{{model="{model}",version="1"}} (\S+)$', page, re.MULTILINE).group(1))

    def successes(self, model):
        return int(self.metric("nv_inference_request_success", model))

    def status(self, path):
        """HTTP status of one of its pages."""
        try:
            return urllib.request.urlopen(f"{self.http}{path}", timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code
