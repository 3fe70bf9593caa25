//! What requests carry: bodies encoded once before the run, and the few bytes that make each one unlike every
//! other, so that a cache cannot turn a capacity test into a hit test.

mod capture;
mod completion;
mod entry;
mod picture;
mod prepare;
mod tensor;
mod text;

pub use capture::{Capture, capture, is_pointer};
pub use entry::{Entry, Holes, Prepared};
pub use picture::PictureKind;
pub use prepare::{PrepareError, prepare};
pub use tensor::{random_tensor, zero_tensor};
pub use text::{Escape, Text, TextError, Values};

use bytes::Bytes;

use crate::transport::Segments;

/// One body of an entry.
#[derive(Debug, Clone)]
pub enum Payload {
    /// Sent as it is.
    Fixed(Bytes),
    /// Sent with a few bytes of its own in the middle.
    Unique(Template),
}

/// A body with a hole that each request fills differently.
#[derive(Debug, Clone)]
pub struct Template {
    before: Bytes,
    after: Bytes,
    hole: Hole,
}

/// What fills a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    /// A chunk or segment of a picture file that leaves its pixels alone.
    Picture(PictureKind),
    /// The first elements of a tensor.
    Tensor(tensor::Patch),
}

impl Payload {
    /// The body of one request. Only the hole is built anew; the rest is shared.
    pub fn body(&self, unique: u64) -> Segments {
        match self {
            Self::Fixed(bytes) => Segments::whole(bytes.clone()),
            Self::Unique(template) => {
                let middle = match template.hole {
                    Hole::Picture(kind) => kind.mark(unique),
                    Hole::Tensor(patch) => patch.fill(unique),
                };
                Segments::spliced(template.before.clone(), middle, template.after.clone())
            }
        }
    }
}
