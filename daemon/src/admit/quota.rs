//! Quotas: how many requests a key, or all keys of a team, may make in a day and in a month (UTC). What was used outlives
//! the process; reading and writing the text is not done here. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY_S: u64 = 86_400;

/// How many requests may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// In a day.
    pub per_day: Option<u64>,
    /// In a month.
    pub per_month: Option<u64>,
}

/// Who has a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject<'a> {
    /// A key, by its name.
    Key(&'a str),
    /// A team.
    Team(&'a str),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key '{name}'"),
            Self::Team(name) => write!(f, "team '{name}'"),
        }
    }
}

/// A quota is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedUp {
    /// Whose, how large and of what, in words.
    pub what: String,
    /// When the next day or month begins.
    pub retry_after: Duration,
}

/// A quota in its present day or month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    subject: String,
    /// `d` and the day, or `m` and the month.
    period: String,
    /// How many requests may be made in it.
    pub limit: u64,
    /// When it is over.
    pub ends_in: Duration,
}

impl Due {
    /// Its name among others', which is another one in each day or month.
    pub fn name(&self) -> String {
        format!("{}:{}", self.period, self.subject)
    }

    /// What whoever has used it up is told.
    pub fn used_up(&self) -> UsedUp {
        let Self { subject, period, limit, ends_in } = self;
        let period = if period.starts_with('d') { "day" } else { "month" };
        let what = format!("{subject}: its quota of {limit} requests a {period} is used up");
        UsedUp { what, retry_after: *ends_in }
    }
}

/// The quotas of these subjects that a request uses.
pub fn due(subjects: &[(Subject<'_>, Quota)], unix_s: u64) -> Vec<Due> {
    if subjects.is_empty() {
        return Vec::new();
    }
    let calendar = Calendar::at(unix_s);
    let of_subject = |(subject, quota): &(Subject<'_>, Quota)| {
        let due = |limit: Option<u64>, period: String, ends_s: u64| {
            let ends_in = Duration::from_secs(ends_s.saturating_sub(unix_s));
            limit.map(|limit| Due { subject: subject.to_string(), period, limit, ends_in })
        };
        let day = due(quota.per_day, format!("d{}", calendar.day), calendar.day_ends_s);
        day.into_iter().chain(due(quota.per_month, format!("m{}", calendar.month), calendar.month_ends_s))
    };
    subjects.iter().flat_map(of_subject).collect()
}

/// Counts of one subject; those of another day or month than this are as good as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Used {
    /// Days since 1970.
    day: u64,
    in_day: u64,
    /// Months since January 1970.
    month: u64,
    in_month: u64,
}

/// Everything that was used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    keys: BTreeMap<String, Used>,
    teams: BTreeMap<String, Used>,
}

/// Which day and month it is, and when the next begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Calendar {
    day: u64,
    month: u64,
    day_ends_s: u64,
    month_ends_s: u64,
}

impl Calendar {
    /// At so many seconds since 1970.
    fn at(unix_s: u64) -> Self {
        let day = unix_s / DAY_S;
        let month = month_of(day);
        // The first day of the next month: no month has more than 31 days.
        let next = (day + 1..=day + 31).find(|later| month_of(*later) != month).unwrap_or(day + 31);
        Self { day, month, day_ends_s: (day + 1) * DAY_S, month_ends_s: next * DAY_S }
    }
}

/// Months since January 1970, by days since then. The arithmetic is Howard Hinnant's `civil_from_days`.
fn month_of(day: u64) -> u64 {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Counted from March, so that the day that leap years have is the last.
    let from_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + from_march + 2 - 1970 * 12
}

impl Used {
    fn now(self, calendar: &Calendar) -> Self {
        let Calendar { day, month, .. } = *calendar;
        let in_day = if self.day == day { self.in_day } else { 0 };
        let in_month = if self.month == month { self.in_month } else { 0 };
        Self { day, in_day, month, in_month }
    }
}

