//! The same work on several things side by side, on threads that end with it: models are loaded so, and the instances
//! of one.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The results for all items, in their order. At most `threads` are worked on at a time.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], threads: NonZeroUsize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        while let Some((index, item)) = numbered(items, next.fetch_add(1, Ordering::Relaxed)) {
            done.push((index, work(item)));
        }
        done
    };
    let mut results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get().min(items.len())).map(|_| scope.spawn(take)).collect();
        let mut results = take();
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn numbered<T>(items: &[T], index: usize) -> Option<(usize, &T)> {
    Some((index, items.get(index)?))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..100).collect();
        for threads in [1, 3, 200] {
            let threads = NonZeroUsize::new(threads).expect("not zero");
            assert_eq!(map(&items, threads, |item| item * 2), (0..100).map(|item| item * 2).collect::<Vec<_>>());
        }
        assert_eq!(map(&[] as &[u8], NonZeroUsize::MIN, |_| ()), []);
    }

    /// Of eight items on so many threads: the most that were worked on at the same time. Each waits a while for as many
    /// others as there are threads.
    fn most_at_a_time(threads: usize) -> usize {
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_: &u8| {
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let begun = Instant::now();
            while most.load(Ordering::SeqCst) < threads && begun.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        map(&[0; 8], NonZeroUsize::new(threads).expect("not zero"), work);
        most.into_inner()
    }

    #[test]
    fn as_many_are_worked_on_as_there_are_threads_and_no_more() {
        assert_eq!([1, 2, 4].map(most_at_a_time), [1, 2, 4]);
    }
}
