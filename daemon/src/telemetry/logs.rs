//! Which messages go to standard error, and Triton's log settings, which change it while the daemon runs. `RUST_LOG`
//! or the default chooses targets and levels at the start; the settings take levels away, or add the daemon's own
//! details.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::written::LogLevel;

/// The daemon's own messages.
const OURS: &str = "proofload_daemon";

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// Why settings are not changed. Then none is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A name or a value that means nothing.
    #[error("{0}")]
    Wrong(String),
    /// A setting that Triton has and that cannot be changed here.
    #[error("{0}")]
    NotOffered(&'static str),
}

/// Triton's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    info: bool,
    warning: bool,
    error: bool,
    verbose: u32,
}

impl Settings {
    const AT_START: Self = Self { info: true, warning: true, error: true, verbose: 0 };

    /// Names and values, as Triton shows them. Messages begin with their time as ISO 8601 has it.
    pub fn show(&self) -> [(&'static str, Value); 6] {
        [
            ("log_file", Value::Text(String::new())),
            ("log_info", Value::Bool(self.info)),
            ("log_warning", Value::Bool(self.warning)),
            ("log_error", Value::Bool(self.error)),
            ("log_verbose_level", Value::Number(self.verbose.into())),
            ("log_format", Value::Text("ISO8601".to_owned())),
        ]
    }

    /// These settings with some changed.
    fn with(mut self, wanted: &BTreeMap<String, Value>) -> Result<Self, Refused> {
        for (name, value) in wanted {
            match (name.as_str(), value) {
                ("log_info", Value::Bool(on)) => self.info = *on,
                ("log_warning", Value::Bool(on)) => self.warning = *on,
                ("log_error", Value::Bool(on)) => self.error = *on,
                ("log_verbose_level", Value::Number(level)) => self.verbose = u32::try_from(*level).unwrap_or(u32::MAX),
                ("log_format", Value::Text(format)) if format == "ISO8601" => {}
                ("log_format", Value::Text(format)) if format == "default" => {
                    return Err(Refused::NotOffered(
                        "the log format 'default' is not offered; messages are in ISO8601",
                    ));
                }
                ("log_file", _) => {
                    return Err(Refused::NotOffered("log file location can not be updated through network protocol"));
                }
                ("log_info" | "log_warning" | "log_error" | "log_verbose_level" | "log_format", value) => {
                    return Err(Refused::Wrong(format!("'{name}' cannot be {value:?}")));
                }
                (other, _) => return Err(Refused::Wrong(format!("unknown log setting '{other}'"))),
            }
        }
        Ok(self)
    }
}

/// What decides about each message.
#[derive(Debug, Clone)]
struct Gate {
    chosen: Targets,
    settings: Settings,
}

impl Gate {
    fn lets_through(&self, target: &str, level: Level) -> bool {
        let Settings { info, warning, error, verbose } = self.settings;
        let details = target.starts_with(OURS);
        match level {
            Level::ERROR if !error => false,
            Level::WARN if !warning => false,
            Level::INFO if !info => false,
            Level::DEBUG if details && verbose >= 1 => true,
            Level::TRACE if details && verbose >= 2 => true,
            level => self.chosen.would_enable(target, &level),
        }
    }
}

impl<S> Filter<S> for Gate {
    fn enabled(&self, about: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.lets_through(about.target(), *about.level())
    }

    fn callsite_enabled(&self, about: &'static Metadata<'static>) -> Interest {
        if self.lets_through(about.target(), *about.level()) { Interest::always() } else { Interest::never() }
    }

    /// So that nobody even looks at the libraries' details.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        let details = match self.settings.verbose {
            0 => LevelFilter::OFF,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        Filter::<S>::max_level_hint(&self.chosen).map(|chosen| chosen.max(details))
    }
}

/// The settings of this process: it has one standard error.
static SETTINGS: Mutex<Settings> = Mutex::new(Settings::AT_START);
/// Where they take effect, once the process has begun to log.
static GATE: OnceLock<reload::Handle<Gate, Registry>> = OnceLock::new();

