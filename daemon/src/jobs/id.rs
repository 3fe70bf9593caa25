//! The names of jobs: 128 random bits, so that who was not told one cannot find it.

use std::fmt;
use std::str::FromStr;

use rand_core::{OsRng, TryRngCore};

/// A job's name, 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(u128);

impl JobId {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn random() -> Result<Self, rand_core::OsError> {
        let mut bytes = [0; 16];
        OsRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(u128::from_ne_bytes(bytes)))
    }

    #[cfg(test)]
    pub(crate) fn numbered(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is no job's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl FromStr for JobId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(lower) {
            return Err(NotAnId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| NotAnId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read() {
        let check =
            |text: &str, expected: Result<u128, NotAnId>| assert_eq!(text.parse(), expected.map(JobId), "{text}");
        check("00000000000000000000000000000001", Ok(1));
        check("ffffffffffffffffffffffffffffffff", Ok(u128::MAX));
        check("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", Err(NotAnId));
        check("+0000000000000000000000000000001", Err(NotAnId));
        check("1", Err(NotAnId));
        check("", Err(NotAnId));
        let (one, other) = (JobId::random().unwrap(), JobId::random().unwrap());
        assert!(one != other && one.to_string().parse() == Ok(one));
    }
}
