"""All rows in their order: what is right first, then what is fast, in case that time is short."""

import collections
import os

from gpucheck import agreement, memory, record, serving, speed

# What is asked may be said by each result anew; `measure` gives (asked or "", seen, verdict, why).
# `timed` rows wait until nothing is compiled beside them.
Row = collections.namedtuple("Row", "name limit_s asked measure timed", defaults=[True])

ALL = [
    Row("starts", 60, "the daemon built elsewhere runs unchanged", agreement.starts, False),
    Row("named", 30, "the GPU is named as nvidia-smi names it", agreement.named, False),
    Row("same-as-cpu", 90, "FP32 (TF32 off) agrees with the CPU to 1e-4 relative, FP16 to 1e-2", agreement.same_as_cpu, False),
    Row("operators", 90, "every operator's cases are right on the GPU", agreement.operators, False),
    Row("batch-of-four", 45, "a batch of 4 at least 2.5× four sequential pictures", speed.batch_of_four),
    Row("pixels-to-mesh", 45, "pixels to mesh, split by phase", serving.pixels_to_mesh),
    Row("tier-3", 70, "200 requests/s, p95 100 ms, errors < 0.1 %", serving.tier_three),
    Row("throughput", 170, "batches 1, 8, 32, 128 beside PyTorch eager and torch.compile, in FP32 and FP16", speed.throughput),
    Row("saturation", 45, "GPU utilisation at least 90 % under saturation, tensors through shared memory in U8", serving.saturation),
    Row("nvml", 20, "NVML's figures equal nvidia-smi's", serving.nvml),
    Row("soak", 50, "memory never above its budget, sizes mixed", memory.default_budget),
    Row("soak-14-gib", 50, "memory never above a budget of 14 GiB, sizes mixed", memory.small_budget),
    Row("growing", 40, "memory that grows is cleaned up before the limit", memory.growing),
]


class Context:
    """Where things are, and how large they are to be."""

    def __init__(self, here, place, out, gpu, rehearsal):
        self.here, self.place, self.out, self.gpu, self.rehearsal = here, place, out, gpu, rehearsal
        alone, whole = place / "bin" / "proofload-daemon", place / "bin" / "proofload"
        self.proofload = [str(whole)]
        self.daemon = [str(alone)] if os.path.exists(alone) else [str(whole), "daemon"]
        self.network, self.byte_network = here / "networks" / "relief.onnx", here / "networks" / "relief_bytes.onnx"

    def size(self, full, small):
        """The size of a measurement: a rehearsal's is small."""
        return small if self.rehearsal else full

    def verdict(self, holds, needs_gpu=False):
        """Whether a claim holds. On the CPU figures are no claim, and what needs a GPU cannot be seen."""
        if needs_gpu and not self.gpu:
            return record.NOT_MEASURABLE
        return record.PASS if holds else record.FAIL

    def speed(self, holds):
        """Whether a claim of speed holds, of which a rehearsal says nothing."""
        return record.NOT_MEASURABLE if self.rehearsal else self.verdict(holds, needs_gpu=True)