/// Begins to write messages to standard error, those that `RUST_LOG` chooses. The libraries' own are rarely of
/// interest.
pub fn to_stderr() {
    let chosen = by_environment();
    let (gate, handle) = reload::Layer::new(Gate { chosen, settings: *settings() });
    let messages = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // It fails where a subscriber is set already; then messages go there, and the settings change nothing.
    if tracing_subscriber::registry().with(messages.with_filter(gate)).try_init().is_ok() {
        GATE.get_or_init(|| handle);
    }
}

fn by_environment() -> Targets {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|text| Targets::from_str(&text).ok());
    chosen.unwrap_or_else(|| up_to(Level::INFO))
}

fn up_to(level: Level) -> Targets {
    Targets::new().with_default(Level::WARN).with_target(OURS, level)
}

/// Shows the daemon's own messages up to this level, or else what `RUST_LOG` chooses.
pub fn choose(level: Option<LogLevel>) {
    let chosen = match level {
        None => by_environment(),
        Some(LogLevel::Error) => up_to(Level::ERROR),
        Some(LogLevel::Warn) => up_to(Level::WARN),
        Some(LogLevel::Info) => up_to(Level::INFO),
        Some(LogLevel::Debug) => up_to(Level::DEBUG),
        Some(LogLevel::Trace) => up_to(Level::TRACE),
    };
    if let Some(gate) = GATE.get() {
        // As below.
        let _ = gate.modify(|gate| gate.chosen = chosen);
    }
}

fn settings() -> MutexGuard<'static, Settings> {
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The settings that hold.
pub fn current() -> Settings {
    *settings()
}

/// Changes settings, and says which hold then.
///
/// # Errors
/// When a name or a value means nothing, or cannot be changed. Nothing is changed then.
pub fn change(wanted: &BTreeMap<String, Value>) -> Result<Settings, Refused> {
    let mut settings = settings();
    *settings = settings.with(wanted)?;
    if let Some(gate) = GATE.get() {
        // It fails only when the subscriber is gone, which lives as long as the process.
        let _ = gate.modify(|gate| gate.settings = *settings);
    }
    Ok(*settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(written: &[(&str, Value)]) -> BTreeMap<String, Value> {
        written.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn settings_take_levels_away_and_add_our_details() {
        let chosen = Targets::new().with_default(Level::WARN).with_target(OURS, Level::INFO);
        let check = |changes: &[(&str, Value)], expected: &str| {
            let settings = Settings::AT_START.with(&wanted(changes)).unwrap();
            let gate = Gate { chosen: chosen.clone(), settings };
            let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            let shown = |target| {
                let open = levels.iter().filter(|level| gate.lets_through(target, **level));
                open.map(|level| &level.as_str()[..1]).collect::<String>()
            };
            assert_eq!(format!("{} {}", shown("proofload_daemon::front"), shown("h2")), expected, "{changes:?}");
        };
        check(&[], "EWI EW");
        check(&[("log_info", Value::Bool(false))], "EW EW");
        check(&[("log_warning", Value::Bool(false)), ("log_error", Value::Bool(false))], "I ");
        check(&[("log_verbose_level", Value::Number(1))], "EWID EW");
        check(&[("log_verbose_level", Value::Number(9))], "EWIDT EW");
    }

    #[test]
    fn wrong_settings_change_nothing() {
        let check = |name: &str, value: Value, part: &str| {
            let refused = Settings::AT_START.with(&wanted(&[(name, value)])).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        };
        check("log_file", Value::Text("x".to_owned()), "can not be updated through network protocol");
        check("log_format", Value::Text("default".to_owned()), "not offered");
        check("log_format", Value::Text("xml".to_owned()), "'log_format' cannot be");
        check("log_info", Value::Number(1), "'log_info' cannot be");
        check("log_colour", Value::Bool(true), "unknown log setting 'log_colour'");
        let fine = Settings::AT_START.with(&wanted(&[("log_format", Value::Text("ISO8601".to_owned()))]));
        assert_eq!(fine, Ok(Settings::AT_START));
    }
}
