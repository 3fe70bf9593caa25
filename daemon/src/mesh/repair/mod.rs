//! Makes a solid of a damaged mesh: welds what belongs together, drops what is no surface, parts what only touches, turns
//! all triangles alike and outwards, and closes every hole. What was done is counted. It works on edges and corners: of
//! surfaces that run through one another it knows nothing, and an opening that was meant is closed as any hole. Pure.

pub(super) mod clean;
mod fill;
mod orient;
mod patch;
mod sheets;
mod turn;

use schemars::JsonSchema;
use serde::Serialize;

use super::Mesh;
use super::analysis::Analysis;

/// A repair may uncover what the next round mends. Most meshes need one; of random triangles over few places one in about
/// 17,000 needs more than four.
const ROUNDS: usize = 16;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "MeshRepairs")]
pub struct Done {
    /// Vertices that became one with another.
    pub vertices_welded: usize,
    /// Triangles without area or with the corners of another, dropped.
    pub faces_dropped: usize,
    /// Needles whose neighbour was cut in two instead.
    pub needles_flipped: usize,
    /// Triangles of fins and inner walls, dropped: at an edge, a surface has two sides and no third.
    pub fins_dropped: usize,
    /// Triangles of small scraps that hung together with nothing, dropped.
    pub scraps_dropped: usize,
    /// Vertices given to a surface of its own, where two only touched. They move apart by a hundred-thousandth of the
    /// mesh's diagonal, so that files which do not say what is shared keep them apart.
    pub vertices_split: usize,
    /// Triangles turned round.
    pub faces_turned: usize,
    /// Holes closed.
    pub holes_filled: usize,
    /// Triangles that close them.
    pub faces_added: usize,
}

/// Nobody waits for the result any more, or it has taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Asked now and then while the work lasts: whether it is still wanted.
pub type Wanted<'a> = &'a dyn Fn() -> bool;

/// Repairs a mesh.
///
/// # Errors
/// When it is not wanted any more.
pub fn repair(mut mesh: Mesh, wanted: Wanted<'_>) -> Result<(Mesh, Done), Stopped> {
    let mut done = Done::default();
    clean::weld(&mut mesh, &mut done);
    still(wanted)?;
    clean::weld_seams(&mut mesh, &mut done);
    for _ in 0..ROUNDS {
        round(&mut mesh, &mut done, wanted)?;
        if Analysis::of(&mesh).is_solid() {
            break;
        }
        still(wanted)?;
    }
    Ok((mesh, done))
}

fn round(mesh: &mut Mesh, done: &mut Done, wanted: Wanted<'_>) -> Result<(), Stopped> {
    clean::drop_faces(mesh, done);
    clean::flip_needles(mesh, done);
    still(wanted)?;
    sheets::drop_fins(mesh, done);
    sheets::drop_scraps(mesh, done);
    still(wanted)?;
    orient::orient(mesh, done);
    still(wanted)?;
    fill::fill(mesh, done, wanted)?;
    turn::outwards(mesh, done);
    clean::drop_unused(mesh);
    still(wanted)
}

fn still(wanted: Wanted<'_>) -> Result<(), Stopped> {
    if wanted() { Ok(()) } else { Err(Stopped) }
}
