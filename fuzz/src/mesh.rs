//! What holds for every mesh file, whatever its format.

use proofload_daemon::mesh::analysis::Analysis;
use proofload_daemon::mesh::quality::Quality;
use proofload_daemon::mesh::read::read;
use proofload_daemon::mesh::repair::repair;

use crate::memory::{Allowance, KIB};

/// A face of an OBJ file takes 8 bytes, the mesh and the words of its line more.
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 64 };
/// Larger meshes are read, and not looked at: that would only cost time.
const MOST_TRIANGLES: usize = 300;

/// Reads a file that begins like this, looks at the mesh and repairs it.
///
/// # Panics
/// When the mesh is not what a reader promises, or a repair leaves holes.
pub fn mesh(beginning: &[u8], rest: &[u8]) {
    let file = [beginning, rest].concat();
    let Ok((mesh, _)) = ALLOWANCE.hold(file.len(), || read(&file)) else { return };
    assert!(!mesh.triangles.is_empty() && mesh.vertices.as_flattened().iter().all(|coordinate| coordinate.is_finite()));
    assert!(mesh.triangles.as_flattened().iter().all(|&corner| (corner as usize) < mesh.vertices.len()));
    if mesh.triangles.len() <= MOST_TRIANGLES {
        let before = Analysis::of(&mesh);
        assert_eq!(before.triangles, mesh.triangles.len());
        if let Ok((repaired, _)) = repair(mesh, &|| true) {
            let closed = repaired.triangles.is_empty() || Quality::of(&repaired).watertight;
            assert!(closed, "a hole is left: {:?}", Analysis::of(&repaired));
        }
    }
}
