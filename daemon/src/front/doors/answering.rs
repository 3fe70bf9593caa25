//! Requests and answers on a connection: a count of the connections that have begun a request, for the drain, which must
//! not end while an answer is still being sent; and the connection's own counters, for its limits. An answer that has
//! left the handler may wait in a buffer for a slow reader; only the connection knows.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::codegen::Service;

use super::manners::{Asker, Manners};
use super::pulse::Pulse;

/// Counts as one while it lives.
#[derive(Debug)]
struct CountsAsOne(Arc<AtomicUsize>);

impl CountsAsOne {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for CountsAsOne {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a connection has begun a request. From then on it counts until the last clone of this is gone.
#[derive(Debug, Clone)]
pub(super) struct Answering {
    count: Arc<AtomicUsize>,
    begun: Arc<OnceLock<CountsAsOne>>,
}

impl Answering {
    /// A connection without a request.
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        Self { count: Arc::clone(count), begun: Arc::default() }
    }

    fn begin(&self) {
        self.begun.get_or_init(|| CountsAsOne::new(&self.count));
    }
}

/// A service that marks its connection at every request and follows the answer.
#[derive(Clone)]
pub(super) struct Marked<S> {
    inner: S,
    answering: Answering,
    pulse: Arc<Pulse>,
    /// None where answers are gRPC's own.
    manners: Option<Arc<Manners>>,
}

impl<S> Marked<S> {
    /// `inner` on the connection of `answering` and `pulse`.
    pub(super) fn new(inner: S, answering: Answering, pulse: Arc<Pulse>, manners: Option<Arc<Manners>>) -> Self {
        Self { inner, answering, pulse, manners }
    }
}

impl<R, S> Service<Request<R>> for Marked<S>
where
    S: Service<Request<R>, Response = Response<Body>>,
    S::Future: Unpin,
{
    type Response = Response<Followed>;
    type Error = S::Error;
    type Future = Underway<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        self.answering.begin();
        self.pulse.begin();
        let pulse = Some(Arc::clone(&self.pulse));
        let Some(manners) = &self.manners else {
            return Underway { way: Way::Through(self.inner.call(request)), pulse, dress: None };
        };
        let asker = manners.asker(&request);
        let way = match manners.answer_at_once(&asker, &request) {
            Some(answer) => Way::Answered(Some(answer)),
            None => Way::Through(self.inner.call(request)),
        };
        Underway { way, pulse, dress: Some((Arc::clone(manners), asker)) }
    }
}

/// A request without an answer yet. Dropped, it has been given up.
#[derive(Debug)]
pub(super) struct Underway<F> {
    way: Way<F>,
    pulse: Option<Arc<Pulse>>,
    dress: Option<(Arc<Manners>, Asker)>,
}

#[derive(Debug)]
enum Way<F> {
    /// To a handler.
    Through(F),
    /// No further than here.
    Answered(Option<Response<Body>>),
}

impl<E, F: Future<Output = Result<Response<Body>, E>> + Unpin> Future for Underway<F> {
    type Output = Result<Response<Followed>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.way {
            Way::Answered(answer) => Ok(answer.take().unwrap_or_default()),
            Way::Through(inner) => match Pin::new(inner).poll(context) {
                Poll::Ready(answer) => answer,
                Poll::Pending => return Poll::Pending,
            },
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Some((manners, asker)) = &self.dress {
            manners.dress(asker, answer.headers_mut());
        }
        let pulse = self.pulse.take().unwrap_or_default();
        if pulse.says_close() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer.map(|body| Followed::new(body, pulse))))
    }
}

impl<F> Drop for Underway<F> {
    fn drop(&mut self) {
        if let Some(pulse) = &self.pulse {
            pulse.give_up();
        }
    }
}

/// The body of an answer, whose parts are counted when the connection takes them.
#[derive(Debug)]
pub(super) struct Followed {
    body: Body,
    pulse: Arc<Pulse>,
    /// Whether a part is there, as far as is known, that the connection has not asked for.
    held_back: bool,
}

impl Followed {
    fn new(body: Body, pulse: Arc<Pulse>) -> Self {
        pulse.hold_back();
        Self { body, pulse, held_back: true }
    }

    fn note(&mut self, held_back: bool) {
        match (self.held_back, held_back) {
            (false, true) => self.pulse.hold_back(),
            (true, false) => self.pulse.let_go(),
            _ => {}
        }
        self.held_back = held_back;
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.note(matches!(polled, Poll::Ready(Some(Ok(_)))));
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.pulse.hand(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.note(false);
        self.pulse.end();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};

    use http_body_util::BodyExt;

    use super::super::pulse::Seen;
    use super::*;

    #[test]
    fn a_connection_counts_once_and_until_it_is_gone() {
        let count = Arc::default();
        let (first, silent) = (Answering::new(&count), Answering::new(&count));
        let clone = first.clone();
        first.begin();
        clone.begin();
        drop((first, silent));
        assert_eq!(count.load(Ordering::Acquire), 1);
        drop(clone);
        assert_eq!(count.load(Ordering::Acquire), 0);
    }

    #[derive(Clone)]
    struct Says(&'static str);

    impl Service<Request<()>> for Says {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(Response::new(Body::from(self.0))))
        }
    }

    #[tokio::test]
    async fn every_step_of_an_answer_is_counted() {
        let pulse = Arc::new(Pulse::default());
        let mut service = Marked::new(Says("12345"), Answering::new(&Arc::default()), Arc::clone(&pulse), None);
        let check = |expected: (u64, u64, u64, u64, u64)| {
            let Seen { begun, ended, given_up, handed, held_back, .. } = pulse.seen();
            assert_eq!((begun, ended, given_up, handed, held_back), expected);
        };
        drop(service.call(Request::new(())));
        check((1, 1, 1, 0, 0));
        let mut answer = service.call(Request::new(())).await.unwrap();
        assert_eq!((answer.body().size_hint().exact(), answer.headers().len()), (Some(5), 0));
        check((2, 1, 1, 0, 1));
        let part = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((&part[..], answer.body().is_end_stream()), (&b"12345"[..], true));
        check((2, 1, 1, 5, 1));
        drop(answer);
        check((2, 2, 1, 5, 0));
        pulse.close_after_answer();
        assert_eq!(service.call(Request::new(())).await.unwrap().headers()[CONNECTION], "close");
    }
}
