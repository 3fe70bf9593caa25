"""Rows about speed: batches beside single pictures, and the whole server beside PyTorch on the same card in one run."""

import importlib.util
import json
import statistics
import subprocess
import sys
import time

import numpy as np

from gpucheck import load, record
from gpucheck.service import Daemon, apart, picture_model, pictures, repository

# As in peer.py, which cannot be imported where PyTorch is not installed.
SIDE, BATCHES = 256, (1, 8, 32, 128)
# How much faster a batch of four has to be than four pictures one after the other.
BATCH_OF_FOUR = 2.5
# Both sides compute the same network: what rounding may do, relative to the largest depth.
SAME = {"fp32": 1e-3, "fp16": 1e-2}
ROUNDS = 3


def batch_of_four(context):
    """A batch of four beside four requests one after the other, by one client over one connection."""
    side = context.size(256, 32)
    models = {f"relief_{precision}": (context.network, picture_model("FP32", precision)) for precision in ("fp32", "fp16")}
    with Daemon(context, repository(context, "four", models)) as daemon:
        for precision in ("fp32", "fp16"):
            model = f"relief_{precision}"
            four = pictures(4, side, side)
            singles = [four[at : at + 1] for at in range(4)]
            ask = lambda images: daemon.connection.infer(model, {"image": images}, ["depth"])
            for images in [*singles, four] * 2:
                ask(images)
            together, alone = [], []
            for _ in range(context.size(30, 3)):
                together.append(timed(lambda: ask(four)))
                alone.append(timed(lambda: [ask(images) for images in singles]))
            ratio = statistics.median(alone) / statistics.median(together)
            seen = f"{ratio:.2f}× ({1e3 * statistics.median(alone):.2f} ms one by one, {1e3 * statistics.median(together):.2f} ms together), {side} px, {daemon.engine(model)}"
            yield f"batch of 4 at least {BATCH_OF_FOUR}× four sequential pictures, {precision.upper()}, through the server", seen, context.speed(ratio >= BATCH_OF_FOUR), ""


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Peer:
    """PyTorch in a process of its own."""

    def __init__(self, context):
        command = [sys.executable, "-B", str(context.here / "gpucheck" / "peer.py"), str(context.here / "networks" / "relief")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"PyTorch's side ended with exit code {self.process.wait()}")
        return json.loads(line)

    def ask(self, do, **asked):
        self.process.stdin.write(json.dumps({"do": do, **asked}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def throughput(context):
    """Rounds of both sides in turn: pictures in bytes from the host to depths on the host."""
    if importlib.util.find_spec("torch") is None:
        yield "", "", record.NOT_MEASURABLE, "PyTorch is not installed here"
        return
    side, seconds = context.size(SIDE, 32), context.size(1.2, 0.3)
    models = {f"relief_{precision}": (context.byte_network, picture_model("UINT8", precision, instances=2)) for precision in ("fp32", "fp16")}
    peer = Peer(context)
    try:
        with Daemon(context, repository(context, "throughput", models)) as daemon:
            yield from same_numbers(context, daemon, peer, side)
            ways, said = usable_ways(context, peer, side)
            for what in said:
                yield "torch.compile on the same network and card", "", record.NOT_MEASURABLE, what
            for precision in ("fp16", "fp32"):
                for batch in context.size(BATCHES, BATCHES[:2]):
                    yield beside(context, daemon, peer, ways, precision, batch, side, seconds)
    finally:
        peer.close()


def same_numbers(context, daemon, peer, side):
    images = pictures(2, side, side, seed=5, kind=np.uint8)
    for precision in ("fp32", "fp16"):
        ours = daemon.connection.infer(f"relief_{precision}", {"image": images}, ["depth"])["depth"]
        file = context.place / "same.npy"
        np.save(file, images)
        said = peer.ask("depths", image=str(file), how="eager", precision=precision)
        asked = f"the daemon's depths and PyTorch's are the same to {SAME[precision]:.0e}, {precision.upper()}"
        if "error" in said:
            yield asked, "", record.FAIL, said["error"]
            continue
        difference = apart(ours, np.load(file))
        yield asked, f"{difference:.1e} apart", context.verdict(difference <= SAME[precision]), ""


def usable_ways(context, peer, side):
    """How PyTorch may compute. Compiling needs a C compiler, which may not be there; CUDA graphs need none."""
    ways, said = ["eager", "eager-nhwc"], []
    for way in ("compile", "cudagraphs"):
        tried = peer.ask("prepare", how=way, precision="fp16" if context.gpu else "fp32", batch=1, side=side)
        if "error" not in tried:
            ways.append(way)
            return ways, said
        said.append(f"{way}: {tried['error']}")
    return ways, said


def beside(context, daemon, peer, ways, precision, batch, side, seconds):
    """The medians of rounds in turn."""
    clients = context.size(8 if batch == 1 else 4, 2)
    theirs, ours, latencies, wrong = {way: [] for way in ways}, [], [], []
    for way in ways:
        prepared = peer.ask("prepare", how=way, precision=precision, batch=batch, side=side)
        wrong += [f"{way}: {prepared['error']}"] if "error" in prepared else []
    for _ in range(context.size(ROUNDS, 1)):
        result = load.drive(daemon.address, f"relief_{precision}", batch, side, clients, seconds)
        ours.append(result.pictures_per_s)
        latencies.append(result.median_s)
        wrong += [result.complaint()] if result.refused else []
        for way in ways:
            said = peer.ask("timed", how=way, precision=precision, batch=batch, side=side, seconds=seconds)
            wrong += [f"{way}, while timed: {said['error']}"] if "error" in said else []
            theirs[way].append(said.get("pictures_per_s", 0.0))
    best = {way: statistics.median(values) for way, values in theirs.items()}
    mine = statistics.median(ours)
    eager = max(best["eager"], best["eager-nhwc"])
    others = ", ".join(f"{way} {rate:.0f}" for way, rate in best.items())
    seen = f"server {mine:.0f} pictures/s ({clients} clients, a batch takes {1e3 * statistics.median(latencies):.2f} ms); PyTorch {others}; {mine / max(eager, 1e-9):.2f}× eager"
    asked = f"batch {batch}, {side} px, {precision.upper()}: whole server beside PyTorch, both with copies from and to the host"
    aimed = precision == "fp16"
    verdict = context.speed(mine >= eager) if aimed else record.MEASURED
    return asked + (" (aim: at least eager)" if aimed else ""), seen, record.FAIL if wrong else verdict, "; ".join(wrong)
