//! What a file, the environment and the command line say, laid over one another: flags go before the environment, that
//! goes before the file, and that before the defaults. Every mistake is found at once and named with its place, and of
//! each value it is known where it came from. Reads no file and no environment itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use toml::de::DeTable;
use toml::{Table, Value};

use super::keys::{self, Key, Kind};
use super::written::Written;

/// Names in the environment begin so.
pub const PREFIX: &str = "PROOFLOAD_";
/// Names with the prefix that belong to the scripts, builds and tests of this project: `cargo run` and `cargo test` show a
/// program what its build script told the compiler.
const NOT_OURS: [&str; 3] = ["PROOFLOAD_CACHE", "PROOFLOAD_GIT_COMMIT", "PROOFLOAD_WRITE_GOLDENS"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file.
        name: String,
        /// Counted from 1.
        line: usize,
    },
    /// The name of a variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// The name of a key in the environment.
pub fn variable(dotted: &str) -> String {
    let name = dotted.replace(['.', '-'], "_").to_ascii_uppercase();
    format!("{PREFIX}{name}")
}

/// What everybody said, laid together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// The values; those that are wrong are as if nobody had said them.
    pub written: Written,
    /// Where the values came from that are no defaults.
    pub origins: BTreeMap<String, Origin>,
    /// Everything that is wrong.
    pub errors: Vec<String>,
}

/// Takes what is said, the weakest voice first.
#[derive(Debug)]
pub struct Layers {
    keys: Vec<Key>,
    table: Table,
    origins: BTreeMap<String, Origin>,
    errors: Vec<String>,
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            keys: keys::of::<Written>(),
            table: Table::default(),
            origins: BTreeMap::default(),
            errors: Vec::default(),
        }
    }
}

impl Layers {
    /// Something is wrong before anything can be read.
    pub fn complain(&mut self, what: String) {
        self.errors.push(what);
    }

    /// Lays a file's text over what was said before.
    pub fn file(&mut self, name: &str, text: &str) {
        let (spans, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let table: Table = toml::from_str(text).unwrap_or_default();
            let place = File { name, text };
            self.table(&place, &mut Vec::new(), table, spans.get_ref());
        }
        self.errors.extend(errors.into_iter().map(|error| format!("{name}: {error}")));
    }

