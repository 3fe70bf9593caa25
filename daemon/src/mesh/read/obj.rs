//! Wavefront OBJ: the lines `v` and `f`; everything else (normals, textures, groups, materials) is passed over.

use super::{Builder, ReadError, coordinate, words};
use crate::mesh::Mesh;

/// How a line of an OBJ file may begin.
const KEYWORDS: [&[u8]; 11] = [b"v", b"vn", b"vt", b"vp", b"f", b"o", b"g", b"s", b"l", b"mtllib", b"usemtl"];

/// Whether the first line that says something begins as one of an OBJ file.
pub(super) fn is_obj(file: &[u8]) -> bool {
    let mut lines = file.split(|&byte| byte == b'\n').map(|line| words(line).next());
    let first = lines.find_map(|word| word.filter(|word| !word.starts_with(b"#")));
    first.is_some_and(|word| KEYWORDS.contains(&word))
}

pub(super) fn read(file: &[u8]) -> Result<Mesh, ReadError> {
    let mut builder = Builder::new("OBJ");
    let mut corners = Vec::new();
    for (number, line) in (1..).zip(file.split(|&byte| byte == b'\n')) {
        let mut words = words(line);
        match words.next() {
            Some(b"v") => {
                let mut next = || words.next().and_then(coordinate);
                let (Some(x), Some(y), Some(z)) = (next(), next(), next()) else {
                    return Err(builder.damaged(format!("line {number}: a vertex must have three numbers")));
                };
                builder.vertex([x, y, z])?;
            }
            Some(b"f") => {
                corners.clear();
                for word in words {
                    corners.push(corner(word, &builder, number)?);
                }
                builder.face(&corners)?;
            }
            _ => {}
        }
    }
    builder.finish()
}

/// The vertex in front of the first slash: counted from 1, or backwards from the last that was read.
fn corner(word: &[u8], builder: &Builder, line: usize) -> Result<u32, ReadError> {
    let name = word.split(|&byte| byte == b'/').next().unwrap_or_default();
    let number: Option<i64> = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    let read = builder.mesh.vertices.len() as i64;
    let place = match number {
        Some(number) if number > 0 => Some(number - 1),
        Some(number) if number < 0 => read.checked_add(number),
        _ => None,
    };
    place.and_then(|place| u32::try_from(place).ok()).ok_or_else(|| {
        let text = String::from_utf8_lossy(word);
        builder.damaged(format!("line {line}: '{}' names no vertex, of {read} so far", text.escape_debug()))
    })
}
