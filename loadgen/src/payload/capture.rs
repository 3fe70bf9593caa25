//! Values taken out of an answer, for later requests of the same journey.

use serde_json::Value;

/// Longest value carried: more is no token or identifier, and it is sent again with every request.
const LONGEST: usize = 16 << 10;

/// One value to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Index of its name among the scenario's captures.
    pub index: u16,
    /// Where it stands in the answer: a JSON pointer (RFC 6901).
    pub pointer: String,
}

/// Takes values out of an answer's body. Gives each with its index.
///
/// # Errors
/// What is missing or unfit.
pub fn capture(captures: &[Capture], body: &[u8]) -> Result<Vec<(u16, String)>, String> {
    let document: Value =
        serde_json::from_slice(body).map_err(|e| format!("the answer is no JSON to capture from: {e}"))?;
    captures.iter().map(|capture| Ok((capture.index, value_at(&document, &capture.pointer)?))).collect()
}

fn value_at(document: &Value, pointer: &str) -> Result<String, String> {
    let text = match document.pointer(pointer) {
        None | Some(Value::Null) => return Err(format!("the answer has nothing at {pointer}")),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.len() > LONGEST {
        return Err(format!("what the answer has at {pointer} is longer than the {LONGEST} bytes that are carried"));
    }
    // It may become part of a header.
    if text.chars().any(char::is_control) {
        return Err(format!("what the answer has at {pointer} holds control characters"));
    }
    Ok(text)
}

/// Whether this is a JSON pointer.
pub fn is_pointer(text: &str) -> bool {
    let escapes = || text.match_indices('~').all(|(at, _)| matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')));
    (text.is_empty() || text.starts_with('/')) && escapes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_by_pointer() {
        let body = br#"{"token": "t-1", "items": [{"id": 7, "a/b": true}], "gap": null, "bad": "a\nb"}"#;
        let check = |pointer: &str, expected: Result<&str, &str>| {
            let found = capture(&[Capture { index: 3, pointer: pointer.to_owned() }], body);
            match (found, expected) {
                (Ok(values), Ok(expected)) => assert_eq!(values, [(3, expected.to_owned())]),
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{message}"),
                (found, expected) => panic!("{pointer}: {found:?} instead of {expected:?}"),
            }
        };
        check("/token", Ok("t-1"));
        check("/items/0/id", Ok("7"));
        check("/items/0/a~1b", Ok("true"));
        check("/items/0", Ok(r#"{"a/b":true,"id":7}"#));
        check("/items/1", Err("has nothing at /items/1"));
        check("/gap", Err("has nothing at /gap"));
        check("/bad", Err("control characters"));
        assert!(capture(&[], b"<html>").unwrap_err().contains("no JSON"));
    }

    #[test]
    fn pointers() {
        let check = |text: &str, expected: bool| assert_eq!(is_pointer(text), expected, "{text}");
        check("", true);
        check("/a/0/b~0~1", true);
        check("a", false);
        check("/a~2", false);
        check("/a~", false);
    }
}
