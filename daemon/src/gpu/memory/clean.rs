//! What is given back before memory is used up, in which order, and why. Pure: from what is known to steps, each with the
//! bytes that it should bring; whoever executes them says what they brought.
//!
//! First what costs nothing: blocks of the pool in which nothing lies. Then plans that are kept for shapes that may come
//! again, those first of which a byte is worth least (`shelf`). Then, where memory grows, the batches of models become smaller.
//! Last, models that nobody asks for leave the device: their weights stay in the host's memory and come back with the next
//! request.

use std::sync::Arc;
use std::time::Duration;

use super::growth::Growth;
use super::pressure::{Pressure, SOON_S, TIGHT};
use super::shelf::{Facts, Shapes};

/// Where memory is tight, this share of the budget is what is left in use.
pub const RELAXED: f64 = 0.75;
/// What was not used for so long goes when memory grows although it is not tight yet.
const COLD: Duration = Duration::from_secs(60);
/// What was not used for so long can be spared when memory is tight; so can what is made again in less than the other.
const UNUSED: Duration = Duration::from_secs(10);
const CHEAP: Duration = Duration::from_millis(5);
/// A model that nobody asked for so long may leave the device.
const IDLE: Duration = Duration::from_secs(30);

/// A plan that an instance keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanId {
    /// The model.
    pub model: Arc<str>,
    /// Its instance.
    pub instance: usize,
    /// What it is kept for.
    pub shapes: Shapes,
}

/// A model on a device, as far as its memory is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its name.
    pub model: Arc<str>,
    /// Whether it computes.
    pub running: bool,
    /// How long nobody has asked for it.
    pub idle: Duration,
    /// Its weights on the device.
    pub weight_bytes: u64,
    /// The batch that it may form now.
    pub batch: u32,
    /// The batch that its configuration allows.
    pub max_batch: u32,
    /// What a batch element takes on the device; 0 while nothing is known.
    pub element_bytes: u64,
    /// What its instances keep, by instance.
    pub warm: Vec<(usize, Facts)>,
}

/// What is known when something has to go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Situation {
    /// What may be used.
    pub budget_bytes: u64,
    /// What is used.
    pub used_bytes: u64,
    /// Blocks in which nothing lies.
    pub unused_block_bytes: u64,
    /// Who is there.
    pub tenants: Vec<Tenant>,
}

/// Something that is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Unused blocks go back to the driver.
    Trim,
    /// A plan that is kept goes.
    DropPlan(PlanId),
    /// A model forms smaller batches.
    ShrinkBatch {
        /// Which model.
        model: Arc<str>,
        /// From so many elements.
        from: u32,
        /// To so many.
        to: u32,
    },
    /// A model that is idle leaves the device.
    MoveToHost {
        /// Which model.
        model: Arc<str>,
    },
}

impl Action {
    /// Its name in documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::DropPlan(_) => "drop_plan",
            Self::ShrinkBatch { .. } => "shrink_batch",
            Self::MoveToHost { .. } => "move_to_host",
        }
    }

    /// The model that it is done to.
    pub fn model(&self) -> Option<&Arc<str>> {
        match self {
            Self::Trim => None,
            Self::DropPlan(PlanId { model, .. }) | Self::ShrinkBatch { model, .. } | Self::MoveToHost { model } => {
                Some(model)
            }
        }
    }
}

/// An action with what it should bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Bytes that it should bring; of a smaller batch, those that it will not take.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// How much should be given back, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// Bytes that should be given back.
    pub bytes: u64,
    /// What may go for it.
    pub reach: Reach,
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Plans that nobody has used for a minute.
    Cold,
    /// Also those that nobody has used lately or that are made again at once, and models that nobody asks for. What is in
    /// use stays: memory that is full and does what it should is no reason to do it slowly.
    Spare,
    /// Everything that can, and batches become smaller.
    All,
}

impl Reach {
    fn has(self, facts: &Facts) -> bool {
        match self {
            Self::Cold => facts.idle >= COLD,
            Self::Spare => facts.idle >= UNUSED || facts.made_in < CHEAP,
            Self::All => true,
        }
    }
}

