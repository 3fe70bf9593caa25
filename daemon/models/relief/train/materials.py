"""What surfaces look like: colours, patterns that are only printed, and fine relief that is really there. Patterns that tell
nothing of depth are as frequent as shapes, so that a network cannot take the one for the other."""

import dataclasses

import numpy as np

import fields
import glyphs

PATTERNS = ("plain", "plain", "checker", "stripes", "clouds", "clouds", "spots", "print")


@dataclasses.dataclass
class Material:
    """`scale` is in repetitions for each unit of length, `depth` in units of length."""

    colours: np.ndarray
    pattern: str
    scale: float
    tile: np.ndarray
    bumps: np.ndarray
    depth: float
    shine: float
    gloss: float

    def shares(self, place):
        """How much of the second colour is where, by two coordinates [N, 2] on the surface."""
        across, down = place[:, 0] * self.scale, place[:, 1] * self.scale
        if self.pattern == "checker":
            return ((np.floor(across * 2) + np.floor(down * 2)) % 2).astype(np.float32)
        if self.pattern == "stripes":
            return fields.smoothstep(-0.3, 0.3, np.sin(across * 12.6 + 0.3 * np.sin(down * 3)))
        if self.pattern == "plain":
            return np.zeros(len(place), np.float32)
        return fields.lookup(self.tile, across, down)

    def albedo(self, place):
        share = self.shares(place)[:, None]
        return self.colours[0] * (1 - share) + self.colours[1] * share

    def displacement(self, place):
        return self.depth * fields.lookup(self.bumps, place[:, 0] * self.scale, place[:, 1] * self.scale)


def colour(random, least=0.03, most=0.95):
    """A colour, more often muted than loud."""
    light = random.uniform(least, most)
    tint = random.normal(0, 1, 3) * random.choice([0.03, 0.12, 0.3])
    return np.clip(light * (1 + tint - tint.mean()), 0.01, 1).astype(np.float32)


def tile(random, pattern):
    """Shares of the second colour, 0 to 1, repeating."""
    if pattern == "print":
        page = glyphs.lines(random, random.integers(3, 9), random.integers(4, 12))
        return np.ascontiguousarray(np.repeat(np.repeat(page, 4, 0), 4, 1))
    field = fields.noise(random, random.uniform(0.8, 2.0), coarsest=random.integers(1, 6))
    if pattern == "spots":
        level = random.uniform(-0.5, 1.0)
        return fields.smoothstep(level, level + 0.3, field)
    return fields.smoothstep(-2.2, 2.2, field)


def bumps(random):
    """Fine relief: grain, fur or ridges, deviation about 1."""
    field = fields.noise(random, random.uniform(0.5, 1.8), coarsest=random.integers(2, 14))
    if random.random() < 0.3:
        stretched = fields.noise(random, 1.2, coarsest=4)
        return np.ascontiguousarray(np.repeat(stretched[:32], 4, 0))
    return np.abs(field) if random.random() < 0.3 else field


def material(random, pattern=None, scale=None, rough=None):
    pattern = pattern or random.choice(PATTERNS)
    rough = random.random() < 0.5 if rough is None else rough
    first, second = colour(random), colour(random)
    if random.random() < 0.3:
        second = np.clip(first * random.uniform(0.5, 1.5), 0, 1).astype(np.float32)
    return Material(
        colours=np.stack([first, second]),
        pattern=pattern,
        scale=scale or random.uniform(0.2, 1.2),
        tile=tile(random, pattern),
        bumps=bumps(random) if rough else np.zeros((1, 1), np.float32),
        depth=random.uniform(0.004, 0.035) if rough else 0.0,
        shine=random.choice([0, 0, 0, 0.15, 0.4, 0.8]),
        gloss=random.choice([8.0, 25.0, 80.0]),
    )
