"""A daemon killed with -9 in mid-run: a clear finding, exit code 1, no hang, no process left behind."""

import os
import signal
import time

from harness import Claims, Workplace, alive, children, findings, small_tensors, started

KILLED_AT_S = 10.0


def main():
    claims = Claims()
    with Workplace() as place:
        process, folder = place.start(place.scenario("lost", small_tensors(40)), "run")
        started(folder)
        daemons = children(process.pid)
        time.sleep(KILLED_AT_S)
        for pid in daemons:
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        code = process.wait(timeout=60)
        took = time.monotonic() - killed
        found = findings(folder)
        for reason in found["reasons"]:
            print("  ", reason["verdict"], reason["sentence"])
        claims.claim(len(daemons) == 1, f"there was one daemon: {daemons}")
        claims.claim(code == 1, f"exit code {code} is 1")
        claims.claim(took < 20, f"the run ended {took:.1f} s after its target did")
        claims.claim(
            any("target stopped answering at" in reason["sentence"] for reason in found["reasons"]),
            "a reason says when the target stopped answering",
        )
        claims.claim(not any(alive(pid) for pid in [process.pid, *daemons]), "no process is left")
    claims.finish()


if __name__ == "__main__":
    main()
