//! Mesh files that clients send: STL and PLY, text and binary, and OBJ. The kind is told from the first bytes, counts are
//! checked against the file's length before room is made for them, and every corner must exist. Pure.

mod obj;
mod ply;
mod stl;

use super::Mesh;
use super::export::Format;

/// Most triangles of a mesh.
pub const MAX_TRIANGLES: usize = 1_000_000;
/// Most vertices of a mesh: those of as many triangles that share none.
pub const MAX_VERTICES: usize = 3 * MAX_TRIANGLES;

/// Why a file is no mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing at all.
    #[error("the mesh is empty; send an STL, OBJ or PLY file")]
    Empty,
    /// Something else.
    #[error("the mesh is of no known format; send an STL (text or binary), OBJ, or PLY (text or binary) file")]
    Unknown,
    /// More than can be taken.
    #[error("the mesh is too large; send at most {MAX_TRIANGLES} triangles and {MAX_VERTICES} vertices")]
    TooLarge,
    /// It claims to be a mesh and is not.
    #[error("the {format} file cannot be read: {what}")]
    Damaged {
        /// The format that it claims to be of.
        format: &'static str,
        /// What is wrong, and where.
        what: String,
    },
}

/// Reads a mesh of at least one triangle, its coordinates all finite.
///
/// # Errors
/// When it is none, or too large.
pub fn read(file: &[u8]) -> Result<(Mesh, Format), ReadError> {
    if file.is_empty() {
        return Err(ReadError::Empty);
    }
    if file.starts_with(b"ply\n") || file.starts_with(b"ply\r") {
        return Ok((ply::read(file)?, Format::Ply));
    }
    if stl::is_stl(file) {
        return Ok((stl::read(file)?, Format::Stl));
    }
    if obj::is_obj(file) {
        return Ok((obj::read(file)?, Format::Obj));
    }
    Err(ReadError::Unknown)
}

/// A mesh that grows while its file is read.
struct Builder {
    format: &'static str,
    mesh: Mesh,
}

impl Builder {
    fn new(format: &'static str) -> Self {
        Self { format, mesh: Mesh::default() }
    }

    fn damaged(&self, what: impl Into<String>) -> ReadError {
        ReadError::Damaged { format: self.format, what: what.into() }
    }

    fn vertex(&mut self, place: [f32; 3]) -> Result<u32, ReadError> {
        let number = self.mesh.vertices.len();
        if number >= MAX_VERTICES {
            return Err(ReadError::TooLarge);
        }
        if !place.iter().all(|coordinate| coordinate.is_finite()) {
            return Err(self.damaged(format!("vertex {} has a coordinate that is infinite or no number", number + 1)));
        }
        self.mesh.vertices.push(place);
        Ok(number as u32)
    }

    /// A polygon becomes a fan of triangles.
    fn face(&mut self, corners: &[u32]) -> Result<(), ReadError> {
        let &[first, ref others @ ..] = corners else { return Err(self.too_few()) };
        if others.len() < 2 {
            return Err(self.too_few());
        }
        if self.mesh.triangles.len() + others.len() > MAX_TRIANGLES + 1 {
            return Err(ReadError::TooLarge);
        }
        self.mesh.triangles.extend(others.windows(2).map(|pair| [first, pair[0], pair[1]]));
        Ok(())
    }

    fn too_few(&self) -> ReadError {
        self.damaged(format!("face {} has fewer than three corners", self.mesh.triangles.len() + 1))
    }

    /// The whole mesh.
    fn finish(self) -> Result<Mesh, ReadError> {
        let count = self.mesh.vertices.len();
        if self.mesh.triangles.is_empty() {
            return Err(self.damaged("it has no faces"));
        }
        match self.mesh.triangles.as_flattened().iter().find(|&&corner| corner as usize >= count) {
            Some(corner) => Err(self.damaged(format!("a face names vertex {corner}, counted from 0, of {count}"))),
            None => Ok(self.mesh),
        }
    }
}

