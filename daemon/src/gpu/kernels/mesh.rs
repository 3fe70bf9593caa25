//! Heights to the bytes of a mesh: the CPU's way is `relief::mesh` and `mesh::export`. The kernels write what lies behind
//! a file's header, which is the host's affair: [`Solid`] says how much that is.

use super::{GeometryError, Launch, Source, blocks, elements, halves};

/// Bytes of a triangle in binary STL.
const STL_BYTES: usize = 50;
/// Bytes of a vertex in PLY.
const VERTEX_BYTES: usize = 12;
/// Bytes of a triangle in PLY.
const FACE_BYTES: usize = 13;

/// The solid under a height field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solid {
    /// Samples in a row, at least two.
    pub columns: usize,
    /// Rows, at least two.
    pub rows: usize,
    /// Size along a row, in millimetres.
    pub width_mm: f64,
    /// Size across the rows, in millimetres.
    pub depth_mm: f64,
}

impl Solid {
    fn rim(&self) -> usize {
        2 * (self.columns - 1) + 2 * (self.rows - 1)
    }

    /// How many vertices it has.
    pub fn vertices(&self) -> usize {
        self.columns * self.rows + self.rim() + 1
    }

    /// How many triangles it has.
    pub fn triangles(&self) -> usize {
        2 * (self.columns - 1) * (self.rows - 1) + 3 * self.rim()
    }

    /// Bytes of its records in binary STL.
    pub fn stl_bytes(&self) -> usize {
        STL_BYTES * self.triangles()
    }

    /// Bytes of its vertices and of its faces in PLY.
    pub fn ply_bytes(&self) -> [usize; 2] {
        [VERTEX_BYTES * self.vertices(), FACE_BYTES * self.triangles()]
    }

    fn launch(&self, label: &str, work: fn(&Self) -> usize) -> Result<Launch, GeometryError> {
        if self.columns < 2 || self.rows < 2 {
            return Err(GeometryError::Shape("a surface has two samples each way"));
        }
        // More than any file has: two triangles a sample and three a sample of the rim, of 50 bytes.
        elements("the mesh's file", &[400, self.columns, self.rows])?;
        let mut words = vec![self.columns as u32, self.rows as u32];
        words.extend([self.width_mm, self.depth_mm].map(halves).as_flattened());
        Ok(Launch::new(Source::Mesh, format!("mesh_{label}"), blocks(work(self) as u32, 1), words))
    }
}

pub(super) fn names() -> Vec<String> {
    ["stl", "vertices", "faces"].map(|label| format!("mesh_{label}")).to_vec()
}

/// The records of binary STL: what lies behind its header and its count. Pointers: heights (single precision,
/// millimetres), records.
///
/// # Errors
/// When a side has fewer than two samples, or there are too many.
pub fn stl(solid: &Solid) -> Result<Launch, GeometryError> {
    solid.launch("stl", Solid::triangles)
}

/// The vertices of PLY. Pointers: heights, vertices.
///
/// # Errors
/// When a side has fewer than two samples, or there are too many.
pub fn vertices(solid: &Solid) -> Result<Launch, GeometryError> {
    solid.launch("vertices", Solid::vertices)
}

/// The faces of PLY, which follow its vertices. Pointers: heights, faces.
///
/// # Errors
/// When a side has fewer than two samples, or there are too many.
pub fn faces(solid: &Solid) -> Result<Launch, GeometryError> {
    solid.launch("faces", Solid::triangles)
}
