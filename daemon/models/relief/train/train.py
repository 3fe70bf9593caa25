#!/usr/bin/env python3
"""Trains the relief network, from a seed, on a processor or on whatever JAX finds. Stops and goes on where it was.

The learning rate rises, stays, and falls over the last part of --steps; so a run may be brought to its end early by going on
with fewer steps. Pictures are small at first, which teaches what stands where at a quarter of the cost.

A batch is dealt out to all devices. Each processor is one, which is faster than threads within a step, with
XLA_FLAGS="--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false" (for two).

Usage: train.py FOLDER [--steps N] [--until N] [--seed N] [--batch N]
The folder gets checkpoint.npz, log.jsonl and the rendered scenes.
"""

import argparse
import json
import math
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import data
import layers as architecture
import losses
import metrics
import network

RATE = 2e-3
WARM_UP_STEPS = 60
FALL_SHARE = 0.4
SMALL_SHARE = 0.35
SIDES = {"small": 64, "full": 128}
MOST_NORM = 1.0
AVERAGE = 0.995
STEPS_FOR_A_CHUNK = 40
FIRST_CHUNKS = 4
SAVED_EVERY_S = 90


def rate(step, steps):
    rising = min(1, (step + 1) / WARM_UP_STEPS)
    falling = min(1, (steps - step) / (FALL_SHARE * steps))
    return RATE * rising * falling


def begun(layers):
    """Everything that a step changes: layers, Adam's moments, the running average of the layers."""
    zeros = jax.tree.map(jnp.zeros_like, layers)
    return {"layers": layers, "first": zeros, "second": zeros, "average": layers}


def make_step(fold):
    """A step of Adam with bounded gradients; `fold` makes of the trained layers those that compute."""

    def objective(layers, pictures, heights):
        return losses.loss(network.apply(fold(layers), pictures), heights)

    def step(state, pictures, heights, number, rate_now):
        value, slopes = jax.value_and_grad(objective)(state["layers"], pictures, heights)
        norm = jnp.sqrt(sum(jnp.square(slope).sum() for slope in jax.tree.leaves(slopes)))
        bound = jnp.minimum(1, MOST_NORM / (norm + 1e-9))
        slopes = jax.tree.map(lambda slope: slope * bound, slopes)
        first = jax.tree.map(lambda mean, slope: 0.9 * mean + 0.1 * slope, state["first"], slopes)
        second = jax.tree.map(lambda mean, slope: 0.99 * mean + 0.01 * slope**2, state["second"], slopes)
        unbias_first, unbias_second = 1 - 0.9 ** (number + 1), 1 - 0.99 ** (number + 1)
        layers = jax.tree.map(
            lambda value, mean, square: value
            - rate_now * (mean / unbias_first) / (jnp.sqrt(square / unbias_second) + 1e-8),
            state["layers"], first, second,
        )  # fmt: skip
        # The average forgets quickly at first.
        keep = jnp.minimum(AVERAGE, (number + 1) / (number + 10))
        average = jax.tree.map(lambda mean, value: keep * mean + (1 - keep) * value, state["average"], layers)
        return {"layers": layers, "first": first, "second": second, "average": average}, value

    return jax.jit(step)


def save(file, state, step):
    flat = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    part = file.with_suffix(".part.npz")
    np.savez(part, step=step, **flat)
    part.rename(file)


def load(file, state):
    """The state of a checkpoint, in the shape of `state`, and its step."""
    with np.load(file) as kept:
        found = jax.tree_util.tree_map_with_path(lambda path, _: jnp.asarray(kept[jax.tree_util.keystr(path)]), state)
        return found, int(kept["step"])


def averaged(file):
    """The layers of a checkpoint as they compute, averaged over its last steps."""
    state, _ = load(file, begun(architecture.initial(0)))
    return network.folded(state["average"])


def checked(layers, pictures, heights):
    """Mean aligned error over held-out scenes."""
    found = np.concatenate([np.asarray(_apply(layers, pictures[at : at + 16])) for at in range(0, len(pictures), 16)])
    return float(np.mean([metrics.aligned_error(one, truth) for one, truth in zip(found, heights)]))


_apply = jax.jit(network.apply)


def devices(batch):
    """Where the state goes, and a function that deals the scenes of a batch out to all devices."""
    count = math.gcd(jax.device_count(), batch)
    mesh = Mesh(np.array(jax.devices()[:count]), ("scenes",))
    everywhere, dealt = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("scenes",)))
    return everywhere, lambda *arrays: jax.device_put(arrays, dealt)


def run(folder, steps, until, seed, batch):
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, pool = folder / "checkpoint.npz", data.Pool(folder / "scenes")
    state, start = begun(jax.tree.map(jnp.asarray, architecture.initial(seed))), 0
    if checkpoint.exists():
        state, start = load(checkpoint, state)
    everywhere, dealt = devices(batch)
    state = jax.device_put(state, everywhere)
    held_out = data.held_out(48, SIDES["full"])
    step, saved, recent = make_step(network.folded), time.monotonic(), []
    with open(folder / "log.jsonl", "a") as log:
        for number in range(start, until):
            pool.grow(FIRST_CHUNKS + number // STEPS_FOR_A_CHUNK)
            random = np.random.default_rng([seed, number])
            small = number < SMALL_SHARE * steps
            pictures, heights = pool.batch(random, batch * 2 if small else batch, SIDES["small" if small else "full"])
            state, value = step(state, *dealt(pictures, heights), number, rate(number, steps))
            # One step computes while the next one's scenes are put together.
            jax.block_until_ready(recent[-1:])
            recent.append(value)
            last = number + 1 == until
            if last or time.monotonic() - saved > SAVED_EVERY_S:
                save(checkpoint, state, number + 1)
                error = checked(network.folded(state["average"]), *held_out)
                seen = {"step": number + 1, "loss": float(np.mean(jax.device_get(recent))), "held_out": error}
                seen["cpu_s"] = time.process_time()
                print(json.dumps(seen), file=log, flush=True)
                saved, recent = time.monotonic(), []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--until", type=int, help="stop after so many steps of --steps, to go on later")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    given = parser.parse_args()
    run(given.folder, given.steps, min(given.until or given.steps, given.steps), given.seed, given.batch)


if __name__ == "__main__":
    main()
