//! Reads typed values out of a document and gathers everything that is wrong on the way. A key that nobody asked
//! for is unknown: the schema is the code that reads it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use super::document::{Field, Node, Value};
use super::problem::{Place, Problem};

/// Where problems gather.
pub(super) type Problems = RefCell<Vec<Problem>>;

/// Complains that a table lacks a key, unless the key is there and something else is wrong with it.
pub(super) fn complain_missing(problems: &Problems, table: &Located<()>, key: &str, remedy: impl Display) {
    let path = if table.key.is_empty() { key.to_owned() } else { format!("{}.{key}", table.key) };
    let mut problems = problems.borrow_mut();
    let told = problems
        .iter()
        .any(|problem| problem.key.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    if !told {
        problems.push(table.problem(format!("`{key}` is missing; {remedy}")));
    }
}

/// A value and where it stands, for complaints that come later.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Located<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) place: Place,
    /// Its dotted path.
    pub(super) key: String,
}

impl<T> Located<T> {
    /// A problem with it.
    pub(super) fn problem(&self, message: impl Display) -> Problem {
        Problem { place: self.place.clone(), key: self.key.clone(), message: message.to_string() }
    }

    /// Its place alone.
    pub(super) fn unit(&self) -> Located<()> {
        Located { value: (), place: self.place.clone(), key: self.key.clone() }
    }
}

