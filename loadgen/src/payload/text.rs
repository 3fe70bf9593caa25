//! Text with named holes, `{{name}}`, which each request fills: with what the generator knows of it, or with what an
//! earlier answer of the same journey said. Where such text stands is the entry's affair.

use std::fmt::Write;

use crate::plan::{Arrival, mix64};

/// Names that are always there, besides those that a scenario captures.
const BUILT_IN: [(&str, Name); 5] = [
    ("user", Name::User),
    ("sequence", Name::Sequence),
    ("unique", Name::Unique),
    ("uuid", Name::Uuid),
    ("content", Name::Content),
];

/// What fills a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// Number of the user, or of the connection in an open model.
    User,
    /// Place of the request in the run.
    Sequence,
    /// Sixteen hexadecimal digits of the request's own; the same in every run with the same seed.
    Unique,
    /// A random-looking UUID of the request's own; the same in every run with the same seed.
    Uuid,
    /// Sixteen hexadecimal digits that repeat as the entry's payload policy says.
    Content,
    /// A captured value, by its index among the scenario's captures.
    Carried(u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Hole(Name),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pieces: Vec<Piece>,
}

/// Why text with holes makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No such name.
    #[error("nothing is called `{name}`; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// All names there are.
        known: String,
    },
    /// An opening without its closing.
    #[error("`{{{{` is never closed; write {{{{name}}}}")]
    Unclosed,
}

/// What a user has at hand when it makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Number of the user.
    pub user: u32,
    /// Captured values, by the scenario's list of captures; empty before they are captured.
    pub carried: Vec<String>,
}

impl Values {
    /// Keeps a captured value.
    pub fn set(&mut self, index: u16, value: String) {
        let index = usize::from(index);
        if self.carried.len() <= index {
            self.carried.resize(index + 1, String::new());
        }
        self.carried[index] = value;
    }
}

/// How a value is written where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    Plain,
    /// As a part of a path or query.
    Percent,
    /// As a part of a JSON string.
    Json,
}

impl Text {
    /// Reads text; `carried` are the names of captured values.
    ///
    /// # Errors
    /// When a hole has an unknown name or no end.
    pub fn parse(text: &str, carried: &[String]) -> Result<Self, TextError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(TextError::Unclosed)?;
            push_literal(&mut pieces, literal);
            pieces.push(Piece::Hole(resolve(name.trim(), carried)?));
            rest = after;
        }
        push_literal(&mut pieces, rest);
        Ok(Self { pieces })
    }

    /// Whether any hole is left to fill.
    pub fn has_holes(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Hole(_)))
    }

    /// The indices of the captured values that it needs.
    pub fn needs(&self) -> impl Iterator<Item = u16> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(Name::Carried(index)) => Some(*index),
            _ => None,
        })
    }

    /// The text of one request.
    pub fn fill(&self, arrival: &Arrival, seed: u64, values: &Values, escape: Escape) -> String {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => filled.push_str(text),
                Piece::Hole(name) => name.write(&mut filled, arrival, seed, values, escape),
            }
        }
        filled
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
}

fn resolve(name: &str, carried: &[String]) -> Result<Name, TextError> {
    if let Some((_, built_in)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok(*built_in);
    }
    let index = carried.iter().position(|known| known == name);
    index.map(|index| Name::Carried(index as u16)).ok_or_else(|| {
        let known = BUILT_IN.iter().map(|(name, _)| *name).chain(carried.iter().map(String::as_str));
        TextError::Unknown { name: name.to_owned(), known: known.collect::<Vec<_>>().join(", ") }
    })
}

