"""What the proofs share: running the built binary, reading what it found, and saying whether a claim holds."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# Names of the codes in the column `outcome` of the samples.
OUTCOMES = "ok shed timeout connect_error transport_error server_error rejected bad_body in_flight dropped".split()
BINARY = TARGET / "release" / "proofload"


def small_tensors(duration_s):
    """A scenario of small tensors to the embedded daemon, 200 a second."""
    return f"""
kind = "sustained"
[load]
model = "open"
arrivals = "poisson"
rate = "200/s"
duration = "{duration_s}s"
[[mix]]
name = "small"
protocol = "kserve-http-json"
model = "tiny_mlp"
inputs = [{{ name = "input", datatype = "FP32", shape = [1, 16], data = "random" }}]
"""


def ignored_test(target, name):
    """Runs a test of the workspace that is too long for every day; what it measures is printed. Returns its exit status."""
    command = ["cargo", "test", "--release", "--quiet", "--workspace", "--test", target, "--"]
    return subprocess.call([*command, "--ignored", "--exact", "--nocapture", name], cwd=ROOT)


class Claims:
    """Collects claims; the proof fails at the end when one did not hold."""

    def __init__(self):
        self.failed = []

    def claim(self, holds, text):
        print(f"{'holds ' if holds else 'FAILS '} {text}", flush=True)
        if not holds:
            self.failed.append(text)

    def finish(self):
        print(f"{len(self.failed)} claim(s) failed")
        sys.exit(1 if self.failed else 0)


class Workplace:
    """A temporary folder for scenarios and runs."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="proofload-proof-"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def scenario(self, name, text):
        path = self.path / f"{name}.toml"
        path.write_text(text)
        return path

    def run(self, scenario, name, *arguments):
        """Runs a scenario to its end; gives exit code and run folder."""
        folder = self.path / name
        command = [BINARY, "run", scenario, "--out", folder, "--quiet", *arguments]
        return subprocess.run(command, check=False).returncode, folder

    def start(self, scenario, name, *arguments):
        """Starts a scenario and gives the process and the run folder."""
        folder = self.path / name
        command = [BINARY, "run", scenario, "--out", folder, "--quiet", *arguments]
        return subprocess.Popen(command), folder


class Server:
    """A process that prints its addresses, or ports, as JSON when it is ready, and ends when its standard input closes."""

    def __init__(self, *command):
        self.command = [str(word) for word in command]

    def __enter__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"it did not start, exit code {self.process.wait()}: {' '.join(self.command)}")
        ready = json.loads(line)
        port = lambda side: int(str(ready[side]).rsplit(":", 1)[-1])
        self.http, self.grpc = f"127.0.0.1:{port('http')}", f"127.0.0.1:{port('grpc')}"
        self.url = f"http://{self.http}"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)

    def cpu_s(self):
        """Processor time that it has taken."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Daemon(Server):
    """Our daemon on free ports, with these arguments, while the block lasts."""

    def __init__(self, *arguments):
        ports = ["--http-port", "0", "--grpc-port", "0", "--ready-json", "--until-stdin-closes"]
        super().__init__(BINARY, "daemon", *ports, *arguments)


NGINX = """
worker_processes 1; daemon off; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""


class Nginx:
    """A server that costs little, on loopback, while the block lasts."""

    def __init__(self, port=18081):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="proofload-nginx-"))
        file = self.place / "nginx.conf"
        file.write_text(NGINX.format(place=self.place, port=self.port))
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", file])
        if not wait_until(self.answers, 10):
            raise RuntimeError(f"nginx does not answer on port {self.port}")
        return self

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)


def generator_series(folder, name):
    """The generator's own readings of one name: pairs of seconds on the run's clock and value."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(folder / "series-00000.parquet").to_pylist()
    return [(row["t_ns"] / 1e9, row["value"]) for row in rows if row["name"] == name]


def answers(folder):
    """Of each arrival of a run: when it was intended, how long it took (s), what became of it."""
    import pyarrow.parquet

    columns = ["intended_ns", "done_ns", "outcome"]
    rows = pyarrow.parquet.read_table(folder / "samples-00000.parquet", columns=columns).to_pylist()
    took = lambda row: (row["done_ns"] - row["intended_ns"]) / 1e9
    return [(row["intended_ns"] / 1e9, took(row), OUTCOMES[row["outcome"]]) for row in rows]


def started(folder):
    """Waits until a run's journal has its first chunk, which comes at most a quarter of a second after its zero."""
    journal = folder / "samples-00000.journal"
    return wait_until(lambda: journal.exists() and journal.stat().st_size > 32, 60)


def findings(folder):
    return json.loads((folder / "findings.json").read_text())


def manifest(folder):
    return json.loads((folder / "run.json").read_text())


def children(pid):
    """Process ids of the direct children of a process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    found = [int(word) for word in text.split()]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except FileNotFoundError:
            pass
    return sorted(set(found))


def alive(pid):
    """Whether a process is there and is no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def percentile(values, share):
    """Nearest rank, as the analyzer does."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