/// Reads one table.
pub(super) struct Table<'a> {
    fields: &'a [Field],
    place: Place,
    path: String,
    asked: RefCell<BTreeSet<String>>,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    pub(super) fn root(node: &'a Node, problems: &'a Problems) -> Self {
        let fields = if let Value::Table(fields) = &node.value { fields.as_slice() } else { &[] };
        Self { fields, place: Place::Whole, path: String::new(), asked: RefCell::default(), problems }
    }

    fn inner(&self, node: &'a Node, path: String) -> Option<Table<'a>> {
        match &node.value {
            Value::Table(fields) => Some(Table {
                fields,
                place: node.place.clone(),
                path,
                asked: RefCell::default(),
                problems: self.problems,
            }),
            other => {
                self.complain(node, path, format!("a table was expected, not {}", other.kind()));
                None
            }
        }
    }

    fn complain(&self, node: &Node, key: String, message: impl Display) {
        self.problems.borrow_mut().push(Problem { place: node.place.clone(), key, message: message.to_string() });
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.fields.iter().find(|field| field.key == key).map(|field| &field.node)
    }

    /// The table itself, for complaints about what it lacks.
    pub(super) fn here(&self) -> Located<()> {
        Located { value: (), place: self.place.clone(), key: self.path.clone() }
    }

    /// Reads with a function that says what would be right when it fails.
    fn read<T>(&self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<Located<T>> {
        let node = self.node(key)?;
        match read(&node.value) {
            Ok(value) => Some(Located { value, place: node.place.clone(), key: self.join(key) }),
            Err(message) => {
                self.complain(node, self.join(key), message);
                None
            }
        }
    }

    pub(super) fn string(&self, key: &str) -> Option<Located<String>> {
        self.read(key, text)
    }

    pub(super) fn integer(&self, key: &str) -> Option<Located<i64>> {
        self.read(key, |value| match value {
            Value::Integer(number) => Ok(*number),
            other => Err(format!("a whole number was expected, not {}", other.kind())),
        })
    }

    pub(super) fn number(&self, key: &str) -> Option<Located<f64>> {
        self.read(key, number)
    }

    pub(super) fn boolean(&self, key: &str) -> Option<Located<bool>> {
        self.read(key, |value| match value {
            Value::Boolean(value) => Ok(*value),
            other => Err(format!("true or false was expected, not {}", other.kind())),
        })
    }

    /// A quantity with a unit, written as a string.
    pub(super) fn quantity<T, E: Display>(&self, key: &str, parse: fn(&str) -> Result<T, E>) -> Option<Located<T>> {
        self.read(key, |value| match value {
            Value::String(text) => parse(text).map_err(|e| e.to_string()),
            Value::Integer(number) => parse(&number.to_string()).map_err(|e| e.to_string()),
            Value::Float(number) => parse(&number.to_string()).map_err(|e| e.to_string()),
            other => Err(format!("a quantity such as \"30s\" was expected, not {}", other.kind())),
        })
    }

    /// One word of a few.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<Located<T>> {
        self.read(key, |value| {
            let found = text(value)?;
            choices.iter().find(|(word, _)| *word == found).map(|(_, choice)| *choice).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                format!("`{found}` is none of {}", words.join(", "))
            })
        })
    }

    pub(super) fn strings(&self, key: &str) -> Vec<Located<String>> {
        self.items(key, "strings", text)
    }

    /// An array of whole numbers.
    pub(super) fn integers(&self, key: &str) -> Option<Located<Vec<i64>>> {
        let node = self.node(key)?;
        let place = node.place.clone();
        let items = self.items(key, "whole numbers", |value| match value {
            Value::Integer(number) => Ok(*number),
            other => Err(format!("a whole number was expected, not {}", other.kind())),
        });
        Some(Located { value: items.into_iter().map(|item| item.value).collect(), place, key: self.join(key) })
    }

    fn items<T>(&self, key: &str, what: &str, read: impl Fn(&Value) -> Result<T, String>) -> Vec<Located<T>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::Array(items) = &node.value else {
            self.complain(node, self.join(key), format!("an array of {what} was expected, not {}", node.value.kind()));
            return Vec::new();
        };
        let located = items.iter().enumerate().filter_map(|(n, item)| {
            let key = format!("{}.{n}", self.join(key));
            match read(&item.value) {
                Ok(value) => Some(Located { value, place: item.place.clone(), key }),
                Err(message) => {
                    self.complain(item, key, message);
                    None
                }
            }
        });
        located.collect()
    }

    /// A value that is read by the caller.
    pub(super) fn raw(&self, key: &str) -> Option<Located<Value>> {
        self.read(key, |value| Ok(value.clone()))
    }

    pub(super) fn table(&self, key: &str) -> Option<Table<'a>> {
        self.inner(self.node(key)?, self.join(key))
    }

    /// An array of tables.
    pub(super) fn tables(&self, key: &str) -> Vec<Table<'a>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::Array(items) = &node.value else {
            let message =
                format!("an array of tables was expected (write [[{}]]), not {}", self.join(key), node.value.kind());
            self.complain(node, self.join(key), message);
            return Vec::new();
        };
        let inner = items.iter().enumerate().map(|(n, item)| self.inner(item, format!("{}.{n}", self.join(key))));
        inner.flatten().collect()
    }

    /// All keys with string values, for tables whose keys are free.
    pub(super) fn all_strings(&self) -> Vec<(String, Located<String>)> {
        let keys: Vec<&str> = self.fields.iter().map(|field| field.key.as_str()).collect();
        keys.into_iter().filter_map(|key| Some((key.to_owned(), self.string(key)?))).collect()
    }

    /// Complains about keys that nobody asked for. Call it when everything was read.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for field in self.fields.iter().filter(|field| !asked.contains(&field.key)) {
            let message = match nearest(&field.key, &asked) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => format!("unknown key; known here are {}", asked.iter().cloned().collect::<Vec<_>>().join(", ")),
            };
            let problem = Problem { place: field.place.clone(), key: self.join(&field.key), message };
            self.problems.borrow_mut().push(problem);
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("a string was expected, not {}", other.kind())),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Integer(number) => Ok(*number as f64),
        other => Err(format!("a number was expected, not {}", other.kind())),
    }
}

/// The known key that a mistyped one most likely means: at most two letters away, and less than half of it.
fn nearest(key: &str, known: &BTreeSet<String>) -> Option<String> {
    let (distance, nearest) = known.iter().map(|k| (distance(key, k), k)).min()?;
    (distance <= 2 && distance * 2 < key.chars().count().max(2)).then(|| nearest.clone())
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_keys_are_recognised() {
        let known: BTreeSet<String> = ["duration", "rate", "drain"].map(str::to_owned).into();
        let check = |key: &str, expected: Option<&str>| assert_eq!(nearest(key, &known).as_deref(), expected, "{key}");
        check("durration", Some("duration"));
        check("rates", Some("rate"));
        check("drian", Some("drain"));
        check("users", None);
        check("x", None);
    }

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, expected: usize| assert_eq!(distance(a, b), expected);
        check("", "", 0);
        check("abc", "abc", 0);
        check("abc", "", 3);
        check("kitten", "sitting", 3);
    }
}
