//! What is right and wrong with a mesh: closed, manifold, turned alike, and what keeps it from that. Corners at the very
//! same place count as one vertex, since some files repeat them. Self-intersections are not looked for. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::repair::clean;
use super::topology::{Sets, Side, by_edge, corner_at, parts, sides};
use super::vector::{length, normal, six_volumes};
use super::{Mesh, quality};

/// Facts about a mesh in the units of its file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "MeshFacts")]
pub struct Analysis {
    /// Number of triangles.
    pub triangles: usize,
    /// Number of vertices in the file.
    pub vertices: usize,
    /// Vertices at the place of another. A file of triangles that share none, such as STL, has many and is well.
    pub duplicate_vertices: usize,
    /// Triangles without area.
    pub degenerate_faces: usize,
    /// Triangles with the same corners as another.
    pub duplicate_faces: usize,
    /// Edges of a single triangle: around holes.
    pub boundary_edges: usize,
    /// Chains of such edges, roughly the number of holes.
    pub boundary_loops: usize,
    /// Edges of more than two triangles.
    pub non_manifold_edges: usize,
    /// Vertices around which the triangles form more than one fan.
    pub non_manifold_vertices: usize,
    /// Edges whose two triangles turn differently.
    pub turned_edges: usize,
    /// Parts of the surface that share no edge.
    pub components: usize,
    /// Whether every edge has exactly two triangles.
    pub watertight: bool,
    /// Whether every edge has two triangles at most and every vertex one fan.
    pub manifold: bool,
    /// Whether neighbours turn alike.
    pub consistent_normals: bool,
    /// Whether the triangles turn outwards on the whole; `None` for a surface that has no inside.
    pub outward_normals: Option<bool>,
    /// Volume, negative when the triangles turn inwards; `None` for a surface that has no inside.
    pub volume: Option<f64>,
    /// Area of all triangles.
    pub area: f64,
    /// Least and greatest coordinates.
    pub bounds: [[f64; 3]; 2],
}

impl Analysis {
    /// Looks at a mesh.
    pub fn of(mesh: &Mesh) -> Self {
        let (welded, duplicate_vertices) = clean::welded(mesh);
        let counted = mesh.triangles.len();
        let degenerate_faces = welded.triangles.iter().filter(|&&face| quality::is_degenerate(&welded, face)).count();
        let mut faces = welded.triangles;
        faces.retain(|&[a, b, c]| a != b && b != c && c != a);
        let duplicate_faces = clean::without_duplicates(&mut faces.clone());
        let sides = sides(&faces);
        let edges = Edges::of(&sides);
        let non_manifold_vertices = pinched(&faces, &sides, welded.vertices.len());
        let watertight = edges.boundary == 0 && edges.crowded == 0 && !faces.is_empty();
        let has_inside = watertight && edges.turned == 0;
        let (area, volume) = measures(mesh);
        Self {
            triangles: counted,
            vertices: mesh.vertices.len(),
            duplicate_vertices,
            degenerate_faces,
            duplicate_faces,
            boundary_edges: edges.boundary,
            boundary_loops: loops(&sides, welded.vertices.len()),
            non_manifold_edges: edges.crowded,
            non_manifold_vertices,
            turned_edges: edges.turned,
            components: parts(&faces, &sides, |_| true).count(),
            watertight,
            manifold: edges.crowded == 0 && non_manifold_vertices == 0,
            consistent_normals: edges.turned == 0,
            outward_normals: has_inside.then_some(volume > 0.0),
            volume: has_inside.then_some(volume),
            area,
            bounds: mesh.bounds(),
        }
    }

    /// Whether there is nothing to repair.
    pub fn is_solid(&self) -> bool {
        self.watertight && self.manifold && self.outward_normals == Some(true)
    }
}

#[derive(Default)]
struct Edges {
    boundary: usize,
    crowded: usize,
    turned: usize,
}

impl Edges {
    fn of(sides: &[Side]) -> Self {
        let mut found = Self::default();
        for edge in by_edge(sides) {
            match edge {
                [_] => found.boundary += 1,
                [a, b] => found.turned += usize::from(a.forward == b.forward),
                _ => found.crowded += 1,
            }
        }
        found
    }
}

fn measures(mesh: &Mesh) -> (f64, f64) {
    let corners = || mesh.triangles.iter().map(|&triangle| mesh.corners(triangle));
    (corners().map(|at| length(normal(at)) / 2.0).sum(), corners().map(six_volumes).sum::<f64>() / 6.0)
}

