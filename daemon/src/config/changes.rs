//! What a configuration that is read again changes: at once, or only with the next start. Pure; nothing is applied here.

use serde::Deserialize;

use super::keys;
use super::shown::{masked, table, value};
use super::written::Written;

/// Keys, or their sections, that take effect while the daemon serves. Everything else waits for a restart.
const AT_ONCE: [&str; 4] = ["connections.", "tls.", "cors.", "telemetry.log_level"];

/// A key that has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it was, without secrets.
    pub from: String,
    /// What it is, without secrets.
    pub to: String,
    /// Whether it holds without a restart.
    pub at_once: bool,
}

/// Every key with another value, in the order of the file.
pub fn between(old: &Written, new: &Written) -> Vec<Change> {
    let (old, new) = (table(old), table(new));
    let shown = |name: &str, value: Option<&toml::Value>| {
        value.map_or_else(|| "none".to_owned(), |value| masked(name, value).to_string())
    };
    let changed = keys::of::<Written>().into_iter().filter_map(|key| {
        let (from, to) = (value(&old, &key.path), value(&new, &key.path));
        let (name, dotted) = (key.path.last()?, key.dotted());
        (from != to).then(|| Change {
            from: shown(name, from),
            to: shown(name, to),
            at_once: AT_ONCE.iter().any(|section| dotted.starts_with(section)),
            key: dotted,
        })
    });
    changed.collect()
}

/// What holds after `new` was read over `old`: what waits for a restart is as it was.
pub fn holding(old: &Written, new: &Written) -> Written {
    let (before, mut held) = (table(old), table(new));
    let later: Vec<String> =
        between(old, new).into_iter().filter(|change| !change.at_once).map(|change| change.key).collect();
    for key in keys::of::<Written>().into_iter().filter(|key| later.contains(&key.dotted())) {
        let Some((name, tables)) = key.path.split_last() else { continue };
        let place = tables.iter().try_fold(&mut held, |table, name| table.get_mut(*name)?.as_table_mut());
        let Some(place) = place else { continue };
        match value(&before, &key.path) {
            Some(was) => drop(place.insert((*name).to_owned(), was.clone())),
            None => drop(place.remove(*name)),
        }
    }
    // Every part of it was a part of one that was right.
    Written::deserialize(held).unwrap_or_else(|_| new.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;

    fn written(file: &str) -> Written {
        let mut layers = Layers::default();
        layers.file("d.toml", file);
        let merged = layers.finish();
        assert_eq!(merged.errors, [""; 0]);
        merged.written
    }

    #[test]
    fn changes_say_what_and_when() {
        let check = |old: &str, new: &str, expected: &[&str]| {
            let say = |change: Change| {
                let when = if change.at_once { "at once" } else { "later" };
                format!("{} {} {} {when}", change.key, change.from, change.to)
            };
            let found: Vec<_> = between(&written(old), &written(new)).into_iter().map(say).collect();
            assert_eq!(found, expected, "{old} {new}");
        };
        check("", "", &[]);
        check("", "[server]\nhttp_port = 8000", &[]);
        check("", "[server]\nmetrics_port = 9", &["server.metrics_port none 9 later"]);
        check(
            "[telemetry]\nlog_level = \"debug\"\notlp_endpoint = \"http://a:b@c\"",
            "[connections]\nper_address = 5\n[tls]\nkey = \"k.pem\"",
            &[
                "telemetry.otlp_endpoint \"http://a:********@c\" none later",
                "telemetry.log_level \"debug\" none at once",
                "connections.per_address none 5 at once",
                "tls.key none \"k.pem\" at once",
            ],
        );
    }

    #[test]
    fn what_waits_for_a_restart_stays_a_change() {
        let old = written("[server]\nhttp_port = 1\nmetrics_port = 2");
        let new = written("[server]\nhttp_port = 3\ngrpc_port = 4\n[connections]\nper_address = 5");
        let held = holding(&old, &new);
        assert_eq!(held, written("[server]\nhttp_port = 1\nmetrics_port = 2\n[connections]\nper_address = 5"));
        let again: Vec<_> = between(&held, &new).into_iter().map(|change| change.key).collect();
        assert_eq!(again, ["server.http_port", "server.grpc_port", "server.metrics_port"]);
    }

    #[test]
    fn what_takes_effect_at_once_exists() {
        let keys = keys::of::<Written>();
        let is_there = |section: &str| keys.iter().any(|key| key.dotted().starts_with(section));
        assert!(AT_ONCE.iter().all(|section| is_there(section)));
    }
}
