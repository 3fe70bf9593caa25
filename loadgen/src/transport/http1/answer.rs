//! Reads an answer of HTTP/1.1 (RFC 9112) from bytes as they come, however they are cut. Pure: no socket, no clock.
//!
//! What a line looks like is `httparse`'s affair; here is where the head ends, how long the body is, and whether the
//! connection may carry another request.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::chunked::Chunked;
use crate::transport::{Answer, Fields};

/// Longest head that is read.
const MOST_HEAD_BYTES: usize = 256 << 10;
/// Most header lines of a head.
pub(super) const MOST_LINES: usize = 128;

/// Why what came is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the answer's head is no HTTP/1.1: {0}")]
    Head(httparse::Error),
    #[error("the answer's head has more than {MOST_HEAD_BYTES} bytes")]
    LongHead,
    #[error("the answer's content-length is no length, or states several")]
    Length,
    #[error("an answer of HTTP/1.0 with a transfer-encoding")]
    OldChunks,
    #[error("the answer's body is not chunked as its head says")]
    Chunks,
    #[error("the connection was closed before the answer began")]
    ClosedBefore,
    #[error("the connection was closed in the middle of the answer")]
    ClosedWithin,
}

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// The head, and how long the body will be, where that is known.
    Head { status: u16, headers: Fields, length: Option<u64> },
    /// Bytes of the body.
    Data(&'a [u8]),
    /// What follows a chunked body.
    Trailers(Fields),
}

/// Reads one answer of HTTP/1.1 out of pieces of bytes, the last of which ends with the connection.
///
/// # Errors
/// When they are no whole answer.
pub fn read_answer(pieces: &[&[u8]], of_head: bool) -> Result<Answer, String> {
    let (mut reader, mut answer, mut body) = (Reader::new(of_head), Answer::default(), Vec::new());
    for piece in pieces {
        let fed = reader.feed(piece, |part| match part {
            Part::Head { status, headers, .. } => (answer.status, answer.headers) = (status, headers),
            Part::Data(data) => body.extend_from_slice(data),
            Part::Trailers(trailers) => answer.trailers = trailers,
        });
        fed.map_err(|why| why.to_string())?;
    }
    reader.close().map_err(|why| why.to_string())?;
    Ok(Answer { body_bytes: body.len() as u64, body: body.into(), ..answer })
}

/// Where in the answer the next byte stands.
#[derive(Debug)]
enum At {
    Head,
    Fixed(u64),
    Chunked(Chunked),
    UntilClose,
    End,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    at: At,
    /// The beginning of something that has not come as a whole.
    stash: Vec<u8>,
    /// Whether the request was a HEAD: its answer has no body, whatever its head says.
    of_head: bool,
    keeps: bool,
    began: bool,
}

impl Reader {
    pub(super) fn new(of_head: bool) -> Self {
        Self { at: At::Head, stash: Vec::new(), of_head, keeps: false, began: false }
    }

