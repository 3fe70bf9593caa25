//! Wavefront OBJ: one line of text for each vertex and each triangle.

use crate::mesh::Mesh;

const HEADER: &[u8] = b"# written by proofload\no mesh\n";
/// Coordinates are written as multiples of this where they are some: the grid that reliefs lie on.
const STEPS: f64 = 10_000.0;
/// Up to here a single step is more than single precision can tell apart.
const MOST_STEPS: f64 = 1e9;
/// Room for a usual line of each kind.
const VERTEX_BYTES: usize = 28;
const FACE_BYTES: usize = 21;
/// Decimals behind the point: those of the grid that coordinates lie on.
const DECIMALS: usize = 4;

pub(super) fn encode(mesh: &Mesh) -> Vec<u8> {
    let room = HEADER.len() + VERTEX_BYTES * mesh.vertices.len() + FACE_BYTES * mesh.triangles.len();
    let mut file = Vec::with_capacity(room);
    file.extend_from_slice(HEADER);
    for vertex in &mesh.vertices {
        file.push(b'v');
        for &coordinate in vertex {
            file.push(b' ');
            write_coordinate(&mut file, coordinate);
        }
        file.push(b'\n');
    }
    for triangle in &mesh.triangles {
        file.push(b'f');
        for &corner in triangle {
            file.push(b' ');
            write_digits(&mut file, u64::from(corner) + 1, 1);
        }
        file.push(b'\n');
    }
    file
}

/// Exactly: what is read back is the same number.
fn write_coordinate(file: &mut Vec<u8>, coordinate: f32) {
    let steps = (f64::from(coordinate) * STEPS).round();
    let on_grid = ((steps / STEPS) as f32).to_bits() == coordinate.to_bits();
    if on_grid && (0.0..MOST_STEPS).contains(&steps) {
        write_steps(file, steps as u64);
    } else {
        file.extend_from_slice(coordinate.to_string().as_bytes());
    }
}

/// A multiple of the grid's step as decimal millimetres. The generic formatting of floating point would cost more
/// than the whole mesh.
fn write_steps(file: &mut Vec<u8>, steps: u64) {
    write_digits(file, steps, DECIMALS + 1);
    let point = file.len() - DECIMALS;
    file.insert(point, b'.');
}

/// A number with at least so many digits.
fn write_digits(file: &mut Vec<u8>, mut number: u64, least: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 || digits.len() - first < least {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    file.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mesh::tests::fields;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_in_full() {
        #[track_caller]
        fn check(steps: u64, expected: &str) {
            let mut file = Vec::new();
            write_steps(&mut file, steps);
            assert_eq!(String::from_utf8(file).unwrap(), expected);
        }
        check(0, "0.0000");
        check(1, "0.0001");
        check(12_345, "1.2345");
        check(5_000_000, "500.0000");
        check(u64::MAX, "1844674407370955.1615");
    }

    #[test]
    fn coordinates_are_written_exactly() {
        #[track_caller]
        fn check(coordinate: f32, expected: &str) {
            let mut file = Vec::new();
            write_coordinate(&mut file, coordinate);
            assert_eq!(String::from_utf8(file).unwrap(), expected);
        }
        check(1.5, "1.5000");
        check(-1.5, "-1.5");
        check(-0.0, "0.0000");
        check(0.000_012, "0.000012");
        check(3e9, "3000000000");
    }

    fn parse(file: &str) -> Mesh {
        let mut mesh = Mesh::default();
        for line in file.lines() {
            let mut words = line.split(' ');
            let kind = words.next();
            let mut three = || -> [&str; 3] { std::array::from_fn(|_| words.next().unwrap()) };
            match kind {
                Some("v") => mesh.vertices.push(three().map(|word| word.parse().unwrap())),
                Some("f") => mesh.triangles.push(three().map(|word| word.parse::<u32>().unwrap() - 1)),
                _ => {}
            }
        }
        mesh
    }

    proptest! {
        #[test]
        fn the_mesh_reads_back(field in fields()) {
            let mesh = Mesh::solid(&field);
            let file = String::from_utf8(encode(&mesh)).unwrap();
            prop_assert_eq!(parse(&file), mesh);
        }
    }
}
