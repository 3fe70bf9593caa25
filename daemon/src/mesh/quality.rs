//! What somebody who prints a mesh wants to know, in one pass over its triangles. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::vector::{length, minus, normal, six_volumes};
use super::{Mesh, edges};

/// Surfaces that lean over by more than 45° need support when they are printed: the usual rule of slicers.
const OVERHANG_COSINE: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// What is lower than this over the lowest point lies on the printing plate, in millimetres.
const ON_THE_PLATE_MM: f64 = 1e-3;

/// Facts about a mesh in millimetres that stands on its lowest point, z up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Quality {
    /// Extent along x, y and z.
    pub size_mm: [f64; 3],
    /// Volume of the solid.
    pub volume_mm3: f64,
    /// Area of the surface.
    pub area_mm2: f64,
    /// Share of the surface's area that hangs over by more than 45° and does not lie on the plate, 0 to 1.
    pub overhang_share: f64,
    /// Number of triangles.
    pub triangles: usize,
    /// Number of vertices.
    pub vertices: usize,
    /// Whether every edge of every triangle is another triangle's in the opposite direction: the surface is closed and
    /// its triangles turn alike. Compared by 64-bit sums over all edges, which a chance of about 2⁻⁶⁴ would deceive.
    pub watertight: bool,
}

impl Quality {
    /// Looks at a mesh.
    pub fn of(mesh: &Mesh) -> Self {
        let [low, high] = mesh.bounds();
        let (mut six, mut area, mut hanging, mut open) = (0.0, 0.0, 0.0, 0_u64);
        for &triangle in &mesh.triangles {
            let corners = mesh.corners(triangle);
            let normal = normal(corners);
            let twice = length(normal);
            six += six_volumes(corners);
            area += twice / 2.0;
            let lies = corners.iter().all(|corner| corner[2] < low[2] + ON_THE_PLATE_MM);
            if !lies && normal[2] < -OVERHANG_COSINE * twice {
                hanging += twice / 2.0;
            }
            open = edges(triangle).into_iter().map(signed).fold(open, u64::wrapping_add);
        }
        Self {
            size_mm: std::array::from_fn(|axis| high[axis] - low[axis]),
            volume_mm3: six / 6.0,
            area_mm2: area,
            overhang_share: if area > 0.0 { hanging / area } else { 0.0 },
            triangles: mesh.triangles.len(),
            vertices: mesh.vertices.len(),
            watertight: open == 0 && !mesh.triangles.is_empty(),
        }
    }
}

/// Twice the area of a triangle without area, as a share of its longest side squared: what single precision leaves of
/// corners that lie on a line.
const FLAT_SHARE: f64 = 1e-7;

/// Whether a triangle has no area to speak of.
pub(super) fn is_degenerate(mesh: &Mesh, triangle: [u32; 3]) -> bool {
    let corners @ [a, b, c] = mesh.corners(triangle);
    let longest = [minus(b, a), minus(c, b), minus(a, c)].map(length).into_iter().fold(0.0, f64::max);
    length(normal(corners)) <= FLAT_SHARE * longest * longest
}

/// An edge as a number that is the opposite one for the opposite direction.
fn signed((from, to): (u32, u32)) -> u64 {
    let name = |low: u32, high: u32| scattered(u64::from(high) << 32 | u64::from(low));
    if from < to { name(from, to) } else { name(to, from).wrapping_neg() }
}

/// `SplitMix64`'s finaliser (Steele, Lea and Flood 2014): a bijection whose values look random.
fn scattered(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tetrahedron() -> Mesh {
        Mesh {
            vertices: vec![[0.0; 3], [6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]],
            triangles: vec![[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]],
        }
    }

    #[test]
    fn facts_of_a_tetrahedron() {
        let found = Quality::of(&tetrahedron());
        assert_eq!((found.size_mm, found.triangles, found.vertices), ([6.0; 3], 4, 4));
        assert!((found.volume_mm3 - 36.0).abs() < 1e-9 && found.overhang_share.abs() < 1e-9 && found.watertight);
        assert!((found.area_mm2 - (3.0 * 18.0 + 18.0 * 3.0_f64.sqrt())).abs() < 1e-9);
    }

    #[test]
    fn what_hangs_over_is_found() {
        let mut mesh = tetrahedron();
        mesh.vertices.iter_mut().for_each(|vertex| vertex[2] = 6.0 - vertex[2]);
        mesh.triangles.iter_mut().for_each(|triangle| triangle.swap(0, 1));
        let found = Quality::of(&mesh);
        // Upside down it stands on its tip; the slanted side leans over by 35.3°, and by 54.7° when it is half as high.
        assert!(found.overhang_share.abs() < 1e-9 && (found.volume_mm3 - 36.0).abs() < 1e-9);
        mesh.vertices.iter_mut().for_each(|vertex| vertex[2] *= 0.5);
        let flat = Quality::of(&mesh);
        assert!(flat.overhang_share > 0.3, "{flat:?}");
    }

    proptest! {
        /// A closed surface is no longer one when a triangle is missing, there twice, or turned.
        #[test]
        fn damage_shows(which in 0..4_usize, how in 0..3_u8) {
            let mut mesh = tetrahedron();
            let triangle = mesh.triangles[which];
            match how {
                0 => drop(mesh.triangles.remove(which)),
                1 => mesh.triangles.push(triangle),
                _ => mesh.triangles[which].swap(0, 1),
            }
            prop_assert!(!Quality::of(&mesh).watertight);
        }
    }
}
