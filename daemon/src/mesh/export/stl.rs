//! Binary STL: 80 bytes of header, a count, and 50 bytes for each triangle.

use crate::mesh::Mesh;

/// Must not begin as a text file does.
const HEADER: &[u8; 80] = b"written by proofload                                                            ";
const TRIANGLE_BYTES: usize = 50;

pub(super) fn encode(mesh: &Mesh) -> Vec<u8> {
    let mut file = header(mesh.triangles.len());
    file.reserve_exact(TRIANGLE_BYTES * mesh.triangles.len());
    for triangle in &mesh.triangles {
        file.extend_from_slice(&record(triangle.map(|corner| mesh.vertices[corner as usize])));
    }
    file
}

/// What stands before the triangles.
pub(super) fn header(triangles: usize) -> Vec<u8> {
    [&HEADER[..], &(triangles as u32).to_le_bytes()].concat()
}

/// Normal, three corners, and two bytes that mean nothing.
fn record(corners: [[f32; 3]; 3]) -> [u8; TRIANGLE_BYTES] {
    let mut record = [0; TRIANGLE_BYTES];
    let [a, b, c] = corners;
    let numbers = [normal(corners), a, b, c];
    for (bytes, number) in record.chunks_exact_mut(4).zip(numbers.as_flattened()) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    record
}

fn normal([a, b, c]: [[f32; 3]; 3]) -> [f32; 3] {
    let [u, v] = [b, c].map(|corner| [corner[0] - a[0], corner[1] - a[1], corner[2] - a[2]]);
    let n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    let length = (n[0] * n[0] + n[1] * n[1] + n[2] * n[2]).sqrt();
    n.map(|component| component / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mesh::tests::fields;
    use proptest::prelude::*;

    fn number(bytes: &[u8]) -> f32 {
        f32::from_le_bytes(bytes.try_into().unwrap())
    }

    proptest! {
        #[test]
        fn the_triangles_read_back(field in fields()) {
            let mesh = Mesh::solid(&field);
            let file = encode(&mesh);
            prop_assert_eq!(file.len(), 84 + 50 * mesh.triangles.len());
            prop_assert!(!file.starts_with(b"solid"), "that would announce a text file");
            prop_assert_eq!(u32::from_le_bytes(file[80..84].try_into().unwrap()) as usize, mesh.triangles.len());
            for (record, triangle) in file[84..].chunks_exact(50).zip(&mesh.triangles) {
                let numbers: Vec<f32> = record[..48].chunks_exact(4).map(number).collect();
                let corners: Vec<f32> = triangle.iter().flat_map(|&corner| mesh.vertices[corner as usize]).collect();
                prop_assert_eq!(&numbers[3..], corners.as_slice());
                let length: f32 = numbers[..3].iter().map(|component| component * component).sum();
                prop_assert!((length - 1.0).abs() < 1e-3, "normal of length {}", length);
            }
        }
    }
}
