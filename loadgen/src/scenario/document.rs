//! A TOML document as a tree of values that know their place, with overrides applied. Knows nothing of scenarios.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Vec<Field>),
    /// A date, or an integer beyond 64 bits: nothing that a scenario has a use for.
    Other,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Value {
    /// The kind of value, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other => "a value of another kind",
        }
    }
}

/// Parses a document. What could be read is returned beside what is wrong.
pub(super) fn parse(text: &str) -> (Node, Vec<Problem>) {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .into_iter()
        .map(|e| {
            let place = e.span().map_or(Place::Whole, |span| lines.place(span.start));
            Problem { place, key: String::new(), message: format!("not valid TOML: {}", e.message().trim()) }
        })
        .collect();
    let root = Node { value: Value::Table(fields(table.into_inner(), &lines)), place: Place::Whole };
    (root, problems)
}

fn fields(table: DeTable<'_>, lines: &Lines<'_>) -> Vec<Field> {
    let mut fields: Vec<(usize, Field)> = table
        .into_iter()
        .map(|(key, value)| {
            let start = key.span().start;
            (start, Field { key: key.into_inner().into_owned(), place: lines.place(start), node: node(value, lines) })
        })
        .collect();
    // The parser sorts by key; people read from top to bottom.
    fields.sort_by_key(|(start, _)| *start);
    fields.into_iter().map(|(_, field)| field).collect()
}

fn node(value: Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let place = lines.place(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other, Value::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other, Value::Float),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Array(items) => Value::Array(items.into_iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(table) => Value::Table(fields(table, lines)),
        DeValue::Datetime(_) => Value::Other,
    };
    Node { value, place }
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place::File { line, column }
    }
}

/// Applies `dotted.path=value`. The value is TOML, or a string where it is none (`load.duration=1h`).
pub(super) fn set(root: &mut Node, text: &str) -> Result<(), Problem> {
    let place = Place::Override(text.to_owned());
    let problem = |key: &str, message: String| Problem { place: place.clone(), key: key.to_owned(), message };
    let Some((path, value)) = text.split_once('=') else {
        return Err(problem("", "write key=value, such as --set load.duration=1h".to_owned()));
    };
    let (path, mut value) = (path.trim(), override_value(value.trim()));
    repaint(&mut value, &place);
    let mut at = root;
    let mut keys: Vec<&str> = path.split('.').collect();
    let last = keys.pop().unwrap_or_default();
    for key in keys {
        at = child(at, key, &place)
            .ok_or_else(|| problem(path, format!("`{key}` is no table here, nor the name of an entry")))?;
    }
    let Value::Table(fields) = &mut at.value else {
        return Err(problem(path, format!("what `{last}` should go into is no table")));
    };
    match fields.iter_mut().find(|field| field.key == last) {
        Some(field) => field.node = value,
        None => fields.push(Field { key: last.to_owned(), place, node: value }),
    }
    Ok(())
}

/// The value of an override: one TOML value, else its text.
fn override_value(text: &str) -> Node {
    let (document, problems) = parse(&format!("value = {text}\n"));
    match document.value {
        Value::Table(mut fields) if problems.is_empty() && fields.len() == 1 => fields.remove(0).node,
        _ => Node { value: Value::String(text.to_owned()), place: Place::Whole },
    }
}

/// Puts everything below a node at one place.
fn repaint(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| repaint(item, place)),
        Value::Table(fields) => fields.iter_mut().for_each(|field| {
            field.place = place.clone();
            repaint(&mut field.node, place);
        }),
        _ => {}
    }
}

/// Steps into a table by key (made when missing), or into an array of tables by index or by the table's `name`.
fn child<'a>(node: &'a mut Node, key: &str, place: &Place) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Table(fields) => {
            let found = fields.iter().position(|field| field.key == key);
            let at = found.unwrap_or_else(|| {
                let node = Node { value: Value::Table(Vec::new()), place: place.clone() };
                fields.push(Field { key: key.to_owned(), place: place.clone(), node });
                fields.len() - 1
            });
            Some(&mut fields[at].node)
        }
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) => items.get_mut(index),
            Err(_) => items.iter_mut().find(|item| is_named(item, key)),
        },
        _ => None,
    }
}

fn is_named(node: &Node, name: &str) -> bool {
    let Value::Table(fields) = &node.value else { return false };
    fields.iter().any(|field| field.key == "name" && field.node.value == Value::String(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
        path.split('.').try_fold(node, |node, key| match &node.value {
            Value::Table(fields) => fields.iter().find(|field| field.key == key).map(|field| &field.node),
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        })
    }

    #[test]
    fn values_know_their_place() {
        let (root, problems) = parse("a = 1\n[b]\n  c = \"é\" # x\n  d = [1.5, true]\n");
        assert_eq!(problems, []);
        let check = |path: &str, line: usize, column: usize| {
            assert_eq!(get(&root, path).unwrap().place, Place::File { line, column }, "{path}");
        };
        check("a", 1, 5);
        check("b.c", 3, 7);
        check("b.d.1", 4, 13);
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let (_, problems) = parse("a = 1\nb = = 2\n");
        assert!(matches!(problems[0].place, Place::File { line: 2, .. }), "{problems:?}");
    }

    #[test]
    fn overrides_are_typed_and_find_entries_by_name() {
        let check = |text: &str, path: &str, expected: Value| {
            let (mut root, _) = parse("[load]\nduration = \"30s\"\n[[mix]]\nname = \"a\"\n[[mix]]\nname = \"b\"\n");
            set(&mut root, text).unwrap();
            let node = get(&root, path).unwrap();
            assert_eq!((&node.value, &node.place), (&expected, &Place::Override(text.to_owned())));
        };
        check("load.duration=1h", "load.duration", Value::String("1h".to_owned()));
        check("load.users = 7", "load.users", Value::Integer(7));
        check("seed=3", "seed", Value::Integer(3));
        check("mix.b.weight=2.5", "mix.1.weight", Value::Float(2.5));
        check("mix.0.weight=2", "mix.0.weight", Value::Integer(2));
        check("target.http=http://127.0.0.1:1", "target.http", Value::String("http://127.0.0.1:1".to_owned()));
        let (mut root, _) = parse("a = 1");
        assert!(set(&mut root, "a").unwrap_err().message.contains("key=value"));
        assert!(set(&mut root, "a.b.c=1").is_err());
    }
}
