//! Getting a request to the target and the answer back. Transports return timestamps and what came, and judge
//! nothing: see [`crate::judge`].

mod body;
mod fields;
mod http1;
mod http2;
mod intake;
mod link;
mod outgoing;
mod policy;
mod shared;
mod sharing;
mod side;
mod stream;
mod target;
mod tls;
mod unverified;

pub use body::Segments;
pub use fields::Fields;
pub use http1::read_answer;
pub use link::{Links, SharedLinks};
pub use outgoing::Outgoing;
pub use policy::ConnectionPolicy;
pub use sharing::Sharing;
pub use target::{Address, AddressError, BaseUrl, Endpoint, HttpVersion};
pub use tls::{Identity, Tls, TlsError, TlsOptions};

use bytes::Bytes;

use proofload_run::events::Shortage;

use crate::streamed::{Seen, Streaming, Watch};

/// Which of a slot's connections carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The one to the target's HTTP side, HTTP/1.1 or HTTP/2.
    Http,
    /// The one to the target's gRPC side, always HTTP/2.
    Grpc,
}

/// When what happened, on the run's clock; 0 means it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// The request was handed to the connection.
    pub sent_ns: u64,
    /// The head of the answer was there.
    pub first_byte_ns: u64,
    /// The last byte of the answer was there, or the request was given up.
    pub done_ns: u64,
}

/// A whole answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The head.
    pub headers: Fields,
    /// The trailers; gRPC says there how it ended.
    pub trailers: Fields,
    /// The body, or its beginning: see [`Keep`].
    pub body: Bytes,
    /// Length of the whole body.
    pub body_bytes: u64,
}

/// How much of an answer's body is kept in memory. What is beyond is received, counted and let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(pub usize);

/// What is done with an answer's body while it comes.
pub struct Reception {
    /// How much of it is kept.
    pub keep: Keep,
    /// Watches the pieces of a streamed one. In a box, because most answers come as a whole and this moves with each.
    pub watch: Option<Box<Watch>>,
}

impl Reception {
    /// Of an answer that comes in pieces, or as a whole.
    pub fn new(keep: Keep, streaming: Option<Streaming>) -> Self {
        Self { keep, watch: streaming.map(|streaming| Box::new(Watch::new(streaming))) }
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection could be made.
    #[error("no connection: {0}")]
    Connect(String),
    /// This machine gave no connection; the target was not asked.
    #[error("this machine has no more {}: {said}", .of.as_str())]
    Local {
        /// What it has run out of.
        of: Shortage,
        /// The system's words.
        said: String,
    },
    /// The request itself could not be made; the target was not asked.
    #[error("{0}")]
    Unmade(String),
    /// The connection broke or the answer violated the protocol.
    #[error("{0}")]
    Transport(String),
    /// Not within the request's time limit.
    #[error("no whole answer within the time limit")]
    Timeout,
}

/// One attempt, judged by nobody yet.
#[derive(Debug)]
pub struct Attempt {
    /// When what happened.
    pub times: Times,
    /// Whether a connection was made for it.
    pub new_connection: bool,
    /// How often it was sent again on a fresh connection, because the old one had been closed before a byte went out.
    pub resent: u8,
    /// What came.
    pub result: Result<Answer, Failure>,
    /// What was seen of a streamed answer, whole or not.
    pub seen: Option<Box<Seen>>,
}

impl Attempt {
    /// A request that could not even be made, at this time.
    pub fn unmade(why: String, now_ns: u64) -> Self {
        let times = Times { done_ns: now_ns, ..Times::default() };
        Self { times, new_connection: false, resent: 0, result: Err(Failure::Unmade(why)), seen: None }
    }
}

/// Opens a connection as a request would, TLS handshake included, and closes it again.
///
/// # Errors
/// When it cannot be opened, with the reason and the remedy.
pub async fn probe(to: &Address) -> Result<(), Failure> {
    stream::Stream::open(to).await.map(drop)
}
