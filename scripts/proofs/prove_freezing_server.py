"""A server that freezes 1 s in every 10, at 1,000/s: figures within 3 % of what is true of it, median of 3 rounds."""

import subprocess
import sys

from harness import TARGET


def main():
    # The server, the reference simulation and the comparison are the load generator's own example: 16, 32, 100, 400,
    # 1,600 and as many connections as needed.
    command = [TARGET / "release" / "examples" / "prove_freezing", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