/// Chains of edges that have a single triangle.
fn loops(sides: &[Side], vertices: usize) -> usize {
    let open: Vec<&Side> = by_edge(sides).filter(|edge| edge.len() == 1).map(|edge| &edge[0]).collect();
    let mut sets = Sets::new(vertices);
    open.iter().for_each(|side| sets.unite(side.low, side.high));
    let mut names: Vec<u32> = open.iter().map(|side| sets.of(side.low)).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// Vertices with several fans: corners belong to one fan when an edge at the vertex joins them.
fn pinched(faces: &[[u32; 3]], sides: &[Side], vertices: usize) -> usize {
    let mut fans = Sets::new(3 * faces.len());
    for pair in by_edge(sides).flat_map(|edge| edge.windows(2)) {
        for end in [pair[0].low, pair[0].high] {
            fans.unite(corner_at(faces, pair[0].face, end), corner_at(faces, pair[1].face, end));
        }
    }
    let mut count = vec![0_u32; vertices];
    for (corner, &vertex) in (0_u32..).zip(faces.as_flattened()) {
        count[vertex as usize] += u32::from(fans.of(corner) == corner);
    }
    count.iter().filter(|fans| **fans > 1).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mesh::tests::fields;
    use proptest::prelude::*;

    fn tetrahedron(at: f32) -> Mesh {
        let corners = [[0.0; 3], [6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]];
        let vertices = corners.map(|[x, y, z]: [f32; 3]| [x + at, y, z]).to_vec();
        Mesh { vertices, triangles: vec![[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]] }
    }

    fn check(what: &str, mesh: &Mesh, holds: impl Fn(&Analysis) -> bool) {
        let found = Analysis::of(mesh);
        assert!(holds(&found), "{what}: {found:?}");
    }

    #[test]
    fn every_fault_is_counted() {
        let whole = tetrahedron(0.0);
        check("whole", &whole, |found| found.is_solid() && found.components == 1 && found.volume == Some(36.0));
        let change = |how: fn(&mut Mesh)| {
            let mut mesh = whole.clone();
            how(&mut mesh);
            mesh
        };
        let open = change(|mesh| mesh.triangles.truncate(3));
        check("open", &open, |found| {
            (found.boundary_edges, found.boundary_loops, found.watertight, found.volume) == (3, 1, false, None)
        });
        let turned = change(|mesh| mesh.triangles[0].swap(0, 1));
        check("turned", &turned, |found| found.turned_edges == 3 && found.watertight && !found.consistent_normals);
        let inwards = change(|mesh| mesh.triangles.iter_mut().for_each(|face| face.swap(0, 1)));
        check("inwards", &inwards, |found| found.outward_normals == Some(false) && !found.is_solid());
        let twice = change(|mesh| mesh.triangles.push([3, 0, 2]));
        check("a face twice", &twice, |found| found.duplicate_faces == 1);
        let fin = change(|mesh| {
            mesh.vertices.push([9.0; 3]);
            mesh.triangles.push([0, 1, 4]);
        });
        check("a fin", &fin, |found| found.non_manifold_edges == 1 && found.boundary_edges == 2 && !found.manifold);
        let flat = change(|mesh| mesh.triangles.push([1, 1, 2]));
        check("no area", &flat, |found| found.degenerate_faces == 1);
        let soup = change(|mesh| {
            mesh.vertices = mesh.triangles.iter().flat_map(|face| face.map(|at| mesh.vertices[at as usize])).collect();
            mesh.triangles = vec![[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]];
        });
        check("soup", &soup, |found| found.duplicate_vertices == 8 && found.is_solid());
    }

    #[test]
    fn two_that_touch_in_a_corner_are_pinched() {
        let mut both = tetrahedron(0.0);
        let other = tetrahedron(6.0);
        both.vertices.extend(other.vertices);
        both.triangles.extend(other.triangles.iter().map(|face| face.map(|corner| corner + 4)));
        check("touching", &both, |found| found.components == 2 && found.non_manifold_vertices == 1 && found.watertight);
    }

    proptest! {
        #[test]
        fn every_relief_is_solid(field in fields()) {
            let found = Analysis::of(&Mesh::solid(&field));
            prop_assert!(found.is_solid() && found.components == 1, "{:?}", found);
            prop_assert_eq!(found.degenerate_faces, 0);
        }
    }
}