    /// Takes in bytes, hands out the parts of the answer that they complete, and says how many of the bytes stand
    /// behind the answer's end.
    ///
    /// # Errors
    /// When they are no answer. Nothing more can be read then.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Part<'_>)) -> Result<usize, Unreadable> {
        self.began |= !bytes.is_empty();
        while !bytes.is_empty() && !self.is_done() {
            bytes = match &mut self.at {
                At::Head => self.head(bytes, &mut take)?,
                At::Fixed(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    take(Part::Data(&bytes[..now]));
                    *left -= now as u64;
                    if *left == 0 {
                        self.at = At::End;
                    }
                    &bytes[now..]
                }
                At::Chunked(chunked) => {
                    let rest = chunked.feed(&mut self.stash, bytes, &mut take)?;
                    if chunked.is_done() {
                        self.at = At::End;
                    }
                    rest
                }
                At::UntilClose => {
                    take(Part::Data(bytes));
                    &[]
                }
                At::End => bytes,
            };
        }
        Ok(bytes.len())
    }

    /// The connection was closed.
    ///
    /// # Errors
    /// When the answer is not complete by that.
    pub(super) fn close(&mut self) -> Result<(), Unreadable> {
        match self.at {
            At::End | At::UntilClose => {
                self.at = At::End;
                Ok(())
            }
            _ if self.began => Err(Unreadable::ClosedWithin),
            _ => Err(Unreadable::ClosedBefore),
        }
    }

    /// Whether the answer is whole.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Whether the server lets the connection carry another request.
    pub(super) fn keeps_connection(&self) -> bool {
        self.keeps
    }

    fn head<'b>(&mut self, bytes: &'b [u8], take: &mut impl FnMut(Part<'_>)) -> Result<&'b [u8], Unreadable> {
        let of_head = self.of_head;
        let Some((head, rest)) = whole(&mut self.stash, bytes, |bytes| Head::parse(bytes, of_head))? else {
            return if self.stash.len() > MOST_HEAD_BYTES { Err(Unreadable::LongHead) } else { Ok(&[]) };
        };
        if head.is_interim() {
            return Ok(rest);
        }
        self.keeps = head.keeps;
        let length = match head.framing {
            Framing::Fixed(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        self.at = match head.framing {
            Framing::Fixed(0) => At::End,
            Framing::Fixed(length) => At::Fixed(length),
            Framing::Chunked => At::Chunked(Chunked::default()),
            Framing::UntilClose => At::UntilClose,
        };
        take(Part::Head { status: head.status, headers: head.fields, length });
        Ok(rest)
    }
}

/// Reads something that may have come in pieces: with what was stashed of it before, or stashes it. Gives what was read
/// and the bytes behind it.
pub(super) fn whole<'b, T>(
    stash: &mut Vec<u8>,
    bytes: &'b [u8],
    parse: impl FnOnce(&[u8]) -> Result<Option<(usize, T)>, Unreadable>,
) -> Result<Option<(T, &'b [u8])>, Unreadable> {
    let before = stash.len();
    let parsed = if before == 0 {
        parse(bytes)?
    } else {
        stash.extend_from_slice(bytes);
        parse(stash)?
    };
    if let Some((length, parsed)) = parsed {
        stash.clear();
        // What was stashed was not whole, so its end lies in these bytes.
        return Ok(Some((parsed, &bytes[length - before..])));
    }
    if before == 0 {
        stash.extend_from_slice(bytes);
    }
    Ok(None)
}

/// How the end of a body is known (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Fixed(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
struct Head {
    status: u16,
    fields: Fields,
    framing: Framing,
    keeps: bool,
}

impl Head {
    fn parse(bytes: &[u8], of_head: bool) -> Result<Option<(usize, Self)>, Unreadable> {
        let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_LINES];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(Unreadable::Head(error)),
        };
        let status = response.code.unwrap_or_default();
        let is_old = response.version == Some(0);
        let mut fields = Fields::with_capacity(response.headers.len(), length);
        let mut said = Said::default();
        for line in response.headers.iter() {
            said.hear(line);
            fields.push(line.name, line.value);
        }
        let framing = said.framing(status, of_head, is_old)?;
        let keeps = said.keeps(is_old) && framing != Framing::UntilClose && status != 101;
        Ok(Some((length, Self { status, fields, framing, keeps })))
    }

    /// Whether the real answer is still to come. 101 is an answer: the connection speaks something else from there on.
    fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// What a head says of its body and its connection.
#[derive(Debug, Default)]
struct Said {
    /// An error only when the length is what counts.
    length: Option<Result<u64, Unreadable>>,
    encoding: Option<bool>,
    close: bool,
    keep_alive: bool,
}

