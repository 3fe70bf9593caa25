//! Bounds that both sides keep to, so that no message can ask for unbounded memory.

/// Largest body of a request or a response, in bytes, unless configured otherwise.
pub const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Most dimensions of a tensor. Triton's backends stop far below it.
pub const MAX_RANK: usize = 32;
