"""Light on surfaces, and what a camera makes of it. Works on pictures whose normals and shadows are known already."""

import dataclasses

import numpy as np

import fields


@dataclasses.dataclass
class Light:
    """Comes from `direction`, a unit vector in the camera's axes (x right, y up, z to the viewer)."""

    direction: np.ndarray
    colour: np.ndarray


def lights(random, count=None):
    """A main light, weaker ones from elsewhere, and a sky: lights, the sky's colour, the ground's colour."""
    found = []
    for number in range(count or random.integers(1, 4)):
        height = random.uniform(0.15, 1.2)
        side = random.uniform(-np.pi, np.pi)
        # From above more often than from below, as outdoors and under lamps.
        up = np.abs(np.sin(side)) if random.random() < 0.75 else np.sin(side)
        direction = np.array([np.cos(side), up, np.tan(height)], np.float32)
        warmth = random.normal(0, 0.08)
        strength = random.uniform(0.6, 1.2) if number == 0 else random.uniform(0.1, 0.5)
        tint = np.array([1 + warmth, 1, 1 - warmth], np.float32)
        found.append(Light(direction / np.linalg.norm(direction), tint * strength))
    level = random.uniform(0.08, 0.6)
    sky = level * np.array([1, 1, random.uniform(0.95, 1.2)], np.float32)
    return found, sky, sky * random.uniform(0.2, 1)


def shaded(albedo, normals, light, shadows, sky, ground, view, shine, gloss):
    """Colour at each pixel [H, W, 3]. `shadows` has one picture of light's share for each light; `view` points to the eye."""
    up = (normals[..., 1:2] + 1) / 2
    total = albedo * (sky * up + ground * (1 - up))
    for lamp, open_ in zip(light, shadows):
        lit = np.clip(normals @ lamp.direction, 0, None) * open_
        half = view + lamp.direction
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        highlight = shine * np.clip((normals * half).sum(-1), 0, 1) ** gloss * (lit > 0) * open_
        total = total + (albedo * lit[..., None] + highlight[..., None]) * lamp.colour
    return total


def hollows(height, reach, strength):
    """How much of the sky reaches each point, less where the surroundings stand higher."""
    above = fields.blur(height, reach) - height
    return np.exp(-strength * np.clip(above, 0, None))[..., None]


def photographed(random, colour, far):
    """Exposure, focus, lens and sensor: linear light to 8 bits. `far` says how far out of focus each pixel would be, 0 to 1."""
    bright = np.percentile(colour, random.uniform(80, 99)) + 1e-3
    colour = np.clip(colour * (random.uniform(0.45, 1.1) / bright), 0, None)
    if random.random() < 0.3:
        share = np.clip(far, 0, 1)[..., None]
        colour = colour * (1 - share) + fields.blur(colour, random.uniform(1.5, 6)) * share
    colour = fields.blur(colour, random.choice([0.35, 0.5, 0.7, 1.0]))
    if random.random() < 0.25:
        colour = np.tile(colour @ np.array([[0.299], [0.587], [0.114]], np.float32), 3)
    side = colour.shape[0]
    if random.random() < 0.3:
        line = np.linspace(-1, 1, side, dtype=np.float32)
        colour = colour * (1 - random.uniform(0.1, 0.5) * (line[:, None, None] ** 2 + line[None, :, None] ** 2) / 2)
    colour = np.clip(colour, 0, 1) ** (1 / random.uniform(1.6, 2.6))
    colour = colour + random.uniform(0, 0.03) * random.standard_normal(colour.shape, np.float32)
    return np.clip(colour * 255 + 0.5, 0, 255).astype(np.uint8)
