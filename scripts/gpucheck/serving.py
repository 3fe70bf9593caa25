"""Rows about serving: the service level of tier 3, how busy the GPU can be kept, pixels to mesh by phase, NVML's figures."""

import json
import statistics
import subprocess
import threading
import time

from gpucheck import load, machine, record
from gpucheck.service import Daemon, picture_model, repository

RATE, P95_MS, ERROR_RATE = 200, 100, "0.1%"
BUSY = 0.9
SAMPLE_S = 0.2

TIER = """
name = "tier3"
kind = "sustained"
seed = 1
thresholds = ["p95 < {p95}ms", "error_rate < {errors}"]
[target]
http = "http://{address}"
[load]
rate = "{rate}/s"
duration = "{seconds}s"
warm_up = "2s"
[[mix]]
{entry}
[slo]
latency = "{p95}ms"
percentile = 95.0
error_rate = "{errors}"
"""
ENTRIES = {
    "pictures to meshes": """name = "relief"
protocol = "http"
method = "POST"
path = "/api/v1/generate-3d?format=stl"
model = "relief_depth"
files = ["{pictures}/*.png", "{pictures}/*.jpg"]
expect = {{ status = 200, min_bytes = 84 }}""",
    "tensors of 128 px to depths": """name = "depths"
protocol = "kserve-http-binary"
model = "relief_depth"
inputs = [{{ name = "image", datatype = "FP32", shape = [1, 3, {side}, {side}], data = "random" }}]""",
}


def tier_three(context):
    """200 requests a second by the project's own generator."""
    rate, seconds = context.size(RATE, 5), context.size(15, 4)
    for what, entry in ENTRIES.items():
        with Daemon(context) as daemon:
            entry = entry.format(pictures=context.here / "pictures", side=context.size(128, 32))
            file = context.place / "tier3.toml"
            file.write_text(TIER.format(address=daemon.address, rate=rate, seconds=seconds, p95=P95_MS, errors=ERROR_RATE, entry=entry))
            folder = context.place / f"run-{what.split()[0]}"
            ran = subprocess.run([*context.proofload, "run", str(file), "--out", str(folder), "--quiet"], capture_output=True, text=True)
            engine = daemon.engine("relief_depth")
        yield tier_row(what, rate, seconds, engine, folder, ran, context)


def tier_row(what, rate, seconds, engine, folder, ran, context):
    asked = f"tier 3, {what}: {rate}/s for {seconds} s, p95 < {P95_MS} ms, errors < {ERROR_RATE}"
    if not (folder / "findings.json").exists():
        return asked, "", record.FAIL, f"the run ended with exit code {ran.returncode}: {ran.stderr.strip()[-300:]}"
    found = json.loads((folder / "findings.json").read_text())
    said = {0: "PASS", 1: "FAIL", 3: "INCONCLUSIVE", 4: "INVALID"}.get(ran.returncode, f"exit code {ran.returncode}")
    seen = f"{said}: {figures(found)}; computed by {engine}"
    # The generator's own fault says nothing about the target.
    verdict = record.NOT_MEASURABLE if ran.returncode in (3, 4) else context.verdict(ran.returncode == 0)
    return asked, seen, verdict, "" if ran.returncode == 0 else found["reasons"][0]["sentence"]


def figures(found):
    """What a run's findings say of all its requests."""
    rates, latency = found["rates"], found.get("latency")
    errors, sheds = (rates[name].get("share") for name in ("errors", "sheds"))
    said = [f"{rates['intended_per_s']:.0f}/s intended, {rates['throughput_per_s']:.0f}/s answered", f"errors {errors}, sheds {sheds}"]
    if latency:
        said += [f"p{row['percentile']:g} {row['latency_ns'] / 1e6:.1f} ms" for row in latency["percentiles"]]
    return ", ".join(said)


