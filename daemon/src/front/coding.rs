//! Content codings of HTTP: bodies that come compressed, within the same bounds as others, and answers that are
//! compressed for those who say that they take it. As in Triton: `gzip` and `deflate` (zlib's format).
//!
//! Both work in small pieces between which other requests have their turn.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::body::{NotTaken, Taken};
use super::refusal::Refusal;
use crate::bodies::Bodies;

/// About a millisecond's work.
const PIECE_BYTES: usize = 128 * 1024;
/// Smaller answers fit into a packet; compressing them only costs time.
const WORTH_BYTES: usize = 1024;

/// How bytes are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    const ALL: [Self; 2] = [Self::Gzip, Self::Deflate];

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The coding of a body, if it has one.
    fn of_body(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(said) = headers.get(CONTENT_ENCODING) else { return Ok(None) };
        let name = said.to_str().unwrap_or_default().trim().to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|coding| coding.name() == name);
        if known.is_none() && !matches!(name.as_str(), "" | "identity") {
            let message =
                format!("content-encoding {said:?} is not supported; send gzip, deflate, or the body as it is");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        Ok(known)
    }

    /// The coding that a client likes best for its answer; gzip, if it likes both the same.
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
        let weight = |coding: &Self| said.split(',').find_map(|item| weight(item, coding.name())).unwrap_or(0);
        let best = Self::ALL.into_iter().rev().max_by_key(weight)?;
        (weight(&best) > 0).then_some(best)
    }

    fn decoder(self, bytes: &[u8]) -> Box<dyn Read + Send + '_> {
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Deflate if is_zlib(bytes) => Box::new(ZlibDecoder::new(bytes)),
            // What some clients send, because of what the name seems to say.
            Self::Deflate => Box::new(DeflateDecoder::new(bytes)),
        }
    }
}

/// The thousandths of `name;q=0.5`, if the item is about `name`.
fn weight(item: &str, name: &str) -> Option<u16> {
    let mut parts = item.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let share: f32 = quality.map_or(Some(1.0), |text| text.parse().ok())?;
    Some((share.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// By RFC 1950: method 8, and a checksum of the two bytes.
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// A body as it was before it was compressed, of at most `max_bytes`.
pub(super) async fn plain(
    headers: &HeaderMap,
    taken: Taken,
    max_bytes: usize,
    bodies: &Arc<Bodies>,
) -> Result<Taken, Refusal> {
    match Coding::of_body(headers)? {
        None => Ok(taken),
        Some(coding) => Ok(inflate(coding, &taken.bytes, max_bytes, bodies).await?),
    }
}

async fn inflate(coding: Coding, coded: &[u8], max_bytes: usize, bodies: &Arc<Bodies>) -> Result<Taken, NotTaken> {
    let mut decoder = coding.decoder(coded);
    let mut share = bodies.take(0)?;
    let mut plain = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = decoder.read(&mut piece).map_err(|error| broken(coding, &error))?;
        if read == 0 {
            return Ok(Taken { bytes: plain.into(), share });
        }
        let needed = plain.len() + read;
        if needed > max_bytes {
            return Err(NotTaken::TooLarge { max_bytes });
        }
        if needed > share.bytes() {
            let room = needed.max(2 * share.bytes()).min(max_bytes);
            share.resize(room)?;
            plain.reserve_exact(room - plain.len());
        }
        plain.extend_from_slice(&piece[..read]);
        tokio::task::yield_now().await;
    }
}

fn broken(coding: Coding, error: &io::Error) -> NotTaken {
    NotTaken::Broken(format!("it is no {}: {error}", coding.name()))
}

/// Compresses an answer's bytes if that is wanted and worth while; gives what its header says then.
pub(super) async fn compress(wanted: Option<Coding>, body: &mut Bytes) -> Option<HeaderValue> {
    let coding = wanted.filter(|_| body.len() >= WORTH_BYTES)?;
    // A vector takes everything that is written into it.
    *body = deflate(coding, body).await.ok()?.into();
    Some(HeaderValue::from_static(coding.name()))
}

async fn deflate(coding: Coding, plain: &[u8]) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            feed(&mut encoder, plain).await?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            feed(&mut encoder, plain).await?;
            encoder.finish()
        }
    }
}

