//! Windows of equal length, and stretches of them that are unlike the rest. Pure.

use proofload_run::units::NS_PER_S;

/// Length of a window: short enough to place what lasts some seconds, long enough for some dozens of requests.
pub(super) const WINDOW_NS: u64 = 2 * NS_PER_S;
/// With fewer windows nobody knows what is usual.
const LEAST_KNOWN: usize = 10;
/// One odd window may be chance.
const LEAST_ODD: usize = 2;
/// Windows without a reading that do not end a stretch.
const MOST_MISSING: usize = 1;

/// Windows from the first to before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Stretch {
    /// Its times on the run's clock.
    pub(super) fn ns(self) -> (u64, u64) {
        (self.from as u64 * WINDOW_NS, self.to as u64 * WINDOW_NS)
    }
}

/// The window that a time lies in.
pub(super) fn window(t_ns: u64) -> usize {
    usize::try_from(t_ns / WINDOW_NS).unwrap_or(usize::MAX)
}

/// The place of a window in a list that grows as far as it is needed.
pub(super) fn at<T: Default + Clone>(list: &mut Vec<T>, window: usize) -> &mut T {
    if list.len() <= window {
        list.resize(window + 1, T::default());
    }
    &mut list[window]
}

/// The median of what the windows read, if enough of them read something.
pub(super) fn usual(readings: impl Iterator<Item = f64>) -> Option<f64> {
    let mut known: Vec<f64> = readings.filter(|value| value.is_finite()).collect();
    if known.len() < LEAST_KNOWN {
        return None;
    }
    let middle = known.len() / 2;
    Some(*known.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Stretches of odd windows; `None` is a window that says nothing.
pub(super) fn stretches(windows: &[Option<bool>]) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    let mut missing = 0;
    for (index, odd) in windows.iter().enumerate() {
        match odd {
            None => missing += 1,
            Some(false) => missing = MOST_MISSING + 1,
            Some(true) => {
                match found.last_mut().filter(|last| last.to + missing == index && missing <= MOST_MISSING) {
                    Some(last) => last.to = index + 1,
                    None => found.push(Stretch { from: index, to: index + 1 }),
                }
                missing = 0;
            }
        }
    }
    let odd = |stretch: &Stretch| windows[stretch.from..stretch.to].iter().filter(|odd| **odd == Some(true)).count();
    found.retain(|stretch| odd(stretch) >= LEAST_ODD);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_two_odd_windows_with_one_missing_at_most() {
        let check = |windows: &str, expected: &[(usize, usize)]| {
            let odd = |letter| match letter {
                'x' => Some(true),
                '.' => Some(false),
                _ => None,
            };
            let windows: Vec<Option<bool>> = windows.chars().map(odd).collect();
            let found: Vec<(usize, usize)> =
                stretches(&windows).into_iter().map(|stretch| (stretch.from, stretch.to)).collect();
            assert_eq!(found, expected, "{windows:?}");
        };
        check("", &[]);
        check("....", &[]);
        check(".x.x.", &[]);
        check(".xx.x", &[(1, 3)]);
        check("xx..xxx", &[(0, 2), (4, 7)]);
        check("x xx", &[(0, 4)]);
        check("x x", &[(0, 3)]);
        check("x  x", &[]);
        check("xx  xx", &[(0, 2), (4, 6)]);
        check("x. x", &[]);
        check(" xx ", &[(1, 3)]);
    }

    #[test]
    fn what_is_usual_needs_ten_windows() {
        assert_eq!(usual((0..9).map(f64::from)), None);
        assert_eq!(usual((0..11).rev().map(f64::from)), Some(5.0));
        let with_gaps = (0..22).map(|n| if n % 2 == 0 { f64::NAN } else { 7.0 });
        assert_eq!(usual(with_gaps), Some(7.0));
    }

    #[test]
    fn windows_are_placed_on_the_runs_clock() {
        assert_eq!((window(0), window(WINDOW_NS - 1), window(WINDOW_NS)), (0, 0, 1));
        assert_eq!(Stretch { from: 1, to: 4 }.ns(), (WINDOW_NS, 4 * WINDOW_NS));
        let mut list = vec![1];
        *at(&mut list, 2) += 5;
        assert_eq!(list, [1, 0, 5]);
    }
}
