"""A client that asks for one model over and over with its tensors in system shared memory: a process of its own, so that
several keep a GPU busy. It prints when each of its answers came and how long it took.

Called as `python client.py JSON`; see load.py.
"""

import json
import mmap
import os
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from gpucheck.service import NAMES, Connection, pictures  # noqa: E402


class Region:
    """An object in /dev/shm that the daemon knows."""

    def __init__(self, connection, name, size):
        self.connection, self.name, self.size = connection, name, size
        self.path = f"/dev/shm/{name}"
        self.file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
        os.ftruncate(self.file, size)
        self.memory = mmap.mmap(self.file, size)
        body = json.dumps({"key": f"/{name}", "offset": 0, "byte_size": size})
        connection.checked("POST", f"/v2/systemsharedmemory/region/{name}/register", body)

    def close(self):
        try:
            self.connection.ask("POST", f"/v2/systemsharedmemory/region/{self.name}/unregister")
        finally:
            self.memory.close()
            os.close(self.file)
            os.unlink(self.path)


def port(name, region, **more):
    return {"name": name, **more, "parameters": {"shared_memory_region": region.name, "shared_memory_byte_size": region.size}}


def main():
    asked = json.loads(sys.argv[1])
    batch, rows, columns = asked["shape"]
    connection = Connection(asked["address"])
    images = pictures(batch, rows, columns, asked["number"], np.dtype(asked["kind"]).type)
    name = f"gpu_check_{os.getpid()}"
    regions = []
    try:
        regions.append(Region(connection, f"{name}_in", images.nbytes))
        regions.append(Region(connection, f"{name}_out", 4 * batch * rows * columns))
        regions[0].memory[:] = images.tobytes()
        request = {
            "inputs": [port("image", regions[0], datatype=NAMES[images.dtype], shape=list(images.shape))],
            "outputs": [port("depth", regions[1])],
        }
        print(json.dumps(answers(connection, asked, json.dumps(request))))
    finally:
        for region in regions:
            region.close()


def answers(connection, asked, request):
    """Times of answers since the agreed beginning, in seconds, and how long each took; what was refused."""
    path, took, at, refused = f"/v2/models/{asked['model']}/infer", [], [], {}
    headers = {"content-type": "application/json"}
    time.sleep(max(0.0, asked["begin_unix_s"] - time.time()))
    while (sent := time.time()) < asked["end_unix_s"]:
        status, _, answer = connection.ask("POST", path, request, headers)
        now = time.time()
        if status == 200:
            took.append(now - sent)
            at.append(now - asked["begin_unix_s"])
        else:
            said = f"{status} {answer[:200].decode(errors='replace')}"
            refused[said] = refused.get(said, 0) + 1
    return {"at_s": at, "took_s": took, "refused": refused}


if __name__ == "__main__":
    main()
