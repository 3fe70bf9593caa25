//! What the fuzz targets share: how much memory a parser may ask for, and a folder for parsers that read files. The
//! invariants are in the targets.

mod memory;
mod mesh;
mod scratch;

pub use memory::{Allowance, KIB, MIB};
pub use mesh::mesh;
pub use scratch::Scratch;
