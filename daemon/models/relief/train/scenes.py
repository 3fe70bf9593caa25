#!/usr/bin/env python3
"""Scenes with a known relief, rendered from a seed alone: the same number gives the same picture.

A scene is a picture of 8 bits, and a height for each of its pixels, 0 (farthest) to 1 (nearest). The height of what a camera
sees in perspective is its disparity, one over its depth.

Usage: scenes.py OUTPUT.png [FIRST [SIDE]]    a sheet of 48 scenes, each with its heights
"""

import dataclasses
import sys

import numpy as np

import arrangements
import bas_reliefs
import fields
import rays
import shading

# Of all heights so many are cut off at either end, so that no single pixel decides the range.
TAIL_PERCENT = 0.3
RELIEF_SHARE = 0.33
LANDSCAPE_SHARE = 0.06


@dataclasses.dataclass
class Scene:
    """picture: uint8 [H, W, 3]; height: float32 [H, W], 0 to 1; kind: what it shows, by the function that made it."""

    picture: np.ndarray
    height: np.ndarray
    kind: str


def render(number, side=144):
    """The scene of this number."""
    random = np.random.default_rng([0x5EED, number])
    for _ in range(8):
        draw = random.random()
        if draw < RELIEF_SHARE:
            colour, height, far, kind = bas_reliefs.scene(random, side)
        elif draw < RELIEF_SHARE + LANDSCAPE_SHARE:
            colour, height, far, kind = *landscape(random, side), "landscape"
        else:
            colour, height, far, kind = arranged(random, side)
        low, high = np.percentile(height, [TAIL_PERCENT, 100 - TAIL_PERCENT])
        # Nothing in view, or a plain wall: there is no relief to learn from.
        if high - low > 1e-3 * max(abs(high), 1e-9) and np.isfinite(colour).all():
            height = np.clip((height - low) / (high - low), 0, 1).astype(np.float32)
            return Scene(shading.photographed(random, colour, far), height, kind)
    raise RuntimeError(f"scene {number}: eight draws, and nothing to see in any of them")


def arranged(random, side):
    makers, weights = zip(*arrangements.ARRANGEMENTS)
    maker = random.choice(np.array(makers, object), p=np.array(weights) / sum(weights))
    group, camera = maker(random)
    directions = camera.directions(side)
    first, depth = rays.cast(group.solids, camera.place, directions)
    points = camera.place + np.where(first[:, None] >= 0, depth[:, None], 0) * directions
    view = View(group, camera, side, first, depth, points)
    return *view.shaded(random), maker.__name__.replace("_", " ")


class View:
    """What a camera sees of a group, before it is lit."""

    def __init__(self, group, camera, side, first, depth, points):
        self.group, self.camera, self.side = group, camera, side
        self.first, self.depth, self.points = first, depth, points
        count = len(first)
        self.normal = np.zeros((count, 3), np.float32)
        self.normal[:, 1] = 1
        self.albedo = np.zeros((count, 3), np.float32)
        self.bumps = np.zeros(count, np.float32)
        self.shine, self.gloss = np.zeros(count, np.float32), np.ones(count, np.float32)
        for number, solid in enumerate(group.solids):
            seen = np.flatnonzero(first == number)
            if len(seen):
                self._surface(solid, seen)

    def _surface(self, solid, seen):
        material = self.group.materials[solid.material]
        points = self.points[seen]
        normal = solid.normals(points)
        place = on_surface((points - solid.centre) @ solid.turn, normal @ solid.turn)
        self.normal[seen] = normal
        self.albedo[seen] = material.albedo(place)
        self.bumps[seen] = material.displacement(place)
        self.shine[seen], self.gloss[seen] = material.shine, material.gloss

    def square(self, values):
        return values.reshape(self.side, self.side, *values.shape[1:])

    def shaded(self, random):
        hit = self.square(self.first >= 0)
        normal = self._bumped(self.square((self.normal @ self.camera.turn).astype(np.float32)))
        lamps, sky, ground = shading.lights(random)
        shadows = [self._open(lamp, random) if at < 2 else np.ones(hit.shape, np.float32) for at, lamp in enumerate(lamps)]
        view = -self.square(self.camera.directions(self.side) @ self.camera.turn).astype(np.float32)
        view /= np.linalg.norm(view, axis=-1, keepdims=True)
        albedo, shine, gloss = (self.square(values) for values in (self.albedo, self.shine, self.gloss))
        colour = shading.shaded(albedo, normal, lamps, shadows, sky, ground, view, shine, gloss)
        depth = np.where(hit, self.square(self.depth - self.bumps * np.clip(-self._facing(), 0.3, 1)), np.inf)
        farthest = depth[hit].max() if hit.any() else 1.0
        disparity = 1 / np.where(hit, depth, 3 * farthest)
        near = disparity.max() if hit.any() else 1.0
        colour = colour * shading.hollows(disparity / near, self.side / 24, random.uniform(0, 6))
        colour = np.where(hit[..., None], colour, heaven(random, self.side))
        if random.random() < 0.15:
            haze = np.exp(-np.where(hit, depth, 3 * farthest) * random.uniform(0.02, 0.15))[..., None]
            colour = colour * haze + sky * random.uniform(0.7, 1.6) * (1 - haze)
        focus = np.percentile(disparity, 90)
        return colour, disparity, np.clip((focus - disparity) / focus * 2, 0, 1)

    def _facing(self):
        """How a ray meets its surface: -1 head on, 0 along it."""
        rays_ = self.camera.directions(self.side)
        return (rays_ * self.normal).sum(1) / np.linalg.norm(rays_, axis=1)

    def _bumped(self, normal):
        """Normals with the fine relief in them, as far as the neighbours belong to the same solid."""
        bumps, first = self.square(self.bumps), self.square(self.first)
        pixel = np.where(np.isfinite(self.depth), self.depth, 1) * 2 / (self.side * self.camera.focal)
        slopes = np.zeros_like(normal)
        pixel = self.square(pixel)[1:-1, 1:-1]
        same = (first[1:-1, 2:] == first[1:-1, :-2]) & (first[2:, 1:-1] == first[:-2, 1:-1])
        slopes[1:-1, 1:-1, 0] = (bumps[1:-1, 2:] - bumps[1:-1, :-2]) / (2 * pixel) * same
        slopes[1:-1, 1:-1, 1] = (bumps[:-2, 1:-1] - bumps[2:, 1:-1]) / (2 * pixel) * same
        normal = normal - np.clip(slopes, -1.5, 1.5)
        return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)

    def _open(self, lamp, random):
        """Share of a lamp's light that other solids let through to each pixel."""
        toward = self.camera.turn @ lamp.direction
        share = np.ones(len(self.first), np.float32)
        lit = np.flatnonzero((self.first >= 0) & (self.normal @ toward > 0))
        start = self.points[lit] + 4e-3 * self.normal[lit]
        share[lit] = ~rays.blocked(self.group.solids, start.astype(np.float32), toward)
        return fields.blur(self.square(share), random.uniform(0.3, 3))


