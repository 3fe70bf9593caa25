//! The tables of `[load]` that shape it: what may stand in them, with its place. What they mean is
//! [`super::super::levels`]' affair.

use proofload_run::units::{parse_duration_ns, parse_share};

use schemars::JsonSchema;

use super::Maybe;
use crate::scenario::document::Value;
use crate::scenario::reader::{Located, Table};
use crate::scenario::schema::{Duration, Level, Share};

/// Levels that rise, each held. Write `step` or `percent`.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Steps {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// The first level: a rate (open) or users (closed).
    #[schemars(with = "Level")]
    pub(in crate::scenario) from: Maybe<Value>,
    /// The last level, or the first beyond it.
    #[schemars(with = "Level")]
    pub(in crate::scenario) to: Maybe<Value>,
    /// How much is added each time. Or write `percent`.
    #[schemars(default, with = "Level")]
    pub(in crate::scenario) step: Maybe<Value>,
    /// By which share of the last a level is raised. Or write `step`.
    #[schemars(default, with = "Share")]
    pub(in crate::scenario) percent: Maybe<f64>,
    /// How long each level is held.
    #[schemars(rename = "hold", with = "Duration")]
    pub(in crate::scenario) hold_ns: Maybe<u64>,
    /// Start of each step that does not count. Default: a fifth of hold.
    #[schemars(default, rename = "settle", with = "Duration")]
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

/// A base level, a burst, and the base level again.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Spike {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// The level before and after: a rate (open) or users (closed).
    #[schemars(with = "Level")]
    pub(in crate::scenario) base: Maybe<Value>,
    /// The level of the burst.
    #[schemars(with = "Level")]
    pub(in crate::scenario) peak: Maybe<Value>,
    /// How long the base level is held before the burst.
    #[schemars(rename = "before", with = "Duration")]
    pub(in crate::scenario) before_ns: Maybe<u64>,
    /// How long the burst lasts.
    #[schemars(rename = "hold", with = "Duration")]
    pub(in crate::scenario) hold_ns: Maybe<u64>,
    /// How long the base level is held after the burst.
    #[schemars(rename = "recovery", with = "Duration")]
    pub(in crate::scenario) recovery_ns: Maybe<u64>,
    /// Start of the recovery that is not judged. Default: a third of it.
    #[schemars(default, rename = "recover_within", with = "Duration")]
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

/// Evenly from one level to the other.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Ramp {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// The level at the start: a rate (open) or users (closed).
    #[schemars(with = "Level")]
    pub(in crate::scenario) from: Maybe<Value>,
    /// The level at the end.
    #[schemars(with = "Level")]
    pub(in crate::scenario) to: Maybe<Value>,
}

pub(super) fn ramp(table: &Table<'_>) -> Ramp {
    let ramp = Ramp { here: table.here(), from: table.raw("from"), to: table.raw("to") };
    table.finish();
    ramp
}

/// A day's curve, in 24 straight pieces a period.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Sine {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// The middle level.
    #[schemars(with = "Level")]
    pub(in crate::scenario) mean: Maybe<Value>,
    /// How far it goes up and down.
    #[schemars(with = "Level")]
    pub(in crate::scenario) amplitude: Maybe<Value>,
    /// Length of one wave.
    #[schemars(rename = "period", with = "Duration")]
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

/// One part of a load: write `level` to hold it, `to` (and `from`) to ramp, or `mean`, `amplitude` and `period` for a
/// sine.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Stage {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// What the report calls it.
    #[schemars(default, with = "String")]
    pub(in crate::scenario) name: Maybe<String>,
    /// How long it lasts.
    #[schemars(rename = "duration", with = "Duration")]
    pub(in crate::scenario) duration_ns: Maybe<u64>,
    /// Start of it that does not count. Default: none.
    #[schemars(default, rename = "settle", with = "Duration")]
    pub(in crate::scenario) settle_ns: Maybe<u64>,
    /// A level that is held.
    #[schemars(default, with = "Level")]
    pub(in crate::scenario) level: Maybe<Value>,
    /// Where a ramp starts. Default: where the last stage ended.
    #[schemars(default, with = "Level")]
    pub(in crate::scenario) from: Maybe<Value>,
    /// Where a ramp ends.
    #[schemars(default, with = "Level")]
    pub(in crate::scenario) to: Maybe<Value>,
    #[schemars(flatten, with = "Option<Sine>")]
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

/// All arrivals of a period come in its first part.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Burst {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// The period.
    #[schemars(rename = "every", with = "Duration")]
    pub(in crate::scenario) every_ns: Maybe<u64>,
    /// Its first part. Default: 0, all at once.
    #[schemars(default, rename = "length", with = "Duration")]
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

/// A recording of arrivals.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::scenario) struct Replay {
    #[schemars(skip)]
    pub(in crate::scenario) here: Located<()>,
    /// CSV or Parquet, relative to the scenario file; a row for each request, in any order.
    #[schemars(with = "String")]
    pub(in crate::scenario) file: Maybe<String>,
    /// The moment of a request, with its unit by the name's ending (_s, _ms, _us, _ns), or a date. Default: the first such
    /// column.
    #[schemars(default, with = "String")]
    pub(in crate::scenario) column: Maybe<String>,
    /// A column that names the entry of the mix. Default: entries are drawn by weight.
    #[schemars(default, with = "String")]
    pub(in crate::scenario) entries: Maybe<String>,
    /// 2.0 replays twice as fast. Default: 1.
    #[schemars(default, with = "f64")]
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
