"""Load on a model from several clients at once, with tensors in shared memory."""

import json
import pathlib
import statistics
import subprocess
import sys
import time

CLIENT = pathlib.Path(__file__).resolve().parent / "client.py"
# Until every client has started and has its memory.
START_S = 1.5
# What is left out at the beginning.
WARM_SHARE = 0.2


class Load:
    """Clients that run while the block lasts; `result` is there afterwards."""

    def __init__(self, address, model, batch, rows, columns, clients, seconds, kind="uint8"):
        self.batch, self.seconds = batch, seconds
        begin = time.time() + START_S
        asked = {"address": address, "model": model, "shape": [batch, rows, columns], "kind": kind, "begin_unix_s": begin, "end_unix_s": begin + seconds}
        self.begin = begin
        command = lambda number: [sys.executable, "-B", str(CLIENT), json.dumps({**asked, "number": number})]
        self.clients = [subprocess.Popen(command(number), stdout=subprocess.PIPE, text=True) for number in range(clients)]

    def wait(self):
        """What came of it."""
        said = []
        for client in self.clients:
            # A request that has begun is answered, whatever the time.
            output, _ = client.communicate(timeout=START_S + self.seconds + 60)
            if client.returncode:
                raise RuntimeError(f"a client ended with exit code {client.returncode}")
            said.append(json.loads(output))
        return Result(said, self.batch, self.seconds)


class Result:
    def __init__(self, said, batch, seconds):
        warm = WARM_SHARE * seconds
        pairs = [(at, took) for one in said for at, took in zip(one["at_s"], one["took_s"])]
        steady = [took for at, took in pairs if warm <= at < seconds]
        self.answers = len(pairs)
        self.pictures_per_s = len(steady) * batch / (seconds - warm)
        self.median_s = statistics.median(steady) if steady else float("inf")
        self.refused = {}
        for one in said:
            for what, count in one["refused"].items():
                self.refused[what] = self.refused.get(what, 0) + count

    def complaint(self):
        """What was refused, in words; empty where nothing was."""
        return "; ".join(f"{count} × {what}" for what, count in self.refused.items())


def drive(address, model, batch, side, clients, seconds, kind="uint8"):
    return Load(address, model, batch, side, side, clients, seconds, kind).wait()
