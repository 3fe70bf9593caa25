//! Kept answers: in this process (`l1`), in Redis if there is one (`l2`), and of identical requests that are on their way at the same time, only one
//! computes (`single_flight`). The cache knows keys and bytes; which requests have answers that may be kept, and what
//! the bytes mean, is said by those who ask it.
//!
//! What is kept under a key can never be another answer than computing would give: the key holds the model as it was
//! loaded and everything of the request that matters, so nothing has to be invalidated when a model changes. Forgetting
//! all there is means to begin a new generation of keys.

pub mod entry;
pub mod key;
pub mod l1;
pub mod l2;
pub mod meters;
pub mod scrape;
pub mod single_flight;
pub mod statistics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use proofload_wire::phases::Cache as Answered;
use sha2::{Digest, Sha256};

use self::entry::Entry;
use self::key::{Key, Subject};
use self::l1::L1;
use self::l2::L2;
use self::meters::{Meters, Operation};
use self::single_flight::{Flights, Lead, Role, Turn};

/// Hashing more than this would hold up the other connections of its thread for more than a fraction of a millisecond.
const HASHED_HERE: usize = 256 * 1024;

/// What the cache may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Memory of the entries in this process, in bytes.
    pub l1_bytes: u64,
    /// How long an entry lives.
    pub ttl: Duration,
    /// Whether reliefs are kept, too.
    pub reliefs: bool,
    /// The shared layer, if there is one.
    pub l2: Option<l2::Options>,
}

/// Where an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// In this process.
    L1,
    /// In the shared layer.
    L2,
    /// With an identical request that was on its way.
    Coalesced,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::L1, Self::L2, Self::Coalesced];

    /// The value of the label `layer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Coalesced => "coalesced",
        }
    }
}

impl From<Layer> for Answered {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::L1 => Self::L1,
            Layer::L2 => Self::L2,
            Layer::Coalesced => Self::Coalesced,
        }
    }
}

/// What came of looking for an answer.
pub enum Looked {
    /// Here it is.
    Found(Entry, Layer),
    /// It has to be computed. Others may wait for it.
    Missing(Duty),
}

/// The answer did not come within the time that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

/// The duty to compute an answer and to keep it. Dropping it hands it over to another that waits, if there is one.
pub struct Duty {
    key: Key,
    /// None when there is nobody to lead.
    lead: Option<Lead<Key, Entry>>,
    /// How long looking for the answer took.
    pub looked: Duration,
}

impl Duty {
    /// The answer cannot be computed, for a reason that may hold for all who wait: each tries for itself.
    pub fn give_up(self) {
        self.lead.into_iter().for_each(Lead::scatter);
    }
}

/// Which keys are asked for: those of another generation are never found. All daemons with the same second layer have
/// the same one within a second.
pub struct Generation {
    number: AtomicU64,
    l1: L1,
}

/// A generation that begins later than this from now is a mistake of somebody's clock, or no generation.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(24 * 3600);

impl Generation {
    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Begins another one, and forgets what this process holds.
    fn next(&self) {
        let now = unix_us(Duration::ZERO);
        // Later than any before, whatever the clock says.
        let later = |before: u64| Some(now.max(before.saturating_add(1)));
        let _ = self.number.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
        self.l1.clear();
    }

    /// Takes over what others know, if that is later, and says which one it is now.
    fn agree(&self, known: u64) -> u64 {
        let plausible = known <= unix_us(CLOCKS_DIFFER_BY);
        if plausible && self.number.fetch_max(known, Ordering::AcqRel) < known {
            self.l1.clear();
        }
        self.number()
    }
}

/// Microseconds since 1970, so long from now.
fn unix_us(ahead: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from((now + ahead).as_micros()).unwrap_or(u64::MAX)
}

/// The cache.
pub struct Cache {
    options: Options,
    generation: Arc<Generation>,
    l2: Option<L2>,
    flights: Flights<Key, Entry>,
    meters: Meters,
}

