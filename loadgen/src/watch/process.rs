//! What the generator itself uses: processor time, memory, files, threads, and how long it waited for a processor.
//! The parsing is pure; only [`read`] looks at `/proc`.

use std::fs;
use std::path::Path;

/// Name of the thread on which slots and users send, as the kernel knows it (15 characters at most).
pub(crate) const USERS_THREAD: &str = "load-users";

/// Reads the process's own figures. What the system does not tell is left out.
pub(super) fn read() -> Vec<(String, String, f64)> {
    let mut values = Vec::new();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            values.push((name.to_owned(), String::new(), value));
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    put("process_cpu_seconds", cpu_seconds(&stat, rustix::param::clock_ticks_per_second()));
    put("process_threads", stat_field(&stat, 20));
    put("process_resident_bytes", stat_field(&stat, 24).map(|pages| pages * rustix::param::page_size() as f64));
    put("process_open_files", fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64));
    put("process_run_delay_ns", run_delay_ns());
    let users = users_threads();
    put("users_thread_cpu_seconds_total", users.map(|times| times.running_ns / 1e9));
    put("users_thread_run_delay_ns_total", users.map(|times| times.delay_ns));
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    put("host_cpu_busy_seconds", host_busy_seconds(&system, rustix::param::clock_ticks_per_second()));
    values
}

/// Field `number` (from 1, as in proc(5)) of `/proc/self/stat`. The name in the second field may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str, ticks_per_s: u64) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / ticks_per_s as f64)
}

/// Time that threads of this process were ready and not running. Every thread has its own count.
fn run_delay_ns() -> Option<f64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    Some(threads.filter_map(|thread| Some(thread_times(&thread.ok()?.path())?.delay_ns)).sum())
}

/// What the threads that send used, all together: one that never rests or waits for a processor holds users up.
/// `None` when there is none any more, since a count must not fall.
fn users_threads() -> Option<ThreadTimes> {
    let threads = fs::read_dir("/proc/self/task").ok()?.filter_map(|thread| Some(thread.ok()?.path()));
    let is_users =
        |thread: &Path| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == USERS_THREAD);
    threads.filter(|thread| is_users(thread)).filter_map(|thread| thread_times(&thread)).reduce(ThreadTimes::plus)
}

/// How long a thread ran, and how long it was ready and did not.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ThreadTimes {
    running_ns: f64,
    delay_ns: f64,
}

impl ThreadTimes {
    fn plus(self, other: Self) -> Self {
        Self { running_ns: self.running_ns + other.running_ns, delay_ns: self.delay_ns + other.delay_ns }
    }
}

fn thread_times(thread: &Path) -> Option<ThreadTimes> {
    parse_schedstat(&fs::read_to_string(thread.join("schedstat")).ok()?)
}

fn parse_schedstat(text: &str) -> Option<ThreadTimes> {
    let mut fields = text.split_ascii_whitespace().map(str::parse);
    Some(ThreadTimes { running_ns: fields.next()?.ok()?, delay_ns: fields.next()?.ok()? })
}

/// Processor time of the whole machine that was not idle.
fn host_busy_seconds(stat: &str, ticks_per_s: u64) -> Option<f64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let fields: Vec<f64> = line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal
    let busy = fields.iter().take(3).chain(fields.iter().skip(5).take(3));
    (fields.len() >= 8).then(|| busy.sum::<f64>() / ticks_per_s as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name_of_the_process() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 42 18 19 20 1000 22";
        assert_eq!(cpu_seconds(stat, 100), Some(3.0));
        assert_eq!(stat_field(stat, 20), Some(42.0));
        assert_eq!(stat_field(stat, 24), Some(1000.0));
        assert_eq!(stat_field("", 20), None);
        assert_eq!(parse_schedstat("100 2500 3\n"), Some(ThreadTimes { running_ns: 100.0, delay_ns: 2500.0 }));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(host_busy_seconds("cpu  10 20 30 999 999 1 2 3 0 0\ncpu0 1", 10), Some(6.6));
    }

    #[test]
    fn this_process_has_figures() {
        let values = read();
        let get = |name: &str| values.iter().find(|(n, _, _)| n == name).map(|(_, _, value)| *value);
        assert!(get("process_resident_bytes").unwrap() > 1e5);
        assert!(get("process_threads").unwrap() >= 1.0);
        assert!(get("process_open_files").unwrap() >= 3.0);
    }

    #[test]
    fn the_thread_that_sends_is_counted_on_its_own() {
        let work = || {
            let busy_until = std::time::Instant::now() + std::time::Duration::from_millis(30);
            while std::time::Instant::now() < busy_until {}
            users_threads().unwrap()
        };
        let times = std::thread::Builder::new().name(USERS_THREAD.to_owned()).spawn(work).unwrap().join().unwrap();
        // On a crowded machine it may have waited instead of run.
        assert!(times.running_ns + times.delay_ns > 20e6, "{times:?}");
    }
}
