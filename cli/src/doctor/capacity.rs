//! Can this machine send what the scenario wants: on time, over enough connections, from enough local ports? A short
//! measurement against a built-in server, and arithmetic.

use proofload_loadgen::calibrate::processors::set_one_aside;
use proofload_loadgen::calibrate::{Finding, cases, measure};
use proofload_loadgen::scenario::{Model, Scenario};
use proofload_loadgen::stop::StopHandle;
use proofload_loadgen::transport::ConnectionPolicy;
use proofload_run::units::{format_duration_ns, significant};

use super::check::Check;
use crate::calibrate::Scratch;

/// Length of the measurement.
const SECONDS: u64 = 2;
/// Lateness (p99) from which it shows in latencies.
const LATE_NS: u64 = 1_000_000;
/// How long a port rests after its connection was closed from here (`TIME_WAIT` in Linux).
const PORT_RESTS_S: f64 = 60.0;

/// Drives a built-in server at the highest rate of the scenario. Nothing for closed models, whose rate is the target's.
pub(crate) fn generator(scenario: &Scenario, peak: f64) -> Option<Check> {
    let Model::Open { .. } = scenario.load.model else { return None };
    let measured = (|| -> anyhow::Result<Finding> {
        let scratch = Scratch::new()?;
        // What the doctor does after this can spare a processor.
        let server_on = set_one_aside();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let case = cases(peak, SECONDS).remove(0);
        let run = scratch.0.join("run");
        Ok(runtime.block_on(measure(&case, peak, SECONDS, server_on, run, StopHandle::default()))?)
    })();
    Some(match measured {
        Ok(finding) => held(peak, &finding),
        Err(error) => {
            Check::doubtful("generator", format!("could not be measured: {error:#}"), "try proofload calibrate")
        }
    })
}

fn held(peak: f64, finding: &Finding) -> Check {
    let (answered, intended) = finding.answered;
    let late = format_duration_ns(finding.late_p99_ns as f64);
    let text = format!(
        "{} of {} requests answered at {}/s by a built-in server, sent {late} late (p99)",
        answered,
        intended,
        significant(peak)
    );
    if answered == intended && finding.late_p99_ns < LATE_NS {
        return Check::fine("generator", text);
    }
    Check::doubtful(
        "generator",
        text,
        "this machine does not hold the rate now: stop what else runs here, lower the rate, or use more cores",
    )
}

/// Whether there are connections enough for the peak, if every answer takes as long as one just did.
pub(crate) fn connections(scenario: &Scenario, peak: f64, latency_ns: u64, system: u64) -> Option<Check> {
    let Model::Open { .. } = scenario.load.model else { return None };
    let at_once = peak * latency_ns as f64 / 1e9;
    let needed = (at_once / f64::from(scenario.load.connections.streams)).ceil().max(1.0) as u64;
    let text =
        format!("about {needed} at the peak: {}/s times {}", significant(peak), format_duration_ns(latency_ns as f64));
    let allowed = scenario.load.max_connections.map_or(system, u64::from);
    if needed <= allowed {
        return Some(Check::fine("needed", text));
    }
    let remedy = if allowed < system {
        format!("load.max_connections allows {allowed}, so arrivals will wait: raise it to {} or more", needed * 2)
    } else {
        format!("this machine allows {allowed}: raise the limit on open files (ulimit -n), or lower the rate")
    };
    Some(Check::doubtful("needed", text, remedy))
}

/// Whether local ports last where connections are not kept. `range` is how many there are, `reuses` whether the system
/// takes resting ones for new connections.
pub(crate) fn ports(policy: &ConnectionPolicy, peak: f64, range: Option<u32>, reuses: bool) -> Option<Check> {
    let (each, range) = (policy.requests_per_connection?, range?);
    let opened_per_s = peak / f64::from(each);
    let lasting_per_s = f64::from(range) / PORT_RESTS_S;
    let text = format!(
        "{} new connections a second; {range} local ports, each of which rests for {PORT_RESTS_S} s, last for {}",
        significant(opened_per_s),
        significant(lasting_per_s)
    );
    if opened_per_s <= lasting_per_s || reuses {
        return Some(Check::fine("ports", text));
    }
    let remedy = "send more requests over each connection (load.requests_per_connection), or: sysctl \
                  net.ipv4.tcp_tw_reuse=1 and a wider net.ipv4.ip_local_port_range";
    Some(Check::doubtful("ports", text, remedy))
}

/// How many local ports there are, and whether resting ones are taken for new connections.
pub(crate) fn local_ports() -> (Option<u32>, bool) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    let range = read("ip_local_port_range").and_then(|text| {
        let bounds: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (bounds.len() == 2).then(|| bounds[1].saturating_sub(bounds[0]) + 1)
    });
    (range, read("tcp_tw_reuse").is_some_and(|text| text.trim() == "1"))
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;
    use proofload_loadgen::calibrate::truth::Figures;

    fn scenario(load: &str) -> Scenario {
        let text = format!(
            "kind = \"sustained\"\n[load]\n{load}\nduration = \"5s\"\n[[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n"
        );
        Scenario::parse(std::path::Path::new("a.toml"), &text, &[]).unwrap()
    }

    fn check(found: Option<Check>, state: State, part: &str) {
        let found = found.unwrap();
        assert!(found.state == state && found.to_string().contains(part), "{found}");
    }

    #[test]
    fn connections_follow_from_rate_and_latency() {
        let of = |load: &str, latency_ms: u64| connections(&scenario(load), 1000.0, latency_ms * 1_000_000, 5000);
        check(of("rate = \"1000/s\"", 50), State::Fine, "about 50 at the peak");
        check(of("rate = \"1000/s\"\nmax_connections = 40", 50), State::Doubtful, "raise it to 100 or more");
        check(of("rate = \"1000/s\"", 9000), State::Doubtful, "ulimit -n");
        assert_eq!(of("model = \"closed\"\nusers = 5", 50), None);
    }

    #[test]
    fn ports_last_or_not() {
        let each = |each| ConnectionPolicy { requests_per_connection: Some(each), ..ConnectionPolicy::default() };
        check(ports(&each(1), 400.0, Some(28_232), false), State::Fine, "last for 471");
        check(ports(&each(1), 500.0, Some(28_232), false), State::Doubtful, "requests_per_connection");
        check(ports(&each(2), 500.0, Some(28_232), false), State::Fine, "250 new");
        check(ports(&each(1), 500.0, Some(28_232), true), State::Fine, "500 new");
        assert_eq!(ports(&ConnectionPolicy::default(), 5000.0, Some(28_232), false), None);
    }

    #[test]
    fn a_generator_that_is_late_or_loses_something_is_doubtful() {
        let figures = Figures { p50_ns: 1.0, p95_ns: 1.0, p99_ns: 1.0, mean_ns: 1.0, slow: 0.0 };
        let of = |late_p99_ns, answered| {
            let finding = Finding {
                measured: figures,
                served: figures,
                truth: figures,
                error: 0.0,
                error_by_law: 0.0,
                late_p99_ns,
                answered,
                connections: 1,
            };
            Some(held(200.0, &finding))
        };
        check(of(80_000, (400, 400)), State::Fine, "400 of 400 requests answered at 200/s");
        check(of(2_000_000, (400, 400)), State::Doubtful, "2 ms late");
        check(of(80_000, (399, 400)), State::Doubtful, "more cores");
    }
}
