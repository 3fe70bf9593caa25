"""Rows about being right: the binary runs as it is, and what the GPU computes is what the CPU computes."""

import json
import re
import subprocess
import zipfile

import numpy as np

from gpucheck import machine, record
from gpucheck.service import Daemon, Refused, apart, picture_model, pictures, repository

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2}
# Of single operators in single precision, relative to the largest number; ONNX's own cases are exact to about 1e-6.
OPERATOR_TOLERANCE = 1e-4


def starts(context):
    """The binary that was built elsewhere."""
    program = context.daemon[0]
    linked = subprocess.run(["ldd", program], capture_output=True, text=True)
    missing = [line.strip() for line in linked.stdout.splitlines() if "not found" in line]
    version = subprocess.run([*context.daemon[:1], "--version"], capture_output=True, text=True, timeout=30)
    said = version.stdout.strip() or version.stderr.strip()[-200:]
    libraries = len([line for line in linked.stdout.splitlines() if "=>" in line])
    needed = (context.here / "glibc").read_text().strip() if (context.here / "glibc").exists() else "unknown"
    seen = f"{said}; {libraries} shared libraries, none missing; needs glibc {needed}" if not missing else "; ".join(missing)
    yield "the daemon built elsewhere runs unchanged", seen, context.verdict(not missing and version.returncode == 0), ""
    with Daemon(context) as daemon:
        engine = daemon.engine("relief_depth")
        seen = f"ready after {daemon.ready_s:.1f} s, relief_depth is computed by {engine}"
        yield "the daemon starts with --gpu=on and computes the relief network there", seen, context.verdict(engine == "cuda", needs_gpu=True), ""


def named(context):
    """What the daemon calls the GPU."""
    with Daemon(context) as daemon:
        line = re.search(r"models run on (?!the CPU)(.*)", daemon.log())
        said = line[1].strip() if line else "the log names no GPU"
    smi = machine.smi("name", "memory.total")
    if not smi:
        yield "", said, context.verdict(bool(line), needs_gpu=True), "nvidia-smi is not here to compare with"
        return
    yield "", f"{said}; nvidia-smi: {smi['name']}, {smi['memory.total']} MiB", context.verdict(line and smi["name"] in said, needs_gpu=True), ""


def same_as_cpu(context):
    """The relief network on the GPU beside the CPU of the same daemon: several sizes and batches."""
    sizes = context.size([(1, 256, 256), (1, 85, 128), (3, 128, 128), (8, 192, 256)], [(1, 32, 32), (2, 21, 32)])
    models = {f"relief_{precision}": (context.network, picture_model("FP32", precision)) for precision in TOLERANCE}
    folder = repository(context, "same", models)
    images = [pictures(*size, seed=at) for at, size in enumerate(sizes)]
    ask = lambda daemon, model, image: daemon.connection.infer(model, {"image": image}, ["depth"])["depth"]
    with Daemon(context, folder, gpu=False) as daemon:
        expected, cpu = [ask(daemon, "relief_fp32", image) for image in images], daemon.engine("relief_fp32")
    with Daemon(context, folder) as daemon:
        for precision, tolerance in TOLERANCE.items():
            model = f"relief_{precision}"
            # Twice: the second time from what was prepared the first time.
            far = max(apart(ask(daemon, model, image), wanted) for _ in range(2) for image, wanted in zip(images, expected))
            engine = daemon.engine(model)
            seen = f"{far:.1e} apart at most over {len(sizes)} sizes; {engine} beside {cpu}"
            right = far <= tolerance and (engine == "cuda" or not context.gpu)
            tf32 = " with TF32 off" if precision == "fp32" else ""
            yield f"{precision.upper()}{tf32} agrees with the CPU to {tolerance:.0e} relative", seen, context.verdict(right), ""


def operators(context):
    """ONNX's own cases and more, each a model of its own, on the GPU."""
    packed, folder = context.here / "cases.zip", context.place / "cases"
    if not packed.exists():
        yield "", "", record.NOT_MEASURABLE, "no cases were packed; they need the built example plan_twin where the pack is made"
        return
    with zipfile.ZipFile(packed) as cases:
        cases.extractall(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    names = names[:: context.size(1, 25)]
    far, wrong, refused, elsewhere, computed = 0.0, [], [], [], 0
    with Daemon(context, folder, arguments=["--model-control-mode", "explicit", "--exit-on-error", "false"]) as daemon:
        for name in names:
            try:
                difference, engine = one_case(daemon, folder / name, name)
            except Refused as error:
                refused.append(f"{name}: {str(error)[:300]}")
                continue
            except (ValueError, KeyError) as error:
                wrong.append(f"{name}: {str(error)[:150]}")
                continue
            if context.gpu and engine != "cuda":
                elsewhere.append(name)
            elif not difference <= OPERATOR_TOLERANCE:
                wrong.append(f"{name}: {difference:.1e} apart")
            else:
                computed, far = computed + 1, max(far, difference)
    seen = f"{computed} of {len(names)} cases right, at most {far:.1e} apart; {len(elsewhere)} not computed by the GPU, {len(refused)} refused, {len(wrong)} wrong"
    (context.out / "operators.txt").write_text("\n".join(["wrong:", *wrong, "refused:", *refused, "not on the GPU:", *elsewhere, ""]))
    # What the CPU's engine does not compute says nothing of the GPU's.
    right = computed and not wrong and not (context.gpu and (refused or elsewhere))
    lacking = [*wrong[:3], *refused[:3], *elsewhere[:3]]
    yield "", seen, context.verdict(right), "; ".join(lacking) + ("; all in operators.txt" if lacking else "")


def one_case(daemon, folder, name):
    """How far a case is off, and what computed it."""
    connection = daemon.connection
    arrays = np.load(folder / "case.npz")
    ports = json.loads((folder / "ports.json").read_text())
    connection.checked("POST", f"/v2/repository/models/{name}/load", "{}")
    try:
        engine = daemon.engine(name)
        inputs = {port: arrays[f"input_{at}"] for at, port in enumerate(ports["inputs"])}
        found = connection.infer(name, inputs, ports["outputs"])
        return max(apart(found[port], arrays[f"output_{at}"]) for at, port in enumerate(ports["outputs"])), engine
    finally:
        connection.ask("POST", f"/v2/repository/models/{name}/unload", "{}")
