//! Whether the palettes of a PNG consist of whole colours: the decoder takes that for granted and panics where it is
//! not so (image-rs/image-png#694; mended there, not released yet). Nothing else of a picture is checked here.

const SIGNATURE_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
const COLOUR_BYTES: usize = 3;

/// Looks at the head of every chunk. A file that is no PNG has no palettes.
pub(super) fn are_whole(png: &[u8]) -> bool {
    let mut rest = png.get(SIGNATURE_BYTES..).unwrap_or_default();
    while let Some(([l0, l1, l2, l3, kind @ ..], behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        if kind == b"PLTE" && !length.is_multiple_of(COLOUR_BYTES) {
            return false;
        }
        rest = behind.get(length.saturating_add(CHECKSUM_BYTES)..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8], length: usize) -> Vec<u8> {
        [&(length as u32).to_be_bytes()[..], kind, &vec![0; length + CHECKSUM_BYTES]].concat()
    }

    #[test]
    fn palettes() {
        let check = |chunks: &[Vec<u8>], expected: bool| {
            let file = [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat();
            assert_eq!(are_whole(&file), expected, "{file:?}");
        };
        check(&[], true);
        check(&[chunk(b"IHDR", 13), chunk(b"PLTE", 48), chunk(b"IDAT", 7)], true);
        check(&[chunk(b"IHDR", 13), chunk(b"PLTE", 49)], false);
        check(&[chunk(b"tEXt", 5), chunk(b"PLTE", 3), chunk(b"PLTE", 4)], false);
        check(&[chunk(b"PLTE", 4)[..8].to_vec()], false);
        check(&[chunk(b"PLTE", 4)[..7].to_vec()], true);
        check(&[chunk(b"IDAT", 20)[..15].to_vec()], true);
        check(&[vec![0xff; 8]], true);
        assert!(are_whole(b""));
    }
}
