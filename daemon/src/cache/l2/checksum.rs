//! A kept answer as bytes that leave this process, and back: under a SHA-256 of its key and itself, so that whatever
//! comes back changed, cut off or under another key is recognised and never given to anybody. It protects from accidents
//! and not from who may write to the store at will. Pure.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::cache::entry::Entry;
use crate::cache::key::Key;

/// What every value begins with: a name, and the version of what follows.
const MAGIC: [u8; 4] = *b"PLE1";
const DIGEST_BYTES: usize = 32;
/// Name, digest, time of computing, and the length of what is to be known beside the body.
const HEAD_BYTES: usize = MAGIC.len() + DIGEST_BYTES + 8 + 4;

/// The bytes are not what was kept under this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value is not what was kept under its key")]
pub struct Poisoned;

/// The bytes of an answer that is kept under a key.
pub fn seal(key: &Key, entry: &Entry) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEAD_BYTES + entry.about.len() + entry.body.len());
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&[0; DIGEST_BYTES]);
    sealed.extend_from_slice(&entry.computed_ns.to_le_bytes());
    // What forms have to say beside a body is short.
    sealed.extend_from_slice(&u32::try_from(entry.about.len()).unwrap_or(u32::MAX).to_le_bytes());
    sealed.extend_from_slice(&entry.about);
    sealed.extend_from_slice(&entry.body);
    let digest = digest(key, &sealed[MAGIC.len() + DIGEST_BYTES..]);
    sealed[MAGIC.len()..][..DIGEST_BYTES].copy_from_slice(&digest);
    sealed
}

/// The answer that was kept under a key. It is slices of the bytes.
///
/// # Errors
/// When they are anything else.
pub fn open(key: &Key, sealed: &Bytes) -> Result<Entry, Poisoned> {
    let rest = sealed.strip_prefix(&MAGIC).ok_or(Poisoned)?;
    let (stated, said) = rest.split_first_chunk::<DIGEST_BYTES>().ok_or(Poisoned)?;
    if *stated != digest(key, said) {
        return Err(Poisoned);
    }
    let (computed_ns, said) = said.split_first_chunk().ok_or(Poisoned)?;
    let (about, said) = said.split_first_chunk().ok_or(Poisoned)?;
    let about = usize::try_from(u32::from_le_bytes(*about)).map_err(|_| Poisoned)?;
    let (about, body) = said.split_at_checked(about).ok_or(Poisoned)?;
    let slice = |part| sealed.slice_ref(part);
    Ok(Entry { about: slice(about), body: slice(body), computed_ns: u64::from_le_bytes(*computed_ns) })
}

fn digest(key: &Key, said: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::new().chain_update(key.bytes()).chain_update(said).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(key: [u8; 32], about: Vec<u8>, body: Vec<u8>, computed_ns: u64) {
            let (key, entry) = (Key::from(key), Entry::new(about, body, computed_ns));
            prop_assert_eq!(open(&key, &seal(&key, &entry).into()), Ok(entry));
        }

        /// One bit, one byte more or less, or the same under another key: it is not given to anybody.
        #[test]
        fn what_has_changed_is_recognised(about: Vec<u8>, body: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let (key, other) = (Key::from([1; 32]), Key::from([2; 32]));
            let sealed = seal(&key, &Entry::new(about, body, 7));
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= 1 << bit;
            prop_assert_eq!(open(&key, &changed.into()), Err(Poisoned));
            prop_assert_eq!(open(&key, &Bytes::copy_from_slice(&sealed[..at.index(sealed.len())])), Err(Poisoned));
            prop_assert_eq!(open(&key, &[&sealed[..], b"x"].concat().into()), Err(Poisoned));
            prop_assert_eq!(open(&other, &sealed.into()), Err(Poisoned));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            prop_assert_eq!(open(&Key::from([1; 32]), &[&MAGIC[..], &bytes].concat().into()), Err(Poisoned));
            prop_assert_eq!(open(&Key::from([1; 32]), &bytes.into()), Err(Poisoned));
        }
    }
}
