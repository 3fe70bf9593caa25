"""The relief network: a small fully convolutional encoder and decoder in JAX, which runs on a processor or a GPU alike.

Pictures are [N, H, W, 3] in 0..1, with sides that are multiples of 32 (the exported graph takes any size); heights are
[N, H, W], larger is nearer. Layers are a dictionary of kernels [height, width, in, out] and biases.

    stem        5 x 5, every second pixel                              1/2
    encoder     a block at each of five scales, halved between them    1/2 .. 1/32
    decoder     narrowed, doubled, added to the encoder's, a block     1/16 .. 1/2
    head        3 x 3 to four pixels, put in their places              1

A block is x + b(relu(a(x))), 3 x 3 twice. The channels between a and b belong to it alone: that is where pruning cuts.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

WIDTHS = (16, 32, 64, 80, 96)
# Blocks of the encoder at each scale.
DEPTHS = (1, 1, 1, 1, 2)
STEM = 5


def blocks():
    """Names of all blocks, in the order in which they run, with their scale."""
    encoder = [(f"encoder{level}_{number}", level) for level, depth in enumerate(DEPTHS) for number in range(depth)]
    return encoder + [(f"decoder{level}", level) for level in reversed(range(len(WIDTHS) - 1))]


def _layer(random, height, width, inward, outward, gain=None):
    fan_in = height * width * inward
    kernel = random.standard_normal((height, width, inward, outward), np.float32)
    layer = {"kernel": kernel * np.float32(np.sqrt(2 / fan_in)), "bias": np.zeros(outward, np.float32)}
    if gain is not None:
        layer["gain"] = np.full(outward, gain, np.float32)
    return layer


def initial(seed):
    """Layers to train. Those with a gain are standardised: their kernels have mean 0 and a fixed size, times the gain."""
    random = np.random.default_rng(seed)
    layers = {"stem": _layer(random, STEM, STEM, 3, WIDTHS[0])}
    for level in range(1, len(WIDTHS)):
        layers[f"down{level}"] = _layer(random, 3, 3, WIDTHS[level - 1], WIDTHS[level], 1.4)
        layers[f"up{level - 1}"] = _layer(random, 1, 1, WIDTHS[level], WIDTHS[level - 1], 0.7)
    for name, level in blocks():
        layers[f"{name}_a"] = _layer(random, 3, 3, WIDTHS[level], WIDTHS[level], 1.4)
        layers[f"{name}_b"] = _layer(random, 3, 3, WIDTHS[level], WIDTHS[level], 0.3)
    layers["head"] = _layer(random, 3, 3, WIDTHS[0], 4)
    layers["head"]["kernel"] *= 0.1
    # One for all four pixels: the transposed convolution that is exported has one for its one channel.
    layers["head"]["bias"] = np.full(1, 0.5, np.float32)
    return layers


def folded(layers):
    """The layers as they compute: kernels with their gain, and biases."""
    return {name: _folded(layer) for name, layer in layers.items()}


def _folded(layer):
    kernel = layer["kernel"]
    if "gain" in layer:
        fan_in = kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
        kernel = kernel - kernel.mean((0, 1, 2))
        scale = (jnp.square(kernel).mean((0, 1, 2)) * fan_in + 1e-6) ** -0.5
        kernel = kernel * (scale * layer["gain"])
    return {"kernel": kernel, "bias": layer["bias"]}


def _convolution(layer, x, stride=1):
    reach = layer["kernel"].shape[0] // 2
    pads = [(reach, reach)] * 2
    found = lax.conv_general_dilated(x, layer["kernel"], (stride,) * 2, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return found + layer["bias"]


def _block(layers, name, x):
    inner = jax.nn.relu(_convolution(layers[f"{name}_a"], x))
    return jax.nn.relu(x + _convolution(layers[f"{name}_b"], inner))


def doubled(x):
    """Twice the size, linearly, with centres of pixels kept: what Resize does with half_pixel."""
    for axis in (1, 2):
        size = x.shape[axis]
        before = jnp.concatenate([lax.slice_in_dim(x, 0, 1, axis=axis), lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
        after = jnp.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), lax.slice_in_dim(x, size - 1, size, axis=axis)], axis)
        pair = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def apply(layers, pictures):
    """Heights of pictures by folded layers."""
    x = jax.nn.relu(_convolution(layers["stem"], pictures, 2))
    skips = []
    for level, depth in enumerate(DEPTHS):
        if level:
            skips.append(x)
            x = jax.nn.relu(_convolution(layers[f"down{level}"], x, 2))
        for number in range(depth):
            x = _block(layers, f"encoder{level}_{number}", x)
    for level in reversed(range(len(WIDTHS) - 1)):
        x = doubled(_convolution(layers[f"up{level}"], x)) + skips[level]
        x = _block(layers, f"decoder{level}", x)
    quarters = _convolution(layers["head"], x)
    count, rows, columns, _ = quarters.shape
    quarters = quarters.reshape(count, rows, columns, 2, 2).transpose(0, 1, 3, 2, 4)
    return quarters.reshape(count, 2 * rows, 2 * columns)


def weights(layers):
    """How many numbers there are to learn, without gains."""
    return sum(layer[part].size for layer in layers.values() for part in ("kernel", "bias"))
