//! A height field as a closed solid: the relief on top, walls around, a flat base below. The surface is watertight
//! and manifold, its triangles turn counter-clockwise seen from outside, and none is degenerate. Pure.

use super::height::HeightField;
use crate::mesh::Mesh;

/// Coordinates are whole multiples of a tenth of a micrometre, so that every file format, text included, says
/// exactly the same.
pub const STEPS_PER_MM: f64 = 10_000.0;

impl Mesh {
    /// The solid under a height field.
    pub fn solid(field: &HeightField) -> Self {
        let rim = rim(field);
        let mut mesh = Self::with_room_for(field, rim.len());
        mesh.add_vertices(field, &rim);
        mesh.add_top(field);
        mesh.add_walls_and_base(field, &rim);
        mesh
    }

    fn with_room_for(field: &HeightField, rim: usize) -> Self {
        let cells = (field.columns() - 1) * (field.rows() - 1);
        Self {
            vertices: Vec::with_capacity(field.heights_mm().len() + rim + 1),
            triangles: Vec::with_capacity(2 * cells + 3 * rim),
        }
    }

    /// The top row by row, the base's rim in the order of `rim`, the base's centre.
    fn add_vertices(&mut self, field: &HeightField, rim: &[usize]) {
        let (columns, rows) = (field.columns(), field.rows());
        let x: Vec<f32> = (0..columns).map(|column| on_grid(field.width_mm() * share(column, columns))).collect();
        for (row, heights) in field.heights_mm().chunks_exact(columns).enumerate() {
            let y = on_grid(field.depth_mm() * (1.0 - share(row, rows)));
            self.vertices.extend(x.iter().zip(heights).map(|(&x, &z)| [x, y, on_grid(f64::from(z))]));
        }
        for &top in rim {
            let [x, y, _] = self.vertices[top];
            self.vertices.push([x, y, 0.0]);
        }
        self.vertices.push([on_grid(field.width_mm() / 2.0), on_grid(field.depth_mm() / 2.0), 0.0]);
    }

    /// Each cell is cut along the diagonal that follows the relief more closely.
    fn add_top(&mut self, field: &HeightField) {
        let columns = field.columns();
        for row in 0..field.rows() - 1 {
            for column in 0..columns - 1 {
                let [a, b] = [row * columns + column, row * columns + column + 1];
                let [d, e] = [a + columns, b + columns];
                let z = |vertex: usize| self.vertices[vertex][2];
                let cut = if (z(d) - z(b)).abs() <= (z(a) - z(e)).abs() {
                    [[d, e, b], [d, b, a]]
                } else {
                    [[d, e, a], [e, b, a]]
                };
                self.triangles.extend(cut.map(indices));
            }
        }
    }

    fn add_walls_and_base(&mut self, field: &HeightField, rim: &[usize]) {
        let below = field.heights_mm().len();
        let centre = below + rim.len();
        for (place, &top) in rim.iter().enumerate() {
            let next = (place + 1) % rim.len();
            let (low, next_low, next_top) = (below + place, below + next, rim[next]);
            let faces = [[low, next_low, next_top], [low, next_top, top], [centre, next_low, low]];
            self.triangles.extend(faces.map(indices));
        }
    }
}

/// The top's outermost vertices, counter-clockwise seen from above, each once.
fn rim(field: &HeightField) -> Vec<usize> {
    let (columns, rows) = (field.columns(), field.rows());
    let at = |row: usize, column: usize| row * columns + column;
    let front = (0..columns - 1).map(|column| at(rows - 1, column));
    let right = (1..rows).rev().map(|row| at(row, columns - 1));
    let back = (1..columns).rev().map(|column| at(0, column));
    let left = (0..rows - 1).map(|row| at(row, 0));
    front.chain(right).chain(back).chain(left).collect()
}

/// How far along a side of `count` samples one of them lies, 0 to 1.
fn share(index: usize, count: usize) -> f64 {
    index as f64 / (count - 1) as f64
}

pub(super) fn on_grid(mm: f64) -> f32 {
    ((mm * STEPS_PER_MM).round() / STEPS_PER_MM) as f32
}

