//! Holes: the loops of edges that have a single triangle, each closed with triangles that turn as those around it. Pure.

use std::collections::{HashMap, HashSet};

use super::clean::ordered;
use super::patch::{self, Patch};
use super::{Done, Stopped, Wanted, still};
use crate::mesh::Mesh;
use crate::mesh::topology::{by_edge, sides};

/// Closes every hole.
pub(super) fn fill(mesh: &mut Mesh, done: &mut Done, wanted: Wanted<'_>) -> Result<(), Stopped> {
    let sides = sides(&mesh.triangles);
    // From where a triangle's open side ends back to where it begins: the way round the hole.
    let open: Vec<(u32, u32)> = by_edge(&sides)
        .filter(|edge| edge.len() == 1)
        .map(|edge| edge[0].ends())
        .map(|(from, to)| (to, from))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut known: HashSet<(u32, u32)> = by_edge(&sides).map(|edge| (edge[0].low, edge[0].high)).collect();
    drop(sides);
    for hole in loops(&open) {
        still(wanted)?;
        let places: Vec<_> = hole.iter().map(|&vertex| mesh.vertices[vertex as usize].map(f64::from)).collect();
        let is_known = |a: usize, b: usize| known.contains(&ordered(hole[a], hole[b]));
        let Patch { triangles, middle } = patch::over(&places, &is_known);
        let middle = middle.map(|place| {
            mesh.vertices.push(place.map(|coordinate| coordinate as f32));
            mesh.vertices.len() as u32 - 1
        });
        // The number behind the last stands for the middle, which is there when it is used.
        let name = |at: usize| hole.get(at).copied().or(middle).unwrap_or_default();
        for triangle in &triangles {
            let face = triangle.map(name);
            known.extend(crate::mesh::edges(face).map(|(a, b)| ordered(a, b)));
            mesh.triangles.push(face);
        }
        done.holes_filled += 1;
        done.faces_added += triangles.len();
    }
    Ok(())
}

/// Closed ways along directed edges, each vertex once. Where several ways lead through a vertex, they are parted there.
fn loops(edges: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let mut next: HashMap<u32, Vec<u32>> = HashMap::new();
    edges.iter().for_each(|&(from, to)| next.entry(from).or_default().push(to));
    let mut found = Vec::new();
    for &(start, _) in edges {
        let mut way = vec![start];
        let mut place: HashMap<u32, usize> = HashMap::from([(start, 0)]);
        while let Some(to) = way.last().and_then(|at| next.get_mut(at)?.pop()) {
            match place.get(&to).copied() {
                None => {
                    place.insert(to, way.len());
                    way.push(to);
                }
                Some(at) => {
                    let hole = way.split_off(at);
                    place.retain(|vertex, _| !hole.contains(vertex));
                    found.extend((hole.len() >= 3).then_some(hole));
                    place.insert(to, way.len());
                    way.push(to);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_parted_where_they_meet() {
        let check = |edges: &[(u32, u32)], expected: &[&[u32]]| {
            let mut found = loops(edges);
            found.iter_mut().for_each(|hole| {
                let least = (0..hole.len()).min_by_key(|&at| hole[at]).unwrap();
                hole.rotate_left(least);
            });
            found.sort();
            assert_eq!(found, expected, "{edges:?}");
        };
        check(&[(0, 1), (1, 2), (2, 0)], &[&[0, 1, 2]]);
        check(&[(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)], &[&[0, 1, 2], &[3, 4, 5]]);
        check(&[(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 0)], &[&[0, 1, 2], &[0, 3, 4]]);
        check(&[(0, 1), (1, 2)], &[]);
    }
}
