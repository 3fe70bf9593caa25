//! The steps that a `[load]` asks for: levels read as rates or as users, and the table that fits the kind.

use proofload_run::manifest::{ScenarioKind, Step};
use proofload_run::units::parse_rate_per_s;

use super::as_written::{self as written, ModelWord};
use super::document::Value;
use super::reader::{Located, Problems, complain_missing};
use super::steps::{self, Growth, MOST_STEPS};
use crate::plan::Recording;

/// Shortest step: anything shorter has no arrivals to speak of.
pub(super) const SHORTEST_STEP_NS: u64 = 100_000_000;
/// Most arrivals of a plan; a million a second for nearly three hours.
const MOST_ARRIVALS: f64 = 1e10;
/// Highest rate that makes sense for one generator.
const HIGHEST_RATE: f64 = 1e6;
/// Most simulated users.
const MOST_USERS: f64 = 100_000.0;
/// Share of a stress step that settles, unless the file says otherwise.
const SETTLE: u64 = 5;
/// Share of a spike's recovery within which the target must have recovered, unless the file says otherwise.
const RECOVER: u64 = 3;

/// Reads levels and builds steps for one load model, gathering problems.
pub(super) struct Levels<'a> {
    pub(super) model: ModelWord,
    pub(super) problems: &'a Problems,
}

