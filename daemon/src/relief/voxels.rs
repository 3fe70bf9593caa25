//! A height field as blocks: a coarse solid that is made in a moment, to look at while the relief is made. Closed and
//! manifold as the relief is. Pure.

use super::height::HeightField;
use crate::mesh::Mesh;

/// Blocks above one another, at most.
const LEVELS: usize = 8;

/// The solid of blocks: a column over each sample.
pub(super) fn solid(field: &HeightField) -> Mesh {
    let (columns, rows) = (field.columns(), field.rows());
    let highest = field.heights_mm().iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let level = |height: &f32| ((height / highest * LEVELS as f32).round() as usize).clamp(1, LEVELS);
    let mut levels: Vec<usize> = field.heights_mm().iter().map(level).collect();
    while raise_corners(&mut levels, columns) {}
    let mut blocks = Blocks::new(field, f64::from(highest) / LEVELS as f64);
    for row in 0..rows {
        for column in 0..columns {
            blocks.add_column(&levels, column, row);
        }
    }
    blocks.mesh
}

/// Where two columns stand corner to corner over lower ones, an edge would belong to four faces: the higher of the lower
/// ones is raised to them. Says whether anything was.
fn raise_corners(levels: &mut [usize], columns: usize) -> bool {
    let mut raised = false;
    for at in (0..levels.len() - columns).filter(|at| at % columns + 1 < columns) {
        let [a, b, c, d] = [at, at + 1, at + columns, at + columns + 1];
        for ((high, other), (low, next)) in [((a, d), (b, c)), ((b, c), (a, d))] {
            let (least, most) = (levels[high].min(levels[other]), levels[low].max(levels[next]));
            if least > most {
                let target = if levels[low] >= levels[next] { low } else { next };
                levels[target] = least;
                raised = true;
            }
        }
    }
    raised
}

/// The mesh, and the vertices of the grid that it has so far.
struct Blocks {
    columns: usize,
    rows: usize,
    /// Size of a block along x, y and z, in millimetres.
    block_mm: [f64; 3],
    depth_mm: f64,
    known: Vec<u32>,
    mesh: Mesh,
}

/// A corner of the grid: column and row of lines, and level.
type Corner = [usize; 3];

impl Blocks {
    fn new(field: &HeightField, level_mm: f64) -> Self {
        let (columns, rows) = (field.columns(), field.rows());
        let block_mm = [field.width_mm() / columns as f64, field.depth_mm() / rows as f64, level_mm];
        let known = vec![u32::MAX; (columns + 1) * (rows + 1) * (LEVELS + 1)];
        Self { columns, rows, block_mm, depth_mm: field.depth_mm(), known, mesh: Mesh::default() }
    }

    fn vertex(&mut self, [x, y, z]: Corner) -> u32 {
        let place = (z * (self.rows + 1) + y) * (self.columns + 1) + x;
        if self.known[place] == u32::MAX {
            self.known[place] = self.mesh.vertices.len() as u32;
            let [width, depth, height] = self.block_mm;
            let at = [x as f64 * width, self.depth_mm - y as f64 * depth, z as f64 * height];
            self.mesh.vertices.push(at.map(super::mesh::on_grid));
        }
        self.known[place]
    }

    /// A face of a block, its corners counter-clockwise seen from outside.
    fn add_face(&mut self, corners: [Corner; 4]) {
        let [a, b, c, d] = corners.map(|corner| self.vertex(corner));
        self.mesh.triangles.extend([[a, b, c], [a, c, d]]);
    }

    fn add_column(&mut self, levels: &[usize], x: usize, y: usize) {
        let level = |x: usize, y: usize| {
            // Beyond the border wraps round to a number that no column has.
            if x < self.columns && y < self.rows { levels[y * self.columns + x] } else { 0 }
        };
        let (top, left, right) = (level(x, y), level(x.wrapping_sub(1), y), level(x + 1, y));
        let (behind, before) = (level(x, y.wrapping_sub(1)), level(x, y + 1));
        self.add_face([[x, y + 1, top], [x + 1, y + 1, top], [x + 1, y, top], [x, y, top]]);
        self.add_face([[x, y, 0], [x + 1, y, 0], [x + 1, y + 1, 0], [x, y + 1, 0]]);
        for z in right..top {
            self.add_face([[x + 1, y + 1, z], [x + 1, y, z], [x + 1, y, z + 1], [x + 1, y + 1, z + 1]]);
        }
        for z in left..top {
            self.add_face([[x, y, z], [x, y + 1, z], [x, y + 1, z + 1], [x, y, z + 1]]);
        }
        for z in behind..top {
            self.add_face([[x + 1, y, z], [x, y, z], [x, y, z + 1], [x + 1, y, z + 1]]);
        }
        for z in before..top {
            self.add_face([[x, y + 1, z], [x + 1, y + 1, z], [x + 1, y + 1, z + 1], [x, y + 1, z + 1]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mesh::tests::{fields, solidity};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_solid(field in fields()) {
            let mesh = solid(&field);
            solidity(&mesh)?;
            let highest = field.heights_mm().iter().copied().fold(0.0, f32::max);
            let sizes = [field.width_mm(), field.depth_mm(), f64::from(highest)];
            let [low, high] = mesh.bounds();
            prop_assert!((0..3).all(|axis| low[axis].abs() < 1e-9 && (high[axis] - sizes[axis]).abs() < 1e-3));
        }
    }
}
