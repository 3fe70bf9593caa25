"""The layers of the relief network and what they begin with; network.py computes them, export.py writes them as ONNX.

Layers are a dictionary of kernels [height, width, in, out] and biases.

    stem        5 x 5, every second pixel                              1/2
    encoder     a block at each of five scales, halved between them    1/2 .. 1/32
    decoder     narrowed, doubled, added to the encoder's, a block     1/16 .. 1/2
    head        3 x 3 to four pixels, put in their places              1

A block is x + b(relu(a(x))), 3 x 3 twice. The channels between a and b belong to it alone: that is where pruning cuts.

    detail      brightness less its surroundings, added to the heights; fixed, and not there while the network is trained
"""

import numpy as np

WIDTHS = (16, 32, 64, 80, 96)
# Blocks of the encoder at each scale.
DEPTHS = (1, 1, 1, 1, 2)
STEM = 5
# ITU-R BT.601: the weights of red, green and blue in luminance.
LUMINANCE = (0.299, 0.587, 0.114)
# How much of a picture's finest shades, those within about a pixel and a half, goes into the heights, which are a few tenths
# apart: so much that a print shows eyes, joints and edges, which the network smooths away, and less than the forms that it finds.
DETAIL_SHARE = 0.1
SURROUNDINGS = (1, 8, 28, 56, 70, 56, 28, 8, 1)


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


def detail():
    """The fixed layers that add fine detail: what is added is the brightness less what the other two make of it."""
    line = np.float32(SURROUNDINGS) / np.float32(sum(SURROUNDINGS))
    kernels = {"light": DETAIL_SHARE * np.float32(LUMINANCE).reshape(1, 1, 3, 1), "down": line.reshape(-1, 1, 1, 1)}
    kernels["across"] = line.reshape(1, -1, 1, 1)
    return {f"detail_{name}": {"kernel": kernel, "bias": np.zeros(1, np.float32)} for name, kernel in kernels.items()}


def learned(layers):
    """Without the fixed ones."""
    return {name: layer for name, layer in layers.items() if not name.startswith("detail")}


def weights(layers):
    """How many numbers there are to learn, without gains."""
    return sum(layer[part].size for layer in learned(layers).values() for part in ("kernel", "bias"))