/// A field has at most 512 × 512 samples, far below what an index can count.
fn indices(corners: [usize; 3]) -> [u32; 3] {
    corners.map(|corner| corner as u32)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    /// Any height field up to 12 by 12 samples.
    pub(crate) fn fields() -> impl Strategy<Value = HeightField> {
        (2..12_usize, 2..12_usize, 10.0..500.0_f64, 0.125..8.0_f64).prop_flat_map(|(columns, rows, width, aspect)| {
            proptest::collection::vec(0.2_f32..150.0, columns * rows)
                .prop_map(move |heights| HeightField::new(columns, width, width * aspect, heights))
        })
    }

    fn corners(mesh: &Mesh, triangle: [u32; 3]) -> [[f64; 3]; 3] {
        triangle.map(|corner| mesh.vertices[corner as usize].map(f64::from))
    }

    fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
        [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
    }

    fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    }

    fn volume(mesh: &Mesh) -> f64 {
        let signed = |[a, b, c]: [[f64; 3]; 3]| {
            let n = cross(b, c);
            (a[0] * n[0] + a[1] * n[1] + a[2] * n[2]) / 6.0
        };
        mesh.triangles.iter().map(|&triangle| signed(corners(mesh, triangle))).sum()
    }

    fn area(mesh: &Mesh, triangle: [u32; 3]) -> f64 {
        let [a, b, c] = corners(mesh, triangle);
        let n = cross(minus(b, a), minus(c, a));
        (n[0] * n[0] + n[1] * n[1] + n[2] * n[2]).sqrt() / 2.0
    }

    /// How often each directed edge is used.
    fn edges(mesh: &Mesh) -> HashMap<(u32, u32), usize> {
        let mut edges = HashMap::new();
        for &[a, b, c] in &mesh.triangles {
            for edge in [(a, b), (b, c), (c, a)] {
                *edges.entry(edge).or_insert(0) += 1;
            }
        }
        edges
    }

    /// Around each vertex the triangles form one closed fan: no two parts of the surface touch in a point only.
    fn every_vertex_has_one_fan(mesh: &Mesh) -> bool {
        let mut next: Vec<HashMap<u32, u32>> = vec![HashMap::new(); mesh.vertices.len()];
        for &[a, b, c] in &mesh.triangles {
            for (at, from, to) in [(a, b, c), (b, c, a), (c, a, b)] {
                next[at as usize].insert(from, to);
            }
        }
        next.iter().all(|fan| {
            let Some(&start) = fan.keys().next() else { return false };
            let steps = std::iter::successors(fan.get(&start), |at| fan.get(at)).take_while(|&&at| at != start);
            steps.count() + 1 == fan.len()
        })
    }

    /// Whether a mesh is one closed, manifold surface of triangles with area, turned outwards.
    pub(crate) fn solidity(mesh: &Mesh) -> Result<(), TestCaseError> {
        let edges = edges(mesh);
        for (&(a, b), &count) in &edges {
            prop_assert_eq!(count, 1, "edge {} {} is used {} times in one direction", a, b, count);
            prop_assert!(edges.contains_key(&(b, a)), "edge {} {} has no other side", a, b);
        }
        prop_assert!(every_vertex_has_one_fan(mesh));
        let (v, e, f) = (mesh.vertices.len(), edges.len() / 2, mesh.triangles.len());
        prop_assert_eq!(v + f, e + 2, "Euler characteristic of a sphere");
        prop_assert!(mesh.triangles.iter().all(|&triangle| area(mesh, triangle) > 1e-7));
        prop_assert!(volume(mesh) > 0.0);
        Ok(())
    }

    proptest! {
        #[test]
        fn every_solid_is_closed_and_turned_outwards(field in fields()) {
            let mesh = Mesh::solid(&field);
            solidity(&mesh)?;
            let least = field.width_mm() * field.depth_mm() * 0.2;
            prop_assert!(volume(&mesh) > least * 0.99, "{} against {}", volume(&mesh), least);
        }

        #[test]
        fn the_solid_is_as_large_as_asked(field in fields()) {
            let mesh = Mesh::solid(&field);
            let extent = |axis: usize| {
                let values = mesh.vertices.iter().map(|vertex| vertex[axis]);
                (values.clone().fold(f32::INFINITY, f32::min), values.fold(f32::NEG_INFINITY, f32::max))
            };
            let highest = field.heights_mm().iter().copied().fold(0.0, f32::max);
            for (axis, size) in [field.width_mm(), field.depth_mm(), f64::from(highest)].into_iter().enumerate() {
                let (low, high) = extent(axis);
                prop_assert_eq!(low.to_bits(), 0.0_f32.to_bits());
                prop_assert!((f64::from(high) - size).abs() < 2e-4 , "axis {}: {} is not {}", axis, high, size);
            }
        }
    }

    #[test]
    fn a_flat_plate_has_the_volume_of_a_box() {
        let mesh = Mesh::solid(&HeightField::new(5, 40.0, 20.0, vec![3.0; 15]));
        assert!((volume(&mesh) - 2400.0).abs() < 1e-6);
        assert_eq!(mesh.vertices.len(), 15 + 12 + 1);
        assert_eq!(mesh.triangles.len(), 16 + 36);
    }

    #[test]
    fn the_pictures_top_left_is_at_the_back_left() {
        let mesh = Mesh::solid(&HeightField::new(2, 10.0, 10.0, vec![9.0, 1.0, 1.0, 1.0]));
        assert_eq!(mesh.vertices[0].map(f32::to_bits), [0.0_f32, 10.0, 9.0].map(f32::to_bits));
    }
}