impl Cache {
    /// A cache that holds nothing in this process yet. With a second layer, it must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a node's URL is none of Redis'.
    pub fn start(options: Options, meters: Meters) -> redis::RedisResult<Self> {
        let l1 = L1::new(options.l1_bytes, options.ttl);
        let generation = Arc::new(Generation { number: AtomicU64::new(0), l1 });
        let l2 = options.l2.as_ref().map(|l2| L2::start(l2, &generation, meters.clone())).transpose()?;
        Ok(Self { options, generation, l2, flights: Flights::default(), meters })
    }

    /// Whether reliefs are kept.
    pub fn keeps_reliefs(&self) -> bool {
        self.options.reliefs
    }

    /// The key of what decides an answer.
    pub async fn key(&self, subject: Subject) -> Key {
        let generation = self.generation.number();
        if subject.bytes() <= HASHED_HERE {
            return subject.key(generation);
        }
        let elsewhere = subject.clone();
        let hashed = tokio::task::spawn_blocking(move || elsewhere.key(generation)).await;
        // Only a process that is ending has no threads for it.
        hashed.unwrap_or_else(|_| subject.key(generation))
    }

    /// Looks for an answer, or waits for one that is being computed, until then at most.
    ///
    /// # Errors
    /// When the time is over first.
    pub async fn look_up(&self, key: Key, until: Option<Instant>) -> Result<Looked, Late> {
        let begun = Instant::now();
        if let Some(entry) = self.kept(&key) {
            return Ok(self.found(entry, Layer::L1));
        }
        let lead = match self.flights.join(key) {
            Role::Lead(lead) => lead,
            Role::Follow(turn) => match within(until, turn).await? {
                Ok(Turn::Landed(entry)) => return Ok(self.found(entry, Layer::Coalesced)),
                Ok(Turn::Lead(lead)) => lead,
                Ok(Turn::Alone) | Err(_) => return Ok(self.missing(Duty { key, lead: None, looked: begun.elapsed() })),
            },
        };
        // It may have landed between the two looks.
        if let Some(entry) = self.kept(&key) {
            lead.land(&entry);
            return Ok(self.found(entry, Layer::L1));
        }
        if let Some(entry) = self.shared(key, until).await {
            lead.land(&entry);
            return Ok(self.found(entry, Layer::L2));
        }
        Ok(self.missing(Duty { key, lead: Some(lead), looked: begun.elapsed() }))
    }

    /// Keeps an answer that was computed, and gives it to all who wait for it.
    pub fn keep(&self, duty: Duty, entry: &Entry) {
        self.put(duty.key, entry);
        self.l2.iter().for_each(|l2| l2.put(duty.key, entry.clone()));
        // Last, so that who comes after the last that waited finds it.
        duty.lead.into_iter().for_each(|lead| lead.land(entry));
    }

    /// Forgets everything. What is being computed for requests of before is not found by those that come now.
    pub fn clear(&self) {
        self.generation.next();
    }

    /// An answer of the second layer, which is in the first from then on.
    async fn shared(&self, key: Key, until: Option<Instant>) -> Option<Entry> {
        let entry = self.l2.as_ref()?.get(&key, until).await?;
        self.put(key, &entry);
        Some(entry)
    }

    fn put(&self, key: Key, entry: &Entry) {
        let begun = Instant::now();
        self.generation.l1.put(key, entry.clone());
        self.meters.operated(Layer::L1, Operation::Put, begun.elapsed());
    }

    fn kept(&self, key: &Key) -> Option<Entry> {
        let begun = Instant::now();
        let found = self.generation.l1.get(key);
        self.meters.operated(Layer::L1, Operation::Get, begun.elapsed());
        found
    }

    fn found(&self, entry: Entry, layer: Layer) -> Looked {
        self.meters.hit(layer, entry.computed_ns);
        Looked::Found(entry, layer)
    }

    fn missing(&self, duty: Duty) -> Looked {
        self.meters.miss();
        Looked::Missing(duty)
    }
}

