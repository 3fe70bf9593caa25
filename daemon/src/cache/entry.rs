//! An answer as it is kept: encoded, so that giving it again costs a copy at most. What its bytes mean is the affair of
//! the form that wrote them. Pure.

use bytes::Bytes;

/// What keeping an entry costs beside its bytes: its key, its place in the table, and what its popularity is told from.
const OVERHEAD_BYTES: usize = 512;

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the form needs to know beside the body.
    pub about: Bytes,
    /// The body.
    pub body: Bytes,
    /// What computing it took, in nanoseconds: what giving it again saves.
    pub computed_ns: u64,
}

impl Entry {
    /// An entry that keeps no more memory than it says.
    pub fn new(about: Vec<u8>, body: Vec<u8>, computed_ns: u64) -> Self {
        let exact = |bytes: Vec<u8>| Bytes::from(bytes.into_boxed_slice());
        Self { about: exact(about), body: exact(body), computed_ns }
    }

    /// The memory that it takes.
    pub fn held_bytes(&self) -> usize {
        self.about.len() + self.body.len() + OVERHEAD_BYTES
    }
}
