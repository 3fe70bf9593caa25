"""Rows about memory: never above the budget, whatever sizes come, and what grows is cleaned up before the limit."""

import subprocess
import threading
import time

import numpy as np

from gpucheck import machine, record
from gpucheck.service import Connection, Daemon, Refused, picture_model, pictures, repository

GIB = 2**30
SAMPLE_S = 0.1
# What the driver takes for a process that computes nothing: its context, not ours to spend.
CONTEXT_BYTES = 1.5 * GIB


class Watch:
    """The most memory that the device had in use, by the daemon's NVML and by nvidia-smi, above what it had before."""

    def __init__(self, address, before_bytes):
        self.address, self.before = address, before_bytes
        self.most, self.samples, self.pressures = 0, 0, set()
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)

    def work(self):
        connection = Connection(self.address)
        while not self.stop.wait(SAMPLE_S):
            for device in connection.json("/api/v1/gpu/profile")["devices"][:1]:
                memory = device.get("memory") or {}
                if "used_bytes" in memory:
                    self.most = max(self.most, memory["used_bytes"] - self.before)
                    self.samples += 1
                    self.pressures.add(str(memory.get("pressure")))


def used_bytes():
    """What the device has in use without the daemon."""
    said = machine.smi("memory.used", "memory.total")
    return (float(said["memory.used"]) * 2**20, float(said["memory.total"]) * 2**20) if said else (0.0, 0.0)


def knows_budget(context, budget):
    command = [*context.daemon, "--set", f"gpu.memory_budget={budget}", "--check"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def random_sizes(address, model, seconds, number, most, said):
    """Asks for pictures of any size in any batch; takes note of answers and refusals."""
    random, connection = np.random.default_rng(number), Connection(address)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch, rows, columns = int(random.integers(1, most[0] + 1)), *(int(side) for side in random.integers(16, most[1] + 1, 2))
        images = pictures(batch, rows, columns, number)
        try:
            depth = connection.infer(model, {"image": images}, ["depth"])["depth"]
            said.append("answered" if depth.shape == (batch, 1, rows, columns) and np.isfinite(depth).all() else "wrong")
        except Refused as refused:
            said.append(f"{refused.status} {refused.message[:80]}")
        except OSError as error:
            said.append(f"lost: {error}")
            return


def soak(context, budget_bytes=None):
    """Sizes and batches at random from several clients, in both precisions."""
    settings = []
    if budget_bytes:
        if not knows_budget(context, budget_bytes):
            yield "", "", record.NOT_MEASURABLE, "this daemon has no gpu.memory_budget"
            return
        settings = [f"gpu.memory_budget={budget_bytes}"]
    seconds, most = context.size(20, 2), context.size((32, 512), (2, 48))
    models = {f"relief_{precision}": (context.network, picture_model("FP32", precision)) for precision in ("fp32", "fp16")}
    before, total = used_bytes()
    with Daemon(context, repository(context, "soak", models), settings=settings) as daemon:
        said = []
        ask = lambda number: threading.Thread(target=random_sizes, args=(daemon.address, f"relief_{('fp32', 'fp16')[number % 2]}", seconds, number, most, said))
        threads = [ask(number) for number in range(4)]
        with Watch(daemon.address, before) as watch:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        lives = daemon.process.poll() is None
        resident = daemon.resident_bytes() if lives else 0
    yield soaked(context, watch, said, budget_bytes or 0.75 * total, lives, resident)


def soaked(context, watch, said, budget, lives, resident):
    counts = {what: said.count(what) for what in dict.fromkeys(said)}
    answers = ", ".join(f"{count} {what}" for what, count in counts.items())
    wrong = not lives or "wrong" in counts or "answered" not in counts or any(what.startswith("lost") for what in counts)
    if not watch.samples:
        why = "the device says nothing of its memory" if not wrong else "the answers are not right"
        return "", answers, record.FAIL if wrong else record.NOT_MEASURABLE, why
    seen = f"at most {watch.most / GIB:.2f} GiB of {budget / GIB:.2f} GiB over {watch.samples} samples, the driver's own context included; {answers}; pressure {', '.join(sorted(watch.pressures))}; {resident / GIB:.1f} GiB on the host"
    return "", seen, context.verdict(not wrong and watch.most <= budget + CONTEXT_BYTES), "" if watch.most <= budget else f"up to {CONTEXT_BYTES / GIB:.1f} GiB above are taken for the driver's context"


def default_budget(context):
    yield from soak(context)


def small_budget(context):
    yield from soak(context, 14 * GIB)


def growing(context):
    """A leak from outside: every request has a size that never came before, and what is kept for each adds up."""
    budget = context.size(4 * GIB, 1 * GIB)
    if not knows_budget(context, budget):
        yield "", "", record.NOT_MEASURABLE, "this daemon has no gpu.memory_budget"
        return
    end = time.monotonic() + context.size(15, 2)
    models = {"relief": (context.network, picture_model("FP32", "fp32"))}
    before, _ = used_bytes()
    with Daemon(context, repository(context, "growing", models), settings=[f"gpu.memory_budget={budget}"]) as daemon:
        said, batch = [], context.size(16, 1)
        with Watch(daemon.address, before) as watch:
            for at in range(context.size(200, 6)):
                if time.monotonic() > end:
                    break
                side = context.size(400, 20) - at
                depth = daemon.connection.infer("relief", {"image": pictures(batch, side, side + 1, at)}, ["depth"])["depth"]
                said.append("answered" if np.isfinite(depth).all() else "wrong")
        lives, resident = daemon.process.poll() is None, daemon.resident_bytes()
        document = daemon.connection.json("/api/v1/gpu/profile")
    asked, seen, verdict, why = soaked(context, watch, said, budget, lives, resident)
    yield asked, f"{seen}; {actions(document)}", verdict, why


def actions(document):
    """What the daemon says it did against pressure."""
    done = [entry for device in document.get("devices", []) for entry in device.get("actions", [])]
    return f"{len(done)} actions, the last {done[-1]}" if done else "no actions are reported"
