//! Outwards: a closed part that turns inwards is turned round, unless it is the wall of a cavity: a part within an odd
//! number of others turns inwards (the even-odd rule). Pure.

use super::Done;
use crate::mesh::Mesh;
use crate::mesh::topology::{by_edge, parts, sides};
use crate::mesh::vector::{Vector, cross, dot, minus, six_volumes};

/// Of more parts than this none is taken for a cavity: each is compared with all others.
const MOST_PARTS: usize = 64;
/// A direction along which no edge of usual meshes lies.
const RAY: Vector = [0.537_77, 0.833_41, 0.129_73];

struct Part {
    faces: Vec<u32>,
    six_volumes: f64,
    bounds: [Vector; 2],
}

/// Turns what must be turned.
pub(super) fn outwards(mesh: &mut Mesh, done: &mut Done) {
    let found = closed_parts(mesh);
    let cavities = found.len() <= MOST_PARTS;
    let wrong = |part: &&Part| {
        let inside = cavities && found.iter().filter(|other| is_within(mesh, part, other)).count() % 2 == 1;
        part.six_volumes != 0.0 && (part.six_volumes < 0.0) != inside
    };
    let faces: Vec<u32> = found.iter().filter(wrong).flat_map(|part| part.faces.iter().copied()).collect();
    done.faces_turned += faces.len();
    faces.into_iter().for_each(|face| mesh.triangles[face as usize].swap(1, 2));
}

fn closed_parts(mesh: &Mesh) -> Vec<Part> {
    let sides = sides(&mesh.triangles);
    let mut names = parts(&mesh.triangles, &sides, |_| true);
    let mut place = vec![None; mesh.triangles.len()];
    let mut found: Vec<Part> = Vec::new();
    for (face, &triangle) in (0_u32..).zip(&mesh.triangles) {
        let at = *place[names.of(face) as usize].get_or_insert_with(|| {
            found.push(Part { faces: Vec::new(), six_volumes: 0.0, bounds: [[f64::MAX; 3], [f64::MIN; 3]] });
            found.len() - 1
        });
        let part = &mut found[at];
        part.faces.push(face);
        let corners = mesh.corners(triangle);
        part.six_volumes += six_volumes(corners);
        for corner in corners {
            for (axis, coordinate) in corner.into_iter().enumerate() {
                part.bounds[0][axis] = part.bounds[0][axis].min(coordinate);
                part.bounds[1][axis] = part.bounds[1][axis].max(coordinate);
            }
        }
    }
    let open = by_edge(&sides).filter(|edge| edge.len() != 2).map(|edge| edge[0].face);
    for face in open {
        if let Some(at) = place[names.of(face) as usize] {
            found[at].faces.clear();
        }
    }
    found.retain(|part| !part.faces.is_empty());
    found
}

/// Whether a part lies within another: its box within the other's, and a ray from it crosses the other an odd number of
/// times.
fn is_within(mesh: &Mesh, part: &Part, other: &Part) -> bool {
    let ([low, high], [least, most]) = (part.bounds, other.bounds);
    if !(0..3).all(|axis| least[axis] < low[axis] && high[axis] < most[axis]) {
        return false;
    }
    let from = middle(mesh, mesh.triangles[part.faces[0] as usize]);
    let crossed = other.faces.iter().filter(|&&face| crosses(from, mesh.corners(mesh.triangles[face as usize])));
    crossed.count() % 2 == 1
}

/// The middle of a triangle.
pub(super) fn middle(mesh: &Mesh, triangle: [u32; 3]) -> Vector {
    let corners = mesh.corners(triangle);
    std::array::from_fn(|axis| (corners[0][axis] + corners[1][axis] + corners[2][axis]) / 3.0)
}

/// Whether the ray from a point goes through a triangle (Möller and Trumbore 1997).
fn crosses(from: Vector, [a, b, c]: [Vector; 3]) -> bool {
    let (ab, ac) = (minus(b, a), minus(c, a));
    let across = cross(RAY, ac);
    let determinant = dot(ab, across);
    if determinant == 0.0 {
        return false;
    }
    let offset = minus(from, a);
    let u = dot(offset, across) / determinant;
    let turned = cross(offset, ab);
    let v = dot(RAY, turned) / determinant;
    u >= 0.0 && v >= 0.0 && u + v <= 1.0 && dot(ac, turned) / determinant > 0.0
}
