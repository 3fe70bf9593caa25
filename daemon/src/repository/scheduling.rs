//! The scheduling of a model: from `dynamic_batching` as it was written to rules that the scheduler acts on, with
//! Triton's own conditions. Pure.

use std::time::Duration;

use proofload_wire::grpc::inference::model_config::SchedulingChoice;
use proofload_wire::grpc::inference::model_queue_policy::TimeoutAction as WrittenAction;
use proofload_wire::grpc::inference::model_rate_limiter::Resource as Written;
use proofload_wire::grpc::inference::{ModelConfig, ModelDynamicBatching, ModelInstanceGroup, ModelQueuePolicy};

use super::complaint::{Complaint, at};
use crate::admit::concurrency::Setting;
use crate::sched::batch::BatchPolicy;
use crate::sched::driver::Scheduling;
use crate::sched::policy::{QueuePolicy, QueueRules, TimeoutAction};
use crate::sched::queue::Limits;
use crate::sched::shares::{Rate, Resource};

/// Parameter of a model whose batches adapt: "true".
pub const ADAPTIVE_BATCHING: &str = "adaptive_batching";
/// Parameter of a model: how many requests it may have at a time, "adaptive" to have it found out, or "off".
pub const CONCURRENCY_LIMIT: &str = "concurrency_limit";
/// The parameters that mean something whatever computes the model.
pub const OF_ANY_MODEL: [&str; 2] = [ADAPTIVE_BATCHING, CONCURRENCY_LIMIT];
/// More instances than this are a slip of the pen: each is a thread.
pub(super) const MAX_INSTANCES: usize = 1024;

/// What a configuration says about scheduling. `defaults` bounds queues that it does not bound itself.
pub(super) fn read(
    config: &ModelConfig,
    max_batch_size: u32,
    defaults: Limits,
    errors: &mut Vec<Complaint>,
) -> Scheduling {
    let rates = rates(&config.instance_group, errors);
    let adaptive = adaptive(config, max_batch_size, errors);
    let Some(SchedulingChoice::DynamicBatching(batching)) = &config.scheduling_choice else {
        let max_elements = if adaptive { max_batch_size } else { 1 };
        let batching = BatchPolicy { max_elements, ..BatchPolicy::alone() };
        let queue = QueueRules::without_priorities(defaults);
        return Scheduling { batching, queue, preserve_ordering: false, rates, adaptive };
    };
    let scheduling = Scheduling {
        batching: batch_policy(batching, max_batch_size, errors),
        queue: queue_rules(batching, defaults, errors),
        preserve_ordering: batching.preserve_ordering,
        rates,
        adaptive,
    };
    if scheduling.preserve_ordering {
        check_order(&scheduling.queue, errors);
    }
    scheduling
}

fn adaptive(config: &ModelConfig, max_batch_size: u32, errors: &mut Vec<Complaint>) -> bool {
    match config.parameters.get(ADAPTIVE_BATCHING).map(|parameter| parameter.string_value.as_str()) {
        None | Some("false") => false,
        Some("true") if max_batch_size > 0 => true,
        Some("true") => {
            let what = format!("parameter '{ADAPTIVE_BATCHING}' needs a 'max_batch_size' above 0");
            errors.push(at(["parameters"], what));
            false
        }
        Some(other) => {
            let what = format!("parameter '{ADAPTIVE_BATCHING}' must be \"true\" or \"false\", not \"{other}\"");
            errors.push(at(["parameters"], what));
            false
        }
    }
}

/// What a configuration says of the model's concurrency.
pub(super) fn concurrency(config: &ModelConfig, errors: &mut Vec<Complaint>) -> Option<Setting> {
    let written = config.parameters.get(CONCURRENCY_LIMIT)?.string_value.as_str();
    let setting = Setting::parse(written);
    if setting.is_none() {
        let what = format!(
            "parameter '{CONCURRENCY_LIMIT}' must be \"adaptive\", \"off\" or a number above 0, not \"{written}\""
        );
        errors.push(at(["parameters"], what));
    }
    setting
}

