"""Runs the rows one after the other, each in a process of its own with a limit of its own, and writes what comes of them."""

import gzip
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from gpucheck import machine, record, rows

# Between asking a row to end and ending it.
GRACE_S = 3.0
# How long the first timed row waits for what is compiled beside the others.
COMPILE_S = 45.0


def main(given, here):
    if given.list:
        for row in rows.ALL:
            print(f"{row.name:<24} {row.limit_s:>4.0f} s  {row.asked}")
        return 0
    if not (here / "bin").is_dir():
        print("gpu-check: there is no folder bin beside it; lay one out with `scripts/gpu-check --pack FOLDER` and run the copy that is in it", file=sys.stderr)
        return 2
    unknown = set(given.only) - {row.name for row in rows.ALL}
    if unknown:
        print(f"gpu-check: no row is called {', '.join(sorted(unknown))}; --list names them", file=sys.stderr)
        return 2
    if given.row:
        return one(given, here)
    return everything(given, here)


def everything(given, here):
    libraries = machine.libraries(given.libraries)
    found = machine.gpu(libraries)
    if found.error and not given.rehearse:
        print(f"gpu-check: there is no GPU here that can be used: {found.error}; --rehearse runs what needs none", file=sys.stderr)
        return 2
    out = given.out.resolve()
    table = record.Table(out, rehearsal=given.rehearse)
    table.begin(machine.describe(found, libraries))
    began, end = time.monotonic(), time.monotonic() + given.limit
    place = pathlib.Path(tempfile.mkdtemp(prefix="gpu-check-"))
    try:
        unpack(here / "bin", place / "bin")
        beside = compile_beside(here, environment(place, libraries), given)
        for row in rows.ALL:
            if not given.only or row.name in given.only:
                beside = settle(beside, COMPILE_S) if row.timed else beside
                run(row, given, here, place, table, libraries, "off" if found.error else "on", end)
        settle(beside, 0)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return table.finish(time.monotonic() - began)


def compile_beside(here, environment, given):
    """Has PyTorch compile what will be timed, as long as nothing is: what it makes is kept on disk for the row that wants it."""
    if importlib.util.find_spec("torch") is None or given.rehearse or given.only and "throughput" not in given.only:
        return None
    command = [sys.executable, "-B", str(here / "gpucheck" / "peer.py"), str(here / "networks" / "relief"), "compile"]
    return subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def settle(process, wait_s):
    """Waits for a process that runs beside the rows, and ends it."""
    if process is not None:
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            pass
        end_group(process)


def unpack(source, target):
    """The programs, which travel compressed."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.suffix == ".gz":
            with gzip.open(file) as packed, open(target / file.stem, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            (target / file.stem).chmod(0o755)
        else:
            shutil.copy2(file, target / file.name)


def run(row, given, here, place, table, libraries, gpu, end):
    left = end - time.monotonic()
    if left < min(row.limit_s, 15.0):
        table.add(row.name, row.asked, "", record.NOT_RUN, f"{given.limit:.0f} s for all rows were used up")
        return
    limit_s = min(row.limit_s, left)
    command = [sys.executable, "-B", str(here / "gpu-check"), "--row", row.name, "--gpu", gpu, "--out", str(table.folder)]
    command += ["--rehearse"] if given.rehearse else []
    began = time.monotonic()
    print(f"== {row.name} (at most {limit_s:.0f} s)", flush=True)
    before = table.count()
    # A session of its own, so that all it has started ends with it.
    process = subprocess.Popen(command, env=environment(place, libraries), start_new_session=True)
    try:
        code = process.wait(limit_s)
        why = f"it ended with exit code {code} and without a result" if code else "it ended without a result"
    except subprocess.TimeoutExpired:
        why = f"it was not over after {limit_s:.0f} s"
        code = None
    end_group(process)
    if code != 0 or table.count() == before:
        table.add(row.name, row.asked, "", record.FAIL, f"{why}; daemon.log and the output above say more")
    print(f"   {time.monotonic() - began:.1f} s", flush=True)


def end_group(process):
    for which, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(process.pid, which)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and group_lives(process.pid):
            process.poll()
            time.sleep(0.05)
    process.poll()


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def environment(place, libraries):
    path = [str(folder) for folder in libraries.folders] + [os.environ.get("LD_LIBRARY_PATH", "")]
    # Compiled kernels are kept between the rows and nowhere else.
    return {
        **os.environ,
        "GPU_CHECK_PLACE": str(place),
        "XDG_CACHE_HOME": str(place / "cache"),
        "LD_LIBRARY_PATH": ":".join(part for part in path if part),
        "PYTHONUNBUFFERED": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"),
        "TRITON_CACHE_DIR": str(place / "triton"),
    }


def one(given, here):
    """What a row's own process does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    row = next(row for row in rows.ALL if row.name == given.row)
    table = record.Table(given.out.resolve(), rehearsal=given.rehearse)
    place = pathlib.Path(os.environ["GPU_CHECK_PLACE"])
    context = rows.Context(here, place, table.folder, given.gpu == "on", given.rehearse)
    for asked, seen, verdict, why in row.measure(context):
        table.add(row.name, asked or row.asked, seen, verdict, why)
    return 0
