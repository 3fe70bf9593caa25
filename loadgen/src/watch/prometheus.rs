//! The Prometheus text format, as far as a load test needs it: names, labels and values. Pure.

/// One value of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// `key="value",…`, sorted by key.
    pub labels: String,
    /// Infinite and NaN where the page says so.
    pub value: f64,
}

/// Reads a page. Lines that are no samples (comments, exemplars' tails, garbage) are skipped, and so is what
/// `wanted` declines by name; at most `limit` values are returned.
pub fn parse(text: &str, limit: usize, wanted: impl Fn(&str) -> bool) -> Vec<Metric> {
    text.lines().filter_map(parse_line).filter(|metric| wanted(&metric.name)).take(limit).collect()
}

fn parse_line(line: &str) -> Option<Metric> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let name_end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => parse_labels(inner)?,
        None => (String::new(), rest),
    };
    if !is_name(name) {
        return None;
    }
    let value = parse_value(rest.split_ascii_whitespace().next()?)?;
    Some(Metric { name: name.to_owned(), labels, value })
}

fn parse_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// Reads labels up to the closing brace; gives them sorted, and what follows the brace.
fn parse_labels(text: &str) -> Option<(String, &str)> {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort_unstable();
            let written: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            return Some((written.join(","), after));
        }
        let (key, after) = rest.split_once("=\"")?;
        let end = closing_quote(after)?;
        let key = key.trim();
        if !is_name(key) {
            return None;
        }
        labels.push((key, &after[..end]));
        rest = after[end + 1..].trim_start().trim_start_matches(',').trim_start();
    }
}

/// Whether nothing in it would be read as something else when the series is written as it was read. Stricter grammars
/// are the exporters' affair.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "{}=,\"".contains(c))
}

/// The first quote that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        let check = |line: &str, expected: Option<(&str, &str, f64)>| {
            let metric = parse_line(line);
            let found = metric.as_ref().map(|m| (m.name.as_str(), m.labels.as_str(), m.value));
            assert_eq!(found, expected, "{line}");
        };
        check("up 1", Some(("up", "", 1.0)));
        check("up 1 1700000000000", Some(("up", "", 1.0)));
        check("x_total{b=\"2\",a=\"1\"} 3.5e2", Some(("x_total", "a=\"1\",b=\"2\"", 350.0)));
        check("x{a=\"q\\\"}\",} 2", Some(("x", "a=\"q\\\"}\"", 2.0)));
        check("x_bucket{le=\"+Inf\"} 7 # {trace_id=\"ab\"} 0.3", Some(("x_bucket", "le=\"+Inf\"", 7.0)));
        check("x{} x", None);
        check("x{le=\"1\"} +Inf", Some(("x", "le=\"1\"", f64::INFINITY)));
        check("# TYPE x counter", None);
        check("", None);
        check("x", None);
        check("x{a=\"1\" 3", None);
        check("x{a=1} 3", None);
        check("x{!b=\"1\",,a=\"2\"} 3", Some(("x", "!b=\"1\",a=\"2\"", 3.0)));
        check("x{,a=\"1\"} 3", None);
        check("x{a,b=\"1\"} 3", None);
        check("{a=\"1\"} 3", None);
        check("x\u{a0}y 3", None);
    }

    #[test]
    fn the_number_of_values_is_bounded_and_names_are_chosen() {
        let page: String = (0..100).map(|n| format!("a{n} {n}\nb{n} 1\n")).collect();
        let values = parse(&page, 10, |name| name.starts_with('a'));
        assert_eq!(values.len(), 10);
        assert_eq!(values[9].name, "a9");
    }

    proptest! {
        /// No text makes it panic.
        #[test]
        fn any_text_is_survived(text in "[ -~{}\",=\\\\\n]{0,200}") {
            parse(&text, 1000, |_| true);
        }
    }
}
