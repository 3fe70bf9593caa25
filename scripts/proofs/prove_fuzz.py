"""Every parser of bytes from elsewhere is fuzzed (30 s each; `fuzz 300` for longer): no panic, no broken invariant."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from harness import ROOT, TARGET, Claims

FUZZ = ROOT / "fuzz"
BUILD = TARGET / "fuzz"
# Real inputs that are in the tree already; what else a target starts from is in fuzz/seeds.
SHARED_SEEDS = {
    "scenario": ["scenarios/*.toml", "loadgen/tests/broken/*.toml"],
    "pbtxt": ["daemon/models/*/config.pbtxt"],
    "onnx": ["daemon/models/tiny_mlp/1/model.onnx"],
    "onnx_graph": ["daemon/models/tiny_mlp/1/model.onnx"],
    "daemon_config": ["daemon/daemon.example.toml"],
}
LONGEST_INPUT = 4096
# Beside what a target itself allows: a leak from input to input ends here.
MEMORY_MB = 1024
FEWEST_EXECUTIONS = 1000


def build():
    """Builds all targets with coverage instrumentation; gives the folder of the binaries."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(BUILD), CARGO_INCREMENTAL="0")
    command = ["cargo", "fuzz", "build", "--release", "--sanitizer", "none"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return next(path.parent for path in BUILD.glob("*/release/scenario"))


def gather(target, into):
    """Puts the seeds of a target into one folder."""
    into.mkdir()
    for pattern in [*SHARED_SEEDS.get(target, []), f"fuzz/seeds/{target}/*"]:
        for path in sorted(ROOT.glob(pattern)):
            shutil.copy(path, into / f"{path.parent.name}-{path.name}")
    return into


def fuzz(binary, target, seconds, place):
    """Fuzzes one target; gives what libFuzzer printed and its exit code. New inputs are kept in fuzz/corpus."""
    seeds = gather(target, place / target)
    corpus, artifacts = FUZZ / "corpus" / target, FUZZ / "artifacts" / target
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    longest = max([LONGEST_INPUT, *(path.stat().st_size for path in seeds.iterdir())])
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={longest}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={artifacts}/",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    # Files that targets write live in memory where that is possible.
    memory = pathlib.Path("/dev/shm")
    environment = dict(os.environ, TMPDIR=str(memory if os.access(memory, os.W_OK) else place), RUST_BACKTRACE="0")
    done = subprocess.run([binary, *flags, corpus, seeds], env=environment, check=False, capture_output=True, text=True)
    return done.returncode, done.stderr


def last(pattern, text):
    """The last number that follows a word."""
    found = re.findall(pattern + r":?\s+(\d+)", text)
    return int(found[-1]) if found else 0


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    claims = Claims()
    binaries = build()
    targets = sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))
    with tempfile.TemporaryDirectory(prefix="proofload-fuzz-") as folder:
        place = pathlib.Path(folder)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            running = {t: pool.submit(fuzz, binaries / t, t, seconds, place) for t in targets}
            for target, result in running.items():
                code, printed = result.result()
                executed = last("stat::number_of_executed_units", printed)
                found = (
                    f"{target:18} {executed:>9} executions, {executed // seconds:>6}/s,"
                    f" {last('cov', printed):>5} edges"
                )
                claims.claim(code == 0 and executed >= FEWEST_EXECUTIONS, found)
                if code != 0:
                    print("\n".join(printed.splitlines()[-25:]), flush=True)
    claims.finish()


if __name__ == "__main__":
    main()
