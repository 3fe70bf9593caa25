//! Do the scenario's requests fit the models, and does the target answer one of each?

use proofload_loadgen::run::{Fit, ResolvedTarget, Trial, fit_each, try_each};
use proofload_loadgen::scenario::Scenario;
use proofload_run::sample::Outcome;
use proofload_run::units::format_duration_ns;

use super::check::Check;

/// The scenario's tensors beside what each model states. A target that states nothing is no finding here.
pub(crate) async fn inputs(scenario: &Scenario, target: &ResolvedTarget) -> Vec<Check> {
    // What cannot be reached is told by the request that follows.
    fit_each(scenario, target).await.unwrap_or_default().iter().map(fits).collect()
}

fn fits(fit: &Fit) -> Check {
    let Fit { entry, model, mismatches } = fit;
    if mismatches.is_empty() {
        return Check::fine("inputs", format!("{entry}: names, types and shapes are what {model} takes"));
    }
    Check::in_the_way("inputs", format!("{entry}: {}", mismatches.join("; ")), "write what the model takes")
}

/// One request of each entry, and the longest that one took.
pub(crate) async fn trials(scenario: &Scenario, target: &ResolvedTarget) -> (Vec<Check>, Option<u64>) {
    match try_each(scenario, target).await {
        Ok(trials) => {
            let right = trials.iter().filter(|trial| trial.judgement.outcome == Outcome::Ok);
            let longest_ns = right.map(|trial| trial.latency_ns).max();
            (trials.iter().map(answered).collect(), longest_ns)
        }
        Err(error) => (vec![Check::in_the_way("request", error.to_string(), "mend the scenario")], None),
    }
}

fn answered(trial: &Trial) -> Check {
    let Trial { entry, judgement, latency_ns, bytes_out } = trial;
    let took = format_duration_ns(*latency_ns as f64);
    let message = judgement.message.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    match judgement.outcome {
        Outcome::Ok => {
            let phases = judgement.phases.as_ref().map_or(String::new(), |stated| {
                let share = |ns: u64| format_duration_ns(ns as f64);
                format!(
                    "; the server says queue {}, compute {}",
                    share(stated.phases.queue_ns),
                    share(stated.phases.compute_ns)
                )
            });
            let text = format!(
                "{entry}: status {}, {took}, {bytes_out} bytes out, {} in{phases}",
                judgement.status, judgement.bytes_in
            );
            Check::fine("request", text)
        }
        Outcome::Shed => Check::doubtful(
            "request",
            format!("{entry}: shed after {took}: {message}"),
            "the target is busy already: let it rest before the run",
        ),
        outcome => Check::in_the_way(
            "request",
            format!("{entry}: {} after {took}: {message}", outcome.as_str()),
            "a run would count every such answer as an error: mend the request, or the target",
        ),
    }
}
