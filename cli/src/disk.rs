//! Whether the disk has room for a run: the estimate in words, and what there is. How much a run takes is
//! [`Footprint`]'s affair.

use std::path::Path;

use proofload_loadgen::footprint::Footprint;
use proofload_run::units::{format_bytes, significant};

/// Free space where the folder is or will be; `None` where the system does not say.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let space = rustix::fs::statvfs(existing).ok()?;
    Some(space.f_bavail * space.f_frsize)
}

/// Whether the run would surely fill the disk. How many requests users make depends on the answers, so their number is
/// no reason to refuse.
pub(crate) fn is_too_little(footprint: &Footprint, free_bytes: Option<u64>) -> bool {
    footprint.is_planned && free_bytes.is_some_and(|free| free < footprint.peak_bytes)
}

/// The estimate in one line.
pub(crate) fn estimate(footprint: &Footprint, free_bytes: Option<u64>) -> String {
    let Footprint { samples, is_planned, peak_bytes, kept_bytes } = footprint;
    let about = if *is_planned { "about" } else { "at most" };
    let free = free_bytes.map_or(String::new(), |free| format!("; {} free", format_bytes(free as f64)));
    format!(
        "{about} {} of disk, of which {} stay ({} samples){free}",
        format_bytes(*peak_bytes as f64),
        format_bytes(*kept_bytes as f64),
        count(*samples as f64),
    )
}

/// A large count in words that people read.
fn count(n: f64) -> String {
    match n {
        n if n >= 999_500_000.0 => format!("{} G", significant(n / 1e9)),
        n if n >= 999_500.0 => format!("{} M", significant(n / 1e6)),
        n => format!("{n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_in_words() {
        let check = |samples, is_planned, free, expected: &str| {
            let footprint = Footprint { samples, is_planned, peak_bytes: 18_720_000_000, kept_bytes: 2_640_000_000 };
            assert_eq!(estimate(&footprint, free), expected);
        };
        check(86_400_000, true, None, "about 18.7 GB of disk, of which 2.64 GB stay (86.4 M samples)");
        check(999, false, Some(5e12 as u64), "at most 18.7 GB of disk, of which 2.64 GB stay (999 samples); 5 TB free");
    }

    #[test]
    fn only_what_is_planned_is_refused() {
        let check = |is_planned, free, expected| {
            let footprint = Footprint { samples: 1, is_planned, peak_bytes: 100, kept_bytes: 10 };
            assert_eq!(is_too_little(&footprint, free), expected, "{is_planned} {free:?}");
        };
        check(true, Some(99), true);
        check(true, Some(100), false);
        check(false, Some(99), false);
        check(true, None, false);
    }
}
