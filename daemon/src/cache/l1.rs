//! The first layer: entries in this process, within a budget of bytes. What goes when there is no room is what is asked
//! for least (moka's `TinyLFU`), so that a flood of requests that never come again does not push out what is popular.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::entry::Entry;
use super::key::Key;

/// The layer.
pub struct L1 {
    entries: Cache<Key, Entry>,
    max_bytes: u64,
    evictions: Arc<AtomicU64>,
}

/// What it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Entries.
    pub entries: u64,
    /// Their memory.
    pub bytes: u64,
}

impl L1 {
    /// A layer of at most so many bytes, in which an entry lives for `ttl` at most.
    pub fn new(max_bytes: u64, ttl: Duration) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&evictions);
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, entry: &Entry| u32::try_from(entry.held_bytes()).unwrap_or(u32::MAX))
            .time_to_live(ttl)
            .eviction_listener(move |_, _, cause| {
                if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self { entries, max_bytes, evictions }
    }

    /// An entry, if there is one.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key)
    }

    /// Keeps an entry, if it is worth its place.
    pub fn put(&self, key: Key, entry: Entry) {
        self.entries.insert(key, entry);
        // At once and not when there is time for it: what is over the budget must go before more comes.
        self.entries.run_pending_tasks();
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.invalidate_all();
        self.entries.run_pending_tasks();
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        self.entries.run_pending_tasks();
        Held { entries: self.entries.entry_count(), bytes: self.entries.weighted_size() }
    }

    /// What it may hold, in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Entries that went because there was no room, or because their time was over.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes.into()
    }

    fn entry(bytes: usize) -> Entry {
        Entry::new(Vec::new(), vec![7; bytes], 5)
    }

    #[test]
    fn what_is_kept_is_found_until_its_time_is_over() {
        let cache = L1::new(1 << 20, Duration::from_secs(2));
        cache.put(key(1), entry(10));
        assert_eq!((cache.get(&key(1)), cache.get(&key(2))), (Some(entry(10)), None));
        assert_eq!(cache.held(), Held { entries: 1, bytes: 522 });
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(cache.get(&key(1)), None);
        cache.put(key(1), entry(10));
        cache.clear();
        assert_eq!((cache.get(&key(1)), cache.held()), (None, Held { entries: 0, bytes: 0 }));
    }

    #[test]
    fn memory_stays_within_the_budget() {
        let cache = L1::new(100_000, Duration::from_secs(60));
        for number in 0..500 {
            cache.put(key(number), entry(1000));
            assert!(cache.held().bytes <= 100_000, "{:?}", cache.held());
        }
        assert!(cache.held().entries >= 50, "{:?}", cache.held());
        assert!(cache.evictions() >= 400);
        cache.put(key(1000), entry(100_001));
        assert_eq!(cache.get(&key(1000)), None, "larger than all there is");
    }

    #[test]
    fn what_is_popular_survives_a_flood() {
        let cache = L1::new(20 * 1512, Duration::from_secs(60));
        for _ in 0..20 {
            (0..10)
                .filter(|number| cache.get(&key(*number)).is_none())
                .for_each(|number| cache.put(key(number), entry(1000)));
        }
        for number in 100..400 {
            if cache.get(&key(number)).is_none() {
                cache.put(key(number), entry(1000));
            }
        }
        let left = (0..10).filter(|number| cache.get(&key(*number)).is_some()).count();
        assert!(left >= 8, "{left} of 10 are left");
    }
}
