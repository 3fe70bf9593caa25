"""Rays against solids: a pinhole camera, ellipsoids, cylinders, cups and convex hulls of planes. Distances are in multiples of a
ray's direction, which has length 1 along the camera's axis, so that they are depths."""

import dataclasses

import numpy as np

NEAREST = 1e-3


def rotation(random, amount=1.0):
    """A random rotation; `amount` 1 turns anywhere, less only as far."""
    x, y, z = random.uniform(-np.pi, np.pi, 3) * amount
    return turned(0, x) @ turned(1, y) @ turned(2, z)


def turned(axis, angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    one, other = [at for at in range(3) if at != axis]
    matrix[one, one] = matrix[other, other] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine
    return matrix


def _box_planes():
    return np.vstack([np.eye(3), -np.eye(3)]), np.ones(6)


def _prism_planes(sides):
    angles = np.arange(sides) * 2 * np.pi / sides
    around = np.stack([np.cos(angles), np.zeros(sides), np.sin(angles)], 1)
    return np.vstack([around, [[0, 1, 0], [0, -1, 0]]]), np.ones(sides + 2)


def _pyramid_planes(sides):
    """From a base of radius 1 at y = -1 to a tip at y = 1."""
    angles = np.arange(sides) * 2 * np.pi / sides
    around = np.stack([2 * np.cos(angles), np.ones(sides), 2 * np.sin(angles)], 1) / np.sqrt(5)
    return np.vstack([around, [[0, -1, 0]]]), np.append(np.full(sides, 1 / np.sqrt(5)), 1)


def _octahedron_planes():
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3)
    return corners, np.full(8, 1 / np.sqrt(3))


HULLS = {
    "box": _box_planes(),
    "prism": _prism_planes(6),
    "wedge": _prism_planes(3),
    "pyramid": _pyramid_planes(4),
    "cone": _pyramid_planes(14),
    "octahedron": _octahedron_planes(),
    # The half-space below y = 0.
    "plane": (np.array([[0.0, 1.0, 0.0]]), np.zeros(1)),
}
KINDS = ("ball", "cylinder", "cup", *HULLS)
# A cup is a cylinder with a hollow of this radius down to this height.
HOLLOW_RADIUS, HOLLOW_FLOOR = 0.86, -0.8


@dataclasses.dataclass
class Solid:
    """A shape of unit size, stretched by `size`, turned by `turn` (from its own axes to the world's) and moved to `centre`."""

    kind: str
    centre: np.ndarray
    size: np.ndarray
    turn: np.ndarray
    material: int = 0

    def __post_init__(self):
        self.centre = np.asarray(self.centre, np.float32)
        self.size = np.broadcast_to(np.asarray(self.size, np.float32), 3)
        self.turn = np.asarray(self.turn, np.float32)
        self.inward = self.turn / self.size

    def local(self, points):
        return (points - self.centre) @ self.inward

    def distance(self, origin, directions):
        """Along each ray to where it enters, or infinity. `origin` is one point or one for each ray."""
        start, along = self.local(origin), directions @ self.inward
        if self.kind == "ball":
            near, far = _into_ball(start, along, slice(None))
        elif self.kind == "cylinder":
            near, far = _into_cylinder(start, along)
        elif self.kind == "cup":
            near, far = _into_cup(start, along)
        else:
            near, far = _into_hull(start, along, *HULLS[self.kind])
        return np.where((near < far) & (near > NEAREST), near, np.inf).astype(np.float32)

    def normals(self, points):
        """Outwards, at points on the surface."""
        place = self.local(points)
        if self.kind == "ball":
            normal = place
        elif self.kind == "cylinder":
            cap = np.abs(place[:, 1]) > np.hypot(place[:, 0], place[:, 2])
            normal = np.where(cap[:, None], place * [[0, 1, 0]], place * [[1, 0, 1]])
        elif self.kind == "cup":
            normal = _cup_normals(place)
        else:
            planes, offsets = HULLS[self.kind]
            normal = planes[np.argmax(place @ planes.T - offsets, 1)]
        outward = normal.astype(np.float32) @ self.inward.T
        return outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)