async fn feed(encoder: &mut impl Write, plain: &[u8]) -> io::Result<()> {
    for piece in plain.chunks(PIECE_BYTES) {
        encoder.write_all(piece)?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_answer_is_coded_as_the_client_likes_it_best() {
        let check = |said: &str, expected: Option<Coding>| {
            assert_eq!(Coding::wanted(&headers(ACCEPT_ENCODING, said)), expected, "{said}");
        };
        let (gzip, deflate) = (Some(Coding::Gzip), Some(Coding::Deflate));
        check("", None);
        check("br, zstd", None);
        check("identity", None);
        check("gzip", gzip);
        check("deflate", deflate);
        check("deflate, gzip", gzip);
        check("gzip;q=0.5, Deflate;q=0.8", deflate);
        check("gzip; q=0, deflate ;q=0.001", deflate);
        check("gzip;q=0", None);
        check("gzip;q=x", None);
        assert_eq!(Coding::wanted(&HeaderMap::new()), None);
    }

    #[test]
    fn a_body_is_coded_in_one_way_or_not_at_all() {
        let check = |said: &str, expected: Result<Option<Coding>, u16>| {
            let found = Coding::of_body(&headers(CONTENT_ENCODING, said)).map_err(|refusal| refusal.status.as_u16());
            assert_eq!(found, expected, "{said}");
        };
        check("gzip", Ok(Some(Coding::Gzip)));
        check("Deflate", Ok(Some(Coding::Deflate)));
        check("identity", Ok(None));
        check("br", Err(415));
        check("gzip, gzip", Err(415));
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn taken(coding: Coding, coded: &[u8], max_bytes: usize, total: usize) -> Result<(Bytes, usize), String> {
        let bodies = Bodies::new(total);
        let inflated = run(inflate(coding, coded, max_bytes, &bodies));
        inflated.map(|taken| (taken.bytes, taken.share.bytes())).map_err(|why| format!("{why:?}"))
    }

    #[test]
    fn bombs_are_refused_by_either_limit() {
        for coding in Coding::ALL {
            let bomb = run(deflate(coding, &vec![0; 8 << 20])).unwrap();
            assert!(bomb.len() < 128 << 10, "{} bytes", bomb.len());
            let check = |max_bytes: usize, total: usize, part: &str| {
                let why = taken(coding, &bomb, max_bytes, total).unwrap_err();
                assert!(why.contains(part), "{why}");
            };
            check(1 << 20, 1 << 30, "TooLarge");
            check(1 << 30, 1 << 20, "NoRoom");
            assert_eq!(taken(coding, &bomb, 8 << 20, 8 << 20).unwrap().0.len(), 8 << 20);
        }
    }

    #[test]
    fn what_is_cut_or_something_else_is_broken() {
        for coding in Coding::ALL {
            let coded = run(deflate(coding, b"some bytes, and some more of them")).unwrap();
            for wrong in [&coded[..coded.len() - 9], b"plain text"] {
                let why = taken(coding, wrong, 1000, 1000).unwrap_err();
                assert!(why.contains("Broken"), "{coding:?}: {why}");
            }
        }
    }

    #[test]
    fn deflate_without_its_frame_is_read_too() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"some bytes").unwrap();
        let coded = encoder.finish().unwrap();
        assert_eq!(taken(Coding::Deflate, &coded, 1000, 1000).unwrap().0, b"some bytes"[..]);
    }

    proptest! {
        /// Whatever is compressed comes back, and the share is what is needed at least.
        #[test]
        fn what_goes_out_comes_in(plain in proptest::collection::vec(0..4_u8, 0..300_000), gzip: bool) {
            let coding = if gzip { Coding::Gzip } else { Coding::Deflate };
            let mut coded = Bytes::from(plain.clone());
            let said = run(compress(Some(coding), &mut coded));
            prop_assert_eq!(said.is_some(), plain.len() >= WORTH_BYTES);
            if said.is_some() {
                let (bytes, share) = taken(coding, &coded, 1 << 20, 1 << 20).unwrap();
                prop_assert!(share >= bytes.len());
                prop_assert_eq!(bytes, plain);
            }
        }
    }
}
