//! A chunked body (RFC 9112, section 7.1): sizes, data and trailers, however the bytes are cut. Pure.

use httparse::{EMPTY_HEADER, Status};

use super::answer::{MOST_LINES, Part, Unreadable, whole};
use crate::transport::Fields;

/// Longest line with a size, extensions included.
const MOST_SIZE_BYTES: usize = 16 << 10;
/// Longest trailers.
const MOST_TRAILER_BYTES: usize = 64 << 10;

/// Where in the body the next byte stands.
#[derive(Debug, Default)]
pub(super) enum Chunked {
    #[default]
    Size,
    Data(u64),
    /// The line end behind a chunk's data.
    DataEnd,
    Trailers,
    End,
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::End)
    }

    /// Takes one step, and gives the bytes behind it.
    pub(super) fn feed<'b>(
        &mut self,
        stash: &mut Vec<u8>,
        bytes: &'b [u8],
        take: &mut impl FnMut(Part<'_>),
    ) -> Result<&'b [u8], Unreadable> {
        match self {
            Self::Size => {
                let Some((size, rest)) = whole(stash, bytes, size)? else { return partial(stash, MOST_SIZE_BYTES) };
                *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                Ok(rest)
            }
            Self::Data(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                take(Part::Data(&bytes[..now]));
                *left -= now as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                Ok(&bytes[now..])
            }
            Self::DataEnd => {
                let Some(((), rest)) = whole(stash, bytes, line_end)? else { return Ok(&[]) };
                *self = Self::Size;
                Ok(rest)
            }
            Self::Trailers => {
                let Some((trailers, rest)) = whole(stash, bytes, trailers)? else {
                    return partial(stash, MOST_TRAILER_BYTES);
                };
                *self = Self::End;
                if let Some(trailers) = trailers {
                    take(Part::Trailers(trailers));
                }
                Ok(rest)
            }
            Self::End => Ok(bytes),
        }
    }
}

fn partial<'b>(stash: &[u8], most: usize) -> Result<&'b [u8], Unreadable> {
    if stash.len() > most { Err(Unreadable::Chunks) } else { Ok(&[]) }
}

fn size(bytes: &[u8]) -> Result<Option<(usize, u64)>, Unreadable> {
    match httparse::parse_chunk_size(bytes) {
        Ok(Status::Complete((length, size))) => Ok(Some((length, size))),
        Ok(Status::Partial) => Ok(None),
        Err(_) => Err(Unreadable::Chunks),
    }
}

fn line_end(bytes: &[u8]) -> Result<Option<(usize, ())>, Unreadable> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some((2, ()))),
        [] | [b'\r'] => Ok(None),
        _ => Err(Unreadable::Chunks),
    }
}

fn trailers(bytes: &[u8]) -> Result<Option<(usize, Option<Fields>)>, Unreadable> {
    let mut lines = [EMPTY_HEADER; MOST_LINES];
    match httparse::parse_headers(bytes, &mut lines) {
        Ok(Status::Complete((length, lines))) => {
            let mut fields = Fields::with_capacity(lines.len(), length);
            lines.iter().for_each(|line| fields.push(line.name, line.value));
            Ok(Some((length, (!lines.is_empty()).then_some(fields))))
        }
        Ok(Status::Partial) => Ok(None),
        Err(_) => Err(Unreadable::Chunks),
    }
}
