"""A day at 1,000/s, or so many hours: its disk estimate is kept, and its report is made in bounded memory, in minutes."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pyarrow.parquet

from harness import BINARY, ROOT, TARGET, Claims, Workplace, findings, manifest, started

RATE = 1000
# How long the run is really driven; what follows is written by the same writers.
DRIVEN_S = 30
MOST_RESIDENT_MB = 1000
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def on_disk(folder):
    """Bytes that the folder takes, as the file system counts them."""
    sizes = []
    for path in folder.iterdir():
        try:
            sizes.append(path.stat().st_blocks * 512)
        except FileNotFoundError:
            pass
    return sum(sizes)


class Highest(threading.Thread):
    """Watches how much a folder takes at most."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.bytes, self.over = folder, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            self.bytes = max(self.bytes, on_disk(self.folder))

    def end(self):
        self.over.set()
        self.join()
        return max(self.bytes, on_disk(self.folder))


def measured(*command):
    """Runs a command; gives its exit code, seconds, processor seconds and resident memory at most, in MB."""
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    return os.waitstatus_to_exitcode(status), took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def begin(place, hours):
    """Drives the first seconds and kills the run; gives its folder and the estimate that it printed."""
    folder, said = place.path / "day", place.path / "said"
    settings = [f"load.rate={RATE}/s", f"load.duration={hours}h"]
    overrides = [word for setting in settings for word in ("--set", setting)]
    with said.open("w") as output:
        command = [BINARY, "run", ROOT / "scenarios" / "endurance.toml", "--out", folder, *overrides]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        started(folder)
        time.sleep(DRIVEN_S)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    lines = [line for line in re.split(r"[\r\n]", said.read_text()) if " of disk, of which " in line]
    print(f"  {lines[0]}")
    estimates = re.search(r"about ([\d.]+) (\w+) of disk, of which ([\d.]+) (\w+) stay", lines[0]).groups()
    return folder, float(estimates[0]) * UNITS[estimates[1]], float(estimates[2]) * UNITS[estimates[3]]


def is_within(claims, what, bytes_, estimate):
    print(f"  {what}: {bytes_ / 1e9:.2f} GB, estimated {estimate / 1e9:.2f} GB ({bytes_ / estimate:.2f})")
    # Three digits of the estimate are printed.
    claims.claim(estimate / 2 <= bytes_ <= estimate * 1.005, f"{what}: within the estimate and no less than half of it")


def main():
    hours = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    claims = Claims()
    with Workplace() as place:
        folder, peak, kept = begin(place, hours)
        watch = Highest(folder)
        watch.start()
        began = time.monotonic()
        extended = subprocess.run([TARGET / "release" / "examples" / "extend_run", folder], check=True, capture_output=True)
        intended = int(extended.stdout)
        print(f"  {intended} arrivals, the rest written in {time.monotonic() - began:.0f} s: {on_disk(folder) / 1e9:.2f} GB")
        code, took, cpu, resident = measured(BINARY, "report", folder)
        print(f"  sealed and reported in {took:.0f} s, {cpu:.0f} s of processor time, {resident:.0f} MB resident at most")
        is_within(claims, "at most", watch.end(), peak)
        is_within(claims, "kept", on_disk(folder), kept)
        for path in sorted(folder.iterdir()):
            print(f"    {path.stat().st_size / 1e6:10.2f} MB  {path.name}")
        samples = pyarrow.parquet.read_metadata(folder / "samples-00000.parquet").num_rows
        totals = findings(folder)["totals"]
        counted = sum(manifest(folder)["end"]["outcomes"].values())
        claims.claim(samples == intended == counted == totals["samples"], f"{samples} samples are in the table and in the report")
        claims.claim(code in (0, 1, 3, 4), f"the report was made: verdict {findings(folder)['verdict']}")
        for reason in findings(folder)["reasons"]:
            print(f"    {reason['sentence']}")
        claims.claim(resident < MOST_RESIDENT_MB, f"below {MOST_RESIDENT_MB} MB resident")
        code, took, cpu, resident = measured(BINARY, "report", folder)
        print(f"  reported again in {took:.0f} s, {cpu:.0f} s of processor time, {resident:.0f} MB resident at most")
        claims.claim(resident < MOST_RESIDENT_MB, f"and again below {MOST_RESIDENT_MB} MB")
        claims.claim(0 < (folder / "report.html").stat().st_size < 3_000_000, "report.html is there and small")
    claims.finish()


if __name__ == "__main__":
    main()
