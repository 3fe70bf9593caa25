//! What the messages of a stream pay: a call is counted once when it comes in, and each message after the first as a
//! request of its own. Otherwise one stream would be a way around every limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::Extensions;

use super::{Gate, Who, layer};
use crate::engine::ServeError;

/// Counts the messages of one call; free of charge where there is no gate.
#[derive(Clone, Default)]
pub(in crate::front) struct Toll(Option<Arc<Call>>);

struct Call {
    gate: Arc<Gate>,
    who: Who,
    /// Whether the first message, which came in with the call, has passed.
    begun: AtomicBool,
}

impl Toll {
    /// The toll of a call that was let in.
    pub(super) fn new(gate: Arc<Gate>, who: Who) -> Self {
        Self(Some(Arc::new(Call { gate, who, begun: AtomicBool::new(false) })))
    }

    /// The toll of the call with these extensions.
    pub(in crate::front) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Lets a message pass.
    ///
    /// # Errors
    /// When whoever sends it has asked too often.
    pub(in crate::front) async fn pay(&self) -> Result<(), ServeError> {
        let Some(call) = &self.0 else { return Ok(()) };
        if !call.begun.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let charged = call.gate.charge(&call.who, Instant::now(), layer::unix_s()).await;
        charged.map(drop).map_err(|refused| {
            call.gate.meters.refused(refused.reason);
            refused.error
        })
    }
}
