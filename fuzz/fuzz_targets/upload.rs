//! Bodies of relief requests: a line with the query, a line with the content type, then the body. What is refused is
//! the client's fault, and what is accepted was in the request.

#![no_main]

use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use libfuzzer_sys::fuzz_target;
use proofload_daemon::bodies::Bodies;
use proofload_daemon::front::doors::limits::Pace;
use proofload_daemon::front::studio::upload::{NoUpload, PICTURE, read};
use proofload_fuzz::{Allowance, KIB};

/// Whatever is read here is there at once.
const PACE: Pace = Pace { timeout: std::time::Duration::from_secs(60), bytes_per_second: 1 };
/// The body, its copy as a form and the parts of it, and what reading forms needs.
const ALLOWANCE: Allowance = Allowance { fixed: 256 * KIB, per_byte: 64 };

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let (query, kind, body) = (lines.next(), lines.next(), lines.next());
    let query = String::from_utf8_lossy(query.unwrap_or_default());
    let request = Request::post(format!("/?{query}")).header(CONTENT_TYPE, kind.unwrap_or_default());
    let Ok(request) = request.body(()) else { return };
    let (head, ()) = request.into_parts();
    let body = body.unwrap_or_default().to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let bodies = Bodies::new(1 << 30);
    match ALLOWANCE.hold(input.len(), || runtime.block_on(read(head, Body::from(body), &bodies, PACE, &PICTURE))) {
        Ok(upload) => {
            let written: usize = upload.written.iter().map(|(name, value)| name.len() + value.len()).sum();
            // A byte of a query that is no UTF-8 becomes a replacement character of three.
            assert!(upload.file.len() + written <= 3 * input.len(), "more than was sent");
        }
        Err(NoUpload { refusal, .. }) => {
            assert!(refusal.status.is_client_error() && !refusal.message.is_empty(), "{refusal:?}")
        }
    }
});
