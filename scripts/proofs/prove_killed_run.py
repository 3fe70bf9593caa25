"""A run killed with -9 at 20 s of 60 is still reported, at least its first 19 s, and leaves no process behind."""

import os
import signal
import subprocess
import time

from harness import BINARY, Claims, Workplace, alive, children, findings, small_tensors, started, wait_until

KILLED_AT_S = 20.0


def main():
    claims = Claims()
    with Workplace() as place:
        process, folder = place.start(place.scenario("killed", small_tensors(60)), "run")
        started(folder)
        daemons = children(process.pid)
        time.sleep(KILLED_AT_S)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        print(f"  daemon {daemons} under run {process.pid}")
        gone = wait_until(lambda: not any(alive(pid) for pid in daemons), 15)
        claims.claim(bool(daemons) and gone, "the embedded daemon ended by itself")

        report = subprocess.run([BINARY, "report", folder], check=False, capture_output=True, text=True)
        print(report.stdout)
        found = findings(folder)
        driven_s = found["run"]["driven_ns"] / 1e9
        seconds = [b for b in found["timeline"]["buckets"] if b["intended_per_s"] > 0]
        claims.claim(driven_s >= KILLED_AT_S - 1, f"{driven_s:.1f} s of the {KILLED_AT_S} s are reported")
        claims.claim(len(seconds) >= KILLED_AT_S - 1, f"{len(seconds)} seconds have samples")
        claims.claim(found["run"]["end"] is None, "the report knows that the run never ended")
        claims.claim(found["verdict"] != "PASS", f"verdict {found['verdict']}: a killed run is no pass")
        claims.claim(report.returncode in (1, 3, 4), f"exit code {report.returncode} says so too")
        claims.claim((folder / "report.html").stat().st_size > 10_000, "report.html is there")
    claims.finish()


if __name__ == "__main__":
    main()
