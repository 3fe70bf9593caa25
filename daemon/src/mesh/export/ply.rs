//! Binary little-endian PLY: vertices as three floats, triangles as a count and three indices.

use crate::mesh::Mesh;

const VERTEX_BYTES: usize = 12;
const FACE_BYTES: usize = 13;

pub(super) fn encode(mesh: &Mesh) -> Vec<u8> {
    let header = header(mesh.vertices.len(), mesh.triangles.len());
    let body = VERTEX_BYTES * mesh.vertices.len() + FACE_BYTES * mesh.triangles.len();
    let mut file = Vec::with_capacity(header.len() + body);
    file.extend_from_slice(header.as_bytes());
    for coordinate in mesh.vertices.as_flattened() {
        file.extend_from_slice(&coordinate.to_le_bytes());
    }
    for &[a, b, c] in &mesh.triangles {
        let mut face = [3; FACE_BYTES];
        for (bytes, corner) in face[1..].chunks_exact_mut(4).zip([a, b, c]) {
            bytes.copy_from_slice(&corner.to_le_bytes());
        }
        file.extend_from_slice(&face);
    }
    file
}

/// What stands before the vertices.
pub(super) fn header(vertices: usize, triangles: usize) -> String {
    format!(
        "ply\nformat binary_little_endian 1.0\ncomment written by proofload\nelement vertex {vertices}\n\
         property float x\nproperty float y\nproperty float z\nelement face {triangles}\n\
         property list uchar int vertex_indices\nend_header\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mesh::tests::fields;
    use proptest::prelude::*;

    fn count(header: &str, element: &str) -> usize {
        let line = header.lines().find(|line| line.starts_with(element)).unwrap();
        line[element.len()..].trim().parse().unwrap()
    }

    fn word(bytes: &[u8]) -> [u8; 4] {
        bytes.try_into().unwrap()
    }

    fn parse(file: &[u8]) -> Mesh {
        let end = b"end_header\n";
        let body = file.windows(end.len()).position(|window| window == end).unwrap() + end.len();
        let header = std::str::from_utf8(&file[..body]).unwrap();
        let (vertices, faces) = file[body..].split_at(VERTEX_BYTES * count(header, "element vertex"));
        assert_eq!(faces.len(), FACE_BYTES * count(header, "element face"));
        let three = |bytes: &[u8]| -> [[u8; 4]; 3] { std::array::from_fn(|at| word(&bytes[4 * at..4 * at + 4])) };
        Mesh {
            vertices: vertices.chunks_exact(VERTEX_BYTES).map(|bytes| three(bytes).map(f32::from_le_bytes)).collect(),
            triangles: faces
                .chunks_exact(FACE_BYTES)
                .inspect(|face| assert_eq!(face[0], 3))
                .map(|face| three(&face[1..]).map(u32::from_le_bytes))
                .collect(),
        }
    }

    proptest! {
        #[test]
        fn the_mesh_reads_back(field in fields()) {
            let mesh = Mesh::solid(&field);
            prop_assert_eq!(parse(&encode(&mesh)), mesh);
        }
    }
}
