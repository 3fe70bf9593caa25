//! STL: 50 bytes a triangle behind a header of 84, or text. Each triangle has corners of its own. Normals are not read:
//! the order of the corners says the same.

use super::{Builder, MAX_TRIANGLES, ReadError, coordinate, words};
use crate::mesh::Mesh;

const HEADER_BYTES: usize = 84;
const TRIANGLE_BYTES: usize = 50;
const NORMAL_BYTES: usize = 12;

/// Whether a file is worth reading as STL: text begins with `solid`, anything else that is no text may be binary.
pub(super) fn is_stl(file: &[u8]) -> bool {
    is_text(file) || file.len() >= HEADER_BYTES && file[..HEADER_BYTES].iter().any(|byte| !is_printable(*byte))
}

fn is_text(file: &[u8]) -> bool {
    file.trim_ascii_start().starts_with(b"solid") && binary_bytes(file) != Some(file.len())
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace() || byte >= 0x80
}

/// How long a binary file with this header is.
fn binary_bytes(file: &[u8]) -> Option<usize> {
    let count = file.get(80..HEADER_BYTES)?.first_chunk::<4>()?;
    (u32::from_le_bytes(*count) as usize).checked_mul(TRIANGLE_BYTES)?.checked_add(HEADER_BYTES)
}

pub(super) fn read(file: &[u8]) -> Result<Mesh, ReadError> {
    if is_text(file) { read_text(file) } else { read_binary(file) }
}

fn read_binary(file: &[u8]) -> Result<Mesh, ReadError> {
    let mut builder = Builder::new("binary STL");
    let wanted = binary_bytes(file).ok_or_else(|| builder.damaged("its header is cut off"))?;
    let Some(records) = file.get(HEADER_BYTES..wanted) else {
        let found = file.len();
        return Err(builder.damaged(format!("by its header it has {wanted} bytes, and there are {found}")));
    };
    if records.len() > TRIANGLE_BYTES * MAX_TRIANGLES {
        return Err(ReadError::TooLarge);
    }
    for record in records.chunks_exact(TRIANGLE_BYTES) {
        let (numbers, _) = record[NORMAL_BYTES..].as_chunks::<4>();
        let mut corners = [0; 3];
        for (corner, place) in corners.iter_mut().zip(numbers.chunks_exact(3)) {
            *corner = builder.vertex([place[0], place[1], place[2]].map(f32::from_le_bytes))?;
        }
        builder.face(&corners)?;
    }
    builder.finish()
}

fn read_text(file: &[u8]) -> Result<Mesh, ReadError> {
    let mut builder = Builder::new("text STL");
    let mut corners = Vec::new();
    let mut words = words(file);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"vertex") {
            let mut next = || words.next().and_then(coordinate);
            let (Some(x), Some(y), Some(z)) = (next(), next(), next()) else {
                let number = builder.mesh.vertices.len() + 1;
                return Err(builder.damaged(format!("vertex {number} must have three numbers")));
            };
            corners.push(builder.vertex([x, y, z])?);
        } else if word.eq_ignore_ascii_case(b"endloop") {
            let &[a, b, c] = corners.as_slice() else {
                let (number, found) = (builder.mesh.triangles.len() + 1, corners.len());
                return Err(builder.damaged(format!("facet {number} must have three vertices, not {found}")));
            };
            builder.face(&[a, b, c])?;
            corners.clear();
        }
    }
    builder.finish()
}
