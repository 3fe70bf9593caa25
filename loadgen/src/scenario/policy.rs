//! Whether an entry's payloads repeat: what its author wrote, against what its contents allow.

use super::PayloadPolicy;
use super::as_written::{self as written, PolicyWord};
use super::entries::Entries;

/// Largest set of contents.
const MOST_ITEMS: i64 = 1_000_000;
/// Size of the set when it is not stated.
const DEFAULT_ITEMS: u32 = 1000;
/// Exponent when it is not stated: the classic law.
const DEFAULT_EXPONENT: f64 = 1.0;
/// Exponent beyond which everybody asks for the first item.
const MOST_EXPONENT: f64 = 10.0;

impl Entries<'_> {
    /// The policy of an entry; `obstacle` says why its contents cannot be made to differ, if they cannot.
    pub(super) fn policy(&self, written: &written::Mix, obstacle: Option<String>) -> PayloadPolicy {
        let word = written.payload.as_ref();
        if let (Some(zipf), true) = (&written.zipf, word.is_none_or(|word| word.value != PolicyWord::Zipf)) {
            self.complain(&zipf.here, "belongs to payload = \"zipf\"; write that, or remove the table");
        }
        let Some(word) = word else {
            return if obstacle.is_some() { PayloadPolicy::Fixed } else { PayloadPolicy::Unique };
        };
        if let (Some(obstacle), true) = (obstacle, word.value != PolicyWord::Fixed) {
            self.complain(word, format!("{obstacle}; write payload = \"fixed\""));
        }
        match word.value {
            PolicyWord::Unique => PayloadPolicy::Unique,
            PolicyWord::Fixed => PayloadPolicy::Fixed,
            PolicyWord::Zipf => self.zipf(written.zipf.as_ref()),
        }
    }

    fn zipf(&self, zipf: Option<&written::Zipf>) -> PayloadPolicy {
        let (items, exponent) = (zipf.and_then(|z| z.items.as_ref()), zipf.and_then(|z| z.exponent.as_ref()));
        if let Some(items) = items.filter(|items| !(1..=MOST_ITEMS).contains(&items.value)) {
            self.complain(items, format!("write 1 to {MOST_ITEMS} items"));
        }
        if let Some(exponent) = exponent.filter(|exponent| !(0.0..=MOST_EXPONENT).contains(&exponent.value)) {
            self.complain(exponent, format!("write 0 (all alike) to {MOST_EXPONENT} (nearly always the first)"));
        }
        PayloadPolicy::Zipf {
            items: items.map_or(DEFAULT_ITEMS, |items| u32::try_from(items.value).unwrap_or(DEFAULT_ITEMS)),
            exponent: exponent.map_or(DEFAULT_EXPONENT, |exponent| exponent.value),
        }
    }
}
