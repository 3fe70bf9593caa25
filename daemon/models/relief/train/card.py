#!/usr/bin/env python3
"""Pictures for the model card.

Usage: card.py photographs OUTPUT.jpg MODEL.onnx FOLDER   every PNG and JPEG file of the folder, and its relief by the fixed filters
                                                          and by the model, shaded as a print of it would look
       card.py scenes OUTPUT.jpg MODEL.onnx               held-out scenes: the picture, the true heights, those of the model
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

import data
import evaluate
import fields
import fixed_filters

CELL, SCENE_CELL = 192, 112
# As the relief service does by default: samples along the longer side, smoothing, and the range that is not cut off.
RESOLUTION, SMOOTHING, RANGE = 128, 0.7, (1, 99)
# Height of the relief over the width of the plate, twice the default, so that a small picture shows it.
RELIEF = 0.16
GREY, GAP, HEAD = 250, 4, 16
QUALITY = 82
# Held-out scenes that are shown: the first of each kind, so many to a row.
LOOKED_AT, IN_A_ROW = 128, 3


def raster(path):
    """A photograph with so many samples along its longer side, in 0..1."""
    image = Image.open(path).convert("RGB")
    scale = min(1, RESOLUTION / max(image.size))
    size = [max(1, round(side * scale)) for side in image.size]
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / 255


def shade(depth):
    """The relief of depths under a lamp at the upper left, as a picture of grey."""
    low, high = np.percentile(depth, RANGE)
    height = fields.blur(depth.astype(np.float32), SMOOTHING)
    height = np.clip((height - low) / max(high - low, 1e-6), 0, 1) * RELIEF * max(depth.shape)
    down, across = np.gradient(height)
    normal = np.stack([-across, -down, np.ones_like(height)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lamp = np.array([-0.5, -0.6, 0.62])
    lit = np.clip(normal @ lamp, 0, 1) * 0.85 + 0.1
    return np.uint8(np.clip(lit, 0, 1) * 255)


def grey(depth):
    low, high = np.percentile(depth, RANGE)
    return np.uint8(np.clip((depth - low) / max(high - low, 1e-6), 0, 1) * 255)


def cell(pixels, side):
    """A picture in the middle of a square."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = side / max(image.size)
    image = image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.BICUBIC)
    square = Image.new("RGB", (side, side), (GREY,) * 3)
    square.paste(image, [(side - length) // 2 for length in image.size])
    return square


def of_photograph(path, engines):
    picture = raster(path)
    cells = [np.uint8(picture * 255 + 0.5)]
    for engine in engines:
        depth = evaluate.heights_by(engine)(picture)
        cells += [grey(depth), shade(depth)]
    return cells


def photographs(model, folder):
    """Heads and rows of pixels."""
    paths = sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix in (".png", ".jpg"))
    engines = [evaluate.session(fixed_filters.build().SerializeToString()), evaluate.session(model)]
    names = ["fixed filters", evaluate.named(pathlib.Path(model))]
    heads = ["picture"] + [f"{name}: {what}" for name in names for what in ("depth", "relief")]
    return heads, [of_photograph(path, engines) for path in paths]


def aligned(found, truth):
    """Heights with the scale and the shift that are best by least squares, as the error knows none."""
    scale, shift = np.polyfit(found.ravel(), truth.ravel(), 1)
    return np.uint8(np.clip(scale * found + shift, 0, 1) * 255)


def scenes(model):
    """The first held-out scene of each kind."""
    pictures, truths, kinds = data.held_out_of_kinds(LOOKED_AT, RESOLUTION)
    heights = evaluate.heights_by(evaluate.session(model))
    cells = []
    for kind in sorted(set(kinds)):
        number = kinds.index(kind)
        picture, truth = pictures[number], truths[number]
        cells.append([np.uint8(picture * 255 + 0.5), np.uint8(truth * 255), aligned(heights(picture), truth)])
    rows = [sum(cells[at : at + IN_A_ROW], []) for at in range(0, len(cells), IN_A_ROW)]
    return ["picture", "true heights", "by the network"] * IN_A_ROW, rows


def sheet(heads, rows, side):
    image = Image.new("RGB", (len(heads) * (side + GAP), len(rows) * (side + GAP) + HEAD), (GREY,) * 3)
    draw = ImageDraw.Draw(image)
    for column, head in enumerate(heads):
        draw.text((column * (side + GAP) + 4, 2), head, fill=(20, 20, 20))
    for at, row in enumerate(rows):
        for column, pixels in enumerate(row):
            image.paste(cell(pixels, side), (column * (side + GAP), HEAD + at * (side + GAP)))
    return image


def main():
    match sys.argv[1:]:
        case ["photographs", output, model, folder]:
            image = sheet(*photographs(model, folder), CELL)
        case ["scenes", output, model]:
            image = sheet(*scenes(model), SCENE_CELL)
        case _:
            sys.exit(__doc__)
    image.save(output, quality=QUALITY)


if __name__ == "__main__":
    main()
