//! When a run ends, and how long it drains.

use std::time::Duration;

use proofload_run::events::EventKind;
use proofload_run::manifest::{EndReason, Step};
use tokio::sync::watch;

use crate::dispatch::hub::HubState;
use crate::dispatch::slot::Stage;
use crate::progress::Snapshot;
use crate::stop::StopHandle;

/// How often the conductor looks around.
const LOOK: Duration = Duration::from_millis(20);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) reason: EndReason,
    pub(super) detail: String,
}

impl Ending {
    pub(super) fn completed() -> Self {
        Self { reason: EndReason::Completed, detail: String::new() }
    }

    pub(super) fn failed(why: &str) -> Self {
        Self { reason: EndReason::GeneratorFailed, detail: why.to_owned() }
    }
}

/// Waits for the end of the plan, or for a reason to end before.
pub(super) async fn conduct(
    stage: &Stage,
    steps: &[Step],
    stop: &StopHandle,
    snapshots: &watch::Receiver<Snapshot>,
) -> Ending {
    let end_ns = steps.last().map_or(0, |step| step.end_ns);
    loop {
        tokio::time::sleep(stage.clock.until(end_ns).min(LOOK)).await;
        let now_ns = stage.clock.now_ns();
        if now_ns >= end_ns {
            stage.curtain.stop_at(end_ns);
            return Ending::completed();
        }
        if stop.count() > 0 {
            let by = stop.by();
            stage.curtain.stop_at(now_ns);
            stage.log.event(now_ns, EventKind::StopRequested { by: by.clone() });
            return Ending { reason: EndReason::Interrupted, detail: format!("ended early by {by}") };
        }
        let abort = snapshots.borrow().abort.clone();
        if let Some(threshold) = abort {
            stage.curtain.stop_at(now_ns);
            stage.log.event(now_ns, EventKind::StopRequested { by: format!("the threshold {threshold}") });
            return Ending { reason: EndReason::Aborted, detail: format!("{threshold} was missed") };
        }
        let broken_by = snapshots.borrow().broken_by;
        if let Some(step) = broken_by {
            stage.curtain.stop_at(now_ns);
            stage.log.event(now_ns, EventKind::LimitFound { step });
            let name = steps.get(usize::from(step)).map_or("its last step", |step| step.name.as_str());
            let detail = format!("the service level had clearly broken by {name}");
            return Ending { reason: EndReason::LimitFound, detail };
        }
        let unwritable = snapshots.borrow().unwritable.clone();
        if let Some(why) = unwritable {
            stage.curtain.stop_at(now_ns);
            stage.log.event(now_ns, EventKind::StopRequested { by: "samples cannot be written".to_owned() });
            return Ending::failed(&format!("samples could not be written: {why}"));
        }
        let lost = snapshots.borrow().target_lost_since_ns;
        if let Some(last_answer_ns) = lost {
            stage.curtain.stop_at(now_ns);
            return lose(stage, now_ns, last_answer_ns);
        }
    }
}

fn lose(stage: &Stage, now_ns: u64, last_answer_ns: u64) -> Ending {
    let detail = if last_answer_ns == 0 {
        "the target never answered".to_owned()
    } else {
        format!("the target stopped answering at {:.1} s", last_answer_ns as f64 / 1e9)
    };
    let message = "since then every connection was refused or broke".to_owned();
    stage.log.event(now_ns, EventKind::TargetLost { last_answer_ns, message });
    stage.log.event(now_ns, EventKind::StopRequested { by: "target lost".to_owned() });
    Ending { reason: EndReason::TargetLost, detail }
}

/// Waits until all that was due is released and nothing is in flight any more, `drain_ns` have passed, or somebody
/// asks a second time.
pub(super) async fn drain(stage: &Stage, hub: &dyn Fn() -> HubState, drain_ns: u64, stop: &StopHandle) {
    let until_ns = stage.clock.now_ns().saturating_add(drain_ns);
    while stage.clock.now_ns() < until_ns && stop.count() < 2 {
        // The hub first: between two requests a slot is busy there and has nothing in the ledger.
        let HubState { waiting, busy, releasing, .. } = hub();
        if !releasing && waiting == 0 && busy == 0 && stage.ledger.in_flight() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
