//! Which requests are traced: Triton's trace settings, of the whole server and of single models, as far as they mean
//! something to a tracer that sends spans to a collector. Pure: it counts requests and reads no clock.

use std::collections::BTreeMap;

/// What a client asks for, by the settings' names; `None` goes back to the setting that holds otherwise.
pub type Wanted = BTreeMap<String, Option<Vec<String>>>;

/// Why settings are not changed. Then none is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A value that cannot be meant so.
    #[error("{0}")]
    Wrong(String),
    /// A setting that Triton has and that does nothing here.
    #[error("{0}")]
    NotOffered(String),
}

/// How many of the requests are traced that bring no decision of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    /// One of so many; 0 is none.
    OneOf(u32),
    /// This share, 0 to 1.
    Share(f64),
}

impl Rate {
    fn of_share(share: f64) -> Self {
        let one_of = share.recip();
        if share <= 0.0 {
            Self::OneOf(0)
        } else if one_of <= f64::from(u32::MAX) && (one_of - one_of.round()).abs() < 1e-9 {
            Self::OneOf(one_of.round() as u32)
        } else {
            Self::Share(share)
        }
    }

    fn one_of(self) -> u32 {
        match self {
            Self::OneOf(one_of) => one_of,
            Self::Share(share) => share.recip().round() as u32,
        }
    }
}

/// Every setting, or those that a model has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Values {
    /// Whether anything is traced: Triton's levels `TIMESTAMPS` and `OFF`.
    on: Option<bool>,
    rate: Option<Rate>,
    /// How many more are traced; -1 is without end.
    left: Option<i64>,
}

impl Values {
    fn or(self, other: Self) -> Self {
        Self { on: self.on.or(other.on), rate: self.rate.or(other.rate), left: self.left.or(other.left) }
    }
}

/// Settings, and how far the count of requests is that they hold for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Scope {
    values: Values,
    seen: u32,
    owed: f64,
}

