//! Tells the handlers of a connection where it comes from, where they want to know.

use std::net::IpAddr;
use std::task::{Context, Poll};

use http::Request;
use tonic::codegen::Service;

use super::gate::Peer;

/// A service that names the peer in every request.
#[derive(Clone)]
pub(super) struct Named<S> {
    inner: S,
    peer: Option<Peer>,
}

impl<S> Named<S> {
    /// `inner` on a connection from this address; `None` where nobody wants to know.
    pub(super) fn new(inner: S, peer: Option<IpAddr>) -> Self {
        Self { inner, peer: peer.map(Peer) }
    }
}

impl<B, S: Service<Request<B>>> Service<Request<B>> for Named<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.inner.call(request)
    }
}
