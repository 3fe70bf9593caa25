//! Server-sent events (HTML standard, "server-sent events"), read as they come: bytes in, whole events out. It knows
//! nothing of what the events say, and does not reconnect.

use crate::WireError;

/// Largest event, in bytes. Without a bound a server that never ends a line would fill the memory.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its type; empty where the server states none.
    pub kind: &'a [u8],
    /// Its data, lines joined by a line feed.
    pub data: &'a [u8],
}

/// See the module. Ends of lines are CR LF, LF or CR, and may fall between any two pushes.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    kind: Vec<u8>,
    /// Data lines, each with a line feed after it.
    data: Vec<u8>,
    after_cr: bool,
    started: bool,
}

impl EventReader {
    /// Takes in what came and hands over each event that is complete with it.
    ///
    /// # Errors
    /// [`WireError::Framing`] for an event beyond [`MAX_EVENT_BYTES`]; the reader is of no use afterwards.
    pub fn push(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) -> Result<(), WireError> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.keep(bytes);
            };
            self.after_cr = bytes[at] == b'\r';
            if self.line.is_empty() {
                self.end_line(&bytes[..at], &mut on_event)?;
            } else {
                self.keep(&bytes[..at])?;
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, &mut on_event)?;
                self.line = line;
                self.line.clear();
            }
            bytes = &bytes[at + 1..];
        }
        Ok(())
    }

    /// Keeps the beginning of a line.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.line.extend_from_slice(bytes);
        check_size(self.line.len() + self.data.len())
    }

    fn end_line(&mut self, line: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> Result<(), WireError> {
        let line = if self.started { line } else { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            self.dispatch(on_event);
            return Ok(());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.kind = value.to_vec(),
            // Comments have an empty field; `id` and `retry` are for reconnecting.
            _ => {}
        }
        check_size(self.data.len())
    }

    fn dispatch(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        if let Some((_, data)) = self.data.split_last() {
            on_event(Event { kind: &self.kind, data });
        }
        self.data.clear();
        self.kind.clear();
    }
}

fn check_size(bytes: usize) -> Result<(), WireError> {
    if bytes > MAX_EVENT_BYTES {
        return Err(WireError::Framing(format!("an event of more than {MAX_EVENT_BYTES} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut reader = EventReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            reader.push(piece, |event| events.push((text(event.kind), text(event.data)))).unwrap();
        }
        events
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let found = read(&[text.as_bytes()]);
            let found: Vec<_> = found.iter().map(|(kind, data)| (kind.as_str(), data.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("data: a\n\n", &[("", "a")]);
        check("data:a\r\n\r\ndata:b\r\rdata: c\n\n", &[("", "a"), ("", "b"), ("", "c")]);
        check("data: a\ndata: b\n\n", &[("", "a\nb")]);
        check("event: error\ndata: {}\n\ndata: x\n\n", &[("error", "{}"), ("", "x")]);
        check(": keep-alive\n\nid: 3\nretry: 10\n\n", &[]);
        check("data\n\n", &[("", "")]);
        check("data:  two spaces\n\n", &[("", " two spaces")]);
        check("\u{feff}data: a\n\n", &[("", "a")]);
        check("data: never ended\n", &[]);
        check("data: never ended", &[]);
        check("\n\n\ndata: a\n\n\n\n", &[("", "a")]);
        check("datum: a\n\n", &[]);
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut reader = EventReader::default();
        let block = [b'x'; 1 << 16];
        let refused = (0..1000).find_map(|_| reader.push(&block, |_| ()).err()).unwrap();
        assert!(refused.to_string().contains("more than 4194304 bytes"), "{refused}");
        let mut reader = EventReader::default();
        let refused = (0..1_000_000).find_map(|_| reader.push(b"data: many lines of one event\n", |_| ()).err());
        assert!(refused.is_some());
    }

    proptest! {
        /// Wherever the bytes are cut, the events are the same; and no bytes make it panic.
        #[test]
        fn cuts_do_not_matter(text in "(data: ?|event: |:|id|a|b|\n|\r|\r\n|\n\n|é){0,60}", cuts in proptest::collection::vec(0usize..200, 0..8)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[bytes]));
        }
    }
}
