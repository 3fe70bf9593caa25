//! The daemon's own consumption, read from `/proc` on a thread of its own. Absent where there is no `/proc`.

use std::fs;
use std::time::Duration;

use super::sampler::Sampler;

/// How old a reading is at most, more or less. Reading takes well under a millisecond.
const PERIOD: Duration = Duration::from_millis(250);

/// What the process uses at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time.
    pub cpu_s: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
}

/// Reads the usage of this process again and again. The first reading is there at once.
///
/// # Errors
/// When the system has no thread left.
pub fn sample() -> std::io::Result<Sampler<Option<Usage>>> {
    Sampler::start("process", PERIOD, Some(usage()), usage)
}

/// Reads the usage of this process; `None` when the system does not say.
pub fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let open_fds = u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    parse_stat(&stat, rustix::param::clock_ticks_per_second(), page).map(|usage| Usage { open_fds, ..usage })
}

/// `/proc/<pid>/stat`: the fields after the command's name, which may itself hold spaces and parentheses.
fn parse_stat(stat: &str, ticks_per_s: u64, page_bytes: u64) -> Option<Usage> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // proc(5) counts from 1 and from the pid; here number 3, the state, comes first.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (utime, stime, threads, rss_pages) = (field(14)?, field(15)?, field(20)?, field(24)?);
    let cpu_s = (utime + stime) as f64 / ticks_per_s as f64;
    Some(Usage { cpu_s, rss_bytes: rss_pages * page_bytes, threads, open_fds: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_name_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 7 0 100 999 12 18446744073709551615";
        let expected = Usage { cpu_s: 3.0, rss_bytes: 12 * 4096, threads: 7, open_fds: 0 };
        assert_eq!(parse_stat(stat, 100, 4096), Some(expected));
        assert_eq!(parse_stat("42 (x) S 1 2", 100, 4096), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(usage().is_some_and(|usage| usage.rss_bytes > 100_000 && usage.threads >= 1 && usage.open_fds >= 3));
    }
}
