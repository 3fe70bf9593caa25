"""Random heights over a square, seen from straight above: metaballs, terrain, letters, coins, vessels, bricks, folds. Heights are
in sides of the square, before they are shaded."""

import numpy as np

import fields
import glyphs
import materials
import shading


def grid(random, side, zoom=1.0):
    """Coordinates of the pixels, -zoom to zoom, turned by any angle."""
    line = ((np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1) * zoom
    x, y = np.meshgrid(line, line)
    angle = random.uniform(-np.pi, np.pi) if random.random() < 0.5 else random.normal(0, 0.1)
    return np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y


def metaballs(random, side):
    """Balls that melt into each other where they are near."""
    x, y = grid(random, side)
    sharpness = random.uniform(8, 30)
    total = np.full((side, side), np.exp(sharpness * 0.0), np.float32)
    centre, spread = random.normal(0, 0.3, 2), random.uniform(0.2, 0.6)
    for _ in range(random.integers(3, 14)):
        place, radius = centre + random.normal(0, spread, 2), random.uniform(0.12, 0.5)
        inside = np.maximum(radius**2 - (x - place[0]) ** 2 - (y - place[1]) ** 2, 0)
        total += np.exp(sharpness * (np.sqrt(inside) + (inside > 0) * random.uniform(0, 0.3)))
    return np.log(total) / sharpness / 2


def terrain(random, side):
    field = fields.noise(random, random.uniform(1.6, 2.6), coarsest=random.integers(1, 5))
    if random.random() < 0.3:
        field = -np.abs(field)
    window = random.uniform(0.4, 1) * 128
    shape = fields.resample(field, side, side, (0, 0, window, window))
    return shape * random.uniform(0.02, 0.12)


def letters(random, side):
    page = np.pad(glyphs.lines(random, random.integers(1, 5), random.integers(1, 7)), 2)
    x, y = grid(random, side, random.uniform(0.35, 0.5))
    at_x, at_y = np.clip(x + 0.5, 0, 0.999), np.clip(y + 0.5, 0, 0.999)
    raised = fields.blur(fields.lookup(page, at_x, at_y), random.uniform(0.8, 2.5) * side / 128)
    if random.random() < 0.3:
        raised = np.sqrt(raised)
    return raised * random.uniform(0.02, 0.1) * random.choice([1, 1, -1])


def _profile(random, share):
    """A height by the distance from the middle, 0 to 1: a ball, a plate, a bowl, a ring, a stepped or a flat disc."""
    kind = random.integers(6)
    inside = np.clip(1 - share, 0, 1)
    if kind == 0:
        return np.sqrt(np.clip(1 - share**2, 0, 1)) * random.uniform(0.4, 1)
    rim, deep = random.uniform(0.06, 0.3), random.uniform(0.1, 0.8)
    edge = fields.smoothstep(0, rim * 0.5, inside)
    if kind == 1:
        return edge * (0.15 + deep * share**2 * 0.5)
    if kind == 2:
        return edge * deep - fields.smoothstep(rim, rim * 1.4, inside) * (deep - 0.03)
    if kind == 3:
        return np.sqrt(np.clip(1 - ((share - 1 + rim) / rim) ** 2, 0, 1)) * rim
    if kind == 4:
        return edge * 0.1 + fields.smoothstep(rim * 2, rim * 2.3, inside) * deep * 0.3
    return edge * random.uniform(0.04, 0.2)


def vessels(random, side):
    """Plates, cups and balls, one in another or beside each other, a little flattened by the view."""
    height = np.zeros((side, side), np.float32)
    x, y = grid(random, side)
    place, radius = random.normal(0, 0.2, 2), random.uniform(0.4, 0.95)
    for _ in range(random.integers(1, 4)):
        share = np.hypot(x - place[0], (y - place[1]) * random.uniform(1, 1.3)) / radius
        here = _profile(random, share) * radius / 2
        height = np.where(share < 1, np.maximum(height, height * 0.5 + here), height)
        if random.random() < 0.6:
            radius *= random.uniform(0.4, 0.8)
        else:
            place, radius = random.uniform(-0.8, 0.8, 2), random.uniform(0.15, 0.5)
    return height


def coins(random, side):
    """Discs in rows or anywhere, each with something on it."""
    height = np.zeros((side, side), np.float32)
    x, y = grid(random, side)
    count = random.integers(1, 7)
    wear = fields.resample(fields.noise(random, 1.5, coarsest=4), side, side)
    relief = fields.smoothstep(-0.5, 0.5, wear) * random.uniform(0.1, 0.5)
    thick, step = random.uniform(0.02, 0.07), 2 / count
    rows = random.random() < 0.6
    for row in range(count):
        for column in range(count):
            place = (np.array([column, row]) + 0.5) * step - 1 + random.normal(0, 0.06 * step, 2)
            if not rows:
                place = random.uniform(-1, 1, 2)
            radius = step * random.uniform(0.3, 0.48)
            share = np.hypot(x - place[0], y - place[1]) / radius
            rim = 0.3 * fields.smoothstep(0.75, 0.85, share) if random.random() < 0.5 else 0
            body = fields.smoothstep(1.0, 0.88, share) * thick * (1 + relief * (share < 0.85) + rim)
            height = np.maximum(height, body)
    return height


def bricks(random, side):
    """Blocks in courses with joints between them, each set a little differently and rough on its face."""
    x, y = grid(random, side, random.uniform(1.5, 5))
    long, joint = random.uniform(1, 3), random.uniform(0.05, 0.2)
    course = np.floor(y).astype(int)
    at = x / long + (course % 2) * random.choice([0, 0.5])
    from_joint = np.minimum(np.minimum(at % 1, 1 - at % 1) * long, np.minimum(y % 1, 1 - y % 1))
    set_ = random.normal(0, 0.15, (64, 64)).astype(np.float32)[course % 64, np.floor(at).astype(int) % 64]
    face = fields.resample(fields.noise(random, random.uniform(0.8, 1.6), coarsest=4), side, side)
    raised = fields.smoothstep(joint * 0.5, joint, from_joint)
    return raised * (1 + set_ + 0.12 * face) * random.uniform(0.015, 0.04)


def folds(random, side):
    """Cloth or waves: ridges that bend."""
    x, y = grid(random, side)
    bend = [fields.resample(fields.noise(random, 2.2), side, side) for _ in range(2)]
    height = np.zeros((side, side), np.float32)
    for number in range(random.integers(1, 4)):
        angle, often = random.uniform(-np.pi, np.pi), random.uniform(3, 14)
        phase = (np.cos(angle) * x + np.sin(angle) * y) * often + bend[number % 2] * random.uniform(0.3, 2)
        wave = np.sin(phase)
        height += (wave if random.random() < 0.5 else 1 - np.abs(wave)) / often
    return height * random.uniform(0.08, 0.3)


def pebbles(random, side):
    """Cells around random points: stones, scales, plates or the holes between them."""
    x, y = grid(random, side)
    points = random.uniform(-1.2, 1.2, (random.integers(8, 60), 2)).astype(np.float32)
    nearest = second = np.full((side, side), 9.0, np.float32)
    for place in points:
        distance = np.hypot(x - place[0], y - place[1])
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    gap = second - nearest
    round_ = random.uniform(0.05, 0.4)
    stones = np.sqrt(fields.smoothstep(0, round_, gap)) * random.uniform(0.02, 0.1)
    return stones if random.random() < 0.8 else -stones


SHAPES = (metaballs, metaballs, terrain, letters, vessels, vessels, coins, bricks, folds, pebbles)


def heights(random, side):
    """One shape or two on a plate that may be sloped, domed or rough, and the name of the first."""
    shape = random.choice(SHAPES)
    height = shape(random, side)
    if random.random() < 0.4:
        height = height + random.choice(SHAPES)(random, side) * random.uniform(0.2, 1)
    elif random.random() < 0.3:
        height = np.maximum(height, random.choice(SHAPES)(random, side))
    x, y = grid(random, side)
    if random.random() < 0.3:
        height = height + random.normal(0, 0.06) * x + random.normal(0, 0.06) * y
    if random.random() < 0.2:
        height = height + random.uniform(0.05, 0.25) * np.sqrt(np.clip(1.2 - x**2 - y**2, 0, None))
    if random.random() < 0.4:
        grain = fields.resample(materials.bumps(random), side, side)
        height = height + grain * random.uniform(0.0005, 0.004)
    return height.astype(np.float32), shape.__name__


def normals(height):
    side = height.shape[0]
    down, across = np.gradient(height, 1 / side)
    normal = np.stack([-across, down, np.ones_like(height)], -1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def open_sky(height, direction, steps=22):
    """Share of a light from `direction` that reaches each pixel: none where something stands in between."""
    side = height.shape[0]
    flat = np.hypot(direction[0], direction[1])
    if flat < 0.05:
        return np.ones_like(height)
    rise = direction[2] / flat / side
    reach = min(np.ptp(height) / max(rise, 1e-6), 0.5 * side)
    covered = np.full_like(height, -np.inf)
    pad = int(reach) + 2
    around = np.pad(height, pad, mode="edge")
    for step in np.unique(np.linspace(1, max(reach, 1), steps)):
        column = pad + round(direction[0] / flat * step)
        row = pad - round(direction[1] / flat * step)
        covered = np.maximum(covered, around[row : row + side, column : column + side] - step * rise)
    return fields.blur((covered <= height + 0.5 / side).astype(np.float32), 0.7)


def scene(random, side):
    """Colour [H, W, 3], height [H, W], how far out of focus each pixel would be, and what kind of relief it is."""
    height, kind = heights(random, side)
    x, y = grid(random, side)
    place = np.stack([x, y], -1).reshape(-1, 2)
    albedo = materials.material(random).albedo(place).reshape(side, side, 3)
    if random.random() < 0.6:
        other = materials.material(random).albedo(place).reshape(side, side, 3)
        level = np.percentile(height, random.uniform(20, 80))
        albedo = np.where((height > level)[..., None], other, albedo)
    normal = normals(height)
    lamps, sky, ground = shading.lights(random)
    shadows = [open_sky(height, lamp.direction) if at < 2 else np.ones_like(height) for at, lamp in enumerate(lamps)]
    surface = materials.material(random, pattern="plain", rough=False)
    view = np.array([0, 0, 1], np.float32)
    colour = shading.shaded(albedo, normal, lamps, shadows, sky, ground, view, surface.shine, surface.gloss)
    contrast = max(np.ptp(height), 1e-6)
    colour = colour * shading.hollows(height / contrast, side / 24, random.uniform(0, 2.5))
    return colour, height, np.zeros_like(height), f"relief: {kind}"
