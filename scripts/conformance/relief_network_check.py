#!/usr/bin/env python3
"""Checks the relief network and what trains it, as far as that goes without the trainer: that scenes come from their numbers alone and
can be learned from, that the exporter's graphs take pictures of any size in every form, and that the files that are committed are the
exporter's, and as good on held-out scenes as the model card says.

Prints one line for each check and exits non-zero when one fails. Needs numpy, onnx and onnxruntime.
"""

import pathlib
import sys
import traceback

import numpy as np
import onnx

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "daemon" / "models"
sys.path.insert(0, str(MODELS / "relief" / "train"))

import data  # noqa: E402
import evaluate  # noqa: E402
import export  # noqa: E402
import fixed_filters  # noqa: E402
import layers  # noqa: E402
import scenes  # noqa: E402
import variants  # noqa: E402
from metrics import aligned_error  # noqa: E402

SERVED = MODELS / "relief_depth" / "1" / "model.onnx"
SIZES = [(1, 1), (2, 3), (16, 2), (31, 33), (85, 128), (128, 128), (512, 192)]
VARIANTS = MODELS / "relief" / "variants"
SCENES, SIDE = 24, 96
JUDGED_BY, JUDGED_SIDE = 48, 128
# The goal: so much less than the error of luminance.
LESS_THAN_LUMINANCE = 0.4
# How much larger a variant's error may be than that of the network itself, and its file at most.
ALLOWED = {"fp16": (0.002, 0.51), "int8": (0.02, 0.3), "pruned": (0.04, 0.8)}
MOST_BYTES = 10_000_000


def begun():
    learned = {name: {part: layer[part] for part in ("kernel", "bias")} for name, layer in layers.initial(3).items()}
    return learned | layers.detail()


def check_a_scene_comes_from_its_number_alone():
    for number in range(8):
        one, again = scenes.render(number, 64), scenes.render(number, 64)
        assert (one.picture == again.picture).all() and (one.height == again.height).all(), number
        assert one.picture.shape == (64, 64, 3) and one.height.shape == (64, 64), number
        assert one.height.min() == 0 and one.height.max() == 1 and one.picture.std() > 0, number
        assert (scenes.render(number + 1, 64).picture != one.picture).any(), number
    return "8 scenes rendered twice"


def check_errors_know_no_scale_and_no_shift():
    truth = scenes.render(5, 64).height.astype(np.float64)
    for scale, shift in [(1, 0), (0.01, 7), (-3, 1)]:
        assert aligned_error(scale * truth + shift, truth) < 1e-6, (scale, shift)
    assert np.isclose(aligned_error(np.zeros_like(truth), truth), truth.std()), "a plain guess is as wrong as the truth varies"
    return "of the truth 0, of a plain guess its deviation"


def check_what_learns_nothing_is_far_from_the_truth():
    pictures, truths = data.held_out(SCENES, SIDE)
    luminance = np.mean(evaluate.errors(lambda picture: picture @ evaluate.LUMINANCE, pictures, truths))
    filters = evaluate.session(fixed_filters.build().SerializeToString())
    fixed = np.mean(evaluate.errors(evaluate.heights_by(filters), pictures, truths))
    plain = np.mean([truth.std() for truth in truths])
    assert 0.5 * plain < luminance < plain and 0.5 * plain < fixed < plain, (luminance, fixed, plain)
    return f"{SCENES} scenes: luminance {luminance:.4f}, fixed filters {fixed:.4f}, a plain guess {plain:.4f}"


def check_the_served_graph_is_what_the_exporter_writes():
    served = onnx.load(SERVED)
    written = export.build(export.layers_of(served)).SerializeToString(deterministic=True)
    assert written == SERVED.read_bytes(), f"{SERVED} is not what export.py makes of its weights"
    half = export.build(export.layers_of(served), half=True).SerializeToString(deterministic=True)
    assert half == file_of("fp16").read_bytes(), "the variant fp16 is not that of the served weights"
    return f"{len(written)} bytes, {layers.weights(export.layers_of(served))} weights"


def file_of(variant):
    return VARIANTS / variant / "relief_depth" / "1" / "model.onnx"


def check_the_committed_files_are_as_good_as_is_said():
    pictures, truths = data.held_out(JUDGED_BY, JUDGED_SIDE)
    luminance = np.mean(evaluate.errors(lambda picture: picture @ evaluate.LUMINANCE, pictures, truths))

    def error(file):
        return float(np.mean(evaluate.errors(evaluate.heights_by(evaluate.session(file)), pictures, truths)))

    whole, size = error(SERVED), SERVED.stat().st_size
    assert whole < (1 - LESS_THAN_LUMINANCE) * luminance, (whole, luminance)
    said, total = [f"luminance {luminance:.4f}, the network {whole:.4f}"], size
    assert sorted(ALLOWED) == sorted(path.name for path in VARIANTS.iterdir() if path.is_dir())
    for variant, (loss, share) in ALLOWED.items():
        found, file = error(file_of(variant)), file_of(variant)
        assert found < (1 + loss) * whole and file.stat().st_size < share * size, (variant, found, file.stat().st_size)
        total += file.stat().st_size
        said.append(f"{variant} {found:.4f}")
    assert total < MOST_BYTES, total
    return f"{JUDGED_BY} scenes: {', '.join(said)}; {total} bytes in all"


def check_the_exporter_loses_nothing():
    model = export.build(begun())
    again = export.build(export.layers_of(model))
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    half = export.build(export.layers_of(model), half=True)
    assert half.ByteSize() < 0.51 * model.ByteSize(), (half.ByteSize(), model.ByteSize())
    cut = variants.cut(export.layers_of(model), 0.3)
    share = layers.weights(cut) / layers.weights(begun())
    assert 0.7 <= share <= 0.8, share
    return f"{layers.weights(begun())} weights, {model.ByteSize()} bytes, {half.ByteSize()} in half precision, {share:.1%} when cut"


def check_pictures_of_any_size_are_taken():
    random, trained = np.random.default_rng(5), begun()
    forms = {"whole": export.build(trained), "half": export.build(trained, half=True)}
    forms["cut"] = export.build(variants.cut(trained, 0.3))
    forms["without detail"] = export.build(layers.learned(trained))
    for name, model in forms.items():
        engine = evaluate.session(model.SerializeToString())
        for rows, columns in SIZES:
            pictures = random.random((2, 3, rows, columns), np.float32)
            together = engine.run(["depth"], {"image": pictures})[0]
            assert together.shape == (2, 1, rows, columns) and np.isfinite(together).all(), (name, rows, columns)
            alone = np.concatenate([engine.run(["depth"], {"image": one[None]})[0] for one in pictures])
            np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-3, err_msg=f"{name} {rows} x {columns}")
    return f"{', '.join(forms)}: {len(SIZES)} sizes, alone and in batches"


def main():
    failed = 0
    for name, check in [(name, check) for name, check in globals().items() if name.startswith("check_")]:
        try:
            print(f"ok    {name[6:].replace('_', ' ')}: {check()}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {name[6:].replace('_', ' ')}")
            traceback.print_exc(file=sys.stdout)
    sys.exit(failed > 0)


main()
