//! The document as a page for people: one file of HTML without a script, readable on a phone, in light and in dark. Reads
//! nothing but the document.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");

/// A page, and what it may load: its own style and nothing else.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

/// Makes the page of a document.
pub(super) fn render(document: &Value) -> Page {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let info = &document["info"];
    let title = escaped(text(&info["title"]));
    let tags = tags(document);
    let links: String = tags.iter().map(|tag| format!("<a href=\"#{}\">{}</a>", anchor(tag), escaped(tag))).collect();
    let sections: String = tags.iter().map(|tag| section(document, tag)).collect();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title} <small>{}</small></h1>\n<p>{}</p>\n\
         <p><a href=\"/openapi.json\">OpenAPI {} document</a></p>\n<nav aria-label=\"Parts\">{links}<a href=\"#schemas\">schemas\
         </a></nav>\n<main>\n{sections}<h2 id=\"schemas\">schemas</h2>\n{}</main>\n</body>\n</html>\n",
        escaped(text(&info["version"])),
        prose(text(&info["description"])),
        escaped(text(&document["openapi"])),
        schemas(&document["components"]["schemas"]),
    );
    Page { html, policy }
}

/// Path, verb and operation, in the order of the document.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = members(&document["paths"]);
    paths.flat_map(|(path, item)| members(item).map(move |(verb, operation)| (path, verb, operation)))
}

fn tags(document: &Value) -> Vec<&str> {
    document["tags"].as_array().into_iter().flatten().map(|tag| text(&tag["name"])).collect()
}

fn section(document: &Value, tag: &str) -> String {
    let own = operations(document).filter(|(_, _, operation)| operation["tags"][0] == tag);
    let operations: String = own.map(|(path, verb, operation)| entry(document, path, verb, operation)).collect();
    format!("<h2 id=\"{}\">{}</h2>\n{operations}", anchor(tag), escaped(tag))
}

fn entry(document: &Value, path: &str, verb: &str, operation: &Value) -> String {
    let mut inside = String::new();
    if let Some(description) = operation["description"].as_str() {
        let _ = writeln!(inside, "<p>{}</p>", prose(description));
    }
    inside += &parameters(&operation["parameters"]);
    inside += &body(&operation["requestBody"]);
    inside += &answers(document, &operation["responses"]);
    format!(
        "<details id=\"{}\">\n<summary><b class=\"verb {verb}\">{}</b><code>{}</code><span>{}</span></summary>\n\
         <div class=\"inside\">\n{inside}</div>\n</details>\n",
        escaped(text(&operation["operationId"])),
        verb.to_uppercase(),
        escaped(path),
        escaped(text(&operation["summary"])),
    )
}

fn parameters(parameters: &Value) -> String {
    let row = |parameter: &Value| {
        let needed = if parameter["required"] == true { ", required" } else { "" };
        let description =
            parameter["description"].as_str().map_or_else(String::new, |about| format!("{}<br>", prose(about)));
        format!(
            "<dt><code>{}</code> <small>{}{needed}</small></dt><dd>{description}<small>{}</small></dd>\n",
            escaped(text(&parameter["name"])),
            escaped(text(&parameter["in"])),
            escaped(&kind(&parameter["schema"])),
        )
    };
    let rows: String = parameters.as_array().into_iter().flatten().map(row).collect();
    titled("Parameters", &list(&rows))
}

fn body(body: &Value) -> String {
    let of_type = |(media_type, content): (&str, &Value)| {
        let example = match &content["example"] {
            Value::Null => String::new(),
            Value::String(text) => format!("<pre>{}</pre>", escaped(text)),
            other => format!("<pre>{}</pre>", escaped(&other.to_string())),
        };
        format!("<dt><code>{}</code></dt><dd>{}{example}</dd>\n", escaped(media_type), shape(&content["schema"]))
    };
    let rows: String = members(&body["content"]).map(of_type).collect();
    titled(if body["required"] == true { "Body" } else { "Body, may be left out" }, &list(&rows))
}

fn answers(document: &Value, answers: &Value) -> String {
    let row = |(status, answer): (&str, &Value)| {
        let named = answer["$ref"].as_str().and_then(|reference| document.pointer(reference.trim_start_matches('#')));
        let answer = named.unwrap_or(answer);
        let forms: Vec<_> = members(&answer["content"])
            .map(|(media_type, content)| format!("<code>{}</code> {}", escaped(media_type), shape(&content["schema"])))
            .collect();
        let description = prose(text(&answer["description"]));
        format!("<dt><b>{}</b></dt><dd>{description}<br>{}</dd>\n", escaped(status), forms.join("<br>"))
    };
    titled("Answers", &list(&members(answers).map(row).collect::<String>()))
}

fn schemas(schemas: &Value) -> String {
    let entry = |(name, schema): (&str, &Value)| {
        let shown = serde_json::to_string_pretty(schema).unwrap_or_default();
        format!(
            "<details id=\"schema-{0}\"><summary><code>{0}</code></summary><div class=\"inside\"><pre>{1}</pre></div></details>\n",
            escaped(name),
            escaped(&shown)
        )
    };
    members(schemas).map(entry).collect()
}

/// What a schema is in a few words, with a link where it has a name.
fn shape(schema: &Value) -> String {
    let name = |schema: &Value| schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    let link = |name: String| format!("<a href=\"#schema-{0}\">{0}</a>", escaped(&name));
    match (name(schema), name(&schema["items"])) {
        (Some(name), _) => link(name),
        (None, Some(name)) => format!("list of {}", link(name)),
        (None, None) => format!("<small>{}</small>", escaped(&kind(schema))),
    }
}

/// The type, with its bounds.
fn kind(schema: &Value) -> String {
    let mut words = vec![match text(&schema["format"]) {
        "binary" => "bytes".to_owned(),
        _ => text(&schema["type"]).to_owned(),
    }];
    if let Some(allowed) = schema["enum"].as_array() {
        words = vec![allowed.iter().map(text).collect::<Vec<_>>().join(" | ")];
    }
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, _) => {}
        (least, Value::Null) => words.push(format!("from {least}")),
        (least, most) => words.push(format!("{least} to {most}")),
    }
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

fn titled(title: &str, content: &str) -> String {
    if content.is_empty() { String::new() } else { format!("<h3>{title}</h3>\n{content}") }
}

fn list(rows: &str) -> String {
    if rows.is_empty() { String::new() } else { format!("<dl>\n{rows}</dl>\n") }
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, member)| (name.as_str(), member))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn anchor(tag: &str) -> String {
    tag.replace(' ', "-")
}

/// Text with `code` in it.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_no_markup() {
        let check = |text: &str, expected: &str| assert_eq!(prose(text), expected);
        check("a < b & \"c\"", "a &lt; b &amp; &quot;c&quot;");
        check("see `x<y>` there", "see <code>x&lt;y&gt;</code> there");
        check("`a` and `b`", "<code>a</code> and <code>b</code>");
    }

    #[test]
    fn every_operation_and_every_schema_is_on_the_page() {
        let document = super::super::document();
        let Page { html, .. } = render(&document);
        for (_, _, operation) in operations(&document) {
            assert!(html.contains(&format!("<details id=\"{}\">", text(&operation["operationId"]))), "{operation}");
        }
        for (name, _) in members(&document["components"]["schemas"]) {
            assert!(html.contains(&format!("id=\"schema-{name}\"")), "{name}");
        }
        assert!(!html.contains("<script") && !html.contains("http://") && !html.contains(" style="));
    }
}
