//! Which triangles are neighbours where several meet, and all of them turned alike: at each edge triangles are joined in
//! twos, by the angles at which they stand, neighbours turn alike, and every vertex gets a copy for each fan that is left.
//! Pure.

use super::sheets::remove;
use super::{Done, turn};
use crate::mesh::Mesh;
use crate::mesh::topology::{Sets, Side, by_edge, corner_at, sides};
use crate::mesh::vector::{Vector, cross, dot, length, minus};

/// How far the copies of a vertex move apart, as a share of the mesh's diagonal: what single precision can still tell.
const APART_SHARE: f64 = 1e-5;

/// Two sides that are joined.
type Joint = (Side, Side);

/// Joins, turns and parts.
pub(super) fn orient(mesh: &mut Mesh, done: &mut Done) {
    let (joints, left_over) = joints(mesh);
    let (turned, torn) = turns(mesh, &joints);
    done.vertices_split += part(mesh, &joints);
    for (triangle, _) in mesh.triangles.iter_mut().zip(&turned).filter(|(_, turned)| **turned) {
        triangle.swap(1, 2);
        done.faces_turned += 1;
    }
    let dropped: Vec<u32> = left_over.into_iter().chain(torn).collect();
    done.fins_dropped += dropped.len();
    remove(mesh, &dropped);
}

/// The joints, and the triangles that find no partner at an edge of an odd number.
fn joints(mesh: &Mesh) -> (Vec<Joint>, Vec<u32>) {
    let sides = sides(&mesh.triangles);
    let (mut joints, mut left_over) = (Vec::new(), Vec::new());
    for edge in by_edge(&sides) {
        match edge {
            [_] => {}
            &[a, b] => joints.push((a, b)),
            crowd => {
                let (pairs, rest) = by_angle(mesh, crowd);
                joints.extend(pairs);
                left_over.extend(rest.map(|side| side.face));
            }
        }
    }
    (joints, left_over)
}

/// Joins the sides of a crowded edge in twos that stand beside one another. Of both ways to do so, the one with more
/// pairs that have the inside between them, as their triangles turn now.
fn by_angle(mesh: &Mesh, crowd: &[Side]) -> (Vec<Joint>, Option<Side>) {
    let mut round: Vec<(f64, Side)> = crowd.iter().map(|&side| (angle(mesh, side), side)).collect();
    round.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rest = if round.len() % 2 == 1 { round.pop().map(|(_, side)| side) } else { None };
    let pairs = |from: usize| -> Vec<Joint> {
        let at = |place: usize| round[(from + place) % round.len()].1;
        (0..round.len() / 2).map(|pair| (at(2 * pair), at(2 * pair + 1))).collect()
    };
    let inside = |pairs: &[Joint]| pairs.iter().filter(|(a, b)| !a.forward && b.forward).count();
    let (even, odd) = (pairs(0), pairs(1));
    (if inside(&odd) > inside(&even) { odd } else { even }, rest)
}

/// The direction of a triangle around its side's edge.
fn angle(mesh: &Mesh, side: Side) -> f64 {
    let at = |vertex: u32| mesh.vertices[vertex as usize].map(f64::from);
    let (origin, axis) = (at(side.low), minus(at(side.high), at(side.low)));
    let tip = mesh.triangles[side.face as usize].into_iter().find(|&corner| corner != side.low && corner != side.high);
    let towards = minus(at(tip.unwrap_or(side.low)), origin);
    let (first, second) = across(axis);
    dot(towards, second).atan2(dot(towards, first))
}

/// Two directions across an axis, at right angles and of one length.
fn across(axis: Vector) -> (Vector, Vector) {
    let least = (0..3).min_by(|&a, &b| axis[a].abs().total_cmp(&axis[b].abs())).unwrap_or_default();
    let mut other = [0.0; 3];
    other[least] = 1.0;
    let first = cross(axis, other);
    let scale = 1.0 / length(axis).max(f64::MIN_POSITIVE);
    (first, cross(axis, first).map(|component| component * scale))
}

