//! Triangle meshes: what a mesh is, facts about one, the files that it is read from and written to, and repair. How
//! reliefs are made, and how files arrive, is not known here. Pure.

pub mod analysis;
pub mod export;
pub mod quality;
pub mod read;
pub mod repair;
mod topology;
mod vector;

/// A triangle mesh with shared vertices. A relief's is in millimetres: x to the right, y up the picture, z towards the
/// viewer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mesh {
    /// The corners.
    pub vertices: Vec<[f32; 3]>,
    /// Indices of three vertices each, counter-clockwise seen from outside.
    pub triangles: Vec<[u32; 3]>,
}

impl Mesh {
    /// Where a triangle's corners are.
    fn corners(&self, triangle: [u32; 3]) -> [[f64; 3]; 3] {
        triangle.map(|corner| self.vertices[corner as usize].map(f64::from))
    }

    /// The least and the greatest coordinate along each axis. Zeros without vertices.
    pub fn bounds(&self) -> [[f64; 3]; 2] {
        let mut places = self.vertices.iter().map(|vertex| vertex.map(f64::from));
        let Some(first) = places.next() else { return [[0.0; 3]; 2] };
        places.fold([first; 2], |[low, high], place| {
            let pick =
                |of: fn(f64, f64) -> f64, kept: [f64; 3]| std::array::from_fn(|axis| of(kept[axis], place[axis]));
            [pick(f64::min, low), pick(f64::max, high)]
        })
    }
}

/// The sides of an edge of a triangle, each from one corner to the next.
fn edges([a, b, c]: [u32; 3]) -> [(u32, u32); 3] {
    [(a, b), (b, c), (c, a)]
}