/// The SHA-256 of bytes, however many they are.
pub async fn digest(bytes: Bytes) -> [u8; 32] {
    if bytes.len() <= HASHED_HERE {
        return Sha256::digest(&bytes).into();
    }
    let elsewhere = bytes.clone();
    let hashed = tokio::task::spawn_blocking(move || Sha256::digest(&elsewhere).into()).await;
    // Only a process that is ending has no threads for it.
    hashed.unwrap_or_else(|_| Sha256::digest(&bytes).into())
}

/// What a future gives, unless the time is over first.
async fn within<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Result<T, Late> {
    match until {
        None => Ok(future.await),
        Some(until) => tokio::time::timeout_at(until.into(), future).await.map_err(|_| Late),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn cache() -> Arc<Cache> {
        let options = Options { l1_bytes: 1 << 20, ttl: Duration::from_secs(60), reliefs: false, l2: None };
        Arc::new(Cache::start(options, Meters::default()).unwrap())
    }

    async fn key(cache: &Cache, text: &str) -> Key {
        let mut subject = Subject::new("test");
        subject.text(text);
        cache.key(subject).await
    }

    fn entry() -> Entry {
        Entry::new(Vec::new(), b"answer".to_vec(), 3_000_000_000)
    }

    #[tokio::test]
    async fn identical_requests_at_once_compute_once() {
        let (cache, computed) = (cache(), Arc::new(AtomicUsize::new(0)));
        let key = key(&cache, "a").await;
        let requests = (0..64).map(|number| {
            let (cache, computed) = (Arc::clone(&cache), Arc::clone(&computed));
            async move {
                // Some come while it is computed, some when it has been.
                tokio::time::sleep(Duration::from_millis(number)).await;
                match cache.look_up(key, None).await {
                    Ok(Looked::Found(entry, _)) => entry,
                    Ok(Looked::Missing(duty)) => {
                        computed.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(30)).await;
                        cache.keep(duty, &entry());
                        entry()
                    }
                    Err(Late) => panic!("nobody was in a hurry"),
                }
            }
        });
        let answers = futures::future::join_all(requests).await;
        assert!(answers.iter().all(|answer| *answer == entry()));
        assert_eq!(computed.load(Ordering::SeqCst), 1);
        let hits = Layer::ALL.map(|layer| cache.meters.hits(layer));
        assert_eq!((hits.iter().sum::<u64>(), cache.meters.misses()), (63, 1), "{hits:?}");
        assert!(matches!(cache.look_up(key, None).await, Ok(Looked::Found(_, Layer::L1))));
        assert!((cache.meters.saved_seconds() - 192.0).abs() < 1e-6);
    }

    #[tokio::test]
    async fn who_waits_waits_no_longer_than_it_may() {
        let cache = cache();
        let key = key(&cache, "a").await;
        let Ok(Looked::Missing(duty)) = cache.look_up(key, None).await else { panic!("it is not there") };
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(matches!(cache.look_up(key, Some(soon)).await, Err(Late)));
        duty.give_up();
        let Ok(Looked::Missing(duty)) = cache.look_up(key, None).await else { panic!("it is not there") };
        drop(duty);
        assert_eq!(cache.flights.in_the_air(), 0);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_found_even_if_it_is_computed_later() {
        let cache = cache();
        let before = key(&cache, "a").await;
        let Ok(Looked::Missing(duty)) = cache.look_up(before, None).await else { panic!("it is not there") };
        cache.clear();
        cache.keep(duty, &entry());
        let after = key(&cache, "a").await;
        assert!(matches!(cache.look_up(after, None).await, Ok(Looked::Missing(_))));
        cache.clear();
        assert_ne!(key(&cache, "a").await, after);
    }

    #[tokio::test]
    async fn daemons_agree_on_the_latest_generation() {
        let cache = cache();
        let generation = &cache.generation;
        assert_eq!(generation.agree(0), 0);
        let now = unix_us(Duration::ZERO);
        assert_eq!((generation.agree(now), generation.agree(now - 5)), (now, now));
        assert_eq!(generation.agree(u64::MAX), now, "which is no time");
        generation.next();
        let next = generation.number();
        assert!(next > now);
        assert_eq!(generation.agree(now), next, "who comes late is told");
    }
}
