//! API keys: whom a secret belongs to, and what that one may do. They are read from the text of a file that holds no
//! secret, only digests. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::quota::{Quota, Subject};
use super::rate::Rate;
use super::secret::Digest;

const MINUTE: Duration = Duration::from_secs(60);
/// Names become labels of metrics.
const LONGEST_NAME: usize = 64;

/// Who holds a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the key.
    pub name: String,
    /// How often it may ask.
    pub rate: Option<Rate>,
    /// How urgent its requests are at most: a priority level, 1 for the most urgent.
    pub priority: Option<u32>,
    quota: Quota,
    team: Option<(String, Quota)>,
}

impl Caller {
    /// Whose quotas a request of this caller uses.
    pub fn subjects(&self) -> Vec<(Subject<'_>, Quota)> {
        let team = self.team.as_ref().map(|(name, quota)| (Subject::Team(name), *quota));
        let limited = |(_, quota): &(Subject<'_>, Quota)| *quota != Quota::default();
        [(Subject::Key(&self.name), self.quota)].into_iter().chain(team).filter(limited).collect()
    }
}

/// All keys.
#[derive(Debug, Default)]
pub struct Keyring {
    by_index: HashMap<u64, Vec<(Digest, Arc<Caller>)>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    tiers: BTreeMap<String, WrittenTier>,
    #[serde(default)]
    teams: BTreeMap<String, WrittenQuota>,
    #[serde(default)]
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTier {
    requests_per_minute: Option<u32>,
    burst: Option<u32>,
    requests_per_day: Option<u64>,
    requests_per_month: Option<u64>,
    priority: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuota {
    requests_per_day: Option<u64>,
    requests_per_month: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    name: String,
    tier: String,
    team: Option<String>,
    sha256: String,
}

impl WrittenTier {
    fn rate(&self, name: &str, errors: &mut Vec<String>) -> Option<Rate> {
        let mut positive = |what: &str, number: Option<u32>| {
            if number == Some(0) {
                errors.push(format!("tiers.{name}.{what} must be at least 1; leave it out for no limit"));
            }
            number
        };
        let (requests, burst) =
            (positive("requests_per_minute", self.requests_per_minute), positive("burst", self.burst));
        positive("priority", self.priority);
        if requests.is_none() && burst.is_some() {
            errors.push(format!("tiers.{name}.burst needs tiers.{name}.requests_per_minute"));
        }
        requests.map(|requests| Rate { requests, per: MINUTE, burst: burst.unwrap_or(requests) })
    }
}

impl Keyring {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it; a text that is no such file has one reason.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let Written { tiers, teams, keys } = toml::from_str(text).map_err(|error| vec![shown(&error, text)])?;
        let mut errors = Vec::new();
        let rates: BTreeMap<_, _> = tiers.iter().map(|(name, tier)| (name, tier.rate(name, &mut errors))).collect();
        let (mut names, mut ring) = (BTreeSet::new(), Self::default());
        for WrittenKey { name, tier: tier_name, team, sha256 } in keys {
            let mut wrong = |what: String| errors.push(format!("key '{name}': {what}"));
            if !is_name(&name) {
                wrong(format!(
                    "its name must have 1 to {LONGEST_NAME} of the characters a-z, A-Z, 0-9, '-', '_' and '.'"
                ));
            }
            if !names.insert(name.clone()) {
                wrong("there are two of that name".to_owned());
            }
            let tier = tiers.get(&tier_name);
            if tier.is_none() {
                wrong(format!("there is no [tiers.{tier_name}]"));
            }
            let quota = team.as_ref().map(|team| (team.clone(), teams.get(team)));
            if let Some((team, None)) = &quota {
                wrong(format!("there is no [teams.{team}]"));
            }
            let digest = Digest::from_hex(&sha256);
            if digest.is_none() {
                wrong("`sha256` must be the 64 hexadecimal digits that `daemon key new` prints".to_owned());
            }
            let (Some(tier), Some(digest)) = (tier, digest) else { continue };
            let caller = Caller {
                rate: rates.get(&tier_name).copied().flatten(),
                priority: tier.priority,
                quota: Quota { per_day: tier.requests_per_day, per_month: tier.requests_per_month },
                team: quota.and_then(|(name, quota)| Some((name, quota?.quota()))),
                name,
            };
            if let Some(other) = ring.holder(&digest) {
                errors.push(format!("keys '{}' and '{}' are the same key", other.name, caller.name));
            }
            ring.by_index.entry(digest.index()).or_default().push((digest, Arc::new(caller)));
        }
        if errors.is_empty() { Ok(ring) } else { Err(errors) }
    }

    /// Who holds this secret.
    pub fn find(&self, secret: &str) -> Option<&Arc<Caller>> {
        self.holder(&Digest::of(secret))
    }

    fn holder(&self, digest: &Digest) -> Option<&Arc<Caller>> {
        let candidates = self.by_index.get(&digest.index())?;
        candidates.iter().find(|(known, _)| known.is(digest)).map(|(_, caller)| caller)
    }

    /// Everybody who holds a key.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.by_index.values().flatten().map(|(_, caller)| caller)
    }

