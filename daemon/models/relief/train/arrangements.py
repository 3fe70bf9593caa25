"""Random things put together from solids, each a list of solids, their materials and a camera that looks at them: objects on a
table or in the air, heads and shoulders, animals, streets, towers. Lengths are in units of about a hand for objects and a head
for figures; only proportions matter."""

import numpy as np

import materials
from rays import KINDS, Solid, looking, rotation, turned

FREE_KINDS = [kind for kind in KINDS if kind != "plane"]
UPRIGHT = np.eye(3)


class Group:
    """Collects solids and materials; places are relative to the group's own."""

    def __init__(self, random):
        self.random, self.solids, self.materials = random, [], []

    def material(self, **wanted):
        self.materials.append(materials.material(self.random, **wanted))
        return len(self.materials) - 1

    def add(self, kind, centre, size, material, turn=UPRIGHT):
        self.solids.append(Solid(kind, centre, size, turn, material))

    def turned(self, turn, move=(0, 0, 0), since=0):
        """Turns all solids since a number about the origin, then moves them."""
        for at, solid in enumerate(self.solids[since:], since):
            centre = turn @ solid.centre + np.asarray(move)
            self.solids[at] = Solid(solid.kind, centre, solid.size, turn @ solid.turn, solid.material)

    def limb(self, start, end, thickness, material):
        """A cylinder with round ends."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = end - start
        length = np.linalg.norm(along)
        up = along / max(length, 1e-9)
        side = np.cross(up, [0.3, 0.1, 1.0])
        side /= np.linalg.norm(side)
        turn = np.stack([side, up, np.cross(side, up)], 1)
        self.add("cylinder", (start + end) / 2, [thickness, length / 2, thickness], material, turn)
        for tip in (start, end):
            self.add("ball", tip, thickness, material)

    def backdrop(self, distance):
        """A wall behind everything, upright or nearly."""
        lean = turned(0, np.pi / 2 + self.random.normal(0, 0.06)) @ turned(2, self.random.normal(0, 0.1))
        scale = self.random.uniform(0.05, 0.3)
        self.add("plane", [0, 0, -distance], 1.0, self.material(scale=scale), lean)

    def floor(self, height=0.0):
        self.add("plane", [0, height, 0], 1.0, self.material(scale=self.random.uniform(0.1, 0.6)))


def _things(group, count, spread):
    random = group.random
    palette = [group.material() for _ in range(random.integers(2, 5))]
    for _ in range(count):
        size = random.uniform(0.2, 0.75) * random.uniform(0.6, 1.4, 3)
        yield random.choice(FREE_KINDS), size, random.choice(palette), random.uniform(-1, 1, 3) * spread


def table(random):
    group = Group(random)
    for kind, size, material, place in _things(group, random.integers(1, 9), [2.0, 0, 1.6]):
        turn = turned(1, random.uniform(-np.pi, np.pi))
        group.add(kind, [place[0], size[1], place[2]], size, material, turn)
        if random.random() < 0.3:
            top = random.uniform(0.3, 0.8) * size
            group.add(random.choice(FREE_KINDS), [place[0], 2 * size[1] + top[1], place[2]], top, material, turn)
    group.floor()
    pitch = random.uniform(0.12, 1.45)
    if random.random() < 0.7 and pitch < 0.7:
        group.backdrop(random.uniform(2.2, 6))
    camera = looking(random.uniform(4, 8), pitch, random.uniform(1.4, 3), random.normal(0, 0.05), [0, 0.4, 0])
    return group, camera


def air(random):
    group = Group(random)
    for kind, size, material, place in _things(group, random.integers(1, 7), [1.4, 1.4, 1.2]):
        group.add(kind, place, size * 1.3, material, rotation(random))
    group.backdrop(random.uniform(1.5, 6))
    return group, looking(random.uniform(4, 8), 0, random.uniform(1.4, 3), random.normal(0, 0.1))


def _cup(group, place, wide, tall, china):
    """A cup with something in it and a handle."""
    random = group.random
    base = np.add(place, [0, tall, 0])
    group.add("cup", base, [wide, tall, wide], china)
    if random.random() < 0.8:
        level = random.uniform(-0.5, 0.6)
        filled = (level + 0.8) / 2 * tall
        size = [wide * 0.855, filled, wide * 0.855]
        group.add("cylinder", base + [0, level * tall - filled, 0], size, group.material(rough=False))
    if random.random() < 0.7:
        around, thick = random.uniform(-np.pi, np.pi), wide * random.uniform(0.12, 0.2)
        outward = np.array([np.cos(around), 0, np.sin(around)])
        for angle in np.linspace(-1.4, 1.4, 9):
            arc = outward * (wide * (0.95 + 0.55 * np.cos(angle))) + [0, 0.65 * tall * np.sin(angle), 0]
            group.add("ball", base + arc, thick, china)


def crockery(random):
    """A cup on a saucer with a spoon, seen from above, with other things around it."""
    group = Group(random)
    china = group.material(pattern=random.choice(["plain", "plain", "stripes", "spots"]), rough=False)
    saucer = group.material(pattern="plain", rough=False) if random.random() < 0.5 else china
    wide, tall = random.uniform(0.5, 0.9), random.uniform(0.35, 0.8)
    radius = wide * random.uniform(1.5, 2.2)
    if random.random() < 0.8:
        group.add("cup", [0, 0.07, 0], [radius, 0.07, radius], saucer)
        group.add("cylinder", [0, 0.04, 0], [radius * 0.85, 0.04, radius * 0.85], saucer)
    _cup(group, [random.normal(0, 0.1), 0.08, random.normal(0, 0.1)], wide, tall, china)
    if random.random() < 0.6:
        metal, around = group.material(pattern="plain", rough=False), random.uniform(-np.pi, np.pi)
        bowl, end = ([np.cos(turn) * out, 0.2, np.sin(turn) * out] for turn, out in ((around, 0.7 * radius), (around + 1.2, radius)))
        group.limb(bowl, end, 0.05, metal)
        group.add("ball", bowl, [0.24, 0.09, 0.24], metal)
    for kind, size, material, place in _things(group, random.integers(0, 3), [3, 0, 3]):
        if np.hypot(place[0], place[2]) > radius + 0.5:
            group.add(kind, [place[0], size[1], place[2]], size, material, turned(1, random.uniform(0, 3)))
    group.turned(turned(1, random.uniform(-np.pi, np.pi)))
    group.floor()
    roll = random.normal(0, 0.15)
    return group, looking(random.uniform(4, 7), random.uniform(0.35, 1.4), random.uniform(1.6, 3), roll, [0, 0.4, 0])


def _head(group, skin, hair, fur=False):
    """A head of height 2 at the origin that looks along z."""
    random = group.random
    wide = random.uniform(0.68, 0.85)
    group.add("ball", [0, 0, 0], [wide, 1, 0.85], skin)
    group.add("ball", [0, -0.45, 0.12], [wide * 0.72, 0.55, 0.66], skin)
    if random.random() < 0.85:
        group.add("ball", [0, 0.25, -0.2], [wide * 1.12, random.uniform(0.9, 1.1), 0.9], hair)
    if random.random() < 0.35:
        group.add("ball", [0, -0.5, -0.35], [wide * 1.15, random.uniform(0.7, 1.3), 0.6], hair)
    group.add("ball", [0, -0.05, 0.86], [0.13, 0.3, 0.2], skin, turned(0, 0.25))
    lips, eye, iris = group.material(pattern="plain"), group.material(pattern="plain"), group.material(pattern="plain")
    group.add("ball", [0, -0.52, 0.76], [random.uniform(0.2, 0.3), 0.07, 0.08], lips)
    for side in (-1, 1):
        group.add("ball", [side * 0.29, 0.12, 0.7], [0.15, 0.1, 0.12], eye)
        group.add("ball", [side * 0.29, 0.12, 0.79], 0.06, iris)
        group.add("ball", [side * 0.3, 0.3, 0.72], [0.2, 0.06, 0.1], hair, turned(2, -side * 0.15))
        group.add("ball", [side * wide * 1.02, 0, -0.05], [0.12, 0.24, 0.17], skin)
    if random.random() < 0.2:
        group.add("cylinder", [0, 0.75, 0], [wide * 1.7, 0.06, 1.35], lips)
        group.add("cylinder", [0, 1.05, 0], [wide * 1.05, 0.35, 0.9], lips)


def figure(random):
    """A head, shoulders and arms before something far."""
    group = Group(random)
    skin = group.material(pattern="plain" if random.random() < 0.8 else "clouds", rough=random.random() < 0.2)
    hair, cloth = group.material(rough=True), group.material(rough=random.random() < 0.7)
    _head(group, skin, hair)
    group.turned(turned(1, random.normal(0, 0.35)) @ turned(0, random.normal(0, 0.12)))
    group.limb([0, -0.8, -0.1], [0, -1.6, -0.15], 0.38, skin)
    group.add("ball", [0, -2.6, -0.2], [1.35, 1.15, 0.75], cloth)
    group.add("cylinder", [0, -3.4, -0.2], [1.2, 1.2, 0.7], cloth)
    for side in (-1, 1):
        elbow = [side * random.uniform(1.5, 2.0), -3.6, random.uniform(-0.2, 0.7)]
        group.limb([side * 1.2, -2.2, -0.2], elbow, 0.4, cloth)
        group.limb(elbow, [side * random.uniform(0.3, 1.6), random.uniform(-4.4, -2.8), random.uniform(0.6, 1.1)], 0.33, cloth)
    if random.random() < 0.3:
        ring = group.material(pattern="plain")
        group.add("cylinder", [0, -1.55, -0.1], [0.75, 0.13, 0.65], ring)
    group.turned(turned(1, random.normal(0, 0.25)))
    for _ in range(random.integers(0, 4)):
        size = random.uniform(0.4, 1.6, 3)
        place = [random.choice([-1, 1]) * random.uniform(1.6, 3.5), random.uniform(-3, 1.5), random.uniform(-4, -1.8)]
        group.add(random.choice(FREE_KINDS), place, size, group.material(), rotation(random, 0.2))
    group.backdrop(random.uniform(2.5, 9))
    aim = [random.normal(0, 0.3), random.uniform(-2.2, 0), 0]
    return group, looking(random.uniform(7, 11), random.normal(0, 0.1), random.uniform(2.2, 4.5), random.normal(0, 0.05), aim)


def animal_face(random):
    """The face of an animal that fills the picture: a broad head, a muzzle, ears that stand up, a body behind."""
    group = Group(random)
    fur = group.material(pattern=random.choice(["clouds", "stripes", "plain", "spots"]), rough=True)
    pale, dark = group.material(pattern="plain", rough=True), group.material(pattern="plain", rough=False)
    group.add("ball", [0, 0, 0], [1.05, 0.92, 0.85], fur)
    muzzle = random.uniform(0.15, 0.6)
    for side in (-1, 1):
        group.add("ball", [side * 0.2, -0.32, 0.55 + muzzle * 0.5], [0.3, 0.24, 0.25 + muzzle * 0.5], pale)
        group.add("ball", [side * 0.42, 0.1, 0.68], [0.21, 0.19, 0.17], dark)
        group.add("ball", [side * 0.43, 0.1, 0.82], [0.09, 0.14, 0.06], fur)
        ear = turned(2, -side * random.uniform(0.2, 0.7))
        shape = random.choice(["cone", "ball", "pyramid"])
        group.add(shape, [side * 0.72, 0.95, -0.1], [0.36, random.uniform(0.4, 0.8), 0.18], fur, ear)
    group.add("ball", [0, -0.17, 0.8 + muzzle], [0.12, 0.09, 0.1], dark)
    group.turned(turned(1, random.normal(0, 0.4)) @ turned(0, random.normal(0, 0.2)) @ turned(2, random.normal(0, 0.2)))
    group.add("ball", [random.normal(0, 0.8), -1.7, -1.4], [1.6, 1.5, 1.4], fur)
    group.backdrop(random.uniform(1.8, 6))
    if random.random() < 0.5:
        group.floor(-1.8)
    aim = [random.normal(0, 0.25), random.normal(0, 0.25), 0]
    return group, looking(random.uniform(5, 7), random.uniform(-0.1, 0.4), random.uniform(2.6, 5.0), random.normal(0, 0.1), aim)


def walker(random):
    """Something with legs that stands on a floor, or with two of them beside a thing on a stand."""
    group = Group(random)
    fur, legs = group.material(rough=True), group.material()
    long = random.uniform(0.8, 1.5)
    group.add("ball", [0, 1.5, 0], [long, 0.55, 0.5], fur)
    for x in (-0.65, 0.65):
        for z in (-0.28, 0.28):
            group.limb([x * long, 1.3, z], [x * long + random.normal(0, 0.2), 0.12, z], 0.14, legs)
    neck = [long + random.uniform(0.1, 0.5), random.uniform(1.8, 2.6), 0]
    group.limb([long * 0.75, 1.6, 0], neck, 0.25, fur)
    group.add("ball", np.add(neck, [0.2, 0.1, 0]), [0.45, 0.3, 0.3], fur, turned(2, -0.4))
    group.limb([-long, 1.7, 0], [-long - 0.5, random.uniform(0.8, 2.3), 0.2], 0.09, fur)
    group.turned(turned(1, random.uniform(-np.pi, np.pi)))
    group.floor()
    if random.random() < 0.6:
        group.backdrop(random.uniform(3, 8))
    return group, looking(random.uniform(6, 9), random.uniform(0.03, 0.5), random.uniform(2, 3.4), 0, [0, 1.3, 0])


def street(random):
    """Blocks on both sides of a way that goes into the distance."""
    group = Group(random)
    walls = [group.material(pattern=random.choice(["print", "checker", "clouds", "stripes"])) for _ in range(3)]
    for side in (-1, 1):
        back = random.uniform(0, 2)
        while back < 16:
            deep, tall = random.uniform(0.6, 2), random.uniform(0.5, 3.5)
            inner = random.uniform(1.1, 1.6)
            group.add("box", [side * (inner + 1), tall, -back - deep], [1, tall, deep], random.choice(walls))
            back += 2 * deep + random.choice([0, 0.4, 1])
    for _ in range(random.integers(0, 4)):
        place = [random.uniform(-0.9, 0.9), 0.25, random.uniform(-8, 0)]
        group.add(random.choice(FREE_KINDS), place, random.uniform(0.15, 0.4, 3), group.material())
    group.floor()
    aim = [random.normal(0, 0.3), random.uniform(0.6, 1.4), -3]
    return group, looking(random.uniform(4, 6), random.uniform(0.02, 0.35), random.uniform(1.2, 2), random.normal(0, 0.03), aim)


def tower(random):
    """A column with a tip, alone before the sky: a rocket, a steeple, a tree."""
    group = Group(random)
    body, tip = group.material(), group.material()
    tall, thick = random.uniform(1.2, 2.6), random.uniform(0.15, 0.5)
    shape = random.choice(["cylinder", "prism", "box"])
    group.add(shape, [0, tall, 0], [thick, tall, thick], body, turned(1, random.uniform(0, 3)))
    crown = random.choice(["cone", "ball", "pyramid"])
    wide = thick * random.choice([1.0, 1.3, random.uniform(2, 4)])
    high = random.uniform(0.4, 1.2)
    group.add(crown, [0, 2 * tall + high * 0.8, 0], [wide, high, wide], tip)
    for _ in range(random.integers(0, 5)):
        size = random.uniform(0.2, 0.9, 3)
        place = [random.uniform(-3, 3), size[1], random.uniform(-4, 1)]
        group.add(random.choice(FREE_KINDS), place, size, group.material(), turned(1, random.uniform(0, 3)))
    group.floor()
    aim = [random.normal(0, 0.6), random.uniform(1.0, 2.4), 0]
    return group, looking(random.uniform(7, 11), random.uniform(0.0, 0.3), random.uniform(1.8, 3.4), random.normal(0, 0.04), aim)


ARRANGEMENTS = (
    (table, 4), (air, 2), (crockery, 3), (figure, 5), (animal_face, 4), (walker, 2), (street, 1), (tower, 1),
)  # fmt: skip
