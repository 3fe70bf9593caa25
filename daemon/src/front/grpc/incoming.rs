//! The messages of a stream, up to the end of the daemon: what has been received is taken, and then the client is
//! told that nothing more will be.

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::Status;

use crate::front::drained;

/// Messages that are taken after the daemon was told to stop: more than fit into a connection's buffers at usual
/// sizes. A client that never stops sending must not hold up the end.
const LAST_MESSAGES: usize = 1024;

struct Incoming<S> {
    messages: S,
    draining: watch::Receiver<bool>,
    /// Messages that may still be taken while draining; `None` once the stream has ended.
    left: Option<usize>,
}

/// The messages until the client has sent all, or else until the daemon drains and none is left that has arrived.
/// Then an error ends the stream: without it, the client would take the requests that it had still to send for done.
pub(super) fn until_drained<T>(
    messages: impl Stream<Item = Result<T, Status>> + Unpin,
    draining: watch::Receiver<bool>,
) -> impl Stream<Item = Result<T, Status>> {
    stream::unfold(Incoming { messages, draining, left: Some(LAST_MESSAGES) }, next)
}

async fn next<T, S: Stream<Item = Result<T, Status>> + Unpin>(
    mut incoming: Incoming<S>,
) -> Option<(Result<T, Status>, Incoming<S>)> {
    let left = incoming.left?;
    if *incoming.draining.borrow() {
        incoming.left = left.checked_sub(1);
    }
    let message = if incoming.left.is_some() {
        tokio::select! {
            // What has arrived goes first.
            biased;
            message = incoming.messages.next() => Some(message?),
            () = drained(incoming.draining.clone()) => None,
        }
    } else {
        None
    };
    Some(match message {
        Some(message) => (message, incoming),
        None => (Err(stopping()), Incoming { left: None, ..incoming }),
    })
}

fn stopping() -> Status {
    Status::unavailable("the daemon is stopping; send what is unanswered again, to another one")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(sent: usize, open: bool, draining: bool, expected: usize, code: Option<tonic::Code>) {
        let (_drain, receiver) = watch::channel(draining);
        let sent = stream::iter((0..sent).map(Ok));
        let messages = if open { sent.chain(stream::pending()).boxed() } else { sent.boxed() };
        let found: Vec<Result<usize, Status>> = until_drained(messages, receiver).collect().await;
        let error = found.last().and_then(|last| last.as_ref().err()).map(Status::code);
        let taken = found.iter().filter(|message| message.is_ok()).count();
        assert_eq!((taken, error), (expected, code), "{open} {draining}");
    }

    #[tokio::test]
    async fn a_stream_ends_well_only_when_the_client_ends_it() {
        let unavailable = Some(tonic::Code::Unavailable);
        check(3, false, false, 3, None).await;
        check(3, false, true, 3, None).await;
        check(3, true, true, 3, unavailable).await;
        check(0, true, true, 0, unavailable).await;
        check(5000, true, true, LAST_MESSAGES, unavailable).await;
    }
}