    /// Lays the variables with our prefix over what was said before.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let ours = |name: &str| name.starts_with(PREFIX) && !NOT_OURS.contains(&name);
        for (name, text) in variables.into_iter().filter(|(name, _)| ours(name)) {
            let Some(key) = self.keys.iter().find(|key| variable(&key.dotted()) == name).cloned() else {
                let names = self.keys.iter().map(|key| variable(&key.dotted()));
                self.errors.push(format!("{name}: no key has this name{}", did_you_mean(&name, names)));
                continue;
            };
            self.text(&key, Origin::Environment(name), &text);
        }
    }

    /// Lays `key=value` of the flag `--set` over what was said before.
    pub fn assignment(&mut self, text: &str) {
        let Some((dotted, value)) = text.split_once('=') else {
            self.errors.push(format!("--set {text}: must be a key and its value, such as server.http_port=0"));
            return;
        };
        let dotted = dotted.trim();
        match self.keys.iter().find(|key| key.dotted() == dotted).cloned() {
            Some(key) if self.is_flag(dotted) => self.said_twice(&key.dotted(), "--set"),
            Some(key) => self.text(&key, Origin::Flag(format!("--set {dotted}")), value),
            None => {
                let names = self.keys.iter().map(Key::dotted);
                let hint = did_you_mean(dotted, names);
                self.errors.push(format!("--set {text}: there is no key `{dotted}`{hint}"));
            }
        }
    }

    /// Lays what a flag says of the key with this name over what was said before.
    pub fn flag(&mut self, flag: &str, dotted: &str, value: impl Into<Value>) {
        if self.is_flag(dotted) {
            self.said_twice(dotted, flag);
        }
        let path: Vec<&str> = dotted.split('.').collect();
        self.put(&path, Origin::Flag(flag.to_owned()), value.into());
    }

    /// What all of it means.
    pub fn finish(self) -> Merged {
        let Self { table, origins, mut errors, .. } = self;
        let written = Written::deserialize(table).unwrap_or_else(|error| {
            // Each value was tried alone; a type whose fields depend on one another would come here.
            errors.push(one_line(&error));
            Written::default()
        });
        Merged { written, origins, errors }
    }

    fn is_flag(&self, dotted: &str) -> bool {
        matches!(self.origins.get(dotted), Some(Origin::Flag(_)))
    }

    fn said_twice(&mut self, dotted: &str, flag: &str) {
        let first = self.origins.get(dotted).map(Origin::to_string).unwrap_or_default();
        self.errors.push(format!("{dotted} is said twice, by {first} and {flag}; say it once"));
    }

    /// A table of a file, in the order of its lines: keys with values, further tables, and what is neither.
    fn table(&mut self, file: &File<'_>, path: &mut Vec<String>, table: Table, spans: &DeTable<'_>) {
        let place = |name: &str| spans.iter().find(|(key, _)| key.get_ref() == name);
        let mut entries: Vec<_> = table.into_iter().map(|(name, value)| (place(&name), name, value)).collect();
        entries.sort_by_key(|(place, ..)| place.map(|(key, _)| key.span().start));
        for (place, name, value) in entries {
            let line = file.line(place.map_or(0, |(key, _)| key.span().start));
            let origin = Origin::File { name: file.name.to_owned(), line };
            path.push(name);
            let here: Vec<&str> = path.iter().map(String::as_str).collect();
            let below = place.and_then(|(_, value)| value.get_ref().as_table());
            if self.is_key(&here) {
                self.put(&here, origin, value);
            } else if !self.has_keys(&here) {
                let hint = self.siblings(&here);
                self.errors.push(format!("{origin}: there is no key `{}`{hint}", here.join(".")));
            } else if let (Value::Table(table), Some(below)) = (value, below) {
                self.table(file, path, table, below);
            } else {
                self.errors.push(format!("{origin}: `{0}` must be a table, [{0}]", here.join(".")));
            }
            path.pop();
        }
    }

    fn is_key(&self, path: &[&str]) -> bool {
        self.keys.iter().any(|key| key.path == path)
    }

    fn has_keys(&self, path: &[&str]) -> bool {
        self.keys.iter().any(|key| key.path.len() > path.len() && key.path.starts_with(path))
    }

    /// What there is instead of a key that does not exist.
    fn siblings(&self, path: &[&str]) -> String {
        let Some((_, parent)) = path.split_last() else { return String::new() };
        let mut names: Vec<&str> = Vec::new();
        for key in self.keys.iter().filter(|key| key.path.starts_with(parent)) {
            names.extend(key.path.get(parent.len()).filter(|name| !names.contains(name)));
        }
        format!("; there are: {}", names.join(", "))
    }

    /// A value as text, of the environment or a flag.
    fn text(&mut self, key: &Key, origin: Origin, text: &str) {
        if key.optional && text.is_empty() {
            return self.take_away(key, origin);
        }
        let value = match key.kind {
            Kind::Text => Value::String(text.to_owned()),
            Kind::List if !text.trim_start().starts_with('[') => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            Kind::List | Kind::Other => text.trim().parse().unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        self.put(&key.path, origin, value);
    }

    /// Nothing at all, whatever was said before.
    fn take_away(&mut self, key: &Key, origin: Origin) {
        if let Some((name, tables)) = key.path.split_last()
            && let Some(table) =
                tables.iter().try_fold(&mut self.table, |table, name| table.get_mut(*name)?.as_table_mut())
        {
            table.remove(*name);
        }
        self.origins.insert(key.dotted(), origin);
    }

    /// Takes a value if it is of the right type.
    fn put(&mut self, path: &[&str], origin: Origin, value: Value) {
        let dotted = path.join(".");
        if let Err(error) = Written::deserialize(alone(path, value.clone())) {
            self.errors.push(format!("{origin}: {dotted}: {}", one_line(&error)));
            return;
        }
        let Some((name, tables)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for name in tables {
            let below = table.entry(*name).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(below) = below else { return };
            table = below;
        }
        table.insert((*name).to_owned(), value);
        self.origins.insert(dotted, origin);
    }
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// A configuration that says nothing but this.
fn alone(path: &[&str], value: Value) -> Table {
    let wrapped =
        path.iter().rev().fold(value, |value, name| Value::Table(Table::from_iter([((*name).to_owned(), value)])));
    match wrapped {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name that was probably meant.
fn did_you_mean(wrong: &str, names: impl Iterator<Item = String>) -> String {
    let nearest = names.map(|name| (distance(wrong, &name), name)).min();
    let near = nearest.filter(|(distance, name)| *distance <= name.len() / 4 + 1);
    let hint = near.map(|(_, name)| format!("; did you mean {name}?"));
    hint.unwrap_or_else(|| "; `--print-config` lists all keys".to_owned())
}

/// Levenshtein's distance: insertions, deletions and changes of a byte that turn one into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::written::RateLimit;

    fn merged(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)], set: &[&str]) -> Merged {
        let mut layers = Layers::default();
        layers.file("d.toml", file);
        layers.environment(environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        for (flag, port) in flags {
            layers.flag(flag, "server.http_port", port.parse::<i64>().unwrap());
        }
        set.iter().for_each(|text| layers.assignment(text));
        layers.finish()
    }

    #[test]
    fn flags_go_before_the_environment_before_the_file_before_defaults() {
        let (file, variable) = ("[server]\nhttp_port = 1", [("PROOFLOAD_SERVER_HTTP_PORT", "2")]);
        let check = |merged: Merged, port: u16, origin: Option<&str>| {
            let found = merged.origins.get("server.http_port").map(Origin::to_string);
            assert_eq!((merged.written.server.http_port, found.as_deref()), (port, origin), "{:?}", merged.errors);
            assert_eq!(merged.errors, [""; 0]);
        };
        check(merged("", &[], &[], &[]), 8000, None);
        check(merged(file, &[], &[], &[]), 1, Some("d.toml:2"));
        check(merged(file, &variable, &[], &[]), 2, Some("PROOFLOAD_SERVER_HTTP_PORT"));
        check(merged(file, &variable, &[("--http-port", "3")], &[]), 3, Some("--http-port"));
        check(merged(file, &variable, &[], &["server.http_port=4"]), 4, Some("--set server.http_port"));
    }

    #[test]
    fn text_means_what_toml_means() {
        let written = |name: &str, text: &str| {
            let file = "[server]\nmetrics_port = 7\n[telemetry]\notlp_endpoint = \"http://x\"";
            let by_name = merged(file, &[(&variable(name), text)], &[], &[]);
            let by_flag = merged(file, &[], &[], &[&format!("{name}={text}")]);
            assert_eq!((&by_name.written, &by_name.errors), (&by_flag.written, &vec![]), "{name}={text}");
            by_name.written
        };
        assert_eq!(written("server.bind", "::1").server.bind, "::1");
        assert_eq!(written("server.metrics_port", "9").server.metrics_port, Some(9));
        assert_eq!(written("server.metrics_port", "").server.metrics_port, None);
        assert_eq!(written("telemetry.otlp_endpoint", "").telemetry.otlp_endpoint, None);
        assert_eq!(written("telemetry.trace_share", "1").telemetry.trace_share.to_bits(), 1.0_f64.to_bits());
        assert!(written("server.exit_with_stdin", "true").server.exit_with_stdin);
        assert_eq!(written("models.load", "a, b").models.load, ["a", "b"]);
        assert_eq!(written("models.load", "[\"a,b\"]").models.load, ["a,b"]);
        assert!(written("models.load", "").models.load.is_empty());
        assert_eq!(written("models.rate_limit_resources", "{ R1 = 4 }").models.rate_limit_resources["R1"], 4);
        assert_eq!(written("models.rate_limit", "execution_count").models.rate_limit, RateLimit::ExecutionCount);
    }

    #[test]
    fn every_mistake_is_named_at_once_with_its_place() {
        let check = |merged: Merged, expected: &[&[&str]]| {
            assert_eq!(merged.errors.len(), expected.len(), "{:#?}", merged.errors);
            for (error, parts) in merged.errors.iter().zip(expected) {
                assert!(parts.iter().all(|part| error.contains(part)), "{error} {parts:?}");
            }
        };
        let file = "[server]\nhttp_prt = 1\ngrpc_port = \"x\"\n\n[nowhere]\na = 1\n[models]\nload = 3\n";
        let expected: &[&[&str]] = &[
            &["d.toml:2:", "there is no key `server.http_prt`", "http_port"],
            &["d.toml:3:", "server.grpc_port", "invalid type: string \"x\""],
            &["d.toml:5:", "there is no key `nowhere`; there are: server, models"],
            &["d.toml:8:", "models.load", "invalid type: integer"],
        ];
        check(merged(file, &[], &[], &[]), expected);
        check(merged("server = 1", &[], &[], &[]), &[&["d.toml:1: `server` must be a table"]]);
        check(merged("[server\nhttp_port = 1", &[], &[], &[]), &[&["d.toml:", "line 1"]]);
        check(
            merged("", &[("PROOFLOAD_SERVER_HTTP_PRT", "1"), ("PROOFLOAD_SERVER_GRPC_PORT", "70000")], &[], &[]),
            &[
                &["HTTP_PRT: no key", "did you mean PROOFLOAD_SERVER_HTTP_PORT?"],
                &["GRPC_PORT: server.grpc_port: ", "70000"],
            ],
        );
        check(merged("", &[("PROOFLOAD_XYZ", "1")], &[], &[]), &[&["PROOFLOAD_XYZ", "--print-config"]]);
        check(merged("", &[("PROOFLOAD_CACHE", "/x"), ("OTHER", "1")], &[], &[]), &[]);
        check(
            merged("", &[], &[("--http-port", "3")], &["server.http_port=4", "server.bnd=::", "server.nice"]),
            &[
                &["server.http_port is said twice, by --http-port and --set"],
                &["did you mean server.bind?"],
                &["must be a key and its value"],
            ],
        );
    }

    #[test]
    fn distances() {
        let check = |from: &str, to: &str, expected: usize| assert_eq!(distance(from, to), expected, "{from} {to}");
        check("", "", 0);
        check("abc", "", 3);
        check("kitten", "sitting", 3);
        check("http_prt", "http_port", 1);
    }
}
