//! What is known of every version of every model at one moment. Pure: it starts and stops nothing; `T` is whatever
//! serves a version.

use std::collections::BTreeMap;

/// Triton's word for a version that was unloaded and not broken.
const UNLOADED: &str = "unloaded";

/// Where a version stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State<T> {
    /// It is being read, started and warmed.
    Loading,
    /// It serves.
    Ready {
        /// What serves.
        model: T,
        /// Why it is still this one although another was to replace it; empty when nothing is wrong.
        remark: String,
    },
    /// It takes no new requests and finishes those that it has.
    Unloading,
    /// It cannot serve.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl<T> State<T> {
    /// Its name in the repository index, and the reason.
    pub fn describe(&self) -> (&'static str, &str) {
        match self {
            Self::Loading => ("LOADING", ""),
            Self::Ready { remark, .. } => ("READY", remark),
            Self::Unloading => ("UNLOADING", ""),
            Self::Unavailable { reason } => ("UNAVAILABLE", reason),
        }
    }

    /// What serves.
    fn ready(&self) -> Option<&T> {
        match self {
            Self::Ready { model, .. } => Some(model),
            _ => None,
        }
    }
}

/// The versions of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// By number.
    pub versions: BTreeMap<i64, State<T>>,
    /// Why not even its versions are known; empty when they are.
    pub failure: String,
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self { versions: BTreeMap::new(), failure: String::new() }
    }
}

/// Why nothing serves what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// There is no such model.
    Model,
    /// None of its versions serves.
    NoneReady,
    /// It has no such version.
    Version,
    /// That version exists and does not serve.
    NotReady,
}

/// Everything that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot<T> {
    /// By name.
    pub models: BTreeMap<String, Entry<T>>,
}

impl<T> Default for Snapshot<T> {
    fn default() -> Self {
        Self { models: BTreeMap::new() }
    }
}

impl<T> Snapshot<T> {
    /// What serves a version of a model, or its newest that serves.
    ///
    /// # Errors
    /// When nothing does.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<&T, Missing> {
        let entry = self.models.get(name).ok_or(Missing::Model)?;
        let Some(version) = version else {
            return entry.versions.values().rev().find_map(State::ready).ok_or(Missing::NoneReady);
        };
        let found = version.parse().ok().and_then(|version: i64| entry.versions.get(&version));
        found.ok_or(Missing::Version)?.ready().ok_or(Missing::NotReady)
    }

    /// What serves, in the order of names and versions.
    pub fn ready(&self) -> impl Iterator<Item = &T> {
        self.models.values().flat_map(|entry| entry.versions.values()).filter_map(State::ready)
    }

    /// The versions of a model that serve, ascending.
    pub fn ready_of(&self, name: &str) -> impl Iterator<Item = (i64, &T)> {
        let versions = self.models.get(name).into_iter().flat_map(|entry| &entry.versions);
        versions.filter_map(|(version, state)| Some((*version, state.ready()?)))
    }

    /// The names of the models of which something serves.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let serves = |entry: &Entry<T>| entry.versions.values().any(|state| state.ready().is_some());
        self.models.iter().filter(move |(_, entry)| serves(entry)).map(|(name, _)| name)
    }

    /// These versions are being loaded. What serves goes on until they are there.
    pub fn loading(&mut self, name: &str, versions: impl IntoIterator<Item = i64>) {
        let entry = self.models.entry(name.to_owned()).or_default();
        for version in versions {
            let state = entry.versions.entry(version).or_insert(State::Loading);
            if state.ready().is_none() {
                *state = State::Loading;
            }
        }
    }

    /// These versions serve from now on, and no others of that model.
    pub fn loaded(&mut self, name: &str, versions: BTreeMap<i64, T>) {
        let entry = self.models.entry(name.to_owned()).or_default();
        entry.failure.clear();
        entry.versions.values_mut().for_each(State::unload);
        let ready = |(version, model)| (version, State::Ready { model, remark: String::new() });
        entry.versions.extend(versions.into_iter().map(ready));
    }

    /// A load came to nothing: what serves goes on, and says why it is not the new one.
    pub fn failed(&mut self, name: &str, why: &str) {
        let entry = self.models.entry(name.to_owned()).or_default();
        for state in entry.versions.values_mut() {
            match state {
                State::Ready { remark, .. } => why.clone_into(remark),
                State::Loading => *state = State::Unavailable { reason: why.to_owned() },
                State::Unloading | State::Unavailable { .. } => {}
            }
        }
        let said = entry.versions.values().any(|state| state.describe().1 == why);
        entry.failure = if said { String::new() } else { why.to_owned() };
    }

    /// These versions cannot serve for the time being, and no others of that model do.
    pub fn unavailable(&mut self, name: &str, versions: impl IntoIterator<Item = i64>, why: &str) {
        let entry = self.models.entry(name.to_owned()).or_default();
        entry.failure.clear();
        entry.versions.values_mut().for_each(State::unload);
        let unavailable = |version| (version, State::Unavailable { reason: why.to_owned() });
        entry.versions.extend(versions.into_iter().map(unavailable));
    }

    /// No version of that model takes requests any more.
    pub fn unload(&mut self, name: &str) {
        if let Some(entry) = self.models.get_mut(name) {
            entry.failure.clear();
            entry.versions.values_mut().for_each(State::unload);
        }
    }

    /// The last request of a version that was unloaded has been answered.
    pub fn unloaded(&mut self, name: &str, version: i64) {
        let state = self.models.get_mut(name).and_then(|entry| entry.versions.get_mut(&version));
        if let Some(state @ State::Unloading) = state {
            *state = State::Unavailable { reason: UNLOADED.to_owned() };
        }
    }

    /// Forgets a model of which nothing serves any more.
    pub fn forget(&mut self, name: &str) {
        if self.ready_of(name).next().is_none() {
            self.models.remove(name);
        }
    }
}

