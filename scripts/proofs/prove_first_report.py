"""A fresh clone with an empty cargo cache: the README's first command succeeds; prints how long it takes."""

import os
import resource
import shutil
import subprocess
import tempfile
import time

from harness import ROOT, Claims

AIM_S = 600


def main():
    claims = Claims()
    place = tempfile.mkdtemp(prefix="proofload-fresh-")
    try:
        clone = os.path.join(place, "proofload")
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CARGO_")}
        environment["CARGO_HOME"] = os.path.join(place, "cargo")
        started = time.monotonic()
        command = ["cargo", "run", "--release", "--", "run", "scenarios/quick.toml"]
        done = subprocess.run(command, cwd=clone, env=environment, check=False)
        took = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"  clone to report: {took:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU seconds on {os.cpu_count()} cores")
        claims.claim(done.returncode == 0, f"exit code {done.returncode}")
        claims.claim(took < AIM_S, f"{took:.0f} s is under {AIM_S} s")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    claims.finish()


if __name__ == "__main__":
    main()
