//! Loads whose level follows a curve: a sine, stages one after another, a recording. See [`super::levels`].

use proofload_run::manifest::Step;

use super::as_written as written;
use super::levels::{Levels, SHORTEST_STEP_NS};
use super::reader::Located;
use super::steps::{self, PIECES};
use crate::plan::Recording;

impl Levels<'_> {
    /// `[load.sine]`, for as long as the load lasts.
    pub(super) fn sine(&self, sine: &written::Sine, load: &written::Load) -> Option<Vec<Step>> {
        let duration_ns = self.duration(load.duration_ns.as_ref(), "duration", &load.here);
        self.waves("sine", sine, duration_ns)
    }

    fn waves(&self, name: &str, sine: &written::Sine, duration_ns: Option<u64>) -> Option<Vec<Step>> {
        let mean = self.level(sine.mean.as_ref(), "mean", &sine.here);
        let amplitude = self.level(sine.amplitude.as_ref(), "amplitude", &sine.here);
        let period_ns = self.duration(sine.period_ns.as_ref(), "period", &sine.here);
        let (mean, amplitude, period_ns) = (mean?, amplitude?, period_ns?);
        if amplitude > mean {
            self.complain(sine.amplitude.as_ref()?, "is more than the mean, and a level cannot fall below 0");
            return None;
        }
        if period_ns < SHORTEST_STEP_NS * PIECES {
            let remedy = "a period is cut into 24 pieces of at least 100ms; write 2.4s or more";
            self.complain(sine.period_ns.as_ref()?, remedy);
            return None;
        }
        Some(steps::sine(name, mean, amplitude, period_ns, duration_ns?))
    }

    /// `[[load.stages]]`, one after the other.
    pub(super) fn stages(&self, stages: &[written::Stage]) -> Option<Vec<Step>> {
        let (mut plan, mut sound) = (Vec::<Step>::new(), true);
        for (number, stage) in stages.iter().enumerate() {
            let before = plan.last().map(|step| (step.end_ns, step.level_end));
            let name = stage.name.as_ref().map_or_else(|| format!("stage {}", number + 1), |name| name.value.clone());
            match self.stage(&name, stage, before.map(|(_, level)| level)) {
                Some(steps) => plan.extend(steps::later(steps, before.map_or(0, |(end_ns, _)| end_ns))),
                None => sound = false,
            }
        }
        sound.then_some(plan)
    }

    fn stage(&self, name: &str, stage: &written::Stage, before: Option<f64>) -> Option<Vec<Step>> {
        let duration_ns = self.duration(stage.duration_ns.as_ref(), "duration", &stage.here);
        let mut steps = match self.form(stage)? {
            Form::Sine => self.waves(name, &stage.sine, duration_ns)?,
            Form::Hold => {
                let level = self.level(stage.level.as_ref(), "level", &stage.here)?;
                steps::hold(level, duration_ns?)
            }
            Form::Ramp => {
                // A ramp goes on from where the stage before it ended.
                let from = match (&stage.from, before) {
                    (None, Some(before)) => Some(before),
                    (from, _) => self.level(from.as_ref(), "from", &stage.here),
                };
                let to = self.level(stage.to.as_ref(), "to", &stage.here);
                steps::ramp(from?, to?, duration_ns?)
            }
        };
        if let [only] = steps.as_mut_slice() {
            name.clone_into(&mut only.name);
        }
        self.settle(stage, &mut steps)?;
        Some(steps)
    }

    /// Which form a stage has, by its keys.
    fn form(&self, stage: &written::Stage) -> Option<Form> {
        let sine = [
            stage.sine.mean.as_ref().map(Located::unit),
            stage.sine.amplitude.as_ref().map(Located::unit),
            stage.sine.period_ns.as_ref().map(Located::unit),
        ];
        let ramp = [stage.from.as_ref().map(Located::unit), stage.to.as_ref().map(Located::unit)];
        let is = |keys: &[Option<Located<()>>]| keys.iter().any(Option::is_some);
        match (stage.level.is_some(), is(&ramp), is(&sine)) {
            (true, false, false) => Some(Form::Hold),
            (false, true, false) => Some(Form::Ramp),
            (false, false, true) => Some(Form::Sine),
            _ => {
                let forms = "either `level`, or `to` (and `from`), or `mean`, `amplitude` and `period`";
                self.complain(&stage.here, format!("a stage holds, ramps or swings; write {forms}"));
                None
            }
        }
    }

    /// The beginning of a stage that is not measured.
    fn settle(&self, stage: &written::Stage, steps: &mut [Step]) -> Option<()> {
        let Some(settle) = &stage.settle_ns else { return Some(()) };
        let first = steps.first_mut()?;
        if settle.value >= first.end_ns - first.start_ns {
            self.complain(settle, "leaves nothing of the stage to measure; write less than its duration");
            return None;
        }
        first.settle_ns = settle.value;
        Some(())
    }

    /// A recording, to its end or to the duration stated.
    pub(super) fn replay(&self, load: &written::Load, recording: &Recording) -> Option<Vec<Step>> {
        if let Some(warm_up) = load.warm_up_ns.as_ref().filter(|warm_up| warm_up.value > 0) {
            self.complain(warm_up, "a recording has no first level to warm up at; remove it");
        }
        let gap_ns = recording.last_ns() / (recording.len() as u64).max(1);
        let duration_ns = match &load.duration_ns {
            None => (recording.last_ns() + gap_ns + 1).max(SHORTEST_STEP_NS),
            stated => self.duration(stated.as_ref(), "duration", &load.here)?,
        };
        Some(steps::replay(recording.count_before(duration_ns), duration_ns))
    }
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Hold,
    Ramp,
    Sine,
}
