//! W3C trace context: the `traceparent` header. The sampling itself, and `tracestate`, are not here.

use std::fmt;

/// Name of the header, and of the gRPC metadata key.
pub const TRACEPARENT: &str = "traceparent";

/// Which trace and which span a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// Never 0.
    pub trace_id: u128,
    /// The caller's span; never 0.
    pub parent_id: u64,
    /// Whether the caller records its part.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a header's value; `None` when it is not valid, which the standard says to treat like absence.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let version = lower_hex(parts.next()?, 2)?;
        let trace_id = lower_hex(parts.next()?, 32)?;
        let parent_id = lower_hex(parts.next()?, 16)?;
        let flags = lower_hex(parts.next()?, 2)?;
        // Version 0 has exactly four parts; later ones may add some, and 255 is forbidden.
        let well_formed = version < 255 && (version > 0 || parts.next().is_none());
        (well_formed && trace_id != 0 && parent_id != 0).then_some(Self {
            trace_id,
            parent_id: u64::try_from(parent_id).ok()?,
            sampled: flags & 1 == 1,
        })
    }
}

fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if valid { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(value: &str, expected: Option<(u128, u64, bool)>) {
        let parsed = TraceParent::parse(value).map(|parent| (parent.trace_id, parent.parent_id, parent.sampled));
        assert_eq!(parsed, expected, "{value}");
    }

    #[test]
    fn examples_of_the_standard() {
        let ids = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some((ids.0, ids.1, true)));
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Some((ids.0, ids.1, false)));
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", Some((ids.0, ids.1, true)));
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None);
        check("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None);
        check("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1u128.., parent_id in 1u64.., sampled: bool) {
            let parent = TraceParent { trace_id, parent_id, sampled };
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = TraceParent::parse(&text);
        }
    }
}
