"""The relief network: it learns, goes on where it was stopped, is exported as it is; what is served and its variants in both engines."""

import importlib.util
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

from harness import ROOT, Claims, Daemon

MODELS = ROOT / "daemon" / "models"
TRAIN, VARIANTS = MODELS / "relief" / "train", MODELS / "relief" / "variants"
STEPS, HALF = 40, 20
ROUNDS = 40
SIDES = (128, 256)
MOST_MS = 120


def python(script, *arguments):
    command = [os.environ["RELIEF_PYTHON"], TRAIN / script, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, f"{script}: {ended.stdout[-500:]} {ended.stderr[-2000:]}"
    return ended.stdout


def trained(folder, *arguments):
    """Trains, as far as it is told; gives what the last line of the log says."""
    python("train.py", folder, "--steps", STEPS, "--batch", 4, "--seed", 3, *arguments)
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def learns(claims, folder):
    straight, broken = folder / "straight", folder / "broken"
    first, last = trained(straight, "--until", 1)[-1], trained(straight)[-1]
    claims.claim(
        last["held_out"] < first["held_out"] and last["step"] == STEPS,
        f"{STEPS} steps of 4 scenes: error on held-out scenes {first['held_out']:.4f}, then {last['held_out']:.4f}",
    )
    (broken / "scenes").parent.mkdir()
    (broken / "scenes").symlink_to(straight / "scenes")
    trained(broken, "--until", 1)
    trained(broken, "--until", HALF)
    trained(broken)
    with np.load(straight / "checkpoint.npz") as one, np.load(broken / "checkpoint.npz") as other:
        worst = max(float(np.abs(one[name] - other[name]).max()) for name in one.files)
    claims.claim(worst < 1e-5, f"stopped after {HALF} steps and gone on: every number within {worst:.1e} of the unbroken run's")
    model = folder / "model.onnx"
    said = python("export.py", straight / "checkpoint.npz", model).strip().rsplit("/", 1)[-1]
    claims.claim(model.stat().st_size > 0, f"exported, {said}")


def processor_ms(repository, engine, side):
    """Processor time that the daemon takes for one picture, with one thread to compute and what it costs to ask it."""
    import tritonclient.http as client

    settings = [f"repositories={repository}", "compute_threads=1", f"onnxruntime={engine}"]
    arguments = [word for setting in settings for word in ("--set", f"models.{setting}")]
    picture = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    with Daemon(*arguments) as daemon, client.InferenceServerClient(daemon.http, network_timeout=60) as triton:
        image = client.InferInput("image", picture.shape, "FP32").set_data_from_numpy(picture)
        triton.infer("relief_depth", [image])
        before = spent_s(daemon.process.pid)
        for _ in range(ROUNDS):
            triton.infer("relief_depth", [image])
        return 1e3 * (spent_s(daemon.process.pid) - before) / ROUNDS


def spent_s(pid):
    """Processor time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def library():
    folder = pathlib.Path(importlib.util.find_spec("onnxruntime").origin).parent
    return next((folder / "capi").glob("libonnxruntime.so*"))


def main():
    claims = Claims()
    with tempfile.TemporaryDirectory() as folder:
        learns(claims, pathlib.Path(folder))
    print(f"  load average {os.getloadavg()[0]:.1f}")
    for form in [MODELS, *sorted(path for path in VARIANTS.iterdir() if path.is_dir())]:
        for name, engine in (("ONNX Runtime", library()), ("rten", "off")):
            figures = {side: processor_ms(form, engine, side) for side in SIDES}
            said = ", ".join(f"{ms:.1f} ms at {side}" for side, ms in figures.items())
            form_said = "what is served" if form == MODELS else form.name
            claims.claim(figures[256] < MOST_MS, f"{form_said} by {name}: {said}, processor time of a picture")
    claims.finish()


if __name__ == "__main__":
    main()
