//! What the generator itself uses: processor time, memory, files, threads, and how long it waited for a processor.
//! The parsing is pure; only [`read`] looks at `/proc`.

use std::fs;
use std::path::{Path, PathBuf};

/// Name of the thread on which slots and users send, as the kernel knows it (15 characters at most).
pub(crate) const USERS_THREAD: &str = "load-users";

/// A limit this high is none.
const UNLIMITED_BYTES: f64 = (1_u64 << 60) as f64;

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
    put("users_thread_preempted_total", preempted());
    let group = cgroup_cpu_stat();
    put("cgroup_throttled_total", group.as_deref().and_then(|stat| keyed(stat, "nr_throttled")));
    put("cgroup_throttled_seconds_total", group.as_deref().and_then(throttled_seconds));
    put("cgroup_memory_limit_bytes", cgroup_memory_limit_bytes());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    put("host_memory_used_bytes", host_memory_used_bytes(&memory));
    let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    put("host_cpu_pressure_seconds_total", pressure_seconds(&pressure));
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
    sending_threads().iter().filter_map(|thread| thread_times(thread)).reduce(ThreadTimes::plus)
}

/// The folders of the threads that send.
fn sending_threads() -> Vec<PathBuf> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let is_users =
        |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == USERS_THREAD);
    threads.filter_map(|thread| Some(thread.ok()?.path())).filter(is_users).collect()
}

/// How often the threads that send lost their processor while they had work.
fn preempted() -> Option<f64> {
    let of = |thread: &PathBuf| keyed(&fs::read_to_string(thread.join("status")).ok()?, "nonvoluntary_ctxt_switches:");
    sending_threads().iter().filter_map(of).reduce(|sum, count| sum + count)
}

/// The value after a key, in a file of one key and value a line.
fn keyed(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(char::is_whitespace)?.trim().parse().ok())
}

/// `cpu.stat` of this process's control group, of version 2 or 1.
fn cgroup_cpu_stat() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroup_path(&groups)?;
    let places = [format!("/sys/fs/cgroup{path}/cpu.stat"), format!("/sys/fs/cgroup/cpu{path}/cpu.stat")];
    places.iter().find_map(|place| fs::read_to_string(place).ok())
}

/// The path of the group that bounds processor time.
fn cgroup_path(groups: &str) -> Option<&str> {
    let of = |wanted: fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(wanted).then(|| path.trim_end_matches('/'))
        })
    };
    of(|controller| controller == "cpu").or_else(|| of(str::is_empty))
}

/// The least memory that this process's control group, or one around it, may use; `None` without a limit.
fn cgroup_memory_limit_bytes() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let own = groups.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path));
    let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<f64>().ok();
    let of = |root: &str, path: &str, name: &str| {
        let group = PathBuf::from(format!("{root}{}", path.trim_end_matches('/')));
        let around = group.ancestors().take_while(|group| group.starts_with(root));
        around.filter_map(|group| limit(group.join(name))).reduce(f64::min)
    };
    let unified = unified.and_then(|path| of("/sys/fs/cgroup", path, "memory.max"));
    let own = own.and_then(|path| of("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
    // Version 1 writes a number beyond all memory where there is no limit.
    [unified, own].into_iter().flatten().reduce(f64::min).filter(|bytes| *bytes < UNLIMITED_BYTES)
}

/// What of the machine's memory is used and could not be given up for something else.
fn host_memory_used_bytes(meminfo: &str) -> Option<f64> {
    let kib = |key: &str| keyed(&meminfo.replace(" kB", ""), key);
    Some((kib("MemTotal:")? - kib("MemAvailable:")?) * 1024.0)
}

/// How long the group was held back: microseconds in version 2, nanoseconds in version 1.
fn throttled_seconds(stat: &str) -> Option<f64> {
    keyed(stat, "throttled_usec").map(|us| us / 1e6).or_else(|| keyed(stat, "throttled_time").map(|ns| ns / 1e9))
}

/// How long some task of the machine waited for a processor.
fn pressure_seconds(pressure: &str) -> Option<f64> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    Some(some.rsplit_once("total=")?.1.trim().parse::<f64>().ok()? / 1e6)
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
    fn what_holds_a_process_back_is_read() {
        const V2: &str = "usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 1500000\n";
        const V1: &str = "nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000\n";
        assert_eq!((keyed(V2, "nr_throttled"), throttled_seconds(V2)), (Some(3.0), Some(1.5)));
        assert_eq!((keyed(V1, "nr_throttled"), throttled_seconds(V1)), (Some(3.0), Some(1.5)));
        assert_eq!((keyed("nr_throttledx 3", "nr_throttled"), throttled_seconds("")), (None, None));
        assert_eq!(keyed("nonvoluntary_ctxt_switches:\t42\n", "nonvoluntary_ctxt_switches:"), Some(42.0));
        assert_eq!(pressure_seconds("some avg10=0.00 total=2500000\nfull avg10=0.00 total=1\n"), Some(2.5));
        assert_eq!(pressure_seconds(""), None);
        assert_eq!(cgroup_path("0::/user.slice/a.scope\n"), Some("/user.slice/a.scope"));
        assert_eq!(cgroup_path("4:memory:/b\n3:cpu,cpuacct:/c\n0::/\n"), Some("/c"));
        assert_eq!(cgroup_path("0::/\n"), Some(""));
    }

    #[test]
    fn memory_that_could_be_given_up_is_not_used() {
        let check = |meminfo: &str, expected: Option<f64>| assert_eq!(host_memory_used_bytes(meminfo), expected);
        check("MemTotal:     2048 kB\nMemFree:   10 kB\nMemAvailable:    1024 kB\n", Some(1_048_576.0));
        check("MemTotal:     2048 kB\n", None);
        check("", None);
        assert!(cgroup_memory_limit_bytes().is_none_or(|bytes| bytes > 0.0));
    }

    #[test]
    fn this_process_has_figures() {
        let values = read();
        let get = |name: &str| values.iter().find(|(n, _, _)| n == name).map(|(_, _, value)| *value);
        assert!(get("process_resident_bytes").unwrap() > 1e5);
        assert!(get("process_threads").unwrap() >= 1.0);
        assert!(get("process_open_files").unwrap() >= 3.0);
        assert!(get("host_memory_used_bytes").unwrap() >= get("process_resident_bytes").unwrap());
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