class Utilisation:
    """How busy the GPU is by nvidia-smi and by the daemon, sampled while the block lasts."""

    def __init__(self, daemon):
        self.daemon, self.by_smi, self.by_daemon = daemon, [], []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.smi, self.own)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(10)

    def smi(self):
        while not self.stop.wait(SAMPLE_S):
            said = machine.smi("utilization.gpu")
            if said is None:
                return
            self.by_smi.append((time.time(), float(said["utilization.gpu"]) / 100))

    def own(self):
        from gpucheck.service import Connection

        connection = Connection(self.daemon.address)
        while not self.stop.wait(SAMPLE_S):
            for device in connection.json("/api/v1/gpu/stats")["devices"][:1]:
                if device["now"].get("utilization") is not None:
                    self.by_daemon.append((time.time(), device["now"]["utilization"]))


def saturation(context):
    """Pictures in bytes through shared memory, from as many clients as it takes."""
    side, seconds = context.size(256, 32), context.size(8, 1)
    models = {"relief": (context.byte_network, picture_model("UINT8", "fp16", instances=2, batching=True))}
    best = None
    with Daemon(context, repository(context, "saturation", models)) as daemon:
        for clients, batch in context.size([(8, 32), (8, 128)], [(2, 2)]):
            with Utilisation(daemon) as busy:
                work = load.Load(daemon.address, "relief", batch, side, side, clients, seconds)
                result = work.wait()
            # NVML's figure covers up to the last second.
            steady = lambda samples: [share for at, share in samples if work.begin + 1.5 <= at <= work.begin + seconds]
            shares = [statistics.mean(values) for values in (steady(busy.by_smi), steady(busy.by_daemon)) if values]
            seen = f"{clients} clients, batch {batch}: {result.pictures_per_s:.0f} pictures/s, busy {' and '.join(f'{share:.0%}' for share in shares) or 'unknown'} by nvidia-smi and the daemon"
            if best is None or shares and min(shares) > best[0]:
                best = (min(shares) if shares else 0.0, seen + (f"; {result.complaint()}" if result.refused else ""), bool(shares))
    share, seen, known = best
    if not known:
        yield "", seen, record.NOT_MEASURABLE, "nobody says how busy it is"
    else:
        yield "", seen, context.speed(share >= BUSY), ""


# Pictures without transparency have no mask by it, but what asks for one is made on the CPU, around the same depth model.
BY_THE_CPU = "&mask=alpha"


def same_files(daemon, pictures, context):
    """Meshes that the GPU made beside those that the CPU made of the same depths: to the byte, and what is said of them."""
    same, other = 0, []
    for path in pictures:
        for ask in ("format=stl&resolution=32", "format=ply&resolution=96&smoothing=3", "format=stl&resolution=61&invert=true&smoothing=0"):
            ours, theirs = (relief(daemon, path, ask + more) for more in ("", BY_THE_CPU))
            same += ours == theirs
            other += [] if ours == theirs else [f"{path.name} {ask}"]
    on_gpu = "emit" in steps(daemon)
    asked = "a mesh from pixels on the GPU is the file that the CPU makes of the same depths, to the byte"
    return asked, f"{same} the same, {len(other)} others", context.verdict(same and not other and on_gpu, needs_gpu=True), "; ".join(other[:4])


def relief(daemon, path, ask):
    """A mesh and what is said of it."""
    kind = "image/png" if path.suffix == ".png" else "image/jpeg"
    headers, mesh = daemon.connection.checked("POST", f"/api/v1/generate-3d?{ask}", path.read_bytes(), {"content-type": kind})
    return mesh, [headers.get(f"x-proofload-{name}") for name in FACTS]


FACTS = ("triangles", "vertices", "size-mm", "volume-mm3", "area-mm2", "minimum-wall-mm", "overhang-share", "watertight")


