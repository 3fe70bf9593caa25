//! The configuration as it runs, as TOML that could be written into a file: every key, where its value came from, and
//! no secret. Decides nothing.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::keys::{self, Key};
use super::layers::{Merged, Origin};
use super::written::Written;

/// What stands in the place of a secret.
const MASK: &str = "********";
/// Words at the end of a key's name that say that its value is a secret.
const SECRETS: [&str; 5] = ["password", "secret", "token", "tokens", "api_key"];
/// Comments begin in this column where the value leaves room.
const COMMENT: usize = 34;

/// Every key with its value; one that has none is a comment.
pub fn text(merged: &Merged) -> String {
    let values = table(&merged.written);
    let keys = keys::of::<Written>();
    let mut headings: Vec<&[&str]> = Vec::new();
    for (_, tables) in keys.iter().filter_map(|key| key.path.split_last()) {
        if !headings.contains(&tables) {
            headings.push(tables);
        }
    }
    let section = |heading: &&[&str]| {
        let own = keys.iter().filter(|key| key.path.split_last().is_some_and(|(_, tables)| tables == *heading));
        let lines = own.map(|key| line(key, value(&values, &key.path), &merged.origins)).collect::<String>();
        format!("[{}]\n{lines}", heading.join("."))
    };
    headings.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// What is written, as a table.
pub(super) fn table(written: &Written) -> Table {
    // It fails only for types that TOML does not know, and then so would reading them.
    Table::try_from(written).unwrap_or_default()
}

/// What stands at a path.
pub(super) fn value<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, name| value.get(*name))
}

/// A value as messages may show it.
pub(super) fn masked(name: &str, value: &Value) -> Value {
    let is_secret = SECRETS.iter().any(|word| name == *word || name.ends_with(&format!("_{word}")));
    match value {
        Value::String(text) if is_secret && !text.is_empty() => Value::String(MASK.to_owned()),
        Value::String(text) => Value::String(without_password(text)),
        Value::Array(values) => Value::Array(values.iter().map(|value| masked(name, value)).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(name, value)| (name.clone(), masked(name, value))).collect())
        }
        other => other.clone(),
    }
}

/// A URL without what stands between its user and its host.
fn without_password(text: &str) -> String {
    let parts = text.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
        let (user, _) = authority.rsplit_once('@')?.0.split_once(':')?;
        let after = &rest[authority.rfind('@')?..];
        Some(format!("{scheme}://{user}:{MASK}{after}"))
    });
    parts.unwrap_or_else(|| text.to_owned())
}

fn line(key: &Key, value: Option<&Value>, origins: &BTreeMap<String, Origin>) -> String {
    let name = key.path.last().copied().unwrap_or_default();
    let origin = origins.get(&key.dotted()).map_or_else(|| "default".to_owned(), Origin::to_string);
    let written = value.map_or_else(|| format!("# {name}: none"), |value| format!("{name} = {}", masked(name, value)));
    format!("{written:<COMMENT$} # {origin}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;

    fn merged(file: &str) -> Merged {
        let mut layers = Layers::default();
        layers.file("d.toml", file);
        layers.flag("--bind", "server.bind", "::1");
        layers.finish()
    }

    #[test]
    fn what_is_shown_runs_the_same() {
        for file in
            ["", "[server]\nmetrics_port = 5\n[models]\nload = [\"a\", \"b\"]\nrate_limit_resources = { R1 = 4 }"]
        {
            let merged = merged(file);
            let again = {
                let mut layers = Layers::default();
                layers.file("shown", &text(&merged));
                layers.finish()
            };
            assert_eq!((again.written, again.errors), (merged.written, vec![]), "{file}");
        }
    }

    #[test]
    fn every_value_says_where_it_came_from() {
        let shown = text(&merged("[server]\nmetrics_port = 5"));
        let check = |parts: &[&str]| {
            let found = shown.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            assert!(found, "{parts:?} in\n{shown}");
        };
        check(&["[server]"]);
        check(&["metrics_port = 5", "# d.toml:2"]);
        check(&["bind = \"::1\"", "# --bind"]);
        check(&["http_port = 8000", "# default"]);
        check(&["# otlp_endpoint: none", "# default"]);
    }

    #[test]
    fn secrets_are_masked() {
        let check = |name: &str, value: &str, expected: &str| {
            let shown = masked(name, &Value::String(value.to_owned()));
            assert_eq!(shown.as_str(), Some(expected), "{name} {value}");
        };
        check("password", "x", MASK);
        check("admin_token", "x", MASK);
        check("admin_token", "", "");
        check("keys_file", "/etc/keys", "/etc/keys");
        check("url", "redis://me:hidden@host:1/0", "redis://me:********@host:1/0");
        check("url", "redis://:hid@den@host:1/0?x=@", "redis://:********@host:1/0?x=@");
        check("url", "http://host:1/a@b", "http://host:1/a@b");
        let nodes = masked("nodes", &Value::Array(vec![Value::String("redis://a:b@c".to_owned())]));
        assert_eq!(nodes.to_string(), "[\"redis://a:********@c\"]");
        let node = Table::from_iter([("password".to_owned(), Value::String("x".to_owned()))]);
        assert_eq!(masked("node", &Value::Table(node)).to_string(), format!("{{ password = \"{MASK}\" }}"));
    }
}
