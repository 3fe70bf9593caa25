"""A server that freezes 1 s in every 10, at 1,000/s: figures within 3 % of what it served, 5 % of its law."""

import subprocess
import sys

from harness import ROOT


def main():
    # The server, the reference simulation and the comparison are the load generator's own example: 16, 32, 100, 400,
    # 1,600 and as many connections as needed.
    command = ["cargo", "run", "--release", "--quiet", "--package", "proofload-loadgen", "--example", "prove_freezing"]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