impl Name {
    fn write(self, out: &mut String, arrival: &Arrival, seed: u64, values: &Values, escape: Escape) {
        let own = arrival.unique ^ mix64(seed);
        // Writing to a string cannot fail.
        let _ = match self {
            Self::User => write!(out, "{}", values.user),
            Self::Sequence => write!(out, "{}", arrival.sequence),
            Self::Unique => write!(out, "{:016x}", mix64(own)),
            Self::Uuid => write_uuid(out, own),
            Self::Content => write!(out, "{:016x}", mix64(arrival.content ^ mix64(seed))),
            Self::Carried(index) => {
                let value = values.carried.get(usize::from(index)).map_or("", String::as_str);
                escape.write(out, value);
                Ok(())
            }
        };
    }
}

/// Version 4, variant 1 of RFC 9562.
fn write_uuid(out: &mut String, own: u64) -> std::fmt::Result {
    let (high, low) = (mix64(own), mix64(own ^ 0x7575_6964));
    let (time_low, time_mid, time_high) = (high >> 32, high >> 16 & 0xffff, high & 0x0fff | 0x4000);
    let (clock, node) = (low >> 48 & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    write!(out, "{time_low:08x}-{time_mid:04x}-{time_high:04x}-{clock:04x}-{node:012x}")
}

impl Escape {
    /// How values are written in a body: as JSON text when it is JSON.
    pub fn of_body(body: &str) -> Self {
        if body.trim_start().starts_with(['{', '[']) { Self::Json } else { Self::Plain }
    }

    fn write(self, out: &mut String, value: &str) {
        match self {
            Self::Plain => out.push_str(value),
            Self::Percent => value.bytes().for_each(|byte| push_percent(out, byte)),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
    }
}

/// Everything but the unreserved characters of RFC 3986.
fn push_percent(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        out.push(char::from(byte));
    } else {
        let _ = write!(out, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled() {
        let carried = ["token".to_owned(), "id".to_owned()];
        let values = Values { user: 7, carried: vec!["a b\"/ü".to_owned(), "42".to_owned()] };
        let arrival = Arrival { sequence: 9, unique: 5, ..Arrival::default() };
        let check = |text: &str, escape: Escape, expected: &str| {
            let text = Text::parse(text, &carried).unwrap();
            assert_eq!(text.fill(&arrival, 1, &values, escape), expected);
        };
        check("", Escape::Plain, "");
        check("plain {x} }}", Escape::Plain, "plain {x} }}");
        check("u{{user}}-{{ sequence }}", Escape::Plain, "u7-9");
        check("/i/{{id}}?t={{token}}", Escape::Percent, "/i/42?t=a%20b%22%2F%C3%BC");
        check("{\"t\": \"{{token}}\"}", Escape::Json, "{\"t\": \"a b\\\"/ü\"}");
        check("Bearer {{token}}", Escape::Plain, "Bearer a b\"/ü");
        check("{{unique}}", Escape::Plain, &format!("{:016x}", mix64(5 ^ mix64(1))));
    }

    #[test]
    fn unique_values_differ_between_requests_and_repeat_for_the_same() {
        let text = Text::parse("{{uuid}} {{unique}}", &[]).unwrap();
        let fill =
            |unique: u64| text.fill(&Arrival { unique, ..Arrival::default() }, 3, &Values::default(), Escape::Plain);
        let all: std::collections::BTreeSet<String> = (0..1000).map(fill).collect();
        assert_eq!(all.len(), 1000);
        assert_eq!(fill(4), fill(4));
        let uuid = fill(4)[..36].to_owned();
        assert_eq!((&uuid[14..15], uuid.split('-').map(str::len).collect::<Vec<_>>()), ("4", vec![8, 4, 4, 4, 12]));
    }

    #[test]
    fn mistakes_name_what_there_is() {
        let check = |text: &str, expected: &str| {
            let message = Text::parse(text, &["token".to_owned()]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check("{{tokn}}", "nothing is called `tokn`; there are user, sequence, unique, uuid, content, token");
        check("a {{user", "`{{` is never closed");
        assert!(!Text::parse("x", &[]).unwrap().has_holes());
        assert_eq!(Text::parse("{{token}}{{user}}", &["token".to_owned()]).unwrap().needs().collect::<Vec<_>>(), [0]);
    }
}