/// What should be given back, if anything, in such a situation.
pub fn goal(pressure: Pressure, growth: &Growth, budget_bytes: u64, used_bytes: u64) -> Option<Goal> {
    if used_bytes as f64 > TIGHT * budget_bytes as f64 {
        let keep_bytes = (RELAXED * budget_bytes as f64) as u64;
        let grows = matches!(growth, Growth::Growing { .. });
        let reach = if grows { Reach::All } else { Reach::Spare };
        return Some(Goal { bytes: used_bytes - keep_bytes.min(used_bytes), reach });
    }
    match (pressure, growth) {
        (Pressure::High | Pressure::Over, Growth::Growing { bytes_per_s, .. }) => {
            // As much as what grows will take until it would have been at the limit.
            Some(Goal { bytes: (bytes_per_s.value * SOON_S) as u64, reach: Reach::Cold })
        }
        _ => None,
    }
}

/// Steps towards a goal, in order, as many as it takes; fewer where there is no more to give.
pub fn towards(goal: Goal, situation: &Situation) -> Vec<Step> {
    let (mut steps, mut brought) = (Vec::new(), 0);
    // Blocks without use are not used memory: giving them back helps others on the device, and counts for nothing here.
    steps.extend(trim(situation));
    for step in plans(situation, goal.reach) {
        if brought >= goal.bytes {
            return steps;
        }
        brought += step.bytes;
        steps.push(step);
    }
    if goal.reach == Reach::Cold || brought >= goal.bytes {
        return steps;
    }
    if goal.reach == Reach::All {
        steps.extend(shrink(situation, goal.bytes - brought));
    }
    for step in idle_models(situation) {
        if brought >= goal.bytes {
            break;
        }
        brought += step.bytes;
        steps.push(step);
    }
    steps
}

/// Everything that can be given back at once for `bytes` that are wanted now, in order. Whoever executes it stops as soon as
/// there is room: where the pool is in pieces, more has to go than bytes are wanted.
pub fn everything(situation: &Situation) -> Vec<Step> {
    trim(situation).into_iter().chain(plans(situation, Reach::All)).chain(idle_models(situation)).collect()
}

/// Bytes that could be given back: plans that are kept, and the weights of models that nobody asks for.
pub fn droppable_bytes(situation: &Situation) -> u64 {
    let kept = situation.tenants.iter().flat_map(|tenant| &tenant.warm).map(|(_, facts)| facts.bytes).sum::<u64>();
    let idle = situation.tenants.iter().filter(|tenant| may_leave(tenant)).map(|tenant| tenant.weight_bytes);
    kept + idle.sum::<u64>()
}

fn trim(situation: &Situation) -> Option<Step> {
    let bytes = situation.unused_block_bytes;
    let reason = "nothing lies in these blocks".to_owned();
    (bytes > 0).then_some(Step { action: Action::Trim, bytes, reason })
}

/// Plans that may go, the ones first of which a byte is worth least.
fn plans(situation: &Situation, reach: Reach) -> impl Iterator<Item = Step> {
    let of_tenant = |tenant: &'_ Tenant| {
        tenant.warm.iter().map(|(instance, facts)| (tenant.model.clone(), *instance, facts.clone())).collect::<Vec<_>>()
    };
    let mut found: Vec<_> =
        situation.tenants.iter().flat_map(of_tenant).filter(|(.., facts)| reach.has(facts)).collect();
    found.sort_by(|(.., one), (.., other)| one.worth().total_cmp(&other.worth()));
    found.into_iter().map(|(model, instance, facts)| Step {
        bytes: facts.bytes,
        reason: format!(
            "not used for {:.0} s, and made again in {:.0} ms",
            facts.idle.as_secs_f64(),
            facts.made_in.as_secs_f64() * 1e3
        ),
        action: Action::DropPlan(PlanId { model, instance, shapes: facts.shapes }),
    })
}