impl Levels<'_> {
    pub(super) fn complain<T>(&self, at: &Located<T>, message: impl std::fmt::Display) {
        self.problems.borrow_mut().push(at.problem(message));
    }

    /// A level that must be there.
    pub(super) fn level(&self, level: Option<&Located<Value>>, key: &str, table: &Located<()>) -> Option<f64> {
        let Some(level) = level else {
            complain_missing(self.problems, table, key, format!("write {key} = {}", self.example()));
            return None;
        };
        match self.read(&level.value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.complain(level, message);
                None
            }
        }
    }

    fn example(&self) -> &'static str {
        match self.model {
            ModelWord::Open => "\"50/s\"",
            ModelWord::Closed => "10",
        }
    }

    fn read(&self, value: &Value) -> Result<f64, String> {
        match (self.model, value) {
            (ModelWord::Open, Value::String(text)) => in_range(parse_rate_per_s(text).map_err(|e| e.to_string())?),
            (ModelWord::Open, Value::Integer(number)) => in_range(*number as f64),
            (ModelWord::Open, Value::Float(number)) => in_range(*number),
            (ModelWord::Closed, Value::Integer(number)) if (1.0..=MOST_USERS).contains(&(*number as f64)) => {
                Ok(*number as f64)
            }
            (ModelWord::Closed, Value::Integer(number)) => Err(format!("{number} users; write 1 to {MOST_USERS}")),
            (ModelWord::Open, other) => Err(format!("a rate such as \"50/s\" was expected, not {}", other.kind())),
            (ModelWord::Closed, other) => Err(format!(
                "a whole number of users was expected, not {}; rates belong to model = \"open\"",
                other.kind()
            )),
        }
    }

    /// A duration that must be there and be long enough for a step.
    pub(super) fn duration(&self, duration_ns: Option<&Located<u64>>, key: &str, table: &Located<()>) -> Option<u64> {
        match duration_ns {
            None => {
                complain_missing(self.problems, table, key, format!("write {key} = \"30s\""));
                None
            }
            Some(ns) if ns.value < SHORTEST_STEP_NS => {
                self.complain(ns, "is too short to measure anything; write at least 100ms");
                None
            }
            Some(ns) => Some(ns.value),
        }
    }

    /// The steps of a load of this kind, with the recording that it replays, if any. `None` when something was wrong,
    /// which has been said.
    pub(super) fn steps(
        &self,
        kind: ScenarioKind,
        load: &written::Load,
        recording: Option<&Recording>,
    ) -> Option<Vec<Step>> {
        self.refuse_strangers(kind, load);
        let steps = match kind {
            ScenarioKind::Sustained | ScenarioKind::Endurance => self.shaped(load, recording),
            ScenarioKind::Stress => self.stairs(load),
            ScenarioKind::Spike => self.spike(load),
            ScenarioKind::Ramp => self.ramp(load),
        }?;
        let warm_up_ns = load.warm_up_ns.as_ref().map_or(0, |ns| ns.value);
        let steps = steps::warmed_up(steps, warm_up_ns);
        self.check_size(load, &steps)?;
        Some(steps)
    }

    /// Complains about plans that are too large, or empty.
    fn check_size(&self, load: &written::Load, steps: &[Step]) -> Option<()> {
        let arrivals: f64 =
            steps.iter().map(|s| (s.level_start + s.level_end) / 2.0 * ((s.end_ns - s.start_ns) as f64 / 1e9)).sum();
        if self.model == ModelWord::Open && arrivals > MOST_ARRIVALS {
            self.complain(
                &load.here,
                format!("{arrivals:.0} arrivals are too many; shorten the run or lower the rate to stay below 10^10"),
            );
            return None;
        }
        if self.model == ModelWord::Open && arrivals < 1.0 {
            self.complain(&load.here, "not a single arrival comes of this; raise the rate or lengthen the run");
            return None;
        }
        if steps.len() > MOST_STEPS {
            let remedy = "hold levels for longer, or take a longer period";
            self.complain(&load.here, format!("{} steps are more than {MOST_STEPS}; {remedy}", steps.len()));
            return None;
        }
        Some(())
    }

    /// Complains about tables and keys that belong to another kind.
    fn refuse_strangers(&self, kind: ScenarioKind, load: &written::Load) {
        let holds = matches!(kind, ScenarioKind::Sustained | ScenarioKind::Endurance);
        let timed = holds && load.stages.is_empty() || kind == ScenarioKind::Ramp;
        let tables = [
            (load.steps.as_ref().map(|t| &t.here), kind == ScenarioKind::Stress, "stress"),
            (load.spike.as_ref().map(|t| &t.here), kind == ScenarioKind::Spike, "spike"),
            (load.ramp.as_ref().map(|t| &t.here), kind == ScenarioKind::Ramp, "ramp"),
            (load.sine.as_ref().map(|t| &t.here), holds, "sustained\" or \"endurance"),
            (load.stages.first().map(|t| &t.here), holds, "sustained\" or \"endurance"),
            (load.replay.as_ref().map(|t| &t.here), holds, "sustained\" or \"endurance"),
        ];
        for (table, fits, word) in tables {
            if let (Some(table), false) = (table, fits) {
                self.complain(table, format!("belongs to kind = \"{word}\"; remove it or change the kind"));
            }
        }
        if let (Some(stop), true) = (&load.stop_after_break, kind != ScenarioKind::Stress) {
            self.complain(
                stop,
                "belongs to kind = \"stress\", which climbs until it breaks; remove it or change the kind",
            );
        }
        for level in [&load.rate, &load.users].into_iter().flatten() {
            if !holds {
                self.complain(
                    level,
                    "belongs to kind = \"sustained\" or \"endurance\"; this kind takes its levels from its own table",
                );
            }
        }
        if let (Some(duration), false) = (&load.duration_ns, timed) {
            self.complain(duration, "the length follows from the load's tables; change it there and remove this");
        }
    }

    /// A sustained load: one level, unless a table shapes it.
    fn shaped(&self, load: &written::Load, recording: Option<&Recording>) -> Option<Vec<Step>> {
        let shapes = [
            load.sine.as_ref().map(|t| (&t.here, "[load.sine]")),
            load.stages.first().map(|t| (&t.here, "[[load.stages]]")),
            load.replay.as_ref().map(|t| (&t.here, "[load.replay]")),
        ];
        let mut shapes = shapes.into_iter().flatten();
        let Some((_, first)) = shapes.next() else { return self.hold(load) };
        for (here, word) in shapes {
            self.complain(here, format!("{word} and {first} cannot both shape the load; remove one"));
        }
        for level in [&load.rate, &load.users].into_iter().flatten() {
            self.complain(level, format!("{first} gives the levels; remove one of the two"));
        }
        match (&load.sine, load.stages.is_empty()) {
            (Some(sine), _) => self.sine(sine, load),
            (None, false) => self.stages(&load.stages),
            (None, true) => self.replay(load, recording?),
        }
    }

    fn hold(&self, load: &written::Load) -> Option<Vec<Step>> {
        let (here, stranger, key) = match self.model {
            ModelWord::Open => (&load.rate, &load.users, "rate"),
            ModelWord::Closed => (&load.users, &load.rate, "users"),
        };
        if let Some(stranger) = stranger {
            let (this, other) = if self.model == ModelWord::Open { ("open", "closed") } else { ("closed", "open") };
            self.complain(stranger, format!("belongs to model = \"{other}\"; this load is {this} and takes `{key}`"));
        }
        let level = self.level(here.as_ref(), key, &load.here);
        let duration_ns = self.duration(load.duration_ns.as_ref(), "duration", &load.here);
        Some(steps::hold(level?, duration_ns?))
    }

    fn ramp(&self, load: &written::Load) -> Option<Vec<Step>> {
        let duration_ns = self.duration(load.duration_ns.as_ref(), "duration", &load.here);
        let Some(ramp) = &load.ramp else {
            self.complain(&load.here, "kind = \"ramp\" needs a table [load.ramp] with from and to");
            return None;
        };
        let from = self.level(ramp.from.as_ref(), "from", &ramp.here);
        let to = self.level(ramp.to.as_ref(), "to", &ramp.here);
        Some(steps::ramp(from?, to?, duration_ns?))
    }

    fn spike(&self, load: &written::Load) -> Option<Vec<Step>> {
        let Some(spike) = &load.spike else {
            self.complain(
                &load.here,
                "kind = \"spike\" needs a table [load.spike] with base, peak, before, hold and recovery",
            );
            return None;
        };
        let here = &spike.here;
        let (base, peak) =
            (self.level(spike.base.as_ref(), "base", here), self.level(spike.peak.as_ref(), "peak", here));
        let before_ns = self.duration(spike.before_ns.as_ref(), "before", here);
        let hold_ns = self.duration(spike.hold_ns.as_ref(), "hold", here);
        let recovery_ns = self.duration(spike.recovery_ns.as_ref(), "recovery", here);
        let (base, peak) = (base?, peak?);
        if peak <= base {
            self.complain(spike.peak.as_ref()?, "a spike's peak must be above its base");
            return None;
        }
        let recovery_ns = recovery_ns?;
        let settle_ns = spike.recover_within_ns.as_ref().map_or(recovery_ns / RECOVER, |within| within.value);
        if settle_ns >= recovery_ns {
            self.complain(spike.recover_within_ns.as_ref()?, "leaves nothing to judge; write less than `recovery`");
            return None;
        }
        Some(steps::spike(base, peak, before_ns?, hold_ns?, recovery_ns, settle_ns))
    }

    fn stairs(&self, load: &written::Load) -> Option<Vec<Step>> {
        let Some(table) = &load.steps else {
            self.complain(&load.here, "kind = \"stress\" needs a table [load.steps] with from, to, step and hold");
            return None;
        };
        let from = self.level(table.from.as_ref(), "from", &table.here);
        let to = self.level(table.to.as_ref(), "to", &table.here);
        let growth = self.growth(table);
        let hold_ns = self.duration(table.hold_ns.as_ref(), "hold", &table.here);
        let (from, to, growth, hold_ns) = (from?, to?, growth?, hold_ns?);
        let settle_ns = table.settle_ns.as_ref().map_or(hold_ns / SETTLE, |settle| settle.value);
        if settle_ns >= hold_ns {
            self.complain(table.settle_ns.as_ref()?, "leaves nothing of the step to measure; write less than `hold`");
            return None;
        }
        if to < from {
            self.complain(table.to.as_ref()?, "a stress scenario's levels rise: `to` must not be below `from`");
            return None;
        }
        if from <= 0.0 {
            self.complain(table.from.as_ref()?, "the first level must be above 0");
            return None;
        }
        let Some(levels) = steps::levels(from, to, growth, self.model == ModelWord::Closed) else {
            self.complain(&table.here, format!("these are more than {MOST_STEPS} steps; take a larger step"));
            return None;
        };
        Some(steps::stairs(&levels, hold_ns, settle_ns))
    }

    fn growth(&self, table: &written::Steps) -> Option<Growth> {
        match (&table.step, &table.percent) {
            (Some(step), None) => {
                let growth = self.level(Some(step), "step", &table.here)?;
                if growth > 0.0 {
                    return Some(Growth::Add(growth));
                }
                self.complain(step, "steps of 0 never reach `to`; write a step above 0");
                None
            }
            (None, Some(percent)) if percent.value > 0.0 => Some(Growth::Percent(percent.value)),
            (None, Some(percent)) => {
                self.complain(percent, "steps of 0 % never reach `to`; write a percentage above 0");
                None
            }
            (Some(_), Some(percent)) => {
                self.complain(percent, "write either step or percent, not both");
                None
            }
            (None, None) => {
                let remedy = format!("write step = {} or percent = \"5%\"", self.example());
                complain_missing(self.problems, &table.here, "step", remedy);
                None
            }
        }
    }
}

fn in_range(rate: f64) -> Result<f64, String> {
    match rate {
        _ if rate < 0.0 => Err(format!("a rate of {rate}/s is negative; write one above 0")),
        _ if rate > HIGHEST_RATE => {
            Err(format!("{rate}/s is more than one generator can send; write at most {HIGHEST_RATE}/s"))
        }
        _ if rate.is_nan() => Err("not a number; write a rate such as \"50/s\"".to_owned()),
        _ => Ok(rate),
    }
}
