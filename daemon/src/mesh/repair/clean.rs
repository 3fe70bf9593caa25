//! Vertices that are one, and triangles that are none. Pure.

use std::collections::{HashMap, HashSet};

use super::Done;
use crate::mesh::topology::{by_edge, sides};
use crate::mesh::vector::{length, minus};
use crate::mesh::{Mesh, edges, quality};

/// Vertices at a seam that are nearer than this share of the mesh's diagonal are one.
const SEAM_SHARE: f64 = 1e-5;
/// Passes over the needles: each flip may free the way for another.
const NEEDLE_PASSES: usize = 4;

/// The mesh with one vertex at each place, and how many fewer those are.
pub(in super::super) fn welded(mesh: &Mesh) -> (Mesh, usize) {
    let mut known = HashMap::with_capacity(mesh.vertices.len());
    let mut vertices = Vec::with_capacity(mesh.vertices.len());
    let names: Vec<u32> = mesh
        .vertices
        .iter()
        .map(|&vertex| {
            // Adding zero makes one of the two zeros.
            let place = vertex.map(|coordinate| (coordinate + 0.0).to_bits());
            *known.entry(place).or_insert_with(|| {
                vertices.push(vertex);
                vertices.len() as u32 - 1
            })
        })
        .collect();
    let triangles = mesh.triangles.iter().map(|triangle| triangle.map(|corner| names[corner as usize])).collect();
    let fewer = mesh.vertices.len() - vertices.len();
    (Mesh { vertices, triangles }, fewer)
}

pub(super) fn weld(mesh: &mut Mesh, done: &mut Done) {
    let (welded, fewer) = welded(mesh);
    *mesh = welded;
    done.vertices_welded += fewer;
}

/// Makes one of the vertices along open edges that are nearly at the same place. Elsewhere vertices are left alone, however
/// near: they are detail.
pub(super) fn weld_seams(mesh: &mut Mesh, done: &mut Done) {
    let [low, high] = mesh.bounds();
    let reach = SEAM_SHARE * length(minus(high, low));
    let sides = sides(&mesh.triangles);
    let open = by_edge(&sides).filter(|edge| edge.len() == 1).flat_map(|edge| [edge[0].low, edge[0].high]);
    let open: HashSet<u32> = open.collect();
    let mut open: Vec<u32> = open.into_iter().collect();
    open.sort_unstable();
    let mut names: Vec<u32> = (0..mesh.vertices.len() as u32).collect();
    let mut cells: HashMap<[i64; 3], Vec<u32>> = HashMap::new();
    for vertex in open {
        let place = mesh.vertices[vertex as usize].map(f64::from);
        let cell = place.map(|coordinate| (coordinate / reach).floor() as i64);
        let near = |other: &&u32| length(minus(mesh.vertices[**other as usize].map(f64::from), place)) <= reach;
        let other = around(cell).find_map(|cell| cells.get(&cell)?.iter().find(near).copied());
        match other {
            Some(other) => names[vertex as usize] = other,
            None => cells.entry(cell).or_default().push(vertex),
        }
    }
    done.vertices_welded += names.iter().enumerate().filter(|(vertex, name)| *vertex != **name as usize).count();
    mesh.triangles.as_flattened_mut().iter_mut().for_each(|corner| *corner = names[*corner as usize]);
}

/// A cell and those around it.
fn around(cell: [i64; 3]) -> impl Iterator<Item = [i64; 3]> {
    let step = |at: i64, by: i64| at.saturating_add(by - 1);
    (0..27).map(move |place| [step(cell[0], place % 3), step(cell[1], place / 3 % 3), step(cell[2], place / 9)])
}

/// Drops triangles with a corner twice, and all but one of those with the same corners.
pub(super) fn drop_faces(mesh: &mut Mesh, done: &mut Done) {
    let before = mesh.triangles.len();
    mesh.triangles.retain(|&[a, b, c]| a != b && b != c && c != a);
    without_duplicates(&mut mesh.triangles);
    done.faces_dropped += before - mesh.triangles.len();
}