/// Halves the batches of the models whose batches take most, until what they will not take is as much as is missing.
fn shrink(situation: &Situation, missing: u64) -> Vec<Step> {
    let takes = |tenant: &&Tenant| u64::from(tenant.batch).saturating_mul(tenant.element_bytes);
    let mut largest: Vec<&Tenant> =
        situation.tenants.iter().filter(|tenant| tenant.batch > 1 && tenant.element_bytes > 0).collect();
    largest.sort_by_key(|tenant| std::cmp::Reverse(takes(tenant)));
    let (mut steps, mut spared) = (Vec::new(), 0);
    for tenant in largest {
        if spared >= missing {
            break;
        }
        let to = tenant.batch.div_ceil(2);
        let bytes = u64::from(tenant.batch - to) * tenant.element_bytes;
        spared += bytes;
        let action = Action::ShrinkBatch { model: Arc::clone(&tenant.model), from: tenant.batch, to };
        steps.push(Step { action, bytes, reason: "plans that are kept are not enough".to_owned() });
    }
    steps
}

/// Where there is room again: a quarter more for each model whose batches were made smaller.
pub fn restored(tenants: &[Tenant]) -> Vec<(Arc<str>, u32)> {
    let smaller = tenants.iter().filter(|tenant| tenant.batch < tenant.max_batch);
    let more = |tenant: &Tenant| tenant.batch.saturating_add(tenant.batch.div_ceil(4)).min(tenant.max_batch);
    smaller.map(|tenant| (Arc::clone(&tenant.model), more(tenant))).collect()
}

fn may_leave(tenant: &Tenant) -> bool {
    !tenant.running && tenant.idle >= IDLE && tenant.weight_bytes > 0
}

