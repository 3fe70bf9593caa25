//! Secrets that callers show: keys and the admin token. Only their SHA-256 is kept. A slow, salted hash such as argon2 is
//! for passwords, which can be guessed; keys made here are 32 random bytes, which cannot, and hashing slowly at every
//! request would let anybody keep the processors busy. Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// Keys begin so, for people and for scanners that look for secrets in the wrong place.
pub const PREFIX: &str = "pl_";
/// A secret that somebody made up has at least so many characters.
pub const SHORTEST: usize = 16;

/// The SHA-256 of a secret.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether both are of the same secret, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Its first bytes, by which it may be looked up: of a digest they tell nothing of the secret.
    pub fn index(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A new key of these random bytes.
pub fn key(random: &[u8; 32]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        let digest = Digest::of("abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_hex(), hex);
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(Digest::from_hex(text).map(|read| read.is(&digest)), expected, "{text}");
        };
        check(hex, Some(true));
        check(&hex.to_uppercase(), Some(true));
        check(&hex.replace("ad", "ae"), Some(false));
        check(&hex[1..], None);
        check(&hex.replace("ba", "+a"), None);
        check(&"é".repeat(32), None);
        assert_eq!(digest.index(), 0xba78_16bf_8f01_cfea);
        assert!(!format!("{digest:?}").contains("ba78"));
    }

    #[test]
    fn keys_are_text_of_all_random_bytes() {
        let mut random = [0xff; 32];
        assert_eq!(key(&random).len(), PREFIX.len() + 43);
        let first = key(&random);
        random[31] = 0xfe;
        assert!(first.starts_with("pl_____") && first != key(&random), "{first}");
    }
}
