//! How much memory is free, as the system says it. Reading it takes some 20 µs, so nobody should for each request.

use std::fs;

/// Bytes that the process could still take: what the system has left, or its control group if that is less. `None`
/// where neither says.
pub fn free_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let group = read("memory.max").zip(read("memory.current")).and_then(|(max, current)| left(&max, &current));
    system.into_iter().chain(group).min()
}

/// `MemAvailable` of `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What a control group leaves; `None` where it has no limit.
fn left(max: &str, current: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    Some(number(max)?.saturating_sub(number(current)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says() {
        let meminfo = "MemTotal:        1000 kB\nMemAvailable:     300 kB\n";
        assert_eq!(available(meminfo), Some(300 * 1024));
        assert_eq!(available("MemTotal: 1000 kB"), None);
        assert_eq!(available("MemAvailable: much"), None);
        assert_eq!(left("500\n", "200\n"), Some(300));
        assert_eq!(left("100", "200"), Some(0));
        assert_eq!(left("max\n", "200\n"), None);
    }
}