def pixels_to_mesh(context):
    """One client, pictures of several sizes, meshes of both formats; where the time went, by phase."""
    pictures = sorted(path for path in (context.here / "pictures").iterdir() if path.suffix in (".png", ".jpg"))
    repeats = context.size(8, 1)
    with Daemon(context) as daemon:
        yield same_files(daemon, pictures, context)
        for kind in ("stl", "ply"):
            for resolution in context.size((128, 256), (32,)):
                send = lambda path: relief(daemon, path, f"format={kind}&resolution={resolution}")
                for path in pictures:
                    send(path)
                before, took = steps(daemon), []
                for path in pictures * repeats:
                    began = time.perf_counter()
                    send(path)
                    took.append(time.perf_counter() - began)
                spent = difference(before, steps(daemon))
                split = ", ".join(f"{name} {1e3 * total / count:.2f}" for name, (total, count) in spent.items())
                on_gpu = "emit" in spent
                seen = f"{1e3 * statistics.median(took):.1f} ms median of {len(took)} requests; means in ms: {split or 'the daemon has no figures by step'}"
                why = "" if on_gpu else "the meshes were made on the CPU"
                yield f"pixels to mesh by phase, {resolution} samples, {kind.upper()}", seen, context.verdict(bool(split) and on_gpu, needs_gpu=True) if split else record.FAIL, why


def steps(daemon):
    """Seconds and counts by step, as the daemon's metrics have them."""
    name = "proofload_relief_step_seconds"
    sums, counts = daemon.metrics(f"{name}_sum"), daemon.metrics(f"{name}_count")
    key = lambda labels: labels.get("step", "")
    count = {key(labels): value for labels, value in counts}
    return {key(labels): (value, count.get(key(labels), 0)) for labels, value in sums}


def difference(before, after):
    grown = {name: (total - before.get(name, (0, 0))[0], count - before.get(name, (0, 0))[1]) for name, (total, count) in after.items()}
    return {name: pair for name, pair in grown.items() if pair[1] > 0}


# nvidia-smi's name, ours, what to multiply ours with, and how far they may be apart: what changes from one moment to the
# next is read at two moments.
FIGURES = (
    ("uuid", ("device", "uuid"), None, 0.0),
    ("name", ("device", "name"), None, 0.0),
    ("memory.total", ("now", "memory_total_bytes"), 1 / 2**20, 1.0),
    ("memory.used", ("now", "memory_used_bytes"), 1 / 2**20, 64.0),
    ("power.limit", ("now", "power_limit_watts"), 1, 0.5),
    ("power.draw", ("now", "power_watts"), 1, 25.0),
    ("temperature.gpu", ("now", "temperature_celsius"), 1, 2.0),
    ("clocks.current.memory", ("now", "memory_clock_mhz"), 1, 1.0),
    ("pcie.link.gen.current", ("slow", "pcie_generation"), 1, 0.0),
    ("pcie.link.width.current", ("slow", "pcie_width"), 1, 0.0),
    ("ecc.errors.uncorrected.volatile.total", ("slow", "ecc_uncorrected"), 1, 0.0),
)


def nvml(context):
    """Beside nvidia-smi, with the GPU at rest, so that figures stand still."""
    said = machine.smi(*[name for name, *_ in FIGURES])
    if said is None:
        yield "", "", record.NOT_MEASURABLE, "nvidia-smi is not here"
        return
    with Daemon(context) as daemon:
        time.sleep(2.0)
        document = daemon.connection.json("/api/v1/gpu/stats")
        said = machine.smi(*[name for name, *_ in FIGURES])
    if not document["devices"]:
        yield "", "", record.FAIL, f"the daemon has no figures: {document.get('reason', '')}"
        return
    seen, right = beside_smi(document["devices"][0], said)
    yield "", seen, context.verdict(right, needs_gpu=True), ""


def beside_smi(device, said):
    """What is the same and what is not, in words; and whether all is that nvidia-smi knows."""
    same, other, absent = [], [], []
    for name, (group, field), factor, allowed in FIGURES:
        ours, theirs = device.get(group, {}).get(field), said[name]
        if theirs.startswith("["):
            absent.append(f"{name} ({'neither' if ours is None else 'nvidia-smi'} has {'any' if ours is None else 'none'})")
        elif ours is None:
            other.append(f"{name}: the daemon has none, nvidia-smi has {theirs}")
        elif (ours == theirs) if factor is None else abs(ours * factor - float(theirs)) <= allowed:
            same.append(name)
        else:
            other.append(f"{name}: {ours if factor is None else ours * factor} and {theirs}")
    seen = f"the same: {', '.join(same)}" + (f"; others: {'; '.join(other)}" if other else "") + (f"; absent: {', '.join(absent)}" if absent else "")
    return seen, bool(same) and not other
