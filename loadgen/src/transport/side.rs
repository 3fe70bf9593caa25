//! The connection of a slot to one side of the target: opened when it is needed, closed when it is spent.

use std::sync::Arc;
use std::time::Duration;

use super::http1::Http1;
use super::http2::Http2;
use super::intake::Intake;
use super::link::Unsent;
use super::shared::Shared;
use super::stream::Stream;
use super::{Address, ConnectionPolicy, Failure, HttpVersion, Outgoing};
use crate::clock::RunClock;

/// See the module.
pub(super) struct Side {
    address: Option<Address>,
    policy: ConnectionPolicy,
    /// What it shares with other slots, where connections are shared.
    shared: Option<Arc<Shared>>,
    held: Option<Held>,
    /// Whether a connection is being opened. Stays behind when the opening is given up.
    opening: bool,
}

/// A connection and what it has been used for.
struct Held {
    link: Link,
    requests: u32,
    opened_ns: u64,
}

enum Link {
    Http1(Http1),
    Http2(Http2),
}

impl Side {
    pub(super) fn new(address: Option<Address>, policy: ConnectionPolicy, shared: Option<Arc<Shared>>) -> Self {
        Self { address, policy, shared, held: None, opening: false }
    }

    /// Ends when the server has closed the idle connection; never while there is none.
    pub(super) async fn closed(&mut self) {
        match &mut self.held {
            None => std::future::pending().await,
            Some(Held { link: Link::Http1(link), .. }) => link.closed().await,
            Some(Held { link: Link::Http2(link), .. }) => link.closed().await,
        }
        self.held = None;
    }

    /// Why a fresh connection was closed before it carried anything.
    pub(super) fn refused(&self) -> Failure {
        let said = match &self.held {
            None => None,
            Some(Held { link: Link::Http1(link), .. }) => link.last_words(),
            Some(Held { link: Link::Http2(link), .. }) => link.last_words(),
        };
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        self.broken(format!("the server closed the new connection before the request{said}"))
    }

    /// What it means that a fresh connection broke before there was an answer.
    pub(super) fn broken(&self, said: String) -> Failure {
        let tls = self.address.as_ref().and_then(|address| address.tls.as_ref());
        match tls.and_then(|tls| tls.late_refusal(&said)) {
            Some(refusal) => Failure::Connect(refusal),
            None => Failure::Transport(said),
        }
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        self.held = None;
    }

    /// Makes sure that there is a usable connection; says whether it had to be made.
    pub(super) async fn ready(&mut self, clock: &RunClock) -> Result<bool, Failure> {
        if let Some(held) = &self.held
            && held.link.is_usable()
            && !self.policy.is_old(clock.now_ns().saturating_sub(held.opened_ns))
        {
            return Ok(false);
        }
        self.held = None;
        let to = self.address.as_ref().ok_or_else(|| Failure::Connect("the target has no such side".to_owned()))?;
        self.opening = true;
        let limit = Duration::from_nanos(self.policy.connect_timeout_ns);
        let now_ns = clock.now_ns();
        let found = match tokio::time::timeout(limit, self.find(to, now_ns)).await {
            Ok(found) => found,
            Err(_) => Err(Failure::Connect(format!(
                "{to}: not open within {} ms, which load.connect_timeout allows",
                limit.as_millis()
            ))),
        };
        self.opening = false;
        let (held, opened) = found?;
        self.held = Some(held);
        Ok(opened)
    }

    /// A connection, and whether it was opened for this.
    async fn find(&self, to: &Address, now_ns: u64) -> Result<(Held, bool), Failure> {
        let (link, opened_ns, opened) = match &self.shared {
            None => (Link::open(to).await?, now_ns, true),
            Some(shared) => {
                let (member, opened) = shared.join(to, &self.policy, now_ns).await?;
                (Link::Http2(member.link), member.opened_ns, opened)
            }
        };
        Ok((Held { link, requests: 0, opened_ns }, opened))
    }

    /// Why a request whose time was up in the middle failed: for want of a connection, or of an answer.
    pub(super) fn given_up(&mut self) -> Failure {
        match (std::mem::take(&mut self.opening), &self.address) {
            (true, Some(to)) => Failure::Connect(format!("{to}: not open when the request's time limit ended")),
            _ => Failure::Timeout,
        }
    }

    /// Sends a request over the connection and takes its answer in.
    pub(super) async fn send(&mut self, request: &Outgoing<'_>, intake: &mut Intake<'_>) -> Result<(), Unsent> {
        let Some(held) = &mut self.held else { return Err(Unsent::Closed) };
        held.requests += 1;
        let last = self.policy.is_spent(held.requests);
        let sent = match &mut held.link {
            Link::Http1(link) => link.exchange(request, last, intake).await,
            Link::Http2(link) => link.exchange(request, intake).await,
        };
        if last && sent.is_ok() {
            self.held = None;
        }
        sent
    }
}

impl Link {
    async fn open(to: &Address) -> Result<Self, Failure> {
        let stream = Stream::open(to).await?;
        match to.version {
            HttpVersion::Http1 => Ok(Self::Http1(Http1::on(stream))),
            HttpVersion::Http2 => Http2::on(stream).await.map(Self::Http2),
        }
    }

    fn is_usable(&self) -> bool {
        match self {
            Self::Http1(link) => link.is_usable(),
            Self::Http2(link) => link.is_usable(),
        }
    }
}
