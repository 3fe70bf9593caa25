//! One budget for the bytes of all request bodies that the daemon holds, from the door to the end of the execution:
//! however many clients send how much, memory stays within it. Counting only; reading is the fronts' affair.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The budget.
#[derive(Debug)]
pub struct Bodies {
    held: AtomicUsize,
    total: usize,
}

/// There is no room for a body now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room for {wanted_bytes} bytes of body now: the requests that are being served hold {held_bytes} of the \
     {total_bytes} bytes in `server.total_body_bytes`; try again later, or raise it"
)]
pub struct NoRoom {
    /// How much was asked for.
    pub wanted_bytes: usize,
    /// How much others hold.
    pub held_bytes: usize,
    /// How much all may hold.
    pub total_bytes: usize,
}

impl Bodies {
    /// A budget of so many bytes, all free.
    pub fn new(total_bytes: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), total: total_bytes })
    }

    /// Bytes that are held.
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// A share of so many bytes, or nothing at all.
    ///
    /// # Errors
    /// When so many are not free.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, NoRoom> {
        self.add(bytes)?;
        Ok(Share { bodies: Arc::clone(self), bytes })
    }

    fn add(&self, bytes: usize) -> Result<(), NoRoom> {
        let grown = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.total);
        let added = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown);
        added.map(drop).map_err(|held_bytes| NoRoom { wanted_bytes: bytes, held_bytes, total_bytes: self.total })
    }
}

/// A part of the budget. It is free again when this is dropped.
#[derive(Debug)]
pub struct Share {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Share {
    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it as large as what it stands for has turned out to be.
    ///
    /// # Errors
    /// When it would grow by more than is free. It keeps its size then.
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.bodies.add(more)?,
            None => self.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The same bytes, which now keep this share for as long as any part of them is in memory.
    pub fn pin(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Pinned { bytes, _share: Arc::clone(self) })
    }

    fn give_back(&self, bytes: usize) {
        self.bodies.held.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Pinned {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_lives_as_long_as_any_part_of_the_bytes() {
        let bodies = Bodies::new(100);
        let share = Arc::new(bodies.take(60).unwrap());
        let body = share.pin(Bytes::from_static(b"abcdef"));
        let slice = body.slice(2..4);
        drop((share, body));
        assert_eq!((&slice[..], bodies.held_bytes()), (&b"cd"[..], 60));
        let refused = NoRoom { wanted_bytes: 41, held_bytes: 60, total_bytes: 100 };
        assert_eq!(bodies.take(41).err(), Some(refused));
        drop(slice);
        assert_eq!(bodies.held_bytes(), 0);
    }

    proptest! {
        /// Whatever is taken, resized and dropped: what is held is the sum of the shares, and never above the budget.
        #[test]
        fn what_is_held_is_the_sum_of_the_shares(steps in proptest::collection::vec((0..3_u8, 0..70_usize), 0..60)) {
            let bodies = Bodies::new(100);
            let mut shares: Vec<Share> = Vec::new();
            for (what, bytes) in steps {
                match (what, shares.last_mut()) {
                    (0, _) | (_, None) => shares.extend(bodies.take(bytes).ok()),
                    (1, Some(share)) => drop(share.resize(bytes)),
                    _ => drop(shares.swap_remove(bytes % shares.len())),
                }
                prop_assert_eq!(bodies.held_bytes(), shares.iter().map(Share::bytes).sum::<usize>());
                prop_assert!(bodies.held_bytes() <= 100);
            }
        }
    }
}
