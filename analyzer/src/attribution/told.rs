//! What was found, in sentences. Pure.

use proofload_run::findings::{Attribution, ServerPhases, SlowPart, SlowState, SlowTrait, SlowWhen};
use proofload_run::units::{format_duration_ns, significant};

use super::parts::{NAMES, NOT_STATED, QUEUE, WORDS};

/// A second part is told where it is at least so much of the difference.
const WORTH_TELLING: f64 = 0.15;
/// What most slow ones have in common is told where it is at least so much more frequent among them.
const LEAST_LIFT: f64 = 1.25;
/// Slow ones came together when half of them lie in less than this share of the moments that half of all take.
const TOGETHER: f64 = 0.5;

/// All of it in a sentence.
pub(super) fn sentence(found: &Attribution) -> String {
    let ns = |ns: u64| format_duration_ns(ns as f64);
    let mut parts: Vec<&SlowPart> = found.parts.iter().collect();
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    let told = parts.iter().enumerate().filter(|(rank, part)| *rank == 0 || (*rank < 3 && part.share >= WORTH_TELLING));
    let told: Vec<String> = told.map(|(_, part)| format!("{} is {}", percent(part.share), words(&part.name))).collect();
    let mut sentence = format!(
        "p{} is {} against a median of {}: of what slow requests take longer than typical ones, {}",
        significant(found.percentile),
        ns(found.slow_from_ns),
        ns(found.median_ns),
        listed(&told),
    );
    let common: Vec<String> = found.traits.iter().filter(|it| is_common(it)).map(common).collect();
    if !common.is_empty() {
        sentence += &format!("; most of them are {}", listed(&common));
    }
    if let Some(when) = found.when.filter(came_together) {
        let (moment, each) = (format_duration_ns(when.moment_ns as f64), when.moments);
        sentence += &format!(
            "; half of them were sent within {} of {each} moments of {moment}, most of these from {} on",
            when.half_in,
            ns(when.worst_at_ns)
        );
    }
    for state in found.state.iter().filter(|state| is_trouble(state)) {
        let (slow, typical) = (significant(state.slow), significant(state.typical));
        sentence += &format!("; {} {slow} {} for slow ones, {typical} for typical ones", state.what, state.unit);
    }
    sentence
}

fn words(name: &str) -> &str {
    NAMES.iter().position(|known| *known == name).map_or(name, |at| WORDS[at])
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}

fn is_common(found: &SlowTrait) -> bool {
    found.slow_share > 0.5 && found.lift >= LEAST_LIFT && found.low.is_none_or(|low| low > 1.0)
}

fn common(found: &SlowTrait) -> String {
    let lift = format!("(lift {})", significant(found.lift));
    match found.kind.as_str() {
        "step" => format!("in step '{}' {lift}", found.value),
        "entry" => format!("of entry '{}' {lift}", found.value),
        "batch size" => format!("in batches of {} {lift}", found.value),
        "cache" => format!("{} {lift}", found.value),
        "connection" => format!("over connections {} {lift}", found.value),
        _ => format!("attempts {} {lift}", found.value),
    }
}

fn came_together(when: &SlowWhen) -> bool {
    (when.half_in as f64) < TOGETHER * when.half_of_all_in as f64
}

/// Clocks that were held down more often than for typical ones.
fn is_trouble(state: &SlowState) -> bool {
    state.what.starts_with("GPU clocks held down")
        && state.low.map_or(state.slow > state.typical + 10.0, |low| low > 0.0)
}

/// What a reader must know of the figures.
pub(super) fn notes(
    found: &Attribution,
    server: &[ServerPhases],
    batch_wait_most_ns: Option<[u128; 2]>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let (slow, typical) = (found.slow, found.typical);
    let queued = found.parts.iter().find(|part| part.name == NAMES[QUEUE]);
    if let (Some(queued), Some([of_slow, of_typical])) = (queued, batch_wait_most_ns) {
        notes.extend(batch_wait(queued, of_slow as f64 / slow.n as f64, of_typical as f64 / typical.n as f64));
    }
    if slow.with_phases < slow.n || typical.with_phases < typical.n {
        notes.push(format!(
            "{} of {} slow and {} of {} typical answers state the server's phases; of the others '{}' holds all from sending to the \
             first byte",
            slow.with_phases, slow.n, typical.with_phases, typical.n, NAMES[NOT_STATED]
        ));
        notes.extend(by_counters(found, server));
    }
    if found.percentile < 99.0 {
        notes.push(format!(
            "slow are those at p{} and above: of {} successes too few lie beyond p99",
            significant(found.percentile),
            found.n
        ));
    }
    notes
}

/// What of the queue was waiting for a batch to fill.
fn batch_wait(queued: &SlowPart, slow_ns: f64, typical_ns: f64) -> Option<String> {
    let by = "by its model's max_queue_delay_microseconds; the rest was waiting for an instance";
    let [slow, typical, queue] = [slow_ns, typical_ns, queued.slow_ns].map(format_duration_ns);
    match queued.slow_ns > 0.0 {
        false => None,
        true if slow_ns + typical_ns == 0.0 => Some(format!("none of the queue was waiting for a batch to fill, {by}")),
        true => Some(format!(
            "of the {queue} that a slow request waited in the queue at most {slow} was waiting for a batch to fill, of a \
             typical one at most {typical}, {by}"
        )),
    }
}

/// What the server counted in the step that most slow ones are of: means over all that it answered there.
fn by_counters(found: &Attribution, server: &[ServerPhases]) -> Vec<String> {
    let step = found.traits.iter().find(|it| it.kind == "step").map(|it| it.value.as_str());
    let of_step = server.iter().filter(|phases| step.is_none_or(|step| phases.step == step));
    let told = of_step.map(|phases| {
        let parts: Vec<String> =
            phases.parts.iter().map(|part| format!("{} {}", part.name, format_duration_ns(part.mean_ns))).collect();
        let (model, step, n) = (&phases.model, &phases.step, phases.n);
        format!(
            "by the server's own counters a request to '{model}' in step '{step}' took on average {} (n {n})",
            parts.join(", ")
        )
    });
    told.take(3).collect()
}
