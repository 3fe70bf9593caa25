//! Meshes as strangers make them: any set of triangles over any places is looked at and repaired to a closed surface.

// The exception that clippy makes for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use proofload_daemon::mesh::Mesh;
use proofload_daemon::mesh::analysis::Analysis;
use proofload_daemon::mesh::export::Format;
use proofload_daemon::mesh::quality::Quality;
use proofload_daemon::mesh::read::read;
use proofload_daemon::mesh::repair::{Stopped, repair};
use proptest::prelude::*;

/// Few vertices, so that triangles share edges in every way; places on a small grid, so that some coincide.
fn meshes() -> impl Strategy<Value = Mesh> {
    let places = proptest::collection::vec(proptest::array::uniform3(0..4_u8), 3..12);
    (places, proptest::collection::vec(proptest::array::uniform3(any::<prop::sample::Index>()), 1..40), any::<bool>())
        .prop_map(|(places, triangles, apart)| {
            let nudge = |at: usize| if apart { at as f32 / 7.0 } else { 0.0 };
            let place = |(at, place): (usize, [u8; 3])| place.map(|coordinate| f32::from(coordinate) + nudge(at));
            let vertices: Vec<_> = places.into_iter().enumerate().map(place).collect();
            let corner = |index: prop::sample::Index| index.index(vertices.len()) as u32;
            let triangles = triangles.into_iter().map(|triangle| triangle.map(corner)).collect();
            Mesh { vertices, triangles }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every edge of a repaired mesh has its other side, and what it was made of is all that it has places for.
    #[test]
    fn whatever_is_repaired_is_closed(mesh in meshes()) {
        let (repaired, _) = repair(mesh, &|| true).unwrap();
        prop_assert!(repaired.triangles.is_empty() || Quality::of(&repaired).watertight);
        prop_assert!(repaired.triangles.as_flattened().iter().all(|&at| (at as usize) < repaired.vertices.len()));
        prop_assert!(repaired.vertices.as_flattened().iter().all(|coordinate| coordinate.is_finite()));
    }

    /// What is a solid already keeps its triangles.
    #[test]
    fn a_solid_is_left_as_it_is(mesh in meshes()) {
        let (solid, _) = repair(mesh, &|| true).unwrap();
        let found = Analysis::of(&solid);
        if found.is_solid() && found.components == 1 && found.degenerate_faces == 0 && found.duplicate_vertices == 0 {
            let (again, done) = repair(solid.clone(), &|| true).unwrap();
            prop_assert_eq!(again.triangles.len(), solid.triangles.len(), "{:?}", done);
        }
    }
}

#[test]
fn a_repair_that_nobody_wants_is_given_up() {
    let (mesh, _) = read(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n").unwrap();
    assert_eq!(repair(mesh, &|| false).err(), Some(Stopped));
}

/// Three triangles are needles here, and two share their longest sides: the flip of one makes another of its
/// neighbour. A random mesh once ended the repair in a panic.
#[test]
fn needles_beside_needles_are_repaired() {
    let vertices = [[0, 0, 1], [1, 0, 3], [0, 0, 0], [1, 1, 2], [1, 2, 1], [0, 1, 0], [2, 0, 0], [0, 0, 0], [1, 3, 0]];
    let triangles = vec![[3, 4, 6], [4, 1, 8], [3, 4, 1], [4, 2, 3], [4, 3, 0], [1, 6, 8]];
    let vertices = vertices.map(|place| place.map(|coordinate| coordinate as f32)).to_vec();
    let (repaired, _) = repair(Mesh { vertices, triangles }, &|| true).unwrap();
    assert!(repaired.triangles.is_empty() || Quality::of(&repaired).watertight);
}

/// An octahedron, once damaged in each way.
#[test]
fn what_was_damaged_is_named() {
    let text = "v 1 0 0\nv -1 0 0\nv 0 1 0\nv 0 -1 0\nv 0 0 1\nv 0 0 -1\n";
    let faces = ["f 1 3 5", "f 3 2 5", "f 2 4 5", "f 4 1 5", "f 3 1 6", "f 2 3 6", "f 4 2 6", "f 1 4 6"];
    let check = |faces: &[&str], holds: fn(&proofload_daemon::mesh::repair::Done) -> bool| {
        let (mesh, format) = read([text, &faces.join("\n")].concat().as_bytes()).unwrap();
        assert_eq!(format, Format::Obj);
        let (repaired, done) = repair(mesh, &|| true).unwrap();
        let found = Analysis::of(&repaired);
        assert!(found.is_solid() && holds(&done), "{faces:?}: {done:?} {found:?}");
        assert!((found.volume.unwrap() - 4.0 / 3.0).abs() < 1e-6, "{faces:?}: {found:?}");
    };
    check(&faces, |done| *done == proofload_daemon::mesh::repair::Done::default());
    check(&faces[1..], |done| (done.holes_filled, done.faces_added) == (1, 1));
    check(&[&faces[1..], &["f 5 3 1"]].concat(), |done| done.faces_turned == 1);
    check(&[&faces[..], &["f 1 3 5"]].concat(), |done| done.faces_dropped == 1);
    check(&[&faces[..], &["f 1 3 4"]].concat(), |done| done.fins_dropped == 1);
    let inwards = ["f 1 5 3", "f 3 5 2", "f 2 5 4", "f 4 5 1", "f 3 6 1", "f 2 6 3", "f 4 6 2", "f 1 6 4"];
    check(&inwards, |done| done.faces_turned == 8);
}