fn batch_policy(batching: &ModelDynamicBatching, max_batch_size: u32, errors: &mut Vec<Complaint>) -> BatchPolicy {
    if max_batch_size == 0 {
        errors.push(at(["dynamic_batching"], "'dynamic_batching' needs a 'max_batch_size' above 0"));
    }
    let mut preferred = Vec::new();
    for &size in &batching.preferred_batch_size {
        if let Some(size) = u32::try_from(size).ok().filter(|size| (1..=max_batch_size).contains(size)) {
            preferred.push(size);
        } else {
            let what =
                format!("'preferred_batch_size' {size} must be between 1 and 'max_batch_size', {max_batch_size}");
            errors.push(at(["dynamic_batching", "preferred_batch_size"], what));
        }
    }
    preferred.sort_unstable();
    preferred.dedup();
    let max_delay = Duration::from_micros(batching.max_queue_delay_microseconds);
    BatchPolicy { max_elements: max_batch_size.max(1), preferred, max_delay }
}

fn queue_rules(batching: &ModelDynamicBatching, defaults: Limits, errors: &mut Vec<Complaint>) -> QueueRules {
    let levels = u32::try_from(batching.priority_levels).unwrap_or(u32::MAX);
    let in_range = |level: &u64| u32::try_from(*level).ok().filter(|level| (1..=levels).contains(level));
    let default_level = in_range(&batching.default_priority_level).unwrap_or(0);
    if levels > 0 && default_level == 0 {
        let given = batching.default_priority_level;
        let what = format!("'default_priority_level' must be between 1 and 'priority_levels', {levels}, not {given}");
        errors.push(at(["dynamic_batching", "default_priority_level"], what));
    }
    let by_level = batching.priority_queue_policy.iter().filter_map(|(level, policy)| match in_range(level) {
        Some(level) => Some((level, queue_policy(policy, defaults))),
        // Triton checks the levels of policies only where there are levels; without any, they mean nothing.
        None if levels == 0 => None,
        None => {
            let what = format!(
                "the 'key' of a 'priority_queue_policy' must be between 1 and 'priority_levels', {levels}, not {level}"
            );
            errors.push(at(["dynamic_batching", "priority_queue_policy"], what));
            None
        }
    });
    let by_level = by_level.collect();
    let default_policy = queue_policy(&batching.default_queue_policy.unwrap_or_default(), defaults);
    QueueRules { levels, default_level, default_policy, by_level, bytes: defaults.bytes }
}

fn queue_policy(policy: &ModelQueuePolicy, defaults: Limits) -> QueuePolicy {
    let timeout_us = policy.default_timeout_microseconds;
    let requests = match policy.max_queue_size {
        0 => defaults.requests,
        size => usize::try_from(size).unwrap_or(usize::MAX),
    };
    QueuePolicy {
        requests,
        default_timeout: (timeout_us > 0).then(|| Duration::from_micros(timeout_us)),
        timeout_override: policy.allow_timeout_override,
        action: match policy.timeout_action() {
            WrittenAction::Reject => TimeoutAction::Reject,
            WrittenAction::Delay => TimeoutAction::Delay,
        },
    }
}

/// Answers cannot keep the order of arrival where requests do not.
fn check_order(rules: &QueueRules, errors: &mut Vec<Complaint>) {
    if rules.levels > 1 {
        let what = "'preserve_ordering' needs 'priority_levels' of 1 at most, or requests overtake others";
        errors.push(at(["dynamic_batching", "preserve_ordering"], what));
    }
    let policies = rules.by_level.values().chain([&rules.default_policy]);
    if policies.into_iter().any(|policy| policy.action == TimeoutAction::Delay && policy.default_timeout.is_some()) {
        let what = "'preserve_ordering' needs a 'timeout_action' of REJECT: a delayed request is overtaken";
        errors.push(at(["dynamic_batching", "preserve_ordering"], what));
    }
}

/// How many instances the groups have; 1 without any.
pub(super) fn instances(groups: &[ModelInstanceGroup]) -> usize {
    groups.iter().map(count).fold(0, usize::saturating_add).max(1)
}

fn count(group: &ModelInstanceGroup) -> usize {
    usize::try_from(group.count.max(1)).unwrap_or(1)
}

