//! What is known of this machine while it measures: what it is, whether others use it meanwhile, and how much memory this
//! process has had at most. What Linux does not say here is `None`.

use std::fs;

use super::file::Host;

/// This machine, of which the daemon may use so much.
pub(crate) fn host(cores: usize, compute_threads: usize, gpu: Option<String>) -> Host {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| cpu_name(&text));
    Host { cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()), cores, compute_threads, gpu }
}

/// `model name` on x86, `CPU part` and its like elsewhere.
fn cpu_name(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let arm = || Some(format!("implementer {}, part {}", field("CPU implementer")?, field("CPU part")?));
    field("model name").or_else(arm)
}

/// Processor time so far, in ticks: of all, of those that had nothing to do, and of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    all: u64,
    idle: u64,
    own: u64,
}

impl Ticks {
    /// As they are now.
    pub(super) fn now() -> Option<Self> {
        let (all, idle) = of_all(&fs::read_to_string("/proc/stat").ok()?)?;
        let own = of_process(&fs::read_to_string("/proc/self/stat").ok()?)?;
        Some(Self { all, idle, own })
    }

    /// The share of the processors' time between then and now that neither this process had nor nobody.
    pub(super) fn others_since(self, then: Self) -> Option<f64> {
        let all = self.all.checked_sub(then.all).filter(|all| *all > 0)?;
        let rest =
            all.saturating_sub(self.idle.saturating_sub(then.idle)).saturating_sub(self.own.saturating_sub(then.own));
        Some(rest as f64 / all as f64)
    }
}

/// All ticks, and those in which processors waited.
fn of_all(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // The last two, of guests, are within the first two.
    let fields: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((fields.iter().sum(), fields.get(3)? + fields.get(4)?))
}

/// Ticks of a process in both modes. Its name is in brackets and may have anything in it.
fn of_process(stat: &str) -> Option<u64> {
    let after = stat.rsplit_once(") ")?.1;
    let field = |at: usize| after.split(' ').nth(at)?.parse::<u64>().ok();
    Some(field(11)? + field(12)?)
}

/// Bytes of this process that are in memory.
pub(super) fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// The most since `forget_peak`.
pub(super) fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// The most is what is there now; says whether the system could be told.
pub(super) fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status(name: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, name)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_understood() {
        let x86 = "processor\t: 0\nmodel name\t: A CPU @ 2GHz\n";
        assert_eq!(cpu_name(x86).as_deref(), Some("A CPU @ 2GHz"));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";
        assert_eq!(cpu_name(arm).as_deref(), Some("implementer 0x41, part 0xd40"));
        assert_eq!(cpu_name("nothing"), None);
        assert_eq!(of_all("cpu  10 1 5 100 4 1 2 3 7 7\ncpu0 1 1 1 1"), Some((126, 104)));
        assert_eq!(of_process("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0"), Some(42));
        assert_eq!(kibibytes("VmPeak: 1 kB\nVmHWM:\t  20 kB\n", "VmHWM:"), Some(20 * 1024));
    }

    #[test]
    fn what_others_take_is_what_is_left() {
        let ticks = |all, idle, own| Ticks { all, idle, own };
        let check = |now: Ticks, expected: Option<f64>| {
            assert_eq!(now.others_since(ticks(1000, 500, 100)), expected, "{now:?}");
        };
        check(ticks(1200, 600, 150), Some(0.25));
        check(ticks(1200, 600, 230), Some(0.0));
        check(ticks(1000, 500, 100), None);
    }

    #[test]
    fn this_process_is_in_memory() {
        // Only Linux has these files; where they are, the figures must make sense.
        if let Some(resident) = resident_bytes() {
            assert!(resident > 1 << 20, "{resident}");
            assert!(peak_bytes().is_some_and(|peak| peak >= resident / 2));
        }
    }
}
