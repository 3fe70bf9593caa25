//! gRPC's length-prefixed messages, read as they come: bytes in, whole messages out. It decodes none of them.

use crate::WireError;
use crate::limits::DEFAULT_MAX_BODY_BYTES;

/// Length of the prefix of a message: a flag and a length.
const PREFIX: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The beginning of a message that is not whole yet, prefix included.
    partial: Vec<u8>,
}

impl FrameReader {
    /// Takes in what came and hands over each message that is complete with it.
    ///
    /// # Errors
    /// [`WireError::Framing`] for a compressed message, which nobody asked for, and for one beyond
    /// [`DEFAULT_MAX_BODY_BYTES`]; the reader is of no use afterwards.
    pub fn push(&mut self, bytes: &[u8], mut on_message: impl FnMut(&[u8])) -> Result<(), WireError> {
        if self.partial.is_empty() {
            let rest = split(bytes, &mut on_message)?;
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let rest = split(&self.partial, &mut on_message)?.len();
        self.partial.drain(..self.partial.len() - rest);
        Ok(())
    }

    /// Whether nothing is left of a message that never became whole.
    pub fn is_whole(&self) -> bool {
        self.partial.is_empty()
    }
}

/// Hands over the whole messages at the front; gives what is left.
fn split<'a>(mut bytes: &'a [u8], on_message: &mut impl FnMut(&[u8])) -> Result<&'a [u8], WireError> {
    while let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] != 0 {
            return Err(WireError::Framing("a compressed gRPC message, which was not asked for".to_owned()));
        }
        if length > DEFAULT_MAX_BODY_BYTES {
            return Err(WireError::Framing(format!(
                "a gRPC message of {length} bytes, more than {DEFAULT_MAX_BODY_BYTES}"
            )));
        }
        if rest.len() < length {
            break;
        }
        let (message, after) = rest.split_at(length);
        on_message(message);
        bytes = after;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let one = |message: &Vec<u8>| [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
        messages.iter().flat_map(one).collect()
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let refused = FrameReader::default().push(bytes, |_| ()).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        check(&[1, 0, 0, 0, 1, 7], "compressed");
        check(&[0, 255, 0, 0, 0], "more than 67108864");
    }

    proptest! {
        /// Wherever the bytes are cut, the messages are the same, and the reader knows whether any is incomplete.
        #[test]
        fn cuts_do_not_matter(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
            cuts in proptest::collection::vec(0usize..200, 0..8),
            missing in 0usize..4,
        ) {
            let bytes = framed(&messages);
            let end = bytes.len().saturating_sub(missing);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(end)).collect();
            cuts.extend([0, end]);
            cuts.sort_unstable();
            let (mut reader, mut found) = (FrameReader::default(), Vec::new());
            for pair in cuts.windows(2) {
                reader.push(&bytes[pair[0]..pair[1]], |message| found.push(message.to_vec())).unwrap();
            }
            prop_assert!(messages.starts_with(&found));
            prop_assert_eq!(reader.is_whole(), framed(&found).len() == end);
            if missing == 0 {
                prop_assert_eq!(found, messages);
            }
        }
    }
}
