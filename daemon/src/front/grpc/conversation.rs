//! The answers of one `ModelStreamInfer`: several requests at a time. Those to models with one answer keep the order
//! of the requests; responses of decoupled models come when they come, between them.

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesOrdered, SelectAll, Stream, StreamExt};
use proofload_wire::grpc::inference::ModelStreamInferResponse;
use tonic::Status;

/// Requests of one stream that are worked on at the same time.
const DEPTH: usize = 32;

/// How a request is answered.
pub(super) enum Reply {
    /// Once, in its turn.
    One(BoxFuture<'static, ModelStreamInferResponse>),
    /// Any number of times.
    Many(BoxStream<'static, ModelStreamInferResponse>),
}

struct Conversation<S> {
    replies: S,
    ordered: FuturesOrdered<BoxFuture<'static, ModelStreamInferResponse>>,
    streams: SelectAll<BoxStream<'static, ModelStreamInferResponse>>,
    /// Set when no request comes any more, with the error that the answers end with, if any.
    end: Option<Option<Status>>,
}

/// The answers, in the order in which they may be sent. An error among the requests ends them, after the answers to
/// those that came before it.
pub(super) fn answers(
    replies: impl Stream<Item = Result<Reply, Status>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send {
    let (ordered, streams) = (FuturesOrdered::new(), SelectAll::new());
    stream::unfold(Conversation { replies, ordered, streams, end: None }, next)
}

async fn next<S: Stream<Item = Result<Reply, Status>> + Unpin>(
    mut talk: Conversation<S>,
) -> Option<(Result<ModelStreamInferResponse, Status>, Conversation<S>)> {
    loop {
        let busy = talk.ordered.len() + talk.streams.len();
        if busy == 0
            && let Some(end) = &mut talk.end
        {
            return end.take().map(|status| (Err(status), talk));
        }
        tokio::select! {
            Some(answer) = talk.ordered.next() => return Some((Ok(answer), talk)),
            answer = talk.streams.next(), if !talk.streams.is_empty() => if let Some(answer) = answer {
                return Some((Ok(answer), talk));
            },
            reply = talk.replies.next(), if talk.end.is_none() && busy < DEPTH => match reply {
                Some(Ok(Reply::One(answer))) => talk.ordered.push_back(answer),
                Some(Ok(Reply::Many(answers))) => talk.streams.push(answers),
                Some(Err(status)) => talk.end = Some(Some(status)),
                None => talk.end = Some(None),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A request: alone, or with so many responses; each takes so many turns of the others.
    #[derive(Debug, Clone, Copy)]
    enum Ask {
        One { turns: usize },
        Many { count: usize, turns: usize },
    }

    async fn answer(text: String, turns: usize) -> ModelStreamInferResponse {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        ModelStreamInferResponse { error_message: text, infer_response: None }
    }

    /// Counts the requests that are being worked on, and the most of them at a time.
    #[derive(Default)]
    struct Busy {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    struct Working(Arc<Busy>);

    impl Working {
        fn on(busy: &Arc<Busy>) -> Self {
            let now = busy.now.fetch_add(1, Ordering::Relaxed) + 1;
            busy.most.fetch_max(now, Ordering::Relaxed);
            Self(Arc::clone(busy))
        }
    }

    impl Drop for Working {
        fn drop(&mut self) {
            self.0.now.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn reply(number: usize, ask: Ask, busy: &Arc<Busy>) -> Reply {
        let working = Working::on(busy);
        match ask {
            Ask::One { turns } => Reply::One(Box::pin(async move {
                let _working = working;
                answer(format!("{number}"), turns).await
            })),
            Ask::Many { count, turns } => Reply::Many(
                stream::iter(0..count)
                    .then(move |index| {
                        let _working = &working;
                        answer(format!("{number}.{index}"), turns)
                    })
                    .boxed(),
            ),
        }
    }

    async fn talk(asks: Vec<Ask>, breaks: bool) -> (Vec<String>, Option<String>, usize) {
        let busy = Arc::<Busy>::default();
        let counted = Arc::clone(&busy);
        let end = breaks.then(|| Err(Status::unavailable("it broke")));
        let replies = asks.into_iter().enumerate().map(move |(number, ask)| Ok(reply(number, ask, &counted)));
        let mut found: Vec<_> = answers(stream::iter(replies.chain(end))).collect().await;
        let error = found.pop_if(|last| last.is_err()).and_then(Result::err).map(|error| error.message().to_owned());
        let texts = found.into_iter().map(|answer| answer.map(|answer| answer.error_message));
        let texts: Result<Vec<_>, _> = texts.collect();
        (texts.expect("an error is the last"), error, busy.most.load(Ordering::Relaxed))
    }

    fn ask() -> impl Strategy<Value = Ask> {
        let one = (0_usize..5).prop_map(|turns| Ask::One { turns });
        prop_oneof![one, (0_usize..5, 0_usize..5).prop_map(|(count, turns)| Ask::Many { count, turns })]
    }

    proptest! {
        /// However long each takes: every answer comes once, single ones in the order of their requests, those of one
        /// request in their own, an error last; and no more are worked on than may be.
        #[test]
        fn every_answer_comes_once_and_in_its_order(asks in proptest::collection::vec(ask(), 0..90), breaks: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (texts, error, most) = runtime.block_on(talk(asks.clone(), breaks));
            prop_assert_eq!(error.is_some(), breaks);
            prop_assert!(most <= DEPTH + 1, "{} at a time", most);
            let numbered: Vec<(usize, Option<usize>)> = texts.iter().map(|text| {
                let (number, index) = text.split_once('.').map_or((text.as_str(), None), |(n, i)| (n, Some(i)));
                (number.parse().unwrap(), index.map(|index| index.parse().unwrap()))
            }).collect();
            let single: Vec<_> = numbered.iter().filter(|(_, index)| index.is_none()).map(|(number, _)| *number).collect();
            prop_assert!(single.is_sorted(), "{:?}", single);
            for (number, ask) in asks.iter().enumerate() {
                let own: Vec<_> = numbered.iter().filter(|(of, _)| *of == number).map(|(_, index)| *index).collect();
                let expected = match ask {
                    Ask::One { .. } => vec![None],
                    Ask::Many { count, .. } => (0..*count).map(Some).collect(),
                };
                prop_assert_eq!(own, expected);
            }
        }
    }

    /// What a model streams does not wait for an answer that came before it and takes long, nor the reverse.
    #[tokio::test]
    async fn responses_come_between_single_answers() {
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let slow = Reply::One(Box::pin(async {
            gate.await.expect("opened");
            answer("slow".to_owned(), 0).await
        }));
        let streamed = Reply::Many(stream::iter(["x", "y"]).then(|text| answer(text.to_owned(), 0)).boxed());
        let mut answers = Box::pin(answers(stream::iter([Ok(slow), Ok(streamed)])));
        let mut text = async || answers.next().await.expect("more").expect("no error").error_message;
        assert_eq!([text().await, text().await], ["x", "y"]);
        open.send(()).expect("somebody waits");
        assert_eq!(text().await, "slow");
    }
}
