"""How far heights are from the truth when scale and shift do not count, to train by (metrics.py is to judge by).

The loss is that of Ranftl et al., "Towards robust monocular depth estimation", 2020, with means for medians: both maps are
shifted to mean 0 and scaled to mean size 1 before they are compared, and so are their gradients at four scales."""

import jax.numpy as jnp

GRADIENT_WEIGHT = 0.5
GRADIENT_SCALES = 4
# A little of the plain difference keeps the output between 0 and 1, where half precision is good.
ANCHOR_WEIGHT = 0.1
LEAST_SIZE = 0.04


def _standard(heights):
    heights = heights - heights.mean((1, 2), keepdims=True)
    size = jnp.abs(heights).mean((1, 2), keepdims=True)
    return heights / jnp.maximum(size, LEAST_SIZE)


def _steps(difference):
    across = jnp.abs(difference[:, :, 1:] - difference[:, :, :-1]).mean()
    return across + jnp.abs(difference[:, 1:] - difference[:, :-1]).mean()


def _halved(x):
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def loss(found, truth):
    """Of heights [N, H, W]."""
    difference = _standard(found) - _standard(truth)
    total = jnp.abs(difference).mean() + ANCHOR_WEIGHT * jnp.abs(found - truth).mean()
    for _ in range(GRADIENT_SCALES):
        total = total + GRADIENT_WEIGHT * _steps(difference)
        difference = _halved(difference)
    return total