/// What each instance needs to execute, group after group.
fn rates(groups: &[ModelInstanceGroup], errors: &mut Vec<Complaint>) -> Vec<Rate> {
    let rates: Vec<_> = groups.iter().map(|group| (rate(group, errors), count(group))).collect();
    let each = rates.into_iter().flat_map(|(rate, count)| std::iter::repeat_n(rate, count.min(MAX_INSTANCES)));
    let each: Vec<_> = each.take(MAX_INSTANCES).collect();
    if each.is_empty() { vec![Rate::default()] } else { each }
}

fn rate(group: &ModelInstanceGroup, errors: &mut Vec<Complaint>) -> Rate {
    let Some(limiter) = &group.rate_limiter else { return Rate::default() };
    let mut rate = Rate { priority: limiter.priority, ..Rate::default() };
    for Written { name, count, global } in limiter.resources.iter().filter(|resource| resource.count > 0) {
        let resource = Resource { name: name.clone(), global: *global };
        if rate.needs.insert(resource, u64::from(*count)).is_some() {
            let what = format!("resource \"{name}\" is given twice in a 'rate_limiter'; give it once");
            errors.push(at(["instance_group", "rate_limiter"], what));
        }
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt;

    const DEFAULTS: Limits = Limits { requests: 100, bytes: 1000 };

    fn read_text(batching: &str, max_batch_size: u32) -> (Scheduling, Vec<Complaint>) {
        let parsed = pbtxt::parse(&format!("dynamic_batching {{ {batching} }}"));
        assert_eq!(parsed.errors, [], "{batching}");
        let mut errors = Vec::new();
        let scheduling = read(&parsed.config, max_batch_size, DEFAULTS, &mut errors);
        (scheduling, errors)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let alone = read(&ModelConfig::default(), 4, DEFAULTS, &mut Vec::new());
        assert_eq!((alone.batching, alone.preserve_ordering), (BatchPolicy::alone(), false));
        assert_eq!(alone.queue, QueueRules::without_priorities(DEFAULTS));
        let (eager, errors) = read_text("", 4);
        assert_eq!(eager.batching, BatchPolicy { max_elements: 4, ..BatchPolicy::alone() });
        assert_eq!((eager.queue, errors), (QueueRules::without_priorities(DEFAULTS), Vec::new()));
    }

    #[test]
    fn everything_is_taken_over() {
        let (scheduling, errors) = read_text(
            "preferred_batch_size: [4, 2, 4] max_queue_delay_microseconds: 500 priority_levels: 3 \
             default_priority_level: 2 \
             default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 9 allow_timeout_override: true } \
             priority_queue_policy [ { key: 1 value { timeout_action: DELAY default_timeout_microseconds: 3 } }, \
             { key: 3 value { max_queue_size: 2 } } ]",
            4,
        );
        assert_eq!(errors, []);
        let batching = BatchPolicy { max_elements: 4, preferred: vec![2, 4], max_delay: Duration::from_micros(500) };
        assert_eq!(scheduling.batching, batching);
        let default_timeout = Some(Duration::from_micros(9));
        let default = QueuePolicy { default_timeout, timeout_override: true, ..QueuePolicy::bounded(7) };
        let timeout = Some(Duration::from_micros(3));
        let first = QueuePolicy { default_timeout: timeout, action: TimeoutAction::Delay, ..QueuePolicy::bounded(100) };
        let rules = scheduling.queue;
        assert_eq!((rules.levels, rules.default_level, rules.bytes), (3, 2, 1000));
        assert_eq!([rules.at(1), rules.at(2), rules.at(3)], [&first, &default, &QueuePolicy::bounded(2)]);
    }

    #[test]
    fn batches_adapt_where_asked_to() {
        let check = |parameter: &str, max_batch_size, expected: Result<(bool, u32), &str>| {
            let value =
                format!("parameters {{ key: \"adaptive_batching\" value {{ string_value: \"{parameter}\" }} }}");
            let mut errors = Vec::new();
            let read = read(&pbtxt::parse(&value).config, max_batch_size, DEFAULTS, &mut errors);
            match expected {
                Ok(expected) => assert_eq!((read.adaptive, read.batching.max_elements), expected, "{parameter}"),
                Err(part) => assert!(errors.len() == 1 && errors[0].what.contains(part), "{parameter}: {errors:?}"),
            }
        };
        check("true", 8, Ok((true, 8)));
        check("false", 8, Ok((false, 1)));
        check("true", 0, Err("needs a 'max_batch_size' above 0"));
        check("yes", 8, Err("must be \"true\" or \"false\", not \"yes\""));
    }

    #[test]
    fn concurrency_is_limited_where_asked_to() {
        let check = |text: &str, expected: Result<Option<Setting>, &str>| {
            let mut errors = Vec::new();
            let setting = concurrency(&pbtxt::parse(text).config, &mut errors);
            let found = errors.first().map_or(Ok(setting), |error| Err(error.what.as_str()));
            match (found, expected) {
                (Ok(setting), Ok(expected)) => assert_eq!(setting, expected, "{text}"),
                (Err(what), Err(part)) => assert!(what.contains(part), "{what}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        let written =
            |value| format!("parameters {{ key: \"concurrency_limit\" value {{ string_value: \"{value}\" }} }}");
        check("", Ok(None));
        check(&written("adaptive"), Ok(Some(Setting::Adaptive)));
        check(&written("12"), Ok(Some(Setting::Fixed(12))));
        check(&written("many"), Err("must be \"adaptive\", \"off\" or a number above 0, not \"many\""));
    }

    #[test]
    fn each_instance_has_the_rate_of_its_group() {
        let check = |groups: &str, expected: &[(&[(&str, bool, u64)], u32)], wrong: usize| {
            let mut errors = Vec::new();
            let rates = rates(&pbtxt::parse(groups).config.instance_group, &mut errors);
            let rate = |(needs, priority): &(&[(&str, bool, u64)], u32)| {
                let need = |(name, global, count): &(&str, bool, u64)| {
                    (Resource { name: (*name).to_owned(), global: *global }, *count)
                };
                Rate { needs: needs.iter().map(need).collect(), priority: *priority }
            };
            assert_eq!(rates, expected.iter().map(rate).collect::<Vec<_>>(), "{groups}");
            assert_eq!(errors.len(), wrong, "{groups}: {errors:?}");
        };
        check("", &[(&[], 0)], 0);
        check("instance_group { count: 2 }", &[(&[], 0), (&[], 0)], 0);
        let limiter =
            "rate_limiter { resources [{ name: \"a\" count: 4 }, { name: \"b\" global: true count: 2 }] priority: 3 }";
        let limited: (&[(&str, bool, u64)], u32) = (&[("a", false, 4), ("b", true, 2)], 3);
        check(&format!("instance_group [{{ count: 2 {limiter} }}, {{ }}]"), &[limited, limited, (&[], 0)], 0);
        let twice = "rate_limiter { resources { name: \"a\" count: 1 } resources { name: \"a\" count: 2 } }";
        check(&format!("instance_group {{ {twice} }}"), &[(&[("a", false, 2)], 0)], 1);
    }

    #[test]
    fn contradictions_are_found() {
        let check = |batching: &str, max_batch_size, expected: &[&str]| {
            let (_, errors) = read_text(batching, max_batch_size);
            assert_eq!(errors.len(), expected.len(), "{batching}: {errors:?}");
            assert!(
                errors.iter().zip(expected).all(|(error, part)| error.what.contains(part)),
                "{batching}: {errors:?}"
            );
        };
        check("preferred_batch_size: 8", 4, &["must be between 1 and 'max_batch_size', 4"]);
        check("", 0, &["needs a 'max_batch_size' above 0"]);
        check("priority_levels: 2", 4, &["'default_priority_level' must be between 1 and 'priority_levels', 2, not 0"]);
        check("priority_levels: 2 default_priority_level: 3", 4, &["not 3"]);
        let policy = |key| format!("priority_queue_policy {{ key: {key} value {{ }} }}");
        let levels = "priority_levels: 2 default_priority_level: 1";
        check(&format!("{levels} {}", policy(3)), 4, &["the 'key' of a 'priority_queue_policy' must be"]);
        check(&format!("{levels} {}", policy(0)), 4, &["not 0"]);
        check(&policy(3), 4, &[]);
        check(&format!("{levels} preserve_ordering: true"), 4, &["'priority_levels' of 1 at most"]);
        check("preserve_ordering: true priority_levels: 1 default_priority_level: 1", 4, &[]);
        let delay = "default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 }";
        check(&format!("{delay} preserve_ordering: true"), 4, &["'timeout_action' of REJECT"]);
        check(delay, 4, &[]);
    }
}