/// A word as a coordinate.
fn coordinate(word: &[u8]) -> Option<f32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The words of a text.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mesh::tests::fields;
    use proptest::prelude::*;

    const TRIANGLE: [[f32; 3]; 3] = [[0.0; 3], [1.0, 0.0, 0.0], [0.0, 2.5, -1.0]];

    fn stl_binary(count: u32) -> Vec<u8> {
        let numbers = [[0.0; 3], TRIANGLE[0], TRIANGLE[1], TRIANGLE[2]];
        let numbers: Vec<u8> = numbers.as_flattened().iter().flat_map(|number| number.to_le_bytes()).collect();
        [&[7; 80][..], &count.to_le_bytes(), &numbers, &[0; 2]].concat()
    }

    fn ply_binary(big: bool) -> Vec<u8> {
        let order = if big { "big" } else { "little" };
        let header = format!(
            "ply\nformat binary_{order}_endian 1.0\ncomment c\nelement vertex 3\nproperty double x\nproperty uchar q\n\
             property float y\nproperty float z\nelement edge 1\nproperty list uchar short v\nelement face 1\n\
             property list uchar int vertex_indices\nend_header\n"
        );
        let mut file = header.into_bytes();
        let put = |file: &mut Vec<u8>, mut bytes: Vec<u8>| {
            if big {
                bytes.reverse();
            }
            file.extend(bytes);
        };
        for [x, y, z] in TRIANGLE {
            put(&mut file, f64::from(x).to_le_bytes().to_vec());
            file.push(9);
            put(&mut file, y.to_le_bytes().to_vec());
            put(&mut file, z.to_le_bytes().to_vec());
        }
        file.extend([2, 0, 0, 0, 0, 3]);
        (0..3_u32).for_each(|corner| put(&mut file, corner.to_le_bytes().to_vec()));
        file
    }

    const STL_TEXT: &str = "solid a b\nfacet normal 0 0 1\n outer loop\n  vertex 0 0 0\n  vertex 1 0 0\n  \
                            vertex 0 25e-1 -1\n endloop\nendfacet\nendsolid a b\n";
    const PLY_TEXT: &str = "ply\r\nformat ascii 1.0\r\nelement vertex 3\r\nproperty float x\r\nproperty float y\r\n\
                            property float z\r\nelement face 1\r\nproperty list uchar int vertex_index\r\nend_header\r\n\
                            0 0 0\r\n1 0 0\r\n0 2.5 -1\r\n3 0 1 2\r\n";

    #[test]
    fn every_kind_of_file_is_read() {
        let whole = Mesh { vertices: TRIANGLE.to_vec(), triangles: vec![[0, 1, 2]] };
        let check = |file: &[u8], format: Format| assert_eq!(read(file), Ok((whole.clone(), format)));
        check(&stl_binary(1), Format::Stl);
        check(STL_TEXT.as_bytes(), Format::Stl);
        check(PLY_TEXT.as_bytes(), Format::Ply);
        check(&ply_binary(false), Format::Ply);
        check(&ply_binary(true), Format::Ply);
        check(b"# c\r\nmtllib a\nv 0 0 0\nv 1 0 0 1.0\nvn 0 0 1\nv 0 2.5 -1\nf 1//1 2/1 3/1/1\n", Format::Obj);
        check(b"v 0 0 0\nv 1 0 0\nv 0 2.5 -1\nf -3 -2 -1", Format::Obj);
    }

    #[test]
    fn polygons_become_fans() {
        let (mesh, _) = read(b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n").unwrap();
        assert_eq!(mesh.triangles, [[0, 1, 2], [0, 2, 3]]);
    }

    #[test]
    fn what_is_no_mesh_is_named() {
        let check = |file: &[u8], part: &str| {
            let error = read(file).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(b"", "empty");
        check(b"\x89PNG\r\n", "no known format");
        check(b"hello", "no known format");
        check(&stl_binary(2), "184 bytes");
        check(&stl_binary(u32::MAX), "and there are 134");
        check(b"solid a\nendsolid", "no faces");
        check(b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0\nendloop", "vertex 1");
        check(b"solid a\nvertex 0 0 0\nvertex 1 0 0\nendloop", "three");
        check(b"v 0 0 0\nv 0 0 nan\nf 1 2 2", "infinite or no number");
        check(b"v 0 0 0\nf 1 2 3", "names vertex 1");
        check(b"v 0 0 0\nf 0 1 1", "line 2");
        check(b"v 0 0 0\nf 1 -2 1", "line 2");
        check(b"v 0 0\n", "line 1");
        check(b"v 0 0 0\nf 1 1\n", "three corners");
        check(b"ply\nformat ascii 1.0\n", "end_header");
        check(b"ply\nelement vertex 1\nend_header\n", "format");
        check(b"ply\nformat ascii 1.0\nelement vertex 4000000\nend_header\n", "too large");
        check(
            b"ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n3 0",
            "ends",
        );
        let whole = ply_binary(false);
        check(&whole[..whole.len() - 3], "ends");
    }

    proptest! {
        /// What we write reads back, corner for corner.
        #[test]
        fn what_is_written_reads_back(field in fields(), which in 0..3_usize) {
            let mesh = Mesh::solid(&field);
            let format = Format::ALL[which];
            let (found, told) = read(&format.encode(&mesh)).unwrap();
            let places = |mesh: &Mesh| -> Vec<[[f32; 3]; 3]> {
                mesh.triangles.iter().map(|triangle| triangle.map(|corner| mesh.vertices[corner as usize])).collect()
            };
            prop_assert_eq!(told, format);
            prop_assert!(places(&found) == places(&mesh));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, which in 0..4_usize, place in 0..400_usize, value: u8) {
            let _ = read(&bytes);
            let mut hurt = [stl_binary(1), STL_TEXT.into(), PLY_TEXT.into(), ply_binary(false)][which].clone();
            if let Some(byte) = hurt.get_mut(place) {
                *byte = value;
            }
            let _ = read(&hurt);
        }
    }
}
