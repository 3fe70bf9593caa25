//! `[connections]`: how much patience and room a connection gets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::front::doors::limits::{Limits, Pace};

/// Shorter limits would cut off who is only busy; longer ones are none.
const SHORTEST_S: f64 = 0.05;
const LONGEST_S: f64 = 86_400.0;
/// What HTTP/1.1 needs for a buffer, and more than any head has.
const SMALLEST_HEAD_BYTES: u32 = 8 * 1024;
const LARGEST_HEAD_BYTES: u32 = 16 * 1024 * 1024;

/// `[connections]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connections {
    /// From a request's first byte to the end of its head, over HTTP/1.1.
    pub header_timeout_seconds: f64,
    /// Without a request.
    pub idle_timeout_seconds: f64,
    /// Without a byte of a body that is due; also how long no rate is asked of one.
    pub body_timeout_seconds: f64,
    /// Asked of bodies that take longer.
    pub body_bytes_per_second: u64,
    /// Without a byte of an answer being taken; also how long no rate is asked.
    pub write_timeout_seconds: f64,
    /// Asked of readers of answers that take longer.
    pub write_bytes_per_second: u64,
    /// For the handshake of TLS.
    pub handshake_timeout_seconds: f64,
    /// Connections at a time from one address; none for as many as come.
    pub per_address: Option<usize>,
    /// Bytes of a request's head.
    pub header_bytes: u32,
    /// Requests at a time on one connection over HTTP/2.
    pub http2_streams: u32,
    /// Requests that one connection may give up within a second.
    pub resets_per_second: u64,
}

impl Default for Connections {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            header_timeout_seconds: limits.header_timeout.as_secs_f64(),
            idle_timeout_seconds: limits.idle_timeout.as_secs_f64(),
            body_timeout_seconds: limits.body.timeout.as_secs_f64(),
            body_bytes_per_second: limits.body.bytes_per_second,
            write_timeout_seconds: limits.write.timeout.as_secs_f64(),
            write_bytes_per_second: limits.write.bytes_per_second,
            handshake_timeout_seconds: limits.handshake_timeout.as_secs_f64(),
            per_address: limits.per_address,
            header_bytes: limits.header_bytes,
            http2_streams: limits.http2_streams,
            resets_per_second: limits.resets_per_second,
        }
    }
}

/// What the section means.
pub(super) fn limits(connections: &Connections, check: &mut Check) -> Limits {
    let mut time = |key: &str, seconds: f64| {
        check.that(
            (SHORTEST_S..=LONGEST_S).contains(&seconds),
            format!("connections.{key} must be between {SHORTEST_S} and {LONGEST_S}"),
        );
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    };
    let header_timeout = time("header_timeout_seconds", connections.header_timeout_seconds);
    let idle_timeout = time("idle_timeout_seconds", connections.idle_timeout_seconds);
    let body_timeout = time("body_timeout_seconds", connections.body_timeout_seconds);
    let write_timeout = time("write_timeout_seconds", connections.write_timeout_seconds);
    let handshake_timeout = time("handshake_timeout_seconds", connections.handshake_timeout_seconds);
    check.that(connections.body_bytes_per_second >= 1, "connections.body_bytes_per_second must be at least 1");
    check.that(connections.write_bytes_per_second >= 1, "connections.write_bytes_per_second must be at least 1");
    check.that(connections.per_address != Some(0), "connections.per_address must be at least 1, or absent");
    check.that(
        (SMALLEST_HEAD_BYTES..=LARGEST_HEAD_BYTES).contains(&connections.header_bytes),
        format!("connections.header_bytes must be between {SMALLEST_HEAD_BYTES} and {LARGEST_HEAD_BYTES}"),
    );
    check.that(connections.http2_streams >= 1, "connections.http2_streams must be at least 1");
    check.that(connections.resets_per_second >= 1, "connections.resets_per_second must be at least 1");
    Limits {
        header_timeout,
        idle_timeout,
        body: Pace { timeout: body_timeout, bytes_per_second: connections.body_bytes_per_second },
        write: Pace { timeout: write_timeout, bytes_per_second: connections.write_bytes_per_second },
        per_address: connections.per_address,
        handshake_timeout,
        header_bytes: connections.header_bytes,
        http2_streams: connections.http2_streams,
        resets_per_second: connections.resets_per_second,
    }
}
