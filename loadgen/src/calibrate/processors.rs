//! A processor for the built-in server alone. On a machine of few the scheduler puts whoever is woken beside whoever woke
//! it, so that server and generator take turns on one processor while another is idle; and a server that is slow after a
//! freeze is no server of its law. A target on another machine has its own processors, too.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and every thread that it starts from now on, off one of the processors that it may use, and gives
/// that one. Call it before anything is started. `None` where there is only one, or where the system does not allow it:
/// then all share what there is.
pub fn set_one_aside() -> Option<CpuSet> {
    let (one, others) = parted(&sched_getaffinity(None).ok()?)?;
    sched_setaffinity(None, &others).ok()?;
    Some(one)
}

/// Takes this thread to these processors, if the system allows it.
pub(super) fn move_to(processors: &CpuSet) {
    let _ = sched_setaffinity(None, processors);
}

/// The last of several processors, and the others.
fn parted(all: &CpuSet) -> Option<(CpuSet, CpuSet)> {
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| all.is_set(*cpu))?;
    let (mut one, mut others) = (CpuSet::new(), *all);
    one.set(last);
    others.unset(last);
    (others.count() > 0).then_some((one, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        processors.iter().for_each(|cpu| set.set(*cpu));
        set
    }

    #[test]
    fn the_last_of_several_is_set_aside() {
        let check = |all: &[usize], expected: Option<(&[usize], &[usize])>| {
            let expected = expected.map(|(one, others)| (set(one), set(others)));
            assert_eq!(parted(&set(all)), expected, "{all:?}");
        };
        check(&[], None);
        check(&[3], None);
        check(&[0, 1], Some((&[1], &[0])));
        check(&[2, 5, 900], Some((&[900], &[2, 5])));
    }

    #[test]
    fn threads_that_are_started_later_keep_off_it() {
        let before = sched_getaffinity(None).unwrap();
        let seen = std::thread::spawn(|| {
            let aside = set_one_aside();
            let child = std::thread::spawn(|| sched_getaffinity(None).unwrap());
            (aside, child.join().unwrap())
        });
        let (aside, others) = seen.join().unwrap();
        assert_eq!(parted(&before), aside.map(|one| (one, others)));
    }
}
