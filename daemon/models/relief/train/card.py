#!/usr/bin/env python3
"""Pictures for the model card: photographs, and the reliefs that models make of them, shaded as a print of them would look.

Usage: card.py OUTPUT.jpg FOLDER MODEL.onnx…    all PNG and JPEG files of the folder; fixed filters come first
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

import evaluate
import fields
import fixed_filters

CELL = 192
# As the relief service does by default: samples along the longer side, smoothing, and the range that is not cut off.
RESOLUTION, SMOOTHING, RANGE = 128, 0.7, (1, 99)
# Height of the relief over the width of the plate, twice the default, so that a small picture shows it.
RELIEF = 0.16
GREY, GAP = 250, 4


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


def cell(pixels):
    """A picture in the middle of a square."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = CELL / max(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    square = Image.new("RGB", (CELL, CELL), (GREY,) * 3)
    square.paste(image, [(CELL - side) // 2 for side in image.size])
    return square


def row(path, engines):
    picture = raster(path)
    cells = [cell(np.uint8(picture * 255 + 0.5))]
    for engine in engines:
        depth = evaluate.heights_by(engine)(picture)
        cells += [cell(grey(depth)), cell(shade(depth))]
    return cells


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    paths = sorted(path for path in pathlib.Path(sys.argv[2]).iterdir() if path.suffix in (".png", ".jpg"))
    names = ["fixed filters", *(pathlib.Path(path).stem for path in sys.argv[3:])]
    names = ["relief_depth" if name == "model" else name for name in names]
    engines = [evaluate.session(fixed_filters.build().SerializeToString()), *map(evaluate.session, sys.argv[3:])]
    rows = [row(path, engines) for path in paths]
    heads = ["picture"] + [f"{name}: {what}" for name in names for what in ("depth", "relief")]
    sheet = Image.new("RGB", (len(heads) * (CELL + GAP), len(rows) * (CELL + GAP) + 16), (GREY,) * 3)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((column * (CELL + GAP) + 4, 2), head, fill=(20, 20, 20))
        for at, cells in enumerate(rows):
            sheet.paste(cells[column], (column * (CELL + GAP), 16 + at * (CELL + GAP)))
    sheet.save(sys.argv[1], quality=82)


if __name__ == "__main__":
    main()
