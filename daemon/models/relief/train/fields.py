"""Pictures of one or more channels as arrays of float32: smooth noise, blur, resampling. Nothing here knows of scenes."""

import functools

import numpy as np


def smoothstep(low, high, value):
    share = np.clip((value - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


@functools.lru_cache(maxsize=64)
def _interpolation(size, target, start, length):
    """A matrix that takes `target` samples, linearly, from the piece of a line of `size` that begins at `start`."""
    at = np.clip((np.arange(target) + 0.5) * length / target - 0.5 + start, 0, size - 1)
    low = np.minimum(at.astype(int), size - 2) if size > 1 else np.zeros(target, int)
    share = at - low
    matrix = np.zeros((target, size), np.float32)
    matrix[np.arange(target), low] = 1 - share
    if size > 1:
        matrix[np.arange(target), low + 1] += share
    return matrix


def resample(picture, rows, columns, window=None):
    """The picture [H, W] or [H, W, C], or its window (top, left, height, width), at another size, linearly."""
    top, left, height, width = window or (0, 0, *picture.shape[:2])
    down = _interpolation(picture.shape[0], rows, top, height)
    across = _interpolation(picture.shape[1], columns, left, width)
    half = np.tensordot(down, picture, (1, 0))
    full = np.tensordot(across, half, (1, 1))
    return np.ascontiguousarray(np.swapaxes(full, 0, 1))


def halved(picture):
    """Every two by two samples averaged."""
    return (picture[::2, ::2] + picture[1::2, ::2] + picture[::2, 1::2] + picture[1::2, 1::2]) / 4


@functools.lru_cache(maxsize=256)
def _kernel(hundredths):
    deviation = hundredths / 100
    reach = max(1, int(2.5 * deviation + 0.5))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def blur(picture, deviation):
    """A Gaussian with repeated edges; wide ones on a picture of half the size."""
    if deviation < 0.2:
        return picture
    rows, columns = picture.shape[:2]
    if deviation > 4 and rows % 2 == 0 and columns % 2 == 0:
        return resample(blur(halved(picture), deviation / 2), rows, columns)
    kernel = _kernel(round(deviation * 100))
    for axis in (0, 1):
        pads = [(0, 0)] * picture.ndim
        pads[axis] = (len(kernel) // 2,) * 2
        padded = np.pad(picture, pads, mode="edge")
        size = picture.shape[axis]
        take = (slice(None),) * axis
        picture = sum(weight * padded[(*take, slice(at, at + size))] for at, weight in enumerate(kernel))
    return picture


@functools.lru_cache(maxsize=4)
def _frequencies(side):
    line = np.fft.fftfreq(side) * side
    across = np.arange(side // 2 + 1)
    radius = np.hypot(line[:, None], across[None])
    radius[0, 0] = np.inf
    return radius


def noise(random, roughness, side=128, coarsest=1.0):
    """Noise that repeats at its edges, mean 0, deviation 1. Its amplitude falls with the frequency to the power `roughness`
    (0 is white, 2 is hilly); waves longer than `side / coarsest` are left out."""
    radius = _frequencies(side)
    amplitude = np.where(radius >= coarsest, radius, np.inf) ** -roughness
    phases = np.exp(2j * np.pi * random.random(radius.shape))
    field = np.fft.irfft2(amplitude * phases, s=(side, side)).astype(np.float32)
    return (field - field.mean()) / max(field.std(), 1e-9)


def lookup(tile, across, down):
    """A repeating tile at coordinates in tiles, of any shape; the nearest sample."""
    rows, columns = tile.shape
    return tile[np.floor(down * rows).astype(np.int32) % rows, np.floor(across * columns).astype(np.int32) % columns]