/// Models that nobody asks for, the longest first.
fn idle_models(situation: &Situation) -> impl Iterator<Item = Step> {
    let mut idle: Vec<&Tenant> = situation.tenants.iter().filter(|tenant| may_leave(tenant)).collect();
    idle.sort_by_key(|tenant| std::cmp::Reverse(tenant.idle));
    let step = |tenant: &Tenant| Step {
        action: Action::MoveToHost { model: Arc::clone(&tenant.model) },
        bytes: tenant.weight_bytes,
        reason: format!("nobody has asked for it for {:.0} s", tenant.idle.as_secs_f64()),
    };
    idle.into_iter().map(step).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::growth::Estimate;
    use super::*;

    const MB: u64 = 1_000_000;

    fn facts(batch: usize, megabytes: u64, made_in_ms: u64, idle_s: u64) -> Facts {
        Facts {
            shapes: vec![vec![batch]],
            bytes: megabytes * MB,
            made_in: Duration::from_millis(made_in_ms),
            idle: Duration::from_secs(idle_s),
        }
    }

    fn tenant(model: &str, idle_s: u64, weights_mb: u64, warm: Vec<Facts>) -> Tenant {
        Tenant {
            model: model.into(),
            running: idle_s == 0,
            idle: Duration::from_secs(idle_s),
            weight_bytes: weights_mb * MB,
            batch: 8,
            max_batch: 8,
            element_bytes: 5 * MB,
            warm: warm.into_iter().map(|facts| (0, facts)).collect(),
        }
    }

    fn situation() -> Situation {
        let busy = tenant("busy", 0, 100, vec![facts(1, 40, 100, 0), facts(2, 40, 100, 300)]);
        let idle = tenant("idle", 90, 200, vec![facts(3, 60, 400, 90)]);
        Situation {
            budget_bytes: 1000 * MB,
            used_bytes: 950 * MB,
            unused_block_bytes: 30 * MB,
            tenants: vec![busy, idle],
        }
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        let one = |step: &Step| {
            let what = match &step.action {
                Action::DropPlan(plan) => format!("{} {}", plan.model, plan.shapes[0][0]),
                Action::ShrinkBatch { model, from, to } => format!("{model} {from}-{to}"),
                other => other.model().map_or_else(String::new, ToString::to_string),
            };
            format!("{} {what} {}", step.action.as_str(), step.bytes / MB)
        };
        steps.iter().map(one).collect()
    }

    #[test]
    fn what_costs_least_goes_first_and_no_more_than_needed() {
        let check = |megabytes: u64, reach: Reach, expected: &[&str]| {
            let found = shown(&towards(Goal { bytes: megabytes * MB, reach }, &situation()));
            assert_eq!(found, expected, "{megabytes} MB, {reach:?}");
        };
        let (trim, cold, idle, hot) = ("trim  30", "drop_plan busy 2 40", "drop_plan idle 3 60", "drop_plan busy 1 40");
        check(0, Reach::All, &[trim]);
        check(1, Reach::All, &[trim, cold]);
        check(41, Reach::Cold, &[trim, cold, idle]);
        check(500, Reach::Cold, &[trim, cold, idle]);
        check(140, Reach::All, &[trim, cold, idle, hot]);
        let (smaller, away) = ("shrink_batch busy 8-4 20", "move_to_host idle 200");
        check(150, Reach::All, &[trim, cold, idle, hot, smaller, away]);
        let all = [trim, cold, idle, hot, smaller, "shrink_batch idle 8-4 20", away];
        check(10_000, Reach::All, &all);
        check(10_000, Reach::Spare, &[trim, cold, idle, away]);
    }

    #[test]
    fn for_memory_that_is_wanted_now_batches_are_none() {
        let found = shown(&everything(&situation()));
        let expected =
            ["trim  30", "drop_plan busy 2 40", "drop_plan idle 3 60", "drop_plan busy 1 40", "move_to_host idle 200"];
        assert_eq!(found, expected);
        assert_eq!(droppable_bytes(&situation()), 340 * MB);
        assert_eq!(everything(&Situation::default()), []);
    }

    #[test]
    fn what_is_made_again_at_once_is_spared_although_it_was_just_used() {
        let check = |made_in_ms: u64, idle_s: u64, expected: [bool; 3]| {
            let facts = facts(1, 1, made_in_ms, idle_s);
            assert_eq!([Reach::Cold, Reach::Spare, Reach::All].map(|reach| reach.has(&facts)), expected, "{facts:?}");
        };
        check(100, 0, [false, false, true]);
        check(1, 0, [false, true, true]);
        check(100, 10, [false, true, true]);
        check(100, 60, [true, true, true]);
    }

    #[test]
    fn batches_grow_again_by_a_quarter() {
        let check = |batch, max_batch, expected: Option<u32>| {
            let tenant = Tenant { batch, max_batch, ..tenant("m", 0, 1, Vec::new()) };
            assert_eq!(restored(&[tenant]).first().map(|(_, to)| *to), expected, "{batch} of {max_batch}");
        };
        check(8, 8, None);
        check(1, 8, Some(2));
        check(7, 8, Some(8));
        check(8, 32, Some(10));
    }

    #[test]
    fn goals_come_from_what_is_used_and_where_it_goes() {
        let growing = |bytes_per_s: f64| {
            let estimate = Estimate { low: bytes_per_s, value: bytes_per_s, high: None };
            Growth::Growing { bytes_per_s: estimate, limit_in_s: estimate }
        };
        let check = |pressure, growth: Growth, used_mb: u64, expected: Option<(u64, Reach)>| {
            let found = goal(pressure, &growth, 1000 * MB, used_mb * MB);
            assert_eq!(found.map(|goal| (goal.bytes / MB, goal.reach)), expected, "{pressure:?} {used_mb}");
        };
        check(Pressure::Low, Growth::Steady, 100, None);
        check(Pressure::Rising, growing(1e6), 100, None);
        check(Pressure::High, growing(1e6), 100, Some((600, Reach::Cold)));
        check(Pressure::High, Growth::Steady, 899, None);
        check(Pressure::High, Growth::Unknown, 901, Some((151, Reach::Spare)));
        check(Pressure::High, growing(1e6), 901, Some((151, Reach::All)));
        check(Pressure::Over, growing(1e6), 1100, Some((350, Reach::All)));
    }
}
