"""The relief network: a small fully convolutional encoder and decoder in JAX, which runs on a processor or a GPU alike.

Pictures are [N, H, W, 3] in 0..1, with sides that are multiples of 32 (the exported graph takes any size); heights are
[N, H, W], larger is nearer. What its layers are is in layers.py.
"""

import jax
import jax.numpy as jnp
from jax import lax

from layers import DEPTHS, WIDTHS


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
    heights = quarters.reshape(count, 2 * rows, 2 * columns)
    return heights + _detail(layers, pictures) if "detail_light" in layers else heights


def _detail(layers, pictures):
    light = surroundings = _convolution(layers["detail_light"], pictures)
    for name, axis in (("down", 1), ("across", 2)):
        kernel = layers[f"detail_{name}"]["kernel"].ravel()
        reach, size = len(kernel) // 2, light.shape[axis]
        padded = jnp.pad(surroundings, [(reach, reach) if at == axis else (0, 0) for at in range(4)], mode="edge")
        parts = (lax.slice_in_dim(padded, at, at + size, axis=axis) for at in range(len(kernel)))
        surroundings = sum(weight * part for weight, part in zip(kernel, parts))
    return (light - surroundings)[..., 0]
