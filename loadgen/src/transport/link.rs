//! The connections of one slot: opened when they are needed, opened again when they broke, timed out as one.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::intake::Intake;
use super::shared::Shared;
use super::side::Side;
use super::{Address, Answer, Attempt, ConnectionPolicy, Failure, HttpVersion, Outgoing, Reception, Times, Via};
use crate::clock::RunClock;

/// Why an exchange on a connection gave no answer.
pub(super) enum Unsent {
    /// The server had closed the connection before a byte of the request went out.
    Closed,
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Connections that several slots share, one to each side of the target.
#[derive(Debug, Default)]
pub struct SharedLinks {
    http: Arc<Shared>,
    grpc: Arc<Shared>,
}

/// A slot's connections.
pub struct Links {
    http: Side,
    grpc: Side,
    /// Kept: a group lives as long as its slots.
    _pair: Option<Arc<SharedLinks>>,
}

impl Links {
    /// No connection yet.
    pub fn new(http: Option<Address>, grpc: Option<Address>, policy: ConnectionPolicy) -> Self {
        Self { http: Side::new(http, policy, None), grpc: Side::new(grpc, policy, None), _pair: None }
    }

    /// No connection yet; what speaks HTTP/2 will share one with all others of the same `pair`.
    pub fn sharing(
        http: Option<Address>,
        grpc: Option<Address>,
        policy: ConnectionPolicy,
        pair: Arc<SharedLinks>,
    ) -> Self {
        let multiplexes = http.as_ref().is_some_and(|http| http.version == HttpVersion::Http2);
        let shared = multiplexes.then(|| Arc::clone(&pair.http));
        let grpc = Side::new(grpc, policy, Some(Arc::clone(&pair.grpc)));
        Self { http: Side::new(http, policy, shared), grpc, _pair: Some(pair) }
    }

    /// Minds the idle connections, so that one which the server closes is noticed before it is used. Ends when one was.
    pub async fn mind(&mut self) {
        tokio::select! {
            () = self.http.closed() => {}
            () = self.grpc.closed() => {}
        }
    }

    /// Sends a request and receives its answer, within `limit`.
    pub async fn exchange(
        &mut self,
        via: Via,
        request: &Outgoing<'_>,
        clock: &RunClock,
        limit: Duration,
        mut reception: Reception,
        on_wire: impl FnOnce(u64),
    ) -> Attempt {
        let side = match via {
            Via::Http => &mut self.http,
            Via::Grpc => &mut self.grpc,
        };
        let mut attempt = Attempt {
            times: Times::default(),
            new_connection: false,
            resent: 0,
            result: Err(Failure::Timeout),
            seen: None,
        };
        // Pinned where it is: it would be copied otherwise, once for each request.
        let result = {
            // Pinned where it is: it would be copied otherwise, once for each request.
            let work = pin!(try_exchange(side, request, clock, &mut reception, &mut attempt, on_wire));
            tokio::time::timeout(limit, work).await
        };
        attempt.result = result.unwrap_or_else(|_| Err(side.given_up()));
        attempt.times.done_ns = clock.now_ns();
        attempt.seen = reception.watch.map(|watch| Box::new(watch.finish()));
        if attempt.result.is_err() {
            side.close();
        }
        attempt
    }
}

async fn try_exchange(
    side: &mut Side,
    request: &Outgoing<'_>,
    clock: &RunClock,
    reception: &mut Reception,
    attempt: &mut Attempt,
    on_wire: impl FnOnce(u64),
) -> Result<Answer, Failure> {
    let mut on_wire = Some(on_wire);
    loop {
        let opened = side.ready(clock).await?;
        attempt.new_connection |= opened;
        if let Some(on_wire) = on_wire.take() {
            on_wire(clock.now_ns());
        }
        let mut intake = Intake::new(clock, &mut attempt.times, reception);
        match side.send(request, &mut intake).await {
            Ok(()) => return Ok(intake.finish()),
            Err(Unsent::Failed(Failure::Transport(said))) if opened && attempt.times.first_byte_ns == 0 => {
                return Err(side.broken(said));
            }
            Err(Unsent::Failed(failure)) => return Err(failure),
            // A fresh connection that is closed at once is the server's answer, not a stale connection.
            Err(Unsent::Closed) if opened => return Err(side.refused()),
            Err(Unsent::Closed) => {}
        }
        attempt.resent += 1;
        side.close();
    }
}
