"""A real Triton with models whose truth is known, on loopback, until standard input closes. Run by the interpreter of
the environment that `triton_environment` in scripts/setup.sh makes; says one line of JSON when it is ready.

  echo    gives back what it gets; batches of up to 8
  timed   the same after exactly SERVICE_S for each execution, in batches of up to 4: at most 4 / SERVICE_S a second
  narrow  the same as `timed`, with room for QUEUE requests that wait: others are refused
  wide    gives back a tensor of any size
  types   gives back one tensor of every datatype that the protocol and numpy share, but FP16
  halves  gives back FP16
  tokens  TOKENS pieces of text, one every GAP_S, the first after GAP_S; one request at a time
"""

import json
import os
import socket
import sys
import time

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.model_config.common import QueuePolicy
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

from triton import DATATYPES, GAP_S, QUEUE, SERVICE_S, TOKENS

WIDTH = 16


@batch
def echo(x):
    return {"y": x}


@batch
def timed(x):
    until = time.monotonic() + SERVICE_S
    while (left := until - time.monotonic()) > 0:
        time.sleep(left)
    return {"y": x}


@batch
def types(**inputs):
    return {name.replace("in_", "out_"): value for name, value in inputs.items()}


def tokens(requests):
    began = time.monotonic()
    for number in range(1, TOKENS + 1):
        while (left := began + number * GAP_S - time.monotonic()) > 0:
            time.sleep(left)
        yield [{"text_output": np.array([b"token "], dtype=np.bytes_)} for _ in requests]


def free_ports():
    """Three ports in a row, as Triton's own defaults are: HTTP, gRPC, metrics."""
    for first in range(18300, 19300, 3):
        with socket.socket() as a, socket.socket() as b, socket.socket() as c:
            try:
                for offset, probe in enumerate((a, b, c)):
                    probe.bind(("127.0.0.1", first + offset))
                return first, first + 1, first + 2
            except OSError:
                continue
    raise RuntimeError("no three free ports in a row between 18300 and 19300; end what listens there")


def main():
    # Triton logs to the standard output that it inherits; the line that says where it is stands alone on ours.
    ready_to = os.dup(1)
    os.dup2(2, 1)
    statistics_open = "--statistics" in sys.argv[1:]
    http, grpc, metrics = free_ports()
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http,
        grpc_address="127.0.0.1",
        grpc_port=grpc,
        metrics_address="127.0.0.1",
        metrics_port=metrics,
        exit_timeout_secs=5,
    )
    security = TritonSecurityConfig(restricted_endpoints=[] if statistics_open else None)
    tensors = {"inputs": [Tensor(name="x", dtype=np.float32, shape=(WIDTH,))]}
    tensors["outputs"] = [Tensor(name="y", dtype=np.float32, shape=(WIDTH,))]
    with Triton(config=config, security_config=security) as triton:
        triton.bind("echo", echo, **tensors, config=ModelConfig(max_batch_size=8, batcher=DynamicBatcher()))
        triton.bind("timed", timed, **tensors, config=ModelConfig(max_batch_size=4, batcher=DynamicBatcher()))
        refusing = DynamicBatcher(default_queue_policy=QueuePolicy(max_queue_size=QUEUE))
        triton.bind("narrow", timed, **tensors, config=ModelConfig(max_batch_size=4, batcher=refusing))
        free = {"inputs": [Tensor(name="x", dtype=np.float32, shape=(-1,))]}
        free["outputs"] = [Tensor(name="y", dtype=np.float32, shape=(-1,))]
        triton.bind("wide", echo, **free, config=ModelConfig(max_batch_size=1))
        halves = {"inputs": [Tensor(name="x", dtype=np.float16, shape=(3,))]}
        halves["outputs"] = [Tensor(name="y", dtype=np.float16, shape=(3,))]
        triton.bind("halves", echo, **halves, config=ModelConfig(max_batch_size=2))
        every = {"inputs": [Tensor(name=f"in_{name}", dtype=getattr(np, dtype), shape=(3,)) for name, dtype in DATATYPES.items()]}
        every["outputs"] = [Tensor(name=f"out_{name}", dtype=getattr(np, dtype), shape=(3,)) for name, dtype in DATATYPES.items()]
        triton.bind("types", types, **every, config=ModelConfig(max_batch_size=2))
        text = {"inputs": [Tensor(name="text_input", dtype=np.bytes_, shape=(1,))]}
        text["outputs"] = [Tensor(name="text_output", dtype=np.bytes_, shape=(1,))]
        triton.bind("tokens", tokens, **text, config=ModelConfig(batching=False, decoupled=True))
        ready = {"http": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc}"}
        ready["metrics"] = f"http://127.0.0.1:{metrics}/metrics"
        os.write(ready_to, (json.dumps(ready) + "\n").encode())
        sys.stdin.read()


if __name__ == "__main__":
    main()
