//! Making picture files unlike each other without touching a pixel: a text chunk in a PNG, a comment in a JPEG.

use bytes::Bytes;

use super::{Hole, Template};

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Signature, and the chunk `IHDR`, which is always first and always 25 bytes long in all.
const PNG_HEAD: usize = 8 + 25;
const JPEG_START: &[u8] = b"\xff\xd8";

/// A kind of picture file that can be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureKind {
    /// Marked by a `tEXt` chunk after the header.
    Png,
    /// Marked by a comment segment at the start.
    Jpeg,
}

impl PictureKind {
    /// The kind of a file from its beginning; `None` for anything else.
    pub fn detect(file: &[u8]) -> Option<Self> {
        if file.starts_with(PNG_SIGNATURE) && file.get(12..16) == Some(b"IHDR") && file.len() >= PNG_HEAD {
            return Some(Self::Png);
        }
        file.starts_with(JPEG_START).then_some(Self::Jpeg)
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }

    /// The file with a hole for a mark.
    pub(super) fn template(self, file: &Bytes) -> Template {
        let at = match self {
            Self::Png => PNG_HEAD,
            Self::Jpeg => JPEG_START.len(),
        };
        Template { before: file.slice(..at), after: file.slice(at..), hole: Hole::Picture(self) }
    }

    /// A mark, different for each `unique`.
    pub(super) fn mark(self, unique: u64) -> Bytes {
        match self {
            Self::Png => png_text(&format!("Comment\0{unique:016x}")),
            Self::Jpeg => jpeg_comment(&format!("{unique:016x}")),
        }
    }
}

fn png_text(text: &str) -> Bytes {
    let mut chunk = (text.len() as u32).to_be_bytes().to_vec();
    chunk.extend_from_slice(b"tEXt");
    chunk.extend_from_slice(text.as_bytes());
    let checksum = crc32fast::hash(&chunk[4..]);
    chunk.extend_from_slice(&checksum.to_be_bytes());
    chunk.into()
}

fn jpeg_comment(text: &str) -> Bytes {
    // The length counts its own two bytes.
    let length = (text.len() as u16 + 2).to_be_bytes();
    [b"\xff\xfe", &length[..], text.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::super::Payload;
    use super::*;

    /// A one-pixel grey PNG.
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\x0aIDATx\x9cc\xf8\x0f\0\x01\x01\x01\0\x1b\xb6\xee\x56\0\0\0\0IEND\xaeB`\x82";

    #[test]
    fn a_marked_png_has_one_more_chunk_and_is_otherwise_the_same() {
        let kind = PictureKind::detect(PNG).unwrap();
        let payload = Payload::Unique(kind.template(&Bytes::from_static(PNG)));
        let (one, two) = (payload.body(1).concat(), payload.body(2).concat());
        assert_ne!(one, two);
        assert_eq!(one.len(), two.len());
        let mark = 4 + 4 + 24 + 4;
        assert_eq!([&one[..33], &one[33 + mark..]].concat(), PNG);
        assert_eq!(&one[33..41], b"\0\0\0\x18tEXt");
        assert_eq!(one[65..69], crc32fast::hash(&one[37..65]).to_be_bytes());
    }

    #[test]
    fn a_marked_jpeg_has_a_comment_after_its_start() {
        let jpeg = Bytes::from_static(b"\xff\xd8\xff\xdbrest");
        let payload = Payload::Unique(PictureKind::detect(&jpeg).unwrap().template(&jpeg));
        assert_eq!(payload.body(255).concat(), b"\xff\xd8\xff\xfe\0\x1200000000000000ff\xff\xdbrest");
    }

    #[test]
    fn kinds() {
        let check = |file: &[u8], expected| assert_eq!(PictureKind::detect(file), expected);
        check(PNG, Some(PictureKind::Png));
        check(&PNG[..20], None);
        check(b"\xff\xd8\xff\xe0", Some(PictureKind::Jpeg));
        check(b"GIF89a", None);
        check(b"", None);
    }
}
