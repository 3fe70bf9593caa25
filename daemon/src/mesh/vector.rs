//! Arithmetic of points and directions in space, in double precision. Pure.

pub(super) type Vector = [f64; 3];

pub(super) fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn length(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

/// Perpendicular to a triangle, as long as twice its area, towards where its corners turn counter-clockwise.
pub(super) fn normal([a, b, c]: [Vector; 3]) -> Vector {
    cross(minus(b, a), minus(c, a))
}

/// Six times the volume between a triangle and the origin, negative where the triangle turns away from it.
pub(super) fn six_volumes([a, b, c]: [Vector; 3]) -> f64 {
    dot(a, cross(b, c))
}
