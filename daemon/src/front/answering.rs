//! Which connections have begun a request: a count for the drain, which must not end while an answer is still being
//! sent. An answer that has left the handler may wait in a buffer for a slow reader; only the connection knows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tonic::codegen::Service;

/// Counts as one while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a connection has begun a request. From then on it counts until the last clone of this is gone.
#[derive(Clone)]
pub(super) struct Answering {
    count: Arc<AtomicUsize>,
    begun: Arc<OnceLock<Counted>>,
}

impl Answering {
    /// A connection without a request.
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        Self { count: Arc::clone(count), begun: Arc::default() }
    }

    /// Whether a request has begun on it.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    fn begin(&self) {
        self.begun.get_or_init(|| Counted::new(&self.count));
    }
}

/// A service that marks its connection at every request.
#[derive(Clone)]
pub(super) struct Marked<S> {
    inner: S,
    answering: Answering,
}

impl<S> Marked<S> {
    /// `inner` on the connection of `answering`.
    pub(super) fn new(inner: S, answering: Answering) -> Self {
        Self { inner, answering }
    }
}

impl<R, S: Service<R>> Service<R> for Marked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.answering.begin();
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_once_and_until_it_is_gone() {
        let count = Arc::default();
        let (first, silent) = (Answering::new(&count), Answering::new(&count));
        let clone = first.clone();
        first.begin();
        clone.begin();
        assert!(clone.has_begun() && !silent.has_begun());
        drop(first);
        assert_eq!(count.load(Ordering::Acquire), 1);
        drop(clone);
        assert_eq!(count.load(Ordering::Acquire), 0);
    }
}