/// Keeps the first of the triangles with the same corners, and says how many go.
pub(in super::super) fn without_duplicates(triangles: &mut Vec<[u32; 3]>) -> usize {
    let before = triangles.len();
    let mut seen = HashSet::with_capacity(before);
    triangles.retain(|triangle| {
        let mut corners = *triangle;
        corners.sort_unstable();
        seen.insert(corners)
    });
    before - triangles.len()
}

/// A needle, a triangle whose corners lie on a line, goes when the neighbour along its longest side is cut at its middle
/// corner instead. Without a neighbour there it is dropped.
pub(super) fn flip_needles(mesh: &mut Mesh, done: &mut Done) {
    for _ in 0..NEEDLE_PASSES {
        let needles: Vec<usize> =
            (0..mesh.triangles.len()).filter(|&face| quality::is_degenerate(mesh, mesh.triangles[face])).collect();
        if needles.is_empty() || flip_all(mesh, &needles, done) == 0 {
            return;
        }
    }
}

fn flip_all(mesh: &mut Mesh, needles: &[usize], done: &mut Done) -> usize {
    let sides = sides(&mesh.triangles);
    let known: HashMap<(u32, u32), Vec<u32>> = by_edge(&sides)
        .map(|edge| ((edge[0].low, edge[0].high), edge.iter().map(|side| side.face).collect()))
        .collect();
    let mut touched = HashSet::new();
    let mut dropped = HashSet::new();
    let mut flipped = 0;
    for &needle in needles {
        // A flip has made another triangle of it, whose sides are not among those that are known.
        if touched.contains(&needle) {
            continue;
        }
        let [a, b, c] = needle_corners(mesh, mesh.triangles[needle]);
        let others: Vec<usize> =
            known[&ordered(a, c)].iter().map(|&face| face as usize).filter(|&face| face != needle).collect();
        let &[other] = others.as_slice() else {
            if others.is_empty() && touched.insert(needle) {
                dropped.insert(needle);
            }
            continue;
        };
        let Some(tip) = mesh.triangles[other].into_iter().find(|&corner| corner != a && corner != c) else { continue };
        if tip == b || known.contains_key(&ordered(b, tip)) || touched.contains(&other) {
            continue;
        }
        let forward = edges(mesh.triangles[other]).contains(&(a, c));
        let (from, to) = if forward { (a, c) } else { (c, a) };
        (mesh.triangles[needle], mesh.triangles[other]) = ([from, b, tip], [b, to, tip]);
        touched.extend([needle, other]);
        flipped += 1;
    }
    let mut face = 0;
    mesh.triangles.retain(|_| {
        face += 1;
        !dropped.contains(&(face - 1))
    });
    done.needles_flipped += flipped;
    done.faces_dropped += dropped.len();
    flipped + dropped.len()
}

/// The corners so that the longest side is between the first and the last.
fn needle_corners(mesh: &Mesh, [a, b, c]: [u32; 3]) -> [u32; 3] {
    let [p, q, r] = mesh.corners([a, b, c]);
    let (ab, bc, ca) = (length(minus(p, q)), length(minus(q, r)), length(minus(r, p)));
    if ca >= ab && ca >= bc {
        [a, b, c]
    } else if ab >= bc {
        [b, c, a]
    } else {
        [c, a, b]
    }
}

pub(super) fn ordered(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

/// Drops vertices that no triangle has.
pub(super) fn drop_unused(mesh: &mut Mesh) {
    let mut names = vec![u32::MAX; mesh.vertices.len()];
    let mut kept = Vec::new();
    for corner in mesh.triangles.as_flattened_mut() {
        let name = &mut names[*corner as usize];
        if *name == u32::MAX {
            *name = kept.len() as u32;
            kept.push(mesh.vertices[*corner as usize]);
        }
        *corner = *name;
    }
    mesh.vertices = kept;
}
