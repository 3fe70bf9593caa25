//! Meshes as files: binary STL, OBJ and binary PLY. All three say the same coordinates to the last bit. Pure.

mod obj;
mod ply;
mod stl;

use crate::mesh::Mesh;

/// A file format for meshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Binary STL: triangles on their own, the largest file, read by everything.
    Stl,
    /// Wavefront OBJ: text.
    Obj,
    /// Binary little-endian PLY: the smallest file.
    Ply,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stl, Self::Obj, Self::Ply];

    /// The format with this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension().eq_ignore_ascii_case(name))
    }

    /// Its name, and the extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Stl => "stl",
            Self::Obj => "obj",
            Self::Ply => "ply",
        }
    }

    /// Its media type: registered for STL and OBJ, customary for PLY.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Stl => "model/stl",
            Self::Obj => "model/obj",
            Self::Ply => "application/ply",
        }
    }

    /// What stands in a binary file before its vertices and triangles, for whoever writes these elsewhere. `None` for text.
    pub fn header(self, vertices: usize, triangles: usize) -> Option<Vec<u8>> {
        match self {
            Self::Stl => Some(stl::header(triangles)),
            Self::Obj => None,
            Self::Ply => Some(ply::header(vertices, triangles).into_bytes()),
        }
    }

    /// A mesh as a file of this format.
    pub fn encode(self, mesh: &Mesh) -> Vec<u8> {
        match self {
            Self::Stl => stl::encode(mesh),
            Self::Obj => obj::encode(mesh),
            Self::Ply => ply::encode(mesh),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for (name, expected) in [
            ("stl", Some(Format::Stl)),
            ("OBJ", Some(Format::Obj)),
            ("Ply", Some(Format::Ply)),
            ("", None),
            ("stl ", None),
        ] {
            assert_eq!(Format::parse(name), expected, "{name}");
        }
    }
}