def _into_ball(start, along, axes):
    start, along = start[..., axes], along[..., axes]
    square = np.maximum(np.einsum("ij,ij->i", along, along), 1e-12)
    if start.ndim == 1:
        middle, rest = along @ start, float(start @ start) - 1
    else:
        middle, rest = np.einsum("ij,ij->i", along, start), np.einsum("ij,ij->i", start, start) - 1
    inside = middle * middle - square * rest
    root = np.sqrt(np.maximum(inside, 0))
    near = np.where(inside > 0, (-middle - root) / square, np.inf)
    return near, np.where(inside > 0, (-middle + root) / square, -np.inf)


def _between(start, along, low=-1, high=1):
    along = np.where(np.abs(along) < 1e-9, 1e-9, along)
    one, other = (low - start) / along, (high - start) / along
    return np.minimum(one, other), np.maximum(one, other)


def _into_cylinder(start, along, radius=1, floor=-1):
    shrunk = [1 / radius, 1, 1 / radius]
    near, far = _into_ball(start * shrunk, along * shrunk, [0, 2])
    below, above = _between(start[..., 1], along[..., 1], floor)
    return np.maximum(near, below), np.minimum(far, above)


def _into_cup(start, along):
    """As into a cylinder; but rays that come into the hollow from above go on to its wall or its floor."""
    near, far = _into_cylinder(start, along)
    met = near < far
    entry = start + np.where(met, near, 0)[:, None] * along
    mouth = met & (entry[:, 1] > 0.999) & (np.hypot(entry[:, 0], entry[:, 2]) < HOLLOW_RADIUS)
    _, inside = _into_cylinder(start, along, HOLLOW_RADIUS, HOLLOW_FLOOR)
    return np.where(mouth, inside, near), np.where(mouth, np.inf, far)


def _cup_normals(place):
    radius = np.hypot(place[:, 0], place[:, 2])
    above, round_ = place * [[0, 1, 0]], place * [[1, 0, 1]]
    outer = np.where((np.abs(place[:, 1]) > radius)[:, None] | (place[:, 1:2] > 0.999), above, round_)
    hollow = (radius < HOLLOW_RADIUS + 1e-3) & (place[:, 1] < 0.998) & (place[:, 1] > -0.99)
    floor = place[:, 1] < HOLLOW_FLOOR + 1e-3
    inner = np.where(floor[:, None], [[0.0, 1.0, 0.0]], -round_)
    return np.where(hollow[:, None], inner, outer)


def _into_hull(start, along, planes, offsets):
    planes = planes.astype(np.float32)
    speed = along @ planes.T
    speed = np.where(np.abs(speed) < 1e-9, 1e-9, speed)
    at = (offsets.astype(np.float32) - start @ planes.T) / speed
    near = np.where(speed < 0, at, -np.inf).max(1)
    return near, np.where(speed > 0, at, np.inf).min(1)


@dataclasses.dataclass
class Camera:
    """Looks from `place` along -z of its own axes, the columns of `turn`. `focal` is in halves of the picture's side."""

    place: np.ndarray
    turn: np.ndarray
    focal: float

    def directions(self, side):
        line = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
        x, y = np.meshgrid(line / self.focal, -line / self.focal)
        rays = np.stack([x, y, -np.ones_like(x)], -1).reshape(-1, 3)
        return rays @ self.turn.T.astype(np.float32)


def looking(distance, pitch, focal, roll=0.0, aim=(0.0, 0.0, 0.0)):
    """A camera that looks at `aim` from so far and so high (pitch in radians, 0 is level)."""
    turn = turned(0, -pitch) @ turned(2, roll)
    place = np.asarray(aim) + turn @ [0, 0, distance]
    return Camera(place.astype(np.float32), turn, focal)


def cast(solids, origin, directions):
    """The nearest solid's number for each ray, -1 for none, and the distance."""
    distance = np.full(len(directions), np.inf, np.float32)
    first = np.full(len(directions), -1, np.int16)
    for number, solid in enumerate(solids):
        here = solid.distance(origin, directions)
        nearer = here < distance
        distance[nearer], first[nearer] = here[nearer], number
    return first, distance


def blocked(solids, points, direction):
    """Whether light that comes from `direction` is kept from each point."""
    dark = np.zeros(len(points), bool)
    rays = np.broadcast_to(direction.astype(np.float32), points.shape)
    for solid in solids:
        dark |= np.isfinite(solid.distance(points, rays))
    return dark
