//! The responses of a decoupled model on their way from its instance to whoever asked: bounded, so that a client that
//! reads slowly holds the model back instead of filling the memory, and given up when the client is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proofload_wire::tensor::Tensor;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Responses of one request that may wait to be read.
const WAITING: usize = 64;
/// How long an instance waits for a client that reads nothing.
const STALLED: Duration = Duration::from_secs(30);
/// How often it looks whether the client has read something.
const STEP: Duration = Duration::from_millis(1);

/// One response of a request that gets any number of them.
#[derive(Debug)]
pub struct Part {
    /// The outputs, in the order of the model's configuration.
    pub outputs: Vec<Tensor>,
    /// When computing it began.
    pub computing: Instant,
    /// When it was computed.
    pub computed: Instant,
    /// When its outputs were ready.
    pub finished: Instant,
}

/// Nobody takes responses any more: the client went away, or stopped reading. What is left need not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the responses any more")]
pub struct Gone;

/// Where an instance sends the responses of a request.
#[derive(Debug)]
pub struct Responses {
    sender: mpsc::Sender<Part>,
    stalled: Arc<AtomicBool>,
}

/// The responses of a request, as they come. Dropping it tells the instance to stop.
#[derive(Debug)]
pub struct Parts {
    receiver: mpsc::Receiver<Part>,
    stalled: Arc<AtomicBool>,
}

impl Parts {
    /// The next one; `None` when no more will come.
    pub async fn next(&mut self) -> Option<Part> {
        self.receiver.recv().await
    }

    /// One that waits already.
    pub fn try_next(&mut self) -> Option<Part> {
        self.receiver.try_recv().ok()
    }

    /// Whether the instance has given up because nobody read: then these were not all.
    pub fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }
}

impl Responses {
    /// Both ends.
    pub fn channel() -> (Self, Parts) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let stalled = Arc::<AtomicBool>::default();
        (Self { sender, stalled: Arc::clone(&stalled) }, Parts { receiver, stalled })
    }

    /// Hands a response over. Blocks while the client has too many still to read.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn send(&self, part: Part) -> Result<(), Gone> {
        self.send_within(part, STALLED)
    }

    /// Whether nobody takes responses any more.
    pub fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }

    fn send_within(&self, mut part: Part, patience: Duration) -> Result<(), Gone> {
        let begun = Instant::now();
        loop {
            part = match self.sender.try_send(part) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(part)) if begun.elapsed() < patience => part,
                Err(TrySendError::Full(_)) => {
                    self.stalled.store(true, Ordering::Release);
                    return Err(Gone);
                }
                Err(TrySendError::Closed(_)) => return Err(Gone),
            };
            std::thread::sleep(STEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        let now = Instant::now();
        Part { outputs: Vec::new(), computing: now, computed: now, finished: now }
    }

    #[test]
    fn a_client_that_reads_nothing_is_given_up_and_one_that_left_at_once() {
        let (responses, mut parts) = Responses::channel();
        assert!((0..WAITING).all(|_| responses.send(part()).is_ok()));
        assert!(!parts.stalled());
        assert_eq!(responses.send_within(part(), Duration::from_millis(5)), Err(Gone));
        assert!(parts.stalled(), "what was read is not all");
        parts.try_next().expect("the first one");
        assert_eq!(responses.send(part()), Ok(()), "there is room again");
        assert!(!responses.is_gone());
        drop(parts);
        assert_eq!((responses.send(part()), responses.is_gone()), (Err(Gone), true));
    }
}
