#!/usr/bin/env python3
"""Scenes to train on: rendered in chunks, kept in files, cut and varied into batches.

Usage: data.py CACHE FIRST LAST    renders these chunks ahead (64 scenes each), for training on a machine with more cores
"""

import os
import pathlib
import sys

import numpy as np

import fields
import scenes

CHUNK = 64
SIDE = 144
# Held-out scenes have numbers that training never reaches.
HELD_OUT = 1_000_000


def chunk(cache, number):
    """Pictures uint8 [64, 144, 144, 3] and heights float16 [64, 144, 144] of a chunk, from its file if there is one."""
    file = pathlib.Path(cache) / f"{number:05}.npz"
    if not file.exists():
        made = [scenes.render(number * CHUNK + at, SIDE) for at in range(CHUNK)]
        pictures = np.stack([scene.picture for scene in made])
        heights = np.stack([scene.height for scene in made]).astype(np.float16)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(part, pictures=pictures, heights=heights)
        part.rename(file)
        return pictures, heights
    with np.load(file) as kept:
        return kept["pictures"], kept["heights"]


def held_out(count, side):
    """Scenes that no training has seen: pictures float32 [N, H, W, 3] in 0..1, heights [N, H, W]."""
    pictures, heights, _ = held_out_of_kinds(count, side)
    return pictures, heights


def held_out_of_kinds(count, side):
    """The same, and of what kind each is."""
    made = [scenes.render(HELD_OUT + number, side) for number in range(count)]
    pictures = np.stack([scene.picture for scene in made]).astype(np.float32) / 255
    return pictures, np.stack([scene.height for scene in made]), [scene.kind for scene in made]


class Pool:
    """The chunks that training has reached."""

    def __init__(self, cache):
        self.cache, self.chunks = cache, []

    def grow(self, count):
        while len(self.chunks) < count:
            self.chunks.append(chunk(self.cache, len(self.chunks)))

    def batch(self, random, count, side):
        """Cut anywhere, mirrored, recoloured: pictures [N, side, side, 3] in 0..1 and heights [N, side, side]."""
        pairs = [self._one(random, side) for _ in range(count)]
        return np.stack([picture for picture, _ in pairs]), np.stack([height for _, height in pairs])

    def _one(self, random, side):
        pictures, heights = self.chunks[random.integers(len(self.chunks))]
        number = random.integers(CHUNK)
        size = SIDE if random.random() < 0.4 else random.uniform(0.55, 1) * SIDE
        top, left = random.uniform(0, 1, 2) * (SIDE - size)
        window = tuple(round(float(value)) for value in (top, left, size, size))
        both = np.concatenate([pictures[number] / np.float32(255), heights[number].astype(np.float32)[..., None]], -1)
        both = fields.resample(both, side, side, window)
        if random.random() < 0.5:
            both = both[:, ::-1]
        height = both[..., 3]
        low, high = height.min(), height.max()
        return _recoloured(random, both[..., :3]), (height - low) / max(high - low, 1e-3)


def _recoloured(random, picture):
    if random.random() < 0.2:
        picture = picture[..., random.permutation(3)]
    if random.random() < 0.15:
        picture = 1 - picture if random.random() < 0.2 else picture.mean(-1, keepdims=True).repeat(3, -1)
    gamma, gain = np.exp(random.normal(0, 0.2)), np.exp(random.normal(0, 0.15))
    return np.clip(gain * np.clip(picture, 0, 1) ** np.float32(gamma), 0, 1).astype(np.float32)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        chunk(sys.argv[1], number)


if __name__ == "__main__":
    main()