impl Scope {
    /// Whether this request is the one of so many.
    fn is_due(&mut self, rate: Rate) -> bool {
        match rate {
            Rate::OneOf(0) => false,
            Rate::OneOf(one_of) => {
                self.seen = (self.seen + 1) % one_of;
                self.seen == 0
            }
            Rate::Share(share) => {
                self.owed += share;
                let due = self.owed >= 1.0;
                self.owed -= f64::from(u8::from(due));
                due
            }
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Settings {
    at_start: Values,
    server: Scope,
    models: BTreeMap<String, Scope>,
}

/// The settings that hold, as Triton shows them: names, and a value or a list of values.
pub type Shown = Vec<(&'static str, Vec<String>)>;

const LEVEL: &str = "trace_level";
const RATE: &str = "trace_rate";
const COUNT: &str = "trace_count";

impl Settings {
    /// Of a daemon that traces this share of its requests.
    pub fn with_share(share: f64) -> Self {
        Self::starting(Values { on: Some(true), rate: Some(Rate::of_share(share)), left: Some(-1) })
    }

    /// Of a daemon that traces nothing.
    pub fn off() -> Self {
        Self::starting(Values { on: Some(false), rate: Some(Rate::OneOf(1000)), left: Some(-1) })
    }

    fn starting(at_start: Values) -> Self {
        Self { at_start, server: Scope { values: at_start, ..Scope::default() }, models: BTreeMap::new() }
    }

    /// Whether to trace a request for `model`, or one for none, whose caller has decided, or not. A count that holds
    /// for the whole server is used up by all models that have none of their own.
    pub fn trace(&mut self, model: Option<&str>, decided: Option<bool>) -> bool {
        let server = self.server.values;
        let own = model.and_then(|model| self.models.get_mut(model));
        let has_own_count = own.as_ref().is_some_and(|own| own.values.left.is_some());
        let scope = own.unwrap_or(&mut self.server);
        let Values { on, rate, left } = scope.values.or(server).or(self.at_start);
        if on != Some(true) || left == Some(0) {
            return false;
        }
        let traced = decided.unwrap_or_else(|| rate.is_some_and(|rate| scope.is_due(rate)));
        if let (true, Some(left @ 1..)) = (traced, left) {
            let counted = if has_own_count { scope } else { &mut self.server };
            counted.values.left = Some(left - 1);
        }
        traced
    }

    /// Changes the settings of a model, or of the whole server.
    ///
    /// # Errors
    /// When a name or a value means nothing. Nothing is changed then.
    pub fn change(&mut self, model: Option<&str>, wanted: &Wanted) -> Result<(), Refused> {
        let before = match model {
            None => self.server.values,
            Some(model) => self.models.get(model).map(|scope| scope.values).unwrap_or_default(),
        };
        let otherwise = if model.is_none() { self.at_start } else { Values::default() };
        let values = changed(before, otherwise, wanted)?;
        let scope = Scope { values, ..Scope::default() };
        match model {
            None => self.server = scope,
            Some(model) if values == Values::default() => drop(self.models.remove(model)),
            Some(model) => drop(self.models.insert(model.to_owned(), scope)),
        }
        Ok(())
    }

    /// The settings that hold for a model, or for the whole server.
    pub fn show(&self, model: Option<&str>) -> Shown {
        let own = model.and_then(|model| self.models.get(model)).map(|scope| scope.values).unwrap_or_default();
        let Values { on, rate, left } = own.or(self.server.values).or(self.at_start);
        let level = if on == Some(true) { "TIMESTAMPS" } else { "OFF" };
        vec![
            (LEVEL, vec![level.to_owned()]),
            (RATE, vec![rate.map_or(0, Rate::one_of).to_string()]),
            (COUNT, vec![left.unwrap_or(-1).to_string()]),
            ("trace_mode", vec!["opentelemetry".to_owned()]),
        ]
    }
}

/// Whether a setting is shown as a list.
pub fn is_list(name: &str) -> bool {
    name == LEVEL
}

fn changed(before: Values, otherwise: Values, wanted: &Wanted) -> Result<Values, Refused> {
    let mut values = before;
    for (name, value) in wanted {
        match (name.as_str(), value) {
            (LEVEL, None) => values.on = otherwise.on,
            (RATE, None) => values.rate = otherwise.rate,
            (COUNT, None) => values.left = otherwise.left,
            (LEVEL, Some(levels)) => values.on = Some(level(levels)?),
            (RATE, Some(text)) => values.rate = Some(Rate::OneOf(number(RATE, text, 0)?)),
            (COUNT, Some(text)) => values.left = Some(number(COUNT, text, -1)?),
            ("trace_file", _) => {
                return Err(Refused::NotOffered(
                    "trace file location can not be updated through network protocol".to_owned(),
                ));
            }
            ("log_frequency", _) => {
                return Err(Refused::NotOffered("'log_frequency' has no meaning: traces go to a collector".to_owned()));
            }
            (other, _) => {
                return Err(Refused::Wrong(format!(
                    "unknown trace setting '{other}'; known are {LEVEL}, {RATE} and {COUNT}"
                )));
            }
        }
    }
    Ok(values)
}

fn level(levels: &[String]) -> Result<bool, Refused> {
    match levels.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["OFF"] => Ok(false),
        ["TIMESTAMPS"] => Ok(true),
        levels if levels.contains(&"TENSORS") => {
            Err(Refused::NotOffered("trace level 'TENSORS' is not offered; use TIMESTAMPS or OFF".to_owned()))
        }
        levels if levels.contains(&"OFF") => {
            Err(Refused::Wrong("Expect only one trace level 'OFF' is specified".to_owned()))
        }
        levels => Err(Refused::Wrong(format!("{LEVEL} must be TIMESTAMPS or OFF, not {levels:?}"))),
    }
}

fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    value: &[String],
    least: T,
) -> Result<T, Refused> {
    let parsed = match value {
        [text] => text.parse().ok().filter(|number| *number >= least),
        _ => None,
    };
    parsed.ok_or_else(|| {
        Refused::Wrong(format!("Unable to parse '{name}', got: {}; expected a number from {least}", value.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(written: &[(&str, Option<&[&str]>)]) -> Wanted {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        written.iter().map(|(name, values)| ((*name).to_owned(), values.map(owned))).collect()
    }

    fn shown(settings: &Settings, model: Option<&str>) -> String {
        settings.show(model).into_iter().take(3).map(|(_, values)| values.join("+")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_model_has_its_own_settings_and_else_the_servers() {
        let mut settings = Settings::with_share(0.25);
        let mut check = |model: Option<&str>, changes: &[(&str, Option<&[&str]>)], server: &str, of_m: &str| {
            settings.change(model, &wanted(changes)).unwrap();
            assert_eq!((shown(&settings, None), shown(&settings, Some("m"))), (server.to_owned(), of_m.to_owned()));
        };
        check(None, &[], "TIMESTAMPS 4 -1", "TIMESTAMPS 4 -1");
        check(Some("m"), &[("trace_rate", Some(&["7"]))], "TIMESTAMPS 4 -1", "TIMESTAMPS 7 -1");
        check(None, &[("trace_level", Some(&["OFF"])), ("trace_rate", Some(&["9"]))], "OFF 9 -1", "OFF 7 -1");
        check(Some("m"), &[("trace_level", Some(&["TIMESTAMPS"]))], "OFF 9 -1", "TIMESTAMPS 7 -1");
        check(Some("m"), &[("trace_rate", None), ("trace_count", Some(&["3"]))], "OFF 9 -1", "TIMESTAMPS 9 3");
        check(None, &[("trace_level", None), ("trace_rate", None)], "TIMESTAMPS 4 -1", "TIMESTAMPS 4 3");
        check(Some("m"), &[("trace_level", None), ("trace_count", None)], "TIMESTAMPS 4 -1", "TIMESTAMPS 4 -1");
    }

    #[test]
    fn wrong_settings_change_nothing() {
        let mut settings = Settings::off();
        let mut check = |name: &str, values: &[&str], part: &str, offered: bool| {
            let changes = wanted(&[("trace_count", Some(&["5"])), (name, Some(values))]);
            let refused = settings.change(None, &changes).unwrap_err();
            assert_eq!(matches!(refused, Refused::Wrong(_)), offered, "{refused}");
            assert!(refused.to_string().contains(part), "{refused}");
            assert_eq!(shown(&settings, None), "OFF 1000 -1");
        };
        check("trace_level", &["OFF", "TIMESTAMPS"], "only one trace level 'OFF'", true);
        check("trace_level", &["TENSORS"], "'TENSORS' is not offered", false);
        check("trace_level", &[], "must be TIMESTAMPS or OFF", true);
        check("trace_rate", &["-1"], "Unable to parse 'trace_rate', got: -1", true);
        check("trace_rate", &["1", "2"], "Unable to parse", true);
        check("trace_file", &["x"], "can not be updated through network protocol", false);
        check("log_frequency", &["1"], "no meaning", false);
        check("trace_colour", &["1"], "unknown trace setting 'trace_colour'", true);
    }

    #[test]
    fn a_callers_decision_goes_before_the_rate_and_not_before_the_level() {
        let mut settings = Settings::with_share(0.0);
        assert_eq!([Some(true), Some(false), None].map(|decided| settings.trace(None, decided)), [true, false, false]);
        settings.change(None, &wanted(&[("trace_level", Some(&["OFF"]))])).unwrap();
        assert!(!settings.trace(None, Some(true)));
    }

    #[test]
    fn a_count_runs_out() {
        let mut settings = Settings::with_share(1.0);
        settings.change(None, &wanted(&[("trace_count", Some(&["2"]))])).unwrap();
        settings.change(Some("own"), &wanted(&[("trace_count", Some(&["1"]))])).unwrap();
        settings.change(Some("rate"), &wanted(&[("trace_rate", Some(&["1"]))])).unwrap();
        let traced = ["own", "own", "rate", "other", "other"].map(|model| settings.trace(Some(model), None));
        assert_eq!(traced, [true, false, true, true, false]);
        assert_eq!(shown(&settings, Some("rate")), "TIMESTAMPS 1 0");
    }

    proptest! {
        /// Of any number of requests, the traced ones are the share, to within one.
        #[test]
        fn the_share_is_kept(share in 0.0..=1.0_f64, requests in 0_u32..5000) {
            let mut settings = Settings::with_share(share);
            let traced = (0..requests).filter(|_| settings.trace(None, None)).count() as f64;
            prop_assert!((traced - share * f64::from(requests)).abs() <= 1.0 + 1e-6, "{} of {}", traced, requests);
        }
    }
}
