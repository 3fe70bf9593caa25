//! Secrets that must not be written down, whoever says them: a target may well repeat a token in its refusal.

use std::fmt;

/// See the module. Each has the text that stands for it, such as `${env:TOKEN}`.
#[derive(Clone, Default)]
pub struct Secrets {
    known: Vec<(String, String)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.known.len())
    }
}

impl Secrets {
    /// Secrets, each after the text that stands for it. Empty ones are none.
    pub fn new(known: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut known: Vec<_> = known.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        // One may hold another: the longest first.
        known.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        known.dedup();
        Self { known }
    }

    /// The text with every secret replaced by what stands for it.
    pub fn hide(&self, text: String) -> String {
        self.known.iter().fold(text, |text, (name, value)| {
            if text.contains(value.as_str()) { text.replace(value.as_str(), name) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let pair = |name: &str, value: &str| (format!("${{env:{name}}}"), value.to_owned());
        let secrets = Secrets::new([pair("SHORT", "abc"), pair("LONG", "abcdef"), pair("EMPTY", "")]);
        let check = |text: &str, expected: &str| assert_eq!(secrets.hide(text.to_owned()), expected);
        check("401: bad token abcdef (abc)", "401: bad token ${env:LONG} (${env:SHORT})");
        check("nothing to hide", "nothing to hide");
        assert_eq!(format!("{secrets:?}"), "2 secrets");
    }
}
