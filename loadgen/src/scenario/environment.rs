//! `${env:NAME}` in header values: secrets that stay in the environment. A scenario as run holds the reference and never
//! the value, so that no file of a run does.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::{RequestSpec, Scenario};
use crate::record::Secrets;

const OPENING: &str = "${env:";

/// Whether a text refers to the environment.
pub(crate) fn refers(text: &str) -> bool {
    text.contains(OPENING)
}

/// The text with every reference replaced by its value.
///
/// # Errors
/// What is wrong with it, without any value.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, name, after)) = next_reference(rest)? {
        expanded.push_str(before);
        expanded.push_str(&value_of(name, &lookup)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The value of a variable of this process.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn value_of(name: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    match lookup(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(format!("the environment variable `{name}` is empty; set it, as in {name}=… proofload run")),
        None => Err(format!("the environment variable `{name}` is not set; set it, as in {name}=… proofload run")),
    }
}

type Reference<'a> = Option<(&'a str, &'a str, &'a str)>;

/// What stands before the first reference, its name, and what stands after it.
fn next_reference(text: &str) -> Result<Reference<'_>, String> {
    let Some((before, after)) = text.split_once(OPENING) else { return Ok(None) };
    let Some((name, after)) = after.split_once('}') else {
        return Err(format!("`{OPENING}` is never closed; write ${{env:NAME}}"));
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` is no name of an environment variable; write letters, digits and `_`"));
    }
    Ok(Some((before, name, after)))
}

/// Headers with their references expanded. What comes out of the environment is marked, so that nobody prints it.
///
/// # Errors
/// What is no header, never with the value of a variable.
pub(crate) fn header_map(stated: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, text) in stated {
        let expanded = expand(text, variable)?;
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
        let mut value: HeaderValue = expanded.parse().map_err(|_| format!("`{text}` is no header value"))?;
        value.set_sensitive(refers(text));
        headers.insert(name, value);
    }
    Ok(headers)
}

impl Scenario {
    /// The secrets that it refers to, as they are now.
    pub fn secrets(&self) -> Secrets {
        let mut found = Vec::new();
        let of_target = self.target.iter().flat_map(|target| target.headers.values());
        for value in self.mix.iter().flat_map(|entry| headers(&entry.request).values()).chain(of_target) {
            let mut rest = value.as_str();
            while let Ok(Some((_, name, after))) = next_reference(rest) {
                found.extend(variable(name).map(|value| (format!("${{env:{name}}}"), value)));
                rest = after;
            }
        }
        Secrets::new(found)
    }
}

fn headers(request: &RequestSpec) -> &BTreeMap<String, String> {
    match request {
        RequestSpec::Http(spec) => &spec.headers,
        RequestSpec::Kserve(spec) => &spec.headers,
        RequestSpec::Completion(spec) => &spec.headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_values() {
        let lookup = |name: &str| match name {
            "TOKEN" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let check = |text: &str, expected: Result<&str, &str>| match (expand(text, lookup), expected) {
            (Ok(expanded), Ok(expected)) => assert_eq!(expanded, expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
            (found, expected) => panic!("{text}: {found:?} where {expected:?} was expected"),
        };
        check("plain $ {env:X} ${other}", Ok("plain $ {env:X} ${other}"));
        check("Bearer ${env:TOKEN}", Ok("Bearer s3cret"));
        check("${env:TOKEN}:${env:TOKEN}!", Ok("s3cret:s3cret!"));
        check("${env:NONE}", Err("`NONE` is not set"));
        check("${env:EMPTY}", Err("`EMPTY` is empty"));
        check("${env:TOKEN", Err("is never closed"));
        check("${env:}", Err("no name of an environment variable"));
        check("${env:1A}", Err("no name of an environment variable"));
        check("${env:A B}", Err("no name of an environment variable"));
    }
}
