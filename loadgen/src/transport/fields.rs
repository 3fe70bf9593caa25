//! Header lines of an answer, kept as they came and looked through when asked. An answer is asked for a handful of
//! names once, so a map would cost more than it saves.

use http::HeaderMap;

/// Bytes before each line's name: the lengths of name and value.
const LENGTHS: usize = 8;

/// See the module. Names are found whatever their case; of lines with the same name the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Line after line: length of the name, length of the value, name, value.
    lines: Vec<u8>,
}

impl Fields {
    /// No line yet, with room for so many lines of so many bytes in all.
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        Self { lines: Vec::with_capacity(lines * LENGTHS + bytes) }
    }

    /// Adds a line.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        // Heads are bounded far below this.
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.lines.extend_from_slice(&length(name.as_bytes()));
        self.lines.extend_from_slice(&length(value));
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(value);
    }

    /// The value of the first line of that name, if it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))?;
        let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        if is_text { std::str::from_utf8(value).ok() } else { None }
    }

    /// Whether there is a line of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.lines.as_slice();
        std::iter::from_fn(move || {
            let (name_length, after) = rest.split_first_chunk::<4>()?;
            let (value_length, after) = after.split_first_chunk::<4>()?;
            let (name, after) = after.split_at_checked(u32::from_le_bytes(*name_length) as usize)?;
            let (value, after) = after.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
            rest = after;
            Some((name, value))
        })
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut fields = Self::with_capacity(map.len(), bytes);
        for (name, value) in map {
            fields.push(name.as_str(), value.as_bytes());
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name() {
        let mut fields = Fields::default();
        for (name, value) in
            [("Content-Type", "text/plain"), ("x", ""), ("retry-after", "1"), ("Retry-After", "2"), ("b", "\u{e9}")]
        {
            fields.push(name, value.as_bytes());
        }
        let check = |name: &str, expected: Option<&str>| assert_eq!(fields.get(name), expected, "{name}");
        check("content-type", Some("text/plain"));
        check("CONTENT-TYPE", Some("text/plain"));
        check("x", Some(""));
        check("retry-after", Some("1"));
        check("b", None);
        check("content", None);
        check("", None);
        assert!(fields.contains("B") && !fields.contains("c"));
        assert_eq!(fields.iter().count(), 5);
    }

    #[test]
    fn a_map_keeps_its_lines() {
        let mut map = HeaderMap::new();
        map.append("a", "1".parse().unwrap());
        map.append("a", "2".parse().unwrap());
        map.insert("b", "3".parse().unwrap());
        let fields = Fields::from(&map);
        assert_eq!((fields.get("a"), fields.get("b"), fields.iter().count()), (Some("1"), Some("3"), 3));
    }
}