    /// Whether somebody has this name.
    pub fn knows(&self, subject: Subject<'_>) -> bool {
        self.callers().any(|caller| match subject {
            Subject::Key(name) => caller.name == name,
            Subject::Team(name) => caller.team.as_ref().is_some_and(|(team, _)| team == name),
        })
    }
}

impl WrittenQuota {
    fn quota(&self) -> Quota {
        Quota { per_day: self.requests_per_day, per_month: self.requests_per_month }
    }
}

/// What is wrong and in which line, without the line itself: it may hold a key that was written there by mistake.
fn shown(error: &toml::de::Error, text: &str) -> String {
    let offset = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}: {}", error.message())
}

/// Whether a key may be called so.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// The lines of a new key in the file.
pub fn entry(name: &str, tier: &str, team: Option<&str>, secret: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let team = team.map(|team| format!("team = {}\n", quoted(team))).unwrap_or_default();
    let sha256 = Digest::of(secret).to_hex();
    format!("[[keys]]\nname = {}\ntier = {}\n{team}sha256 = \"{sha256}\"\n", quoted(name), quoted(tier))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIERS: &str = "[tiers.free]\nrequests_per_minute = 60\nburst = 5\nrequests_per_day = 1000\npriority = 2\n\
                         [tiers.full]\n[teams.vision]\nrequests_per_month = 7\n";

    #[test]
    fn whoever_shows_a_key_is_known() {
        let text =
            [TIERS, &entry("alice", "free", Some("vision"), "secret-a"), &entry("bob", "full", None, "secret-b")];
        let ring = Keyring::parse(&text.concat()).unwrap();
        let alice = ring.find("secret-a").unwrap();
        assert_eq!(alice.rate, Some(Rate { requests: 60, per: MINUTE, burst: 5 }));
        let daily = Quota { per_day: Some(1000), per_month: None };
        let monthly = Quota { per_day: None, per_month: Some(7) };
        assert_eq!(alice.subjects(), [(Subject::Key("alice"), daily), (Subject::Team("vision"), monthly)]);
        let bob = ring.find("secret-b").unwrap();
        assert_eq!((bob.rate, bob.priority, bob.subjects()), (None, None, Vec::new()));
        assert_eq!((alice.priority, ring.callers().count()), (Some(2), 2));
        assert!(ring.find("secret-c").is_none() && ring.find("").is_none());
        assert!(ring.knows(Subject::Team("vision")) && !ring.knows(Subject::Key("vision")));
    }

    #[test]
    fn all_mistakes_are_said_at_once() {
        let check = |text: &str, expected: &[&str]| {
            let errors = Keyring::parse(text).map(|_| ()).unwrap_err();
            assert_eq!(errors.len(), expected.len(), "{text}: {errors:?}");
            assert!(errors.iter().zip(expected).all(|(error, part)| error.contains(part)), "{errors:?}");
        };
        check("[[keys]]\nname = 3", &["line 2"]);
        check("keys = 3\n", &["line 1"]);
        check("[tiers.a]\nrequests = 3", &["unknown field"]);
        check(
            "[tiers.a]\nrequests_per_minute = 0\n[tiers.b]\nburst = 2\npriority = 0",
            &["tiers.a.requests_per_minute must be at least 1", "tiers.b.priority must", "tiers.b.burst needs"],
        );
        let twice = entry("a", "free", None, "x");
        check(&format!("{TIERS}{twice}{twice}"), &["two of that name", "the same key"]);
        check(
            &format!("{TIERS}{}", entry("a b", "gold", Some("nobody"), "x")),
            &["its name must have", "no [tiers.gold]", "no [teams.nobody]"],
        );
        let plain = format!("{TIERS}[[keys]]\nname = \"a\"\ntier = \"free\"\nsha256 = \"pl_secret\"");
        check(&plain, &["64 hexadecimal digits"]);
        assert!(
            !Keyring::parse(&plain).unwrap_err()[0].contains("pl_secret"),
            "a key that was written there by mistake"
        );
    }
}
