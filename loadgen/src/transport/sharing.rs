//! Which slots share connections: neighbours by number. What a group shares lives as long as any of its slots, so that
//! connections close when all that sent over them were let go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::link::SharedLinks;

/// See the module.
#[derive(Debug, Default)]
pub struct Sharing {
    groups: Mutex<Groups>,
}

#[derive(Debug, Default)]
struct Groups {
    by_number: HashMap<u32, Weak<SharedLinks>>,
    /// How many came to life, again or for the first time.
    formed: u64,
}

impl Sharing {
    /// What the slots of this group share.
    pub fn join(&self, group: u32) -> Arc<SharedLinks> {
        let mut groups = self.lock();
        if let Some(shared) = groups.by_number.get(&group).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::<SharedLinks>::default();
        groups.by_number.insert(group, Arc::downgrade(&shared));
        groups.formed += 1;
        shared
    }

    /// How many groups have slots, and how many have lost theirs.
    pub fn open_and_closed(&self) -> (u32, u64) {
        let groups = self.lock();
        let open = groups.by_number.values().filter(|shared| shared.strong_count() > 0).count();
        (u32::try_from(open).unwrap_or(u32::MAX), groups.formed - open as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_as_long_as_its_slots() {
        let sharing = Sharing::default();
        let (first, second, other) = (sharing.join(0), sharing.join(0), sharing.join(7));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        assert_eq!(sharing.open_and_closed(), (2, 0));
        drop(first);
        assert_eq!(sharing.open_and_closed(), (2, 0));
        drop(second);
        assert_eq!(sharing.open_and_closed(), (1, 1));
        let again = sharing.join(0);
        assert_eq!(sharing.open_and_closed(), (2, 1));
        drop((again, other));
        assert_eq!(sharing.open_and_closed(), (0, 3));
    }
}
