//! A job's record for the traces: from being taken to its end, whatever that is.

use std::time::Instant;

use proofload_wire::trace::TraceParent;

use crate::engine::Engine;
use crate::jobs::{Kind, Work};
use crate::telemetry::trace::Job;

/// Hands the record over when it is dropped, which is when the job ends: done, failed, or given up at any time.
struct Account {
    engine: Engine,
    record: Option<Job>,
}

impl Drop for Account {
    fn drop(&mut self) {
        let (Some(traces), Some(record)) = (self.engine.traces(), self.record.take()) else { return };
        traces.record(Job { ended: Instant::now(), ..record });
    }
}

/// The same work, with a record of it. Costs nothing where traces go nowhere.
pub(super) fn traced(work: Work, engine: Engine, kind: Kind, parent: Option<TraceParent>) -> Work {
    if engine.traces().is_none() {
        return work;
    }
    let (taken, error) = (Instant::now(), Some("the job was given up".to_owned()));
    let record = Job { parent, kind: kind.as_str(), taken, began: None, ended: taken, error };
    let mut account = Account { engine, record: Some(record) };
    Box::new(move |reporter| {
        Box::pin(async move {
            account.record.iter_mut().for_each(|record| record.began = Some(Instant::now()));
            let result = work(reporter).await;
            let error = result.as_ref().err().map(|failure| failure.message.clone());
            account.record.iter_mut().for_each(|record| record.error.clone_from(&error));
            result
        })
    })
}