/// Which triangles must be turned so that joined ones turn alike, as few as possible in each part; and those that would
/// have to be turned and not, as on a Möbius strip.
fn turns(mesh: &Mesh, joints: &[Joint]) -> (Vec<bool>, Vec<u32>) {
    let count = mesh.triangles.len();
    let neighbours = neighbours(count, joints);
    let mut turn: Vec<Option<bool>> = vec![None; count];
    let mut torn = Vec::new();
    for start in 0..count as u32 {
        if turn[start as usize].is_some() {
            continue;
        }
        turn[start as usize] = Some(false);
        let mut part = vec![start];
        let mut next = 0;
        while let Some(&face) = part.get(next) {
            next += 1;
            let own = turn[face as usize].unwrap_or_default();
            for &(other, differ) in neighbours[face as usize].iter().flatten() {
                match turn[other as usize] {
                    None => {
                        turn[other as usize] = Some(own ^ differ);
                        part.push(other);
                    }
                    Some(theirs) if theirs != own ^ differ => torn.push(face.max(other)),
                    Some(_) => {}
                }
            }
        }
        let turned = part.iter().filter(|&&face| turn[face as usize] == Some(true)).count();
        if 2 * turned > part.len() {
            part.iter().for_each(|&face| turn[face as usize] = turn[face as usize].map(|turned| !turned));
        }
    }
    (turn.into_iter().map(Option::unwrap_or_default).collect(), torn)
}

/// The up to three neighbours of each triangle, and whether they turn differently.
fn neighbours(count: usize, joints: &[Joint]) -> Vec<[Option<(u32, bool)>; 3]> {
    let mut neighbours = vec![[None; 3]; count];
    for &(a, b) in joints {
        let differ = a.forward == b.forward;
        neighbours[a.face as usize][usize::from(a.slot)] = Some((b.face, differ));
        neighbours[b.face as usize][usize::from(b.slot)] = Some((a.face, differ));
    }
    neighbours
}

/// Gives every fan of triangles but the first at a vertex a copy of it, a little towards the fan. Says how many.
fn part(mesh: &mut Mesh, joints: &[Joint]) -> usize {
    let mut fans = Sets::new(3 * mesh.triangles.len());
    for (a, b) in joints {
        for end in [a.low, a.high] {
            let corner = |side: &Side| corner_at(&mesh.triangles, side.face, end);
            fans.unite(corner(a), corner(b));
        }
    }
    let [low, high] = mesh.bounds();
    let apart = APART_SHARE * length(minus(high, low));
    let mut first = vec![u32::MAX; mesh.vertices.len()];
    let mut copies = std::collections::HashMap::new();
    let original = mesh.triangles.clone();
    for corner in 0..3 * original.len() as u32 {
        let fan = fans.of(corner);
        let triangle = original[(corner / 3) as usize];
        let vertex = triangle[(corner % 3) as usize];
        let seen = &mut first[vertex as usize];
        if *seen == u32::MAX {
            *seen = fan;
        }
        if *seen == fan {
            continue;
        }
        let copy = *copies.entry(fan).or_insert_with(|| {
            mesh.vertices.push(moved(mesh.vertices[vertex as usize], turn::middle(mesh, triangle), apart));
            mesh.vertices.len() as u32 - 1
        });
        mesh.triangles[(corner / 3) as usize][(corner % 3) as usize] = copy;
    }
    copies.len()
}

/// A place so far towards another.
fn moved(from: [f32; 3], towards: Vector, by: f64) -> [f32; 3] {
    let from = from.map(f64::from);
    let way = minus(towards, from);
    let scale = by / length(way).max(f64::MIN_POSITIVE);
    std::array::from_fn(|axis| (from[axis] + scale * way[axis]) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_across() {
        let check = |axis: Vector| {
            let (a, b) = across(axis);
            assert!(dot(a, axis).abs() < 1e-9 && dot(b, axis).abs() < 1e-9 && dot(a, b).abs() < 1e-9);
            assert!((length(a) - length(b)).abs() < 1e-9 && dot(cross(a, b), axis) > 0.0);
        };
        check([0.0, 0.0, 1.0]);
        check([3.0, 0.0, 0.0]);
        check([1.0, -2.0, 3.0]);
    }
}
