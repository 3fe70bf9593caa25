//! A value for each second, from the first to the last that came up. Counts nothing itself.

use std::collections::VecDeque;

/// See the module. Seconds in between that did not come up have the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BySecond<T> {
    first: u32,
    values: VecDeque<T>,
}

impl<T: Clone + Default> BySecond<T> {
    /// The value of a second.
    pub(crate) fn at(&mut self, second: u32) -> &mut T {
        if self.values.is_empty() {
            self.first = second;
        }
        while second < self.first {
            self.values.push_front(T::default());
            self.first -= 1;
        }
        let at = (second - self.first) as usize;
        if at >= self.values.len() {
            self.values.resize(at + 1, T::default());
        }
        &mut self.values[at]
    }

    /// The value of a second; `None` outside of those that came up.
    pub(crate) fn get(&self, second: u32) -> Option<&T> {
        self.values.get(second.checked_sub(self.first)? as usize)
    }

    /// All seconds and their values, in order of time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (self.first..).zip(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_come_in_any_order() {
        let check = |seconds: &[u32], expected: &[(u32, u32)]| {
            let mut counts = BySecond::<u32>::default();
            seconds.iter().for_each(|second| *counts.at(*second) += 1);
            let found: Vec<(u32, u32)> = counts.iter().map(|(second, count)| (second, *count)).collect();
            assert_eq!(found, expected, "{seconds:?}");
            let beyond = [expected.first().and_then(|first| first.0.checked_sub(1)), Some(u32::MAX)];
            beyond.into_iter().flatten().for_each(|second| assert_eq!(counts.get(second), None));
            expected.iter().for_each(|(second, count)| assert_eq!(counts.get(*second), Some(count)));
        };
        check(&[], &[]);
        check(&[7], &[(7, 1)]);
        check(&[7, 5, 8, 5], &[(5, 2), (6, 0), (7, 1), (8, 1)]);
        check(&[0, 2], &[(0, 1), (1, 0), (2, 1)]);
    }
}
