//! What is wrong with a configuration as a whole, and which of its fields that is about: where the text names the field,
//! the message can name the line. Pure.

use super::pbtxt::text::{Field, Message, Value};

/// Something that a configuration cannot mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The field that it is about, from the outermost message inwards; empty for what is about no field.
    path: Vec<&'static str>,
    /// Which of several fields of that name: its `name` or `key`.
    name: Option<String>,
    /// Which of several messages of the same name it is in: the field above the last one. The first, unless said.
    number: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// A complaint about a field.
pub(super) fn at<const N: usize>(path: [&'static str; N], what: impl Into<String>) -> Complaint {
    Complaint { path: path.to_vec(), name: None, number: 0, what: what.into() }
}

/// A complaint about one of several fields, the one of that name.
pub(super) fn of(field: &'static str, name: &str, what: impl Into<String>) -> Complaint {
    Complaint { path: vec![field], name: Some(name.to_owned()), number: 0, what: what.into() }
}

/// A complaint about a field of one of several messages, the one of that number from 0.
pub(super) fn within<const N: usize>(path: [&'static str; N], number: usize, what: impl Into<String>) -> Complaint {
    Complaint { number, ..at(path, what) }
}

/// A complaint about something that no field says.
pub(super) fn beside(what: impl Into<String>) -> Complaint {
    at([], what)
}

impl Complaint {
    /// The line in the text where what it is about is said, or the message that should have said it.
    pub fn line(&self, text: &Message) -> Option<usize> {
        let (mut within, mut line) = (text, None);
        for (index, step) in self.path.iter().enumerate() {
            let is_last = index + 1 == self.path.len();
            let wanted = self.name.as_deref().filter(|_| is_last);
            let meant = |field: &&Field| field.name == *step && wanted.is_none_or(|name| is_called(field, name));
            let number = if index + 2 == self.path.len() { self.number } else { 0 };
            let Some(field) = within.fields.iter().filter(meant).nth(number) else { break };
            line = Some(field.line);
            let Value::Message(inner) = &field.value else { break };
            within = inner;
        }
        line
    }
}

pub(super) fn is_called(field: &Field, name: &str) -> bool {
    let Value::Message(message) = &field.value else { return false };
    let says = |field: &Field| match &field.value {
        Value::Text(text) | Value::Word(text) | Value::Scalar(text) => text == name,
        Value::Message(_) => false,
    };
    message.fields.iter().any(|field| ["name", "key"].contains(&field.name.as_str()) && says(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt::text;

    #[test]
    fn the_line_is_found_as_far_as_the_text_goes() {
        let tree = text::parse(
            "max_batch_size: 4\ninput {\n name: \"x\" }\ninput { name: \"y\" }\ndynamic_batching {\n\n priority_levels: 2 }",
        );
        let tree = tree.expect("grammatical");
        let check = |complaint: Complaint, expected| assert_eq!(complaint.line(&tree), expected, "{complaint:?}");
        check(at(["max_batch_size"], ""), Some(1));
        check(of("input", "x", ""), Some(2));
        check(of("input", "y", ""), Some(4));
        check(of("input", "z", ""), None);
        check(at(["dynamic_batching", "priority_levels"], ""), Some(7));
        check(at(["dynamic_batching", "preferred_batch_size"], ""), Some(5));
        check(at(["instance_group"], ""), None);
        check(beside(""), None);
        let tree =
            text::parse("ensemble_scheduling {\n step [\n{ model_name: \"a\" },\n{ input_map {\n key: \"b\" } }] }");
        let tree = tree.expect("grammatical");
        let check = |complaint: Complaint, expected| assert_eq!(complaint.line(&tree), expected, "{complaint:?}");
        check(within(["ensemble_scheduling", "step", "model_name"], 0, ""), Some(3));
        check(within(["ensemble_scheduling", "step", "input_map"], 1, ""), Some(4));
        check(within(["ensemble_scheduling", "step", "model_name"], 2, ""), Some(1));
    }
}