impl Ledger {
    /// Reads what was written.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// As text.
    pub fn to_json(&self) -> String {
        // Maps of names and numbers always can be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Counts a request of all these subjects, or of none of them.
    ///
    /// # Errors
    /// When a quota is used up.
    pub fn take(&mut self, subjects: &[(Subject<'_>, Quota)], unix_s: u64) -> Result<(), UsedUp> {
        if subjects.is_empty() {
            return Ok(());
        }
        let calendar = Calendar::at(unix_s);
        for subject in subjects {
            let Used { in_day, in_month, .. } = self.used(subject.0).copied().unwrap_or_default().now(&calendar);
            for due in due(std::slice::from_ref(subject), unix_s) {
                let used = if due.period.starts_with('d') { in_day } else { in_month };
                if used >= due.limit {
                    return Err(due.used_up());
                }
            }
        }
        self.change(subjects, &calendar, |count| count.saturating_add(1));
        Ok(())
    }

    /// Takes a request back that was counted and not served.
    pub fn give_back(&mut self, subjects: &[(Subject<'_>, Quota)], unix_s: u64) {
        self.change(subjects, &Calendar::at(unix_s), |count| count.saturating_sub(1));
    }

    fn change(&mut self, subjects: &[(Subject<'_>, Quota)], calendar: &Calendar, by: impl Fn(u64) -> u64) {
        for (subject, _) in subjects {
            let (counts, name) = match subject {
                Subject::Key(name) => (&mut self.keys, name),
                Subject::Team(name) => (&mut self.teams, name),
            };
            let used = counts.get(*name).copied().unwrap_or_default().now(calendar);
            let used = Used { in_day: by(used.in_day), in_month: by(used.in_month), ..used };
            counts.insert((*name).to_owned(), used);
        }
    }

    fn used(&self, subject: Subject<'_>) -> Option<&Used> {
        match subject {
            Subject::Key(name) => self.keys.get(name),
            Subject::Team(name) => self.teams.get(name),
        }
    }

    /// Forgets subjects that are gone and whose counts mean nothing any more.
    pub fn retain(&mut self, exists: impl Fn(Subject<'_>) -> bool, unix_s: u64) {
        let Calendar { month, .. } = Calendar::at(unix_s);
        self.keys.retain(|name, used| used.month == month || exists(Subject::Key(name)));
        self.teams.retain(|name, used| used.month == month || exists(Subject::Team(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months() {
        let check = |unix_s, day, month, day_ends_s, month_ends_s| {
            assert_eq!(Calendar::at(unix_s), Calendar { day, month, day_ends_s, month_ends_s });
        };
        check(0, 0, 0, 86_400, 31 * 86_400);
        // 2024-02-29 23:59:59 and the second after.
        check(1_709_251_199, 19_782, 649, 1_709_251_200, 1_709_251_200);
        check(1_709_251_200, 19_783, 650, 1_709_337_600, 1_711_929_600);
        // 2026-11-21 12:00:00.
        check(1_795_262_400, 20_778, 682, 1_795_305_600, 1_796_083_200);
        // 2100-02-28, which no leap day follows.
        check(4_107_456_000, 47_540, 1561, 4_107_542_400, 4_107_542_400);
    }

    #[test]
    fn a_quota_ends_with_its_day_and_its_month() {
        let day = |day: u64| 1_795_219_200 + day * DAY_S;
        let alice = (Subject::Key("alice"), Quota { per_day: Some(2), per_month: Some(5) });
        let team = (Subject::Team("vision"), Quota { per_day: None, per_month: Some(4) });
        let mut ledger = Ledger::default();
        let mut check = |subjects: &[_], at, expected: Result<(), (&str, u64)>| {
            let found = ledger.take(subjects, at).map_err(|up| (up.what, up.retry_after.as_secs()));
            match (found, expected) {
                (Ok(()), Ok(())) => {}
                (Err((what, seconds)), Err((part, expected))) => {
                    assert!(what.contains(part) && seconds == expected, "{what} {seconds}");
                }
                (found, expected) => panic!("{at}: {found:?}, expected {expected:?}"),
            }
        };
        check(&[alice, team], day(0), Ok(()));
        check(&[alice, team], day(0), Ok(()));
        check(&[alice, team], day(0) + 3600, Err(("key 'alice': its quota of 2 requests a day", 23 * 3600)));
        check(&[alice, team], day(1), Ok(()));
        check(&[alice, team], day(1), Ok(()));
        check(&[alice, team], day(2), Err(("team 'vision': its quota of 4 requests a month", 8 * DAY_S)));
        check(&[alice], day(2), Ok(()));
        check(&[alice], day(3), Err(("5 requests a month", 7 * DAY_S)));
        check(&[alice, team], day(10), Ok(()));
    }

    #[test]
    fn a_quota_has_a_name_of_its_own_in_each_day_and_month() {
        let quota = Quota { per_day: Some(2), per_month: Some(5) };
        let due = due(&[(Subject::Key("a"), quota), (Subject::Team("t"), Quota::default())], 1_795_262_400);
        let names: Vec<_> = due.iter().map(|due| (due.name(), due.limit, due.ends_in.as_secs())).collect();
        let expected = [("d20778:key 'a'", 2, 43_200), ("m682:key 'a'", 5, 820_800)];
        assert_eq!(names, expected.map(|(name, limit, ends_s)| (name.to_owned(), limit, ends_s)));
    }

    #[test]
    fn what_was_used_is_kept_and_given_back() {
        let one = [(Subject::Key("a"), Quota { per_day: Some(1), per_month: None })];
        let mut ledger = Ledger::default();
        ledger.take(&one, 1000).unwrap();
        let mut again = Ledger::from_json(&ledger.to_json()).unwrap();
        assert_eq!(again, ledger);
        assert!(again.take(&one, 2000).is_err());
        again.give_back(&one, 2000);
        assert!(again.take(&one, 2000).is_ok());
        again.retain(|_| false, 40 * DAY_S);
        assert_eq!(again, Ledger::default());
        assert!(Ledger::from_json("{\"keys\":3}").is_err());
    }
}