def on_surface(place, normal):
    """Two coordinates on a surface: those that its normal does not point along."""
    axis = np.argmax(np.abs(normal), 1)
    one = np.where(axis == 0, place[:, 2], place[:, 0])
    other = np.where(axis == 1, place[:, 2], place[:, 1])
    return np.stack([one, other], 1)


def heaven(random, side):
    """What is where nothing is: a gradient, with clouds or without."""
    top, bottom = random.uniform(0.1, 1.3, 2)
    tint = np.array([random.uniform(0.6, 1), random.uniform(0.8, 1), 1], np.float32)
    down = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    colour = (top * (1 - down) + bottom * down) * tint * np.ones((side, side, 3), np.float32)
    if random.random() < 0.6:
        clouds = fields.resample(fields.noise(random, 1.9), side, side)[..., None]
        colour = colour + fields.smoothstep(0, 2, clouds) * random.uniform(0.1, 0.6)
    return colour


def landscape(random, side):
    """Hills up to the horizon, marched column by column from near to far."""
    ground = fields.noise(random, random.uniform(1.8, 2.4), coarsest=2) * random.uniform(0.15, 0.6)
    slope_down, slope_across = np.gradient(ground, 8 / 128)
    eye = float(np.percentile(ground, 90)) + random.uniform(0.2, 1.2)
    camera = rays.looking(0, random.uniform(-0.05, 0.25), random.uniform(1, 2))
    directions = camera.directions(side)
    depth = np.full(len(directions), np.inf, np.float32)
    distance = 0.4
    while distance < 24:
        open_ = np.flatnonzero(np.isinf(depth))
        point = directions[open_] * distance
        below = point[:, 1] + eye < fields.lookup(ground, point[:, 0] / 8, point[:, 2] / 8)
        depth[open_[below]] = distance
        distance *= 1.025
    hit = np.isfinite(depth)
    point = directions * np.where(hit, depth, 1)[:, None]
    at = point[:, 0] / 8, point[:, 2] / 8
    normal = np.stack([-fields.lookup(slope_across, *at), np.ones(len(depth)), -fields.lookup(slope_down, *at)], 1)
    normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True) @ camera.turn).astype(np.float32)
    lamps, sky, dark = shading.lights(random)
    surface = arrangements.materials.material(random, scale=random.uniform(0.1, 1))
    albedo = surface.albedo(point[:, [0, 2]])
    lit = shading.shaded(albedo, normal, lamps, [np.ones(len(depth))] * 3, sky, dark, np.float32([0, 0, 1]), 0.0, 1.0)
    haze = np.exp(-np.where(hit, depth, 0) * random.uniform(0, 0.15))[:, None]
    colour = np.where(hit[:, None], lit * haze + sky * (1 - haze), heaven(random, side).reshape(-1, 3))
    disparity = 1 / np.where(hit, depth, 60)
    square = (side, side)
    return colour.reshape(*square, 3), fields.blur(disparity.reshape(square), 0.5), np.zeros(square, np.float32)


def sheet(first, count, side):
    """Scenes and their heights side by side, eight to a row."""
    rows = []
    for row in range(0, count, 8):
        scenes = [render(first + row + at, side) for at in range(8)]
        pairs = [part for scene in scenes for part in (scene.picture, np.uint8(scene.height[..., None].repeat(3, 2) * 255))]
        rows.append(np.concatenate(pairs, 1))
    return np.concatenate(rows, 0)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    from PIL import Image

    first, side = [int(text) for text in sys.argv[2:4]] + [0, 96][len(sys.argv[2:4]) :]
    Image.fromarray(sheet(first, 48, side)).save(sys.argv[1])


if __name__ == "__main__":
    main()
