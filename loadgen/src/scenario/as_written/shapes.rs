//! The tables of `[load]` that shape it: what may stand in them, with its place. What they mean is
//! [`super::super::levels`]' affair.

use proofload_run::units::{parse_duration_ns, parse_share};

use super::Maybe;
use crate::scenario::document::Value;
use crate::scenario::reader::{Located, Table};

/// `[load.steps]` of a stress scenario.
#[derive(Debug)]
pub(in crate::scenario) struct Steps {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) from: Maybe<Value>,
    pub(in crate::scenario) to: Maybe<Value>,
    pub(in crate::scenario) step: Maybe<Value>,
    pub(in crate::scenario) percent: Maybe<f64>,
    pub(in crate::scenario) hold_ns: Maybe<u64>,
    pub(in crate::scenario) settle_ns: Maybe<u64>,
}

pub(super) fn steps(table: &Table<'_>) -> Steps {
    let steps = Steps {
        here: table.here(),
        from: table.raw("from"),
        to: table.raw("to"),
        step: table.raw("step"),
        percent: table.quantity("percent", parse_share),
        hold_ns: table.quantity("hold", parse_duration_ns),
        settle_ns: table.quantity("settle", parse_duration_ns),
    };
    table.finish();
    steps
}

/// `[load.spike]`.
#[derive(Debug)]
pub(in crate::scenario) struct Spike {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) base: Maybe<Value>,
    pub(in crate::scenario) peak: Maybe<Value>,
    pub(in crate::scenario) before_ns: Maybe<u64>,
    pub(in crate::scenario) hold_ns: Maybe<u64>,
    pub(in crate::scenario) recovery_ns: Maybe<u64>,
    pub(in crate::scenario) recover_within_ns: Maybe<u64>,
}

pub(super) fn spike(table: &Table<'_>) -> Spike {
    let spike = Spike {
        here: table.here(),
        base: table.raw("base"),
        peak: table.raw("peak"),
        before_ns: table.quantity("before", parse_duration_ns),
        hold_ns: table.quantity("hold", parse_duration_ns),
        recovery_ns: table.quantity("recovery", parse_duration_ns),
        recover_within_ns: table.quantity("recover_within", parse_duration_ns),
    };
    table.finish();
    spike
}

/// `[load.ramp]`.
#[derive(Debug)]
pub(in crate::scenario) struct Ramp {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) from: Maybe<Value>,
    pub(in crate::scenario) to: Maybe<Value>,
}

pub(super) fn ramp(table: &Table<'_>) -> Ramp {
    let ramp = Ramp { here: table.here(), from: table.raw("from"), to: table.raw("to") };
    table.finish();
    ramp
}

/// `[load.sine]`, and a stage that is one.
#[derive(Debug)]
pub(in crate::scenario) struct Sine {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) mean: Maybe<Value>,
    pub(in crate::scenario) amplitude: Maybe<Value>,
    pub(in crate::scenario) period_ns: Maybe<u64>,
}

pub(super) fn sine(table: &Table<'_>) -> Sine {
    let sine = waves(table);
    table.finish();
    sine
}

fn waves(table: &Table<'_>) -> Sine {
    Sine {
        here: table.here(),
        mean: table.raw("mean"),
        amplitude: table.raw("amplitude"),
        period_ns: table.quantity("period", parse_duration_ns),
    }
}

/// `[[load.stages]]`: a hold, a ramp or a sine, by which of its keys are there.
#[derive(Debug)]
pub(in crate::scenario) struct Stage {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) name: Maybe<String>,
    pub(in crate::scenario) duration_ns: Maybe<u64>,
    pub(in crate::scenario) settle_ns: Maybe<u64>,
    pub(in crate::scenario) level: Maybe<Value>,
    pub(in crate::scenario) from: Maybe<Value>,
    pub(in crate::scenario) to: Maybe<Value>,
    pub(in crate::scenario) sine: Sine,
}

pub(super) fn stage(table: &Table<'_>) -> Stage {
    let stage = Stage {
        here: table.here(),
        name: table.string("name"),
        duration_ns: table.quantity("duration", parse_duration_ns),
        settle_ns: table.quantity("settle", parse_duration_ns),
        level: table.raw("level"),
        from: table.raw("from"),
        to: table.raw("to"),
        sine: waves(table),
    };
    table.finish();
    stage
}

/// `[load.burst]`.
#[derive(Debug)]
pub(in crate::scenario) struct Burst {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) every_ns: Maybe<u64>,
    pub(in crate::scenario) length_ns: Maybe<u64>,
}

pub(super) fn burst(table: &Table<'_>) -> Burst {
    let burst = Burst {
        here: table.here(),
        every_ns: table.quantity("every", parse_duration_ns),
        length_ns: table.quantity("length", parse_duration_ns),
    };
    table.finish();
    burst
}

/// `[load.replay]`.
#[derive(Debug)]
pub(in crate::scenario) struct Replay {
    pub(in crate::scenario) here: Located<()>,
    pub(in crate::scenario) file: Maybe<String>,
    pub(in crate::scenario) column: Maybe<String>,
    pub(in crate::scenario) entries: Maybe<String>,
    pub(in crate::scenario) speed: Maybe<f64>,
}

pub(super) fn replay(table: &Table<'_>) -> Replay {
    let replay = Replay {
        here: table.here(),
        file: table.string("file"),
        column: table.string("column"),
        entries: table.string("entries"),
        speed: table.number("speed"),
    };
    table.finish();
    replay
}
