//! One line of the doctor's answer. Pure.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nothing in the way.
    Fine,
    /// A run works, but a figure may suffer.
    Doubtful,
    /// A run would fail or mislead.
    InTheWay,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) finding: String,
    pub(crate) remedy: String,
}

impl Check {
    pub(crate) fn fine(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, state: State::Fine, finding: finding.into(), remedy: String::new() }
    }

    pub(crate) fn doubtful(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Doubtful, finding: finding.into(), remedy: remedy.into() }
    }

    pub(crate) fn in_the_way(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::InTheWay, finding: finding.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.state {
            State::Fine => "ok  ",
            State::Doubtful => "warn",
            State::InTheWay => "FAIL",
        };
        write!(f, "{mark}  {:<12}  {}", self.name, self.finding)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n      {:<12}  -> {}", "", self.remedy) }
    }
}
