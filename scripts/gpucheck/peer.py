"""PyTorch's side: reads a line of JSON, computes what it asks for, and prints a line of JSON, so that rounds of both sides can
alternate while it keeps what it has compiled. Pictures come in bytes from pinned memory and depths go back into pinned
memory, with as many copies on their way as there are slots.

Called as `python peer.py NETWORK`; see speed.py. With `compile` behind it, it compiles what speed.py will ask for, and ends.
"""

import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from gpucheck import torch_network  # noqa: E402
from gpucheck.service import pictures  # noqa: E402

SLOTS = 4
# How often a case is computed before it is timed: searching for algorithms, compiling.
WARM_UPS = 8


class Peer:
    def __init__(self, path):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # FP32 is FP32 on both sides, and cuDNN looks for its fastest algorithm on both.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self.path, self.networks = pathlib.Path(path), {}

    def network(self, how, precision):
        """`eager`, `eager-nhwc`, `compile`, or `cudagraphs`."""
        key = (how, precision)
        if key not in self.networks:
            network = torch_network.load(self.path).to(self.device, torch.float16 if precision == "fp16" else torch.float32).eval()
            if how == "eager-nhwc":
                network = network.to(memory_format=torch.channels_last)
            if how == "compile":
                network = torch.compile(network, dynamic=False)
            if how == "cudagraphs":
                network = torch.compile(network, backend="cudagraphs", dynamic=False)
            self.networks[key] = network
        return self.networks[key]

    def light(self, bytes_, how, precision):
        wide = bytes_.to(torch.float16 if precision == "fp16" else torch.float32) * (1.0 / 255.0)
        return wide.contiguous(memory_format=torch.channels_last) if how == "eager-nhwc" else wide

    def step(self, slot, how, precision):
        source, there, back = slot
        there.copy_(source, non_blocking=True)
        depth = self.network(how, precision)(self.light(there, how, precision))
        back.copy_(depth, non_blocking=True)

    def slots(self, images):
        source = torch.from_numpy(images)
        pinned = (lambda tensor: tensor.pin_memory()) if self.device.type == "cuda" else (lambda tensor: tensor)
        count, _, rows, columns = images.shape
        made = []
        for _ in range(SLOTS):
            back = torch.empty((count, 1, rows, columns), dtype=torch.float32)
            made.append((pinned(source.clone()), torch.empty(images.shape, dtype=torch.uint8, device=self.device), pinned(back)))
        return made

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def depths(self, image, how, precision):
        """What the network makes of pictures."""
        images = np.load(image)
        with torch.inference_mode():
            depth = self.network(how, precision)(self.light(torch.from_numpy(images).to(self.device), how, precision))
        np.save(image, depth.float().cpu().numpy())
        return {}

    def prepare(self, how, precision, batch, side):
        began = time.monotonic()
        self.timed(how, precision, batch, side, 0.0)
        return {"took_s": time.monotonic() - began}

    def timed(self, how, precision, batch, side, seconds):
        """Pictures a second, and the median of how long one batch takes alone."""
        slots = self.slots(pictures(batch, side, side, kind=np.uint8))
        with torch.inference_mode():
            for at in range(WARM_UPS):
                self.step(slots[at % SLOTS], how, precision)
            self.wait()
            if seconds == 0.0:
                return {}
            alone = []
            for _ in range(10):
                began = time.perf_counter()
                self.step(slots[0], how, precision)
                self.wait()
                alone.append(time.perf_counter() - began)
            return {"pictures_per_s": self.many(slots, how, precision, seconds) * batch, "median_s": statistics.median(alone)}

    def many(self, slots, how, precision, seconds):
        """Batches a second, with as many under way as there are slots."""
        events = [torch.cuda.Event() if self.device.type == "cuda" else None for _ in slots]
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            at = count % SLOTS
            if events[at] is not None and count >= SLOTS:
                events[at].synchronize()
            self.step(slots[at], how, precision)
            if events[at] is not None:
                events[at].record()
            count += 1
        self.wait()
        return count / (time.perf_counter() - began)


# What is compared: pictures of so many pixels along a side, in batches of so many.
SIDE, BATCHES = 256, (1, 8, 32, 128)


def main():
    peer = Peer(sys.argv[1])
    if sys.argv[2:] == ["compile"]:
        for precision in ("fp16", "fp32"):
            for batch in BATCHES:
                peer.prepare("compile", precision, batch, SIDE)
        return
    print(json.dumps({"torch": torch.__version__, "device": str(peer.device)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = getattr(peer, asked.pop("do"))(**asked)
        except Exception as error:  # Whatever it is, the other side has to know.
            said = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
