"""Jobs do not slow who waits for an answer: reliefs by request, alone and while the queue of jobs is kept full."""

import http.client
import json
import statistics
import threading
import time

from harness import ROOT, Claims, Daemon

PICTURE = (ROOT / "scenarios" / "payloads" / "coffee.png").read_bytes()
SECONDS = 20
# A job that runs has a bench until its stage is done, and the threads of others get a tenth of a core at least.
MOST = 2.5


def post(connection, path, body, kind):
    connection.request("POST", path, body, {"content-type": kind})
    answer = connection.getresponse()
    return answer.status, answer.read()


def latencies(address, seconds):
    """Times (s) of reliefs that one user asks for, one after the other with a pause."""
    connection = http.client.HTTPConnection(address, timeout=60)
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        status, body = post(connection, "/api/v1/generate-3d?format=stl", PICTURE, "image/png")
        if status != 200:
            raise RuntimeError(f"{status}: {body[:200]}")
        took.append(time.monotonic() - begun)
        time.sleep(0.05)
    return sorted(took)


class Jobs:
    """Keeps the queue full of reliefs and repairs of meshes."""

    def __init__(self, address):
        self.address = address
        self.taken = self.refused = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.submit)

    def __enter__(self):
        self.mesh = post(http.client.HTTPConnection(self.address), "/api/v1/generate-3d?format=stl", PICTURE, "image/png")[1]
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def submit(self):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        asked = [("relief", PICTURE, "image/png"), ("mesh_repair", self.mesh, "model/stl")]
        while not self.over.is_set():
            kind, body, of = asked[self.taken % 2]
            status, said = post(connection, f"/api/v1/jobs?kind={kind}", body, of)
            if status == 202:
                self.taken += 1
            elif status == 503:
                self.refused += 1
                self.over.wait(0.2)
            else:
                raise RuntimeError(f"{status}: {said[:200]}")


def outcomes(address):
    """Jobs by how they ended, from the metrics."""
    connection = http.client.HTTPConnection(address)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("proofload_jobs_total{")}


def main():
    claims = Claims()
    with Daemon() as daemon:
        latencies(daemon.http, 2)
        alone = latencies(daemon.http, SECONDS)
        with Jobs(daemon.http) as jobs:
            time.sleep(2)
            before = sum(outcomes(daemon.http).values())
            beside = latencies(daemon.http, SECONDS)
            ended = outcomes(daemon.http)
        told = lambda name, took: print(
            f"{name:22} {len(took):4} reliefs, mean {statistics.mean(took) * 1e3:6.1f} ms, p50 {took[len(took) // 2] * 1e3:6.1f}, p95 {took[len(took) * 95 // 100] * 1e3:6.1f}"
        )
        told("alone", alone)
        told("beside a full queue", beside)
        print(f"{jobs.taken} jobs taken, {jobs.refused} refused; {json.dumps(ended)}")
        done = sum(ended.values()) - before
        for name, of in [("p50", lambda took: took[len(took) // 2]), ("p95", lambda took: took[len(took) * 95 // 100])]:
            ratio = of(beside) / of(alone)
            claims.claim(ratio <= MOST, f"{name} beside jobs is {ratio:.2f} of that alone, at most {MOST}")
        claims.claim(jobs.refused > 0, "the queue was full")
        claims.claim(done > 0 and all('outcome="done"' in name for name, count in ended.items() if count), f"{done:.0f} jobs ended meanwhile, all of them done")
    claims.finish()


if __name__ == "__main__":
    main()