impl<T> State<T> {
    fn unload(&mut self) {
        *self = match self {
            Self::Ready { .. } | Self::Unloading => Self::Unloading,
            Self::Loading | Self::Unavailable { .. } => Self::Unavailable { reason: UNLOADED.to_owned() },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step = fn(&mut Snapshot<&'static str>);

    /// What the index says of model `m` after these steps.
    fn check(steps: &[Step], expected: &str) {
        let mut snapshot = Snapshot::default();
        steps.iter().for_each(|step| step(&mut snapshot));
        let shown = |entry: &Entry<&str>| {
            let of = |(version, state): (&i64, &State<&str>)| {
                let model = state.ready().copied().unwrap_or_default();
                let (name, reason) = state.describe();
                let words = [version.to_string().as_str(), name, model, reason].map(str::to_owned);
                words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
            };
            entry.versions.iter().map(of).chain((!entry.failure.is_empty()).then(|| entry.failure.clone())).collect()
        };
        let shown: Vec<String> = snapshot.models.get("m").map(shown).unwrap_or_default();
        assert_eq!(shown.join(", "), expected);
    }

    const FIRST: Step = |snapshot| {
        snapshot.loading("m", [1]);
        snapshot.loaded("m", BTreeMap::from([(1, "a")]));
    };

    #[test]
    fn a_version_lives() {
        check(&[], "");
        check(&[|snapshot| snapshot.loading("m", [1, 2])], "1 LOADING, 2 LOADING");
        check(&[FIRST], "1 READY a");
        check(&[FIRST, |snapshot| snapshot.loading("m", [1, 2])], "1 READY a, 2 LOADING");
        check(&[FIRST, |snapshot| snapshot.loaded("m", BTreeMap::from([(1, "b")]))], "1 READY b");
        check(&[FIRST, |snapshot| snapshot.loaded("m", BTreeMap::from([(2, "b")]))], "1 UNLOADING, 2 READY b");
        check(&[FIRST, |snapshot| snapshot.unload("m")], "1 UNLOADING");
        check(
            &[FIRST, |snapshot| snapshot.unload("m"), |snapshot| snapshot.unloaded("m", 1)],
            "1 UNAVAILABLE unloaded",
        );
        check(&[FIRST, |snapshot| snapshot.unloaded("m", 1)], "1 READY a");
        check(&[FIRST, |snapshot| snapshot.unload("m"), FIRST], "1 READY a");
        check(&[FIRST, |snapshot| snapshot.unavailable("m", [1], "alone")], "1 UNAVAILABLE alone");
        check(&[FIRST, |snapshot| snapshot.unavailable("m", [2], "alone")], "1 UNLOADING, 2 UNAVAILABLE alone");
        check(&[FIRST, |snapshot| snapshot.unavailable("m", [1], "alone"), FIRST], "1 READY a");
    }

    #[test]
    fn what_breaks_leaves_what_serves() {
        check(&[|snapshot| snapshot.failed("m", "broken")], "broken");
        check(&[|snapshot| snapshot.loading("m", [1]), |snapshot| snapshot.failed("m", "bad")], "1 UNAVAILABLE bad");
        check(&[FIRST, |snapshot| snapshot.failed("m", "bad")], "1 READY a bad");
        check(
            &[FIRST, |snapshot| snapshot.loading("m", [2]), |snapshot| snapshot.failed("m", "bad")],
            "1 READY a bad, 2 UNAVAILABLE bad",
        );
        check(&[FIRST, |snapshot| snapshot.failed("m", "bad"), FIRST], "1 READY a");
        check(&[|snapshot| snapshot.failed("m", "bad"), FIRST], "1 READY a");
    }

    #[test]
    fn the_newest_that_serves_is_found() {
        let mut snapshot = Snapshot::default();
        snapshot.loaded("m", BTreeMap::from([(1, "a"), (2, "b")]));
        snapshot.loading("m", [3]);
        snapshot.loading("n", [1]);
        let check = |name: &str, version: Option<&str>, expected| {
            assert_eq!(snapshot.find(name, version).copied(), expected, "{name} {version:?}");
        };
        check("m", None, Ok("b"));
        check("m", Some("1"), Ok("a"));
        check("m", Some("3"), Err(Missing::NotReady));
        check("m", Some("4"), Err(Missing::Version));
        check("m", Some("x"), Err(Missing::Version));
        check("n", None, Err(Missing::NoneReady));
        check("o", None, Err(Missing::Model));
        assert_eq!(snapshot.names().collect::<Vec<_>>(), ["m"]);
    }
}
