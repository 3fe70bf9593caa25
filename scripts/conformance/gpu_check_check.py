#!/usr/bin/env python3
"""Checks scripts/gpu-check itself, on a machine without a GPU: what it packs, what it says where there is no GPU, that its rows
run in their small form on the CPU, and that a row that hangs, or comes too late, does not stop the others.

Usage: gpu_check_check.py BINARIES   the folder with the built programs and examples, such as target/release
Prints one line for each check and exits non-zero when one fails.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Rows whose small form takes a second or two on the CPU.
REHEARSED = ("starts", "named", "same-as-cpu", "batch-of-four", "pixels-to-mesh", "saturation", "nvml", "soak", "growing", "operators", "tier-3", "throughput")


def run(pack, *arguments):
    return subprocess.run([sys.executable, str(pack / "gpu-check"), *arguments], capture_output=True, text=True, timeout=300)


def rows(out):
    head, *lines = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert head["rehearsal"] is True, head
    return lines


def check_where_there_is_no_gpu(pack, out):
    if not run(pack, "--list").stdout:
        raise AssertionError("--list lists nothing")
    said = run(pack, "--out", str(out))
    if said.returncode != 2:
        return f"not checked: there is a GPU here, exit code {said.returncode}"
    assert "there is no GPU here that can be used" in said.stderr and not (out / "table.md").exists(), said.stderr
    return said.stderr.strip()


def check_rows_run_in_their_small_form(pack, out):
    said = run(pack, "--rehearse", "--out", str(out), *[word for row in REHEARSED for word in ("--only", row)])
    found = rows(out)
    failed = [row for row in found if "FAIL" in row["verdict"]]
    assert said.returncode == 0 and not failed, f"{failed}\n{said.stdout[-3000:]}\n{said.stderr[-3000:]}"
    assert {row["row"] for row in found} == set(REHEARSED), {row["row"] for row in found} ^ set(REHEARSED)
    assert all(row["verdict"].startswith("rehearsed: ") for row in found), found
    # What the CPU can do is done, not excused.
    passed = {row["row"] for row in found if row["verdict"] == "rehearsed: pass"}
    lacking = {"starts", "same-as-cpu", "operators"} - passed
    assert not lacking, f"{lacking} did not pass: {found}"
    table = (out / "table.md").read_text()
    assert all(f"| {row['row']} |" in table for row in found) and "a rehearsal" in table
    return f"{len(found)} rows, {len(passed)} of {len(REHEARSED)} pass"


def check_a_row_that_is_late_stops_no_other(pack, out):
    said = run(pack, "--rehearse", "--limit", "16", "--out", str(out), "--only", "starts", "--only", "hangs", "--only", "crashes", "--only", "named")
    found = {row["row"]: row for row in rows(out)}
    assert said.returncode == 1, said.returncode
    assert "was not over after" in found["hangs"]["why"], found["hangs"]
    assert "exit code 1" in found["crashes"]["why"], found["crashes"]
    assert "pass" in found["starts"]["verdict"] or "not" in found["starts"]["verdict"], found["starts"]
    assert "named" in found, found
    return f"{len(found)} rows are there"


def check_what_time_does_not_allow_is_said(pack, out):
    said = run(pack, "--rehearse", "--limit", "1", "--out", str(out))
    found = rows(out)
    assert said.returncode == 0 and all("not run" in row["verdict"] for row in found), found
    return f"{len(found)} rows are left out"


def check_networks_are_the_same(pack, _):
    """PyTorch's side computes what ONNX Runtime computes, where PyTorch is installed; the other forms always do."""
    import numpy as np
    import onnxruntime

    networks = pack / "networks"
    sys.path.insert(0, str(ROOT / "scripts"))
    from gpucheck.service import pictures

    images = pictures(2, 37, 52, kind=np.uint8)
    light = images.astype(np.float32) / 255
    engine = lambda name: onnxruntime.InferenceSession(str(networks / name), providers=["CPUExecutionProvider"])
    expected = engine("relief.onnx").run(None, {"image": light})[0]
    difference = np.abs(engine("relief_bytes.onnx").run(None, {"image": images})[0] - expected).max()
    assert difference < 1e-4, difference
    if importlib.util.find_spec("torch") is None:
        return f"in bytes {difference:.1e} apart; PyTorch is not installed here"
    import torch

    from gpucheck import torch_network

    found = torch_network.load(networks / "relief")(torch.from_numpy(light)).numpy()
    assert np.abs(found - expected).max() < 1e-4, np.abs(found - expected).max()
    return f"in bytes {difference:.1e} apart, PyTorch {np.abs(found - expected).max():.1e}"


def broken(pack):
    """Two more rows, in the copy that is checked: one that never ends and one that ends at once."""
    file = pack / "gpucheck" / "rows.py"
    rows = "\n\ndef hangs(_):\n    import time\n    time.sleep(1000)\n    yield ()\n\n\ndef crashes(_):\n    raise RuntimeError('as it should')\n    yield ()\n\n\n"
    rows += "ALL[:0] = [Row('hangs', 3, 'never ends', hangs), Row('crashes', 3, 'ends at once', crashes)]\n"
    file.write_text(file.read_text() + rows)


def main():
    binaries, failed = pathlib.Path(sys.argv[1]).resolve(), 0
    with tempfile.TemporaryDirectory() as place:
        pack = pathlib.Path(place) / "pack"
        packed = subprocess.run([sys.executable, str(ROOT / "scripts" / "gpu-check"), "--pack", str(pack), "--binaries", str(binaries)], capture_output=True, text=True)
        print(packed.stdout + packed.stderr)
        if packed.returncode:
            sys.exit("gpu-check --pack failed")
        checks = [(name, check) for name, check in globals().items() if name.startswith("check_")]
        for at, (name, check) in enumerate(checks):
            if name == "check_a_row_that_is_late_stops_no_other":
                broken(pack)
            try:
                print(f"ok    {name[6:].replace('_', ' ')}: {check(pack, pathlib.Path(place) / f'out{at}')}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {name[6:].replace('_', ' ')}")
                traceback.print_exc(file=sys.stdout)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
