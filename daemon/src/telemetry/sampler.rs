//! Readings of something that may take its time, taken on a thread of its own: who wants to know gets the last one, and
//! waits for nothing.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Older readings say nothing about now: what is read hangs, and no figure is better than a wrong one.
const STALE: Duration = Duration::from_secs(5);

struct Sample<T> {
    at: Instant,
    reading: T,
}

impl<T> Sample<T> {
    fn now(reading: T) -> Self {
        Self { at: Instant::now(), reading }
    }
}

/// See the module. Its end ends the thread.
pub struct Sampler<T> {
    latest: Arc<Mutex<Option<Sample<T>>>>,
    _owner: Option<Sender<()>>,
}

impl<T: Clone + Send + 'static> Sampler<T> {
    /// One that never reads anything.
    pub fn never() -> Self {
        Self { latest: Arc::default(), _owner: None }
    }

    /// Calls `read` once in every `period`, on a thread that ends when this is dropped. Until then there is what was
    /// read `first`, if anything.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        name: &str,
        period: Duration,
        first: Option<T>,
        read: impl Fn() -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        let due_at_once = first.is_none();
        let latest = Arc::new(Mutex::new(first.map(Sample::now)));
        let place = Arc::clone(&latest);
        let (owner, gone) = channel::<()>();
        let waited = move || gone.recv_timeout(period) == Err(RecvTimeoutError::Timeout);
        let run = move || {
            let mut due = due_at_once || waited();
            while due {
                let taken = Sample::now(read());
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
                due = waited();
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { latest, _owner: Some(owner) })
    }

    /// The last reading, unless it is stale at `now`. Asks nobody.
    pub fn read(&self, now: Instant) -> Option<T> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = latest.as_ref().filter(|sample| now.saturating_duration_since(sample.at) < STALE);
        fresh.map(|sample| sample.reading.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: never");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A sampler that counts how often it reads, and the count.
    fn counting(period: Duration, first: Option<usize>) -> (Sampler<usize>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let reads = Arc::clone(&count);
        let read = move || reads.fetch_add(1, Ordering::Relaxed) + 1;
        (Sampler::start("test", period, first, read).unwrap(), count)
    }

    #[test]
    fn asking_reads_nothing_and_a_stale_reading_is_none() {
        let (sampler, count) = counting(Duration::from_secs(3600), Some(7));
        let now = Instant::now();
        assert_eq!([sampler.read(now), sampler.read(now), sampler.read(now + STALE / 2)], [Some(7); 3]);
        assert_eq!(sampler.read(now + STALE), None);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert_eq!(Sampler::<usize>::never().read(now), None);
    }

    #[test]
    fn the_thread_reads_again_and_ends_with_its_owner() {
        let (sampler, count) = counting(Duration::from_millis(1), None);
        eventually("read three times", || count.load(Ordering::Relaxed) > 2);
        assert!(sampler.read(Instant::now()).is_some());
        drop(sampler);
        eventually("the thread has ended", || Arc::strong_count(&count) == 1);
    }
}