impl Said {
    fn hear(&mut self, line: &Header<'_>) {
        match line.name.len() {
            10 if line.name.eq_ignore_ascii_case("connection") => {
                self.close |= tokens(line.value).any(|token| token.eq_ignore_ascii_case(b"close"));
                self.keep_alive |= tokens(line.value).any(|token| token.eq_ignore_ascii_case(b"keep-alive"));
            }
            14 if line.name.eq_ignore_ascii_case("content-length") => tokens(line.value).for_each(|token| {
                let length = number(token).ok_or(Unreadable::Length);
                let before = self.length.get_or_insert(length);
                if *before != length {
                    *before = Err(Unreadable::Length);
                }
            }),
            17 if line.name.eq_ignore_ascii_case("transfer-encoding") => {
                // Chunked is the last encoding, or the body ends with the connection.
                self.encoding = tokens(line.value).last().map(|last| last.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
    }

    fn framing(&self, status: u16, of_head: bool, is_old: bool) -> Result<Framing, Unreadable> {
        let has_body = !(of_head || (100..200).contains(&status) || status == 204 || status == 304);
        Ok(match (self.encoding, self.length) {
            _ if !has_body => Framing::Fixed(0),
            (Some(_), _) if is_old => return Err(Unreadable::OldChunks),
            (Some(true), _) => Framing::Chunked,
            (Some(false), _) | (None, None) => Framing::UntilClose,
            (None, Some(length)) => Framing::Fixed(length?),
        })
    }

    fn keeps(&self, is_old: bool) -> bool {
        !self.close && (!is_old || self.keep_alive)
    }
}

/// The parts of a value with commas.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was read: the status, the body, and a trailer.
    #[derive(Debug, Default, Clone, PartialEq)]
    struct Read {
        status: u16,
        length: Option<u64>,
        body: Vec<u8>,
        trailer: Option<String>,
        left: usize,
        done: bool,
        keeps: bool,
    }

    fn read(pieces: &[&[u8]], of_head: bool, closed: bool) -> Result<Read, Unreadable> {
        let (mut reader, mut read) = (Reader::new(of_head), Read::default());
        for piece in pieces {
            read.left += reader.feed(piece, |part| match part {
                Part::Head { status, length, .. } => (read.status, read.length) = (status, length),
                Part::Data(data) => read.body.extend_from_slice(data),
                Part::Trailers(trailers) => read.trailer = trailers.get("t").map(str::to_owned),
            })?;
        }
        if closed {
            reader.close()?;
        }
        (read.done, read.keeps) = (reader.is_done(), reader.keeps_connection());
        Ok(read)
    }

    /// `status body keeps`, or what is wrong; written with `|` for a line's end.
    fn check(of_head: bool, closed: bool, bytes: &str, expected: &str) {
        let bytes = bytes.replace('|', "\r\n");
        let found = match read(&[bytes.as_bytes()], of_head, closed) {
            Ok(read) if !read.done => "unfinished".to_owned(),
            Ok(read) => {
                let trailer = read.trailer.map(|t| format!(" t={t}")).unwrap_or_default();
                let left = if read.left > 0 { format!(" +{}", read.left) } else { String::new() };
                let keeps = if read.keeps { "keeps" } else { "ends" };
                format!("{} {:?} {keeps}{trailer}{left}", read.status, String::from_utf8_lossy(&read.body))
            }
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(found, expected, "{bytes}");
    }

    #[test]
    fn answers() {
        let check = |bytes: &str, expected: &str| check(false, false, bytes, expected);
        check("HTTP/1.1 200 OK|content-length: 3||abc", "200 \"abc\" keeps");
        check("HTTP/1.1 200 OK|content-length: 3||abcHTTP", "200 \"abc\" keeps +4");
        check("HTTP/1.1 200|Content-Length: 0||", "200 \"\" keeps");
        check("HTTP/1.1 200 OK|content-length: 3, 3||abc", "200 \"abc\" keeps");
        check("HTTP/1.1 200 OK|content-length: 3|content-length: 3||abc", "200 \"abc\" keeps");
        check("HTTP/1.1 200 OK|content-length: 3|content-length: 4||abc", "Length");
        check("HTTP/1.1 200 OK|content-length: -1||abc", "Length");
        check("HTTP/1.1 200 OK|content-length: ||abc", "Length");
        check("HTTP/1.1 200 OK|content-length: 99999999999999999999||abc", "Length");
        check("HTTP/1.1 200 OK|connection: close|content-length: 1||a", "200 \"a\" ends");
        check("HTTP/1.1 200 OK|Connection: x, Close|content-length: 1||a", "200 \"a\" ends");
        check("HTTP/1.0 200 OK|content-length: 1||a", "200 \"a\" ends");
        check("HTTP/1.0 200 OK|connection: keep-alive|content-length: 1||a", "200 \"a\" keeps");
        check("HTTP/1.1 204 No Content|content-length: 5||", "204 \"\" keeps");
        check("HTTP/1.1 204 No Content|content-length: none||", "204 \"\" keeps");
        check("HTTP/1.1 304 Not Modified||", "304 \"\" keeps");
        check("HTTP/1.1 100 Continue||HTTP/1.1 103 x|a: b||HTTP/1.1 200 OK|content-length: 1||a", "200 \"a\" keeps");
        check("HTTP/1.1 101 Switching Protocols||xyz", "101 \"\" ends +3");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||3|abc|0||", "200 \"abc\" keeps");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||3;x=y|abc|A|0123456789|0||", "200 \"abc0123456789\" keeps");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||1|a|0|T: 7||", "200 \"a\" keeps t=7");
        check("HTTP/1.1 200 OK|transfer-encoding: gzip, Chunked|content-length: 9||0||", "200 \"\" keeps");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||3|abcd|0||", "Chunks");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||x|", "Chunks");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||ffffffffffffffffff|", "Chunks");
        check("HTTP/1.0 200 OK|transfer-encoding: chunked||0||", "OldChunks");
        check("HTTP/1.1 200 OK||abc", "unfinished");
        check("HTTP/1.1 200 OK|content-length: 4||abc", "unfinished");
        check("HTTP/1.1 200 OK|", "unfinished");
        check("nonsense||", "Head(Version)");
        check("HTTP/2 200 OK||", "Head(Version)");
    }

    #[test]
    fn a_closed_connection_ends_what_has_no_other_end() {
        let check = |bytes: &str, expected: &str| check(false, true, bytes, expected);
        check("HTTP/1.1 200 OK||abc", "200 \"abc\" ends");
        check("HTTP/1.1 200 OK|transfer-encoding: gzip|content-length: 1||abc", "200 \"abc\" ends");
        check("HTTP/1.1 200 OK|content-length: 4||abc", "ClosedWithin");
        check("HTTP/1.1 200 OK|transfer-encoding: chunked||3|abc|0|", "ClosedWithin");
        check("HTTP/1.1 100 Continue||", "ClosedWithin");
        check("HTT", "ClosedWithin");
        check("", "ClosedBefore");
    }

    #[test]
    fn the_answer_of_a_head_has_no_body() {
        check(true, false, "HTTP/1.1 200 OK|content-length: 4||", "200 \"\" keeps");
        check(true, false, "HTTP/1.1 200 OK|transfer-encoding: chunked||", "200 \"\" keeps");
        check(true, false, "HTTP/1.1 200 OK||", "200 \"\" keeps");
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MOST_HEAD_BYTES));
        assert_eq!(read(&[long.as_bytes()], false, false), Err(Unreadable::LongHead));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MOST_LINES + 1));
        assert_eq!(read(&[many.as_bytes()], false, false), Err(Unreadable::Head(httparse::Error::TooManyHeaders)));
        let head: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read(&[head, b"1;", &[b'x'; 20_000]], false, false), Err(Unreadable::Chunks));
        assert_eq!(read(&[head, b"0\r\na: ", &[b'x'; 70_000]], false, false), Err(Unreadable::Chunks));
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("content-length: 7\r\n".to_owned()),
            Just("transfer-encoding: chunked\r\n".to_owned()),
            Just("connection: close\r\n".to_owned()),
            "[a-z]{1,9}: [ -~]{0,20}\r\n",
        ]
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            Just(b"3\r\nabc\r\n0\r\n\r\n".to_vec()),
            Just(b"3;q\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\nrest".to_vec()),
        ]
    }

    proptest! {
        /// However the bytes are cut, the same is read or refused, and nothing panics.
        #[test]
        fn cuts_change_nothing(
            status in prop_oneof![Just(200u16), Just(204), Just(100), 100u16..600],
            lines in proptest::collection::vec(line(), 0..4),
            body in body(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
            of_head: bool,
            closed: bool,
        ) {
            let head = format!("HTTP/1.1 {status} x\r\n{}\r\n", lines.concat());
            let bytes = [head.as_bytes(), &body].concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(read(&pieces, of_head, closed), read(&[&bytes], of_head, closed));
        }

        #[test]
        fn no_bytes_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..5)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read(&pieces, false, true);
        }
    }
}
