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

# Of requests; what does not fit beside others at the moment may be refused.
LEAST_ANSWERED = 0.9


class Watch:
    """The most memory that was in use: by the daemon's own account, and by NVML above what the device had before."""

    def __init__(self, address, before_bytes):
        self.address, self.before = address, before_bytes
        self.most, self.budget, self.by_nvml, self.samples, self.clean_ups = 0, 0, 0, 0, []
        self.error = None
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)
        if self.thread.is_alive() and not self.error:
            self.error = "no answer for 10 s"

    def work(self):
        try:
            connection = Connection(self.address)
            while not self.stop.wait(SAMPLE_S):
                self.look(connection.json("/api/v1/gpu/profile"))
        except Exception as error:  # whoever looks away sees nothing above the budget
            self.error = f"{type(error).__name__}: {error}"

    def look(self, document):
        managed = document.get("managed")
        if managed:
            self.samples += 1
            self.budget, self.clean_ups = managed["budget_bytes"], managed["clean_ups"]
            self.most = max(self.most, managed["pool"]["reserved_bytes"] + managed["outside_pool_bytes"])
        for device in document["devices"][:1]:
            if device.get("memory"):
                self.by_nvml = max(self.by_nvml, device["memory"]["used_bytes"] - self.before)

    def holds(self):
        return bool(self.samples) and self.most <= self.budget and self.by_nvml <= self.budget + CONTEXT_BYTES

    def said(self):
        nvml = f", {self.by_nvml / GIB:.2f} GiB by NVML with the driver's context" if self.by_nvml else ", no NVML here"
        last = f", the last because {self.clean_ups[-1]['why']}" if self.clean_ups else ""
        return f"at most {self.most / GIB:.2f} of {self.budget / GIB:.2f} GiB over {self.samples} looks{nvml}; {len(self.clean_ups)} clean-ups{last}"


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
            unfit = "refused" if refused.status == 503 else "wrong"
            said.append(f"{unfit}: {refused.status} {refused.message[:80]}")
        except OSError as error:
            said.append(f"lost: {error}")
            return


def soak(context, budget="75%"):
    """Sizes and batches at random from several clients, in both precisions."""
    if not knows_budget(context, budget):
        yield "", "", record.NOT_MEASURABLE, "this daemon has no gpu.memory_budget"
        return
    seconds, most = context.size(20, 2), context.size((32, 512), (2, 48))
    models = {f"relief_{precision}": (context.network, picture_model("FP32", precision)) for precision in ("fp32", "fp16")}
    before, _ = used_bytes()
    with Daemon(context, repository(context, "soak", models), settings=[f"gpu.memory_budget={budget}"]) as daemon:
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
    yield soaked(context, watch, said, lives, resident)


def soaked(context, watch, said, lives, resident):
    counts = {what: said.count(what) for what in dict.fromkeys(said)}
    answers = ", ".join(f"{count} {what}" for what, count in counts.items())
    wrong = not lives or any(what.startswith("wrong") for what in counts) or "answered" not in counts or any(what.startswith("lost") for what in counts)
    if wrong:
        return "", answers, record.FAIL, "the answers are not right"
    if counts["answered"] < LEAST_ANSWERED * len(said):
        return "", answers, record.FAIL, f"fewer than {LEAST_ANSWERED:.0%} of the requests were answered"
    if watch.error:
        return "", answers, record.FAIL, f"nobody looked at the memory to the end: {watch.error}"
    if not watch.samples:
        return "", answers, record.NOT_MEASURABLE, "models run on no GPU here"
    return "", f"{watch.said()}; {answers}; {resident / GIB:.1f} GiB on the host", context.verdict(watch.holds()), ""


def default_budget(context):
    yield from soak(context)


def small_budget(context):
    yield from soak(context, context.size("14GiB", "200MiB"))


def growing(context):
    """Two leaks, with little memory: sizes that never come again, and a model that is declared to leak."""
    budget = context.size("4GiB", "400MiB")
    if not knows_budget(context, budget):
        yield "", "", record.NOT_MEASURABLE, "this daemon has no gpu.memory_budget"
        return
    leaked = context.size(64, 8) * 2**20
    models = {"relief": (context.network, picture_model("FP32", "fp32")), "leak": (None, LEAK.format(bytes=leaked))}
    before, _ = used_bytes()
    with Daemon(context, repository(context, "growing", models), settings=[f"gpu.memory_budget={budget}"]) as daemon:
        for asked, work in (("every request has a size that never came before", new_sizes), ("a model leaks at every execution", leaks)):
            said, end = [], time.monotonic() + context.size(12, 3)
            with Watch(daemon.address, before) as watch:
                work(context, daemon, said, end)
            watch.look(daemon.connection.json("/api/v1/gpu/profile"))
            _, seen, verdict, why = soaked(context, watch, said, daemon.process.poll() is None, daemon.resident_bytes())
            if verdict == record.PASS and work is leaks and not watch.clean_ups:
                verdict, why = record.FAIL, "nothing was cleaned up"
            yield f"memory that grows is cleaned up before the limit: {asked}", seen, verdict, why


LEAK = """backend: "simulated"
max_batch_size: 0
input {{ name: "input" data_type: TYPE_FP32 dims: [ -1 ] }}
output {{ name: "output" data_type: TYPE_FP32 dims: [ -1 ] }}
instance_group {{ count: 1 kind: KIND_CPU }}
parameters {{ key: "mean_ms" value {{ string_value: "1" }} }}
parameters {{ key: "leak_gpu_bytes" value {{ string_value: "{bytes}" }} }}
"""


def new_sizes(context, daemon, said, end):
    batch = context.size(16, 1)
    for at in range(context.size(200, 6)):
        if time.monotonic() > end:
            return
        side = context.size(400, 30) - at
        images = pictures(batch, side, side + 1, at)
        depth = daemon.connection.infer("relief", {"image": images}, ["depth"])["depth"]
        said.append("answered" if np.isfinite(depth).all() else "wrong")


def leaks(context, daemon, said, end):
    """Twice as much as the budget holds."""
    for _ in range(context.size(128, 100)):
        if time.monotonic() > end:
            return
        try:
            daemon.connection.infer("leak", {"input": np.zeros(4, np.float32)}, ["output"])
            said.append("answered")
        except Refused as refused:
            said.append(f"wrong: {refused.status} {refused.message[:80]}")
        time.sleep(0.02)
