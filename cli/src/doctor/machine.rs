//! Is this machine fit to generate load? Facts are read at the edge (`facts`), judged in pure functions.

use std::path::Path;
use std::time::{Duration, Instant};

use proofload_loadgen::footprint::Footprint;

use super::check::Check;
use crate::disk::{estimate, is_too_little};
use proofload_run::units::{format_duration_ns, significant};

/// Sleeps measured for the timer check.
const SLEEPS: usize = 200;
/// Descriptors beside the connections: journal, series, events, the runtime's own, the embedded daemon's pipes.
const OTHER_DESCRIPTORS: u64 = 256;

/// All checks of the machine. `connections` are what the scenario asks for, where there is one.
pub(crate) fn checks(connections: u64) -> Vec<Check> {
    vec![
        cores(std::thread::available_parallelism().map_or(1, usize::from)),
        load_average(one_minute_load(), std::thread::available_parallelism().map_or(1, usize::from)),
        timer(worst_lateness(SLEEPS)),
        descriptors(u64::from(proofload_loadgen::host::connection_limit().0), connections),
        memory(available_memory_bytes()),
        gpu(Path::new("/proc/driver/nvidia/version").exists()),
    ]
}

fn cores(cores: usize) -> Check {
    match cores {
        1 => Check::doubtful(
            "cores",
            "1 core: generator and embedded daemon take turns on it",
            "use a machine with 2 cores or more, or a target on another machine",
        ),
        _ => Check::fine("cores", format!("{cores} cores")),
    }
}

fn load_average(load: Option<f64>, cores: usize) -> Check {
    match load {
        Some(load) if load > 0.5 * cores as f64 => Check::doubtful(
            "other load",
            format!("load average {} on {cores} cores: something else is running", significant(load)),
            "wait for it to end, or expect late arrivals and noisy latencies",
        ),
        Some(load) => Check::fine("other load", format!("load average {}", significant(load))),
        None => Check::fine("other load", "not known on this system"),
    }
}

/// `lateness_ns` is the 99th percentile of how late a sleeping thread wakes.
fn timer(lateness_ns: u64) -> Check {
    let text = format!("a sleeping thread wakes {} late (p99)", format_duration_ns(lateness_ns as f64));
    match lateness_ns {
        0..1_000_000 => Check::fine("timer", text),
        _ => Check::doubtful("timer", text, "arrivals will be late by as much: stop other work on this machine"),
    }
}

/// `limit` is what is left for connections after the limit was raised as far as the system lets us.
fn descriptors(limit: u64, connections: u64) -> Check {
    if limit < connections {
        return Check::in_the_way(
            "connections",
            format!("{limit} are possible, {connections} may be needed"),
            format!("raise the hard limit on open files first: ulimit -Hn {}", connections + OTHER_DESCRIPTORS),
        );
    }
    Check::fine("connections", format!("{limit} are possible, up to {connections} may be needed"))
}

fn memory(available_bytes: Option<u64>) -> Check {
    const ENOUGH: u64 = 512 << 20;
    match available_bytes {
        Some(bytes) if bytes < ENOUGH => Check::doubtful(
            "memory",
            format!("{} MiB available", bytes >> 20),
            "free some: a swapping generator sends late",
        ),
        Some(bytes) => Check::fine("memory", format!("{} MiB available", bytes >> 20)),
        None => Check::fine("memory", "not known on this system"),
    }
}

/// What the run would take, and what there is.
pub(crate) fn disk(footprint: &Footprint, free_bytes: Option<u64>) -> Check {
    let text = estimate(footprint, free_bytes);
    if is_too_little(footprint, free_bytes) {
        return Check::in_the_way("disk", text, "free some, or choose another folder with --out");
    }
    match free_bytes {
        Some(free) if free < footprint.peak_bytes => Check::doubtful(
            "disk",
            text,
            "enough where answers take longer than 1 ms; a full disk ends the run, and what was written is kept",
        ),
        _ => Check::fine("disk", text),
    }
}

fn gpu(driver: bool) -> Check {
    Check::fine("gpu", if driver { "NVIDIA driver present" } else { "no NVIDIA driver: the daemon uses the CPU" })
}

fn one_minute_load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn available_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The 99th percentile of the lateness of short sleeps.
fn worst_lateness(sleeps: usize) -> u64 {
    const SLEEP: Duration = Duration::from_millis(1);
    let mut late: Vec<u64> = (0..sleeps)
        .map(|_| {
            let start = Instant::now();
            std::thread::sleep(SLEEP);
            u64::try_from(start.elapsed().saturating_sub(SLEEP).as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    late.sort_unstable();
    late[sleeps * 99 / 100]
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    #[test]
    fn each_fact_is_judged() {
        let check = |check: Check, state: State, part: &str| {
            assert_eq!(check.state, state, "{check}");
            assert!(check.to_string().contains(part), "{check}");
            assert_eq!(check.state == State::Fine, check.remedy.is_empty(), "a problem needs a remedy: {check}");
        };
        check(cores(1), State::Doubtful, "1 core");
        check(cores(8), State::Fine, "8 cores");
        check(load_average(Some(1.5), 2), State::Doubtful, "something else");
        check(load_average(Some(0.1), 2), State::Fine, "0.1");
        check(load_average(None, 2), State::Fine, "not known");
        check(timer(60_000), State::Fine, "60 µs");
        check(timer(4_000_000), State::Doubtful, "4 ms");
        check(descriptors(256, 1000), State::InTheWay, "ulimit -Hn 1256");
        check(descriptors(4096, 1000), State::Fine, "4096");
        check(memory(Some(100 << 20)), State::Doubtful, "100 MiB");
        check(memory(Some(1 << 30)), State::Fine, "1024 MiB");
        let run = |is_planned| Footprint { samples: 10, is_planned, peak_bytes: 2_000_000, kept_bytes: 1_000_000 };
        check(disk(&run(true), Some(1 << 20)), State::InTheWay, "--out");
        check(disk(&run(false), Some(1 << 20)), State::Doubtful, "1.05 MB free");
        check(disk(&run(true), Some(1 << 40)), State::Fine, "about 2 MB of disk");
    }
}
