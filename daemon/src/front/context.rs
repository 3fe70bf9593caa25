//! What a request says about itself beside its content: trace and deadline. Pure, apart from the instants that
//! are handed in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use proofload_wire::infer::{InferRequest, ParameterValue, Parameters};
use proofload_wire::trace::{TRACEPARENT, TraceParent};

use super::gate::LEAST_PRIORITY;
use crate::bodies::Share;
use crate::engine::{Protocol, RequestContext, ServeError};

/// Parameter of a request: how long it may take, in microseconds; 0 means no limit.
const TIMEOUT: &str = "timeout";
/// Parameter of a request: how urgent it is, from 1; 0 means the model's default.
const PRIORITY: &str = "priority";
/// Parameters with this beginning are Triton's own, and no client's.
const RESERVED: &str = "triton_";
/// The one of them that a client may send, in a stream: whether it wants to be told when there are no more responses.
pub(super) const EMPTY_FINAL: &str = "triton_enable_empty_final_response";
/// gRPC's header for the caller's deadline.
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// HTTP has none of its own; this one is in whole milliseconds, 0 meaning no deadline.
const REQUEST_TIMEOUT_MS: &str = "x-request-timeout-ms";

/// The context of a request that was decoded at `received`.
pub(super) fn of(
    headers: &HeaderMap,
    parameters: &Parameters,
    protocol: Protocol,
    received: Instant,
) -> Result<RequestContext, ServeError> {
    refuse_reserved(parameters, protocol)?;
    let of_transport = match protocol {
        Protocol::Grpc => header(headers, GRPC_TIMEOUT).and_then(grpc_timeout),
        Protocol::Http => request_timeout(headers)?,
        Protocol::Internal => None,
    };
    Ok(RequestContext {
        received,
        timeout: timeout(parameters)?,
        // A limit beyond the end of time is none.
        deadline: of_transport.and_then(|limit| received.checked_add(limit)),
        trace: trace(headers),
        protocol,
        priority: priority(parameters)?.max(least_priority(headers)),
        part_of: None,
        held_bytes: 0,
    })
}

/// When the caller of a request over HTTP that was received at `received` stops waiting, if it says so.
pub(super) fn deadline(headers: &HeaderMap, received: Instant) -> Result<Option<Instant>, ServeError> {
    Ok(request_timeout(headers)?.and_then(|limit| received.checked_add(limit)))
}

/// The caller's span. An invalid one is as good as none.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    header(headers, TRACEPARENT).and_then(TraceParent::parse)
}

fn refuse_reserved(parameters: &Parameters, protocol: Protocol) -> Result<(), ServeError> {
    let allowed = |name: &str| protocol == Protocol::Grpc && name == EMPTY_FINAL;
    match parameters.keys().find(|name| name.starts_with(RESERVED) && !allowed(name)) {
        None => Ok(()),
        Some(name) => Err(ServeError::InvalidArgument(format!(
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified; remove \
             '{name}'"
        ))),
    }
}

/// Lets a request's inputs keep the share of the body that they came in.
pub(super) fn pin(request: &mut InferRequest, share: Share) {
    let share = Arc::new(share);
    for input in &mut request.inputs {
        input.data = share.pin(std::mem::take(&mut input.data));
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn timeout(parameters: &Parameters) -> Result<Option<Duration>, ServeError> {
    let microseconds = whole_number(parameters, TIMEOUT, "of microseconds, 0 for no limit")?;
    Ok(microseconds.filter(|number| *number > 0).map(Duration::from_micros))
}

/// Levels beyond any model's are all the least urgent.
fn priority(parameters: &Parameters) -> Result<u32, ServeError> {
    let level = whole_number(parameters, PRIORITY, "from 1, the most urgent, 0 for the model's default")?;
    Ok(level.map_or(0, |level| u32::try_from(level).unwrap_or(u32::MAX)))
}

/// How urgent a request is at most, by what the gate knows of its caller.
fn least_priority(headers: &HeaderMap) -> u32 {
    header(headers, LEAST_PRIORITY).and_then(|level| level.parse().ok()).unwrap_or(0)
}

fn whole_number(parameters: &Parameters, name: &str, meaning: &str) -> Result<Option<u64>, ServeError> {
    let number = match parameters.get(name) {
        None => return Ok(None),
        Some(ParameterValue::Int(number)) => u64::try_from(*number).ok(),
        Some(ParameterValue::Uint(number)) => Some(*number),
        Some(ParameterValue::Bool(_) | ParameterValue::Double(_) | ParameterValue::String(_)) => None,
    };
    let refused = || ServeError::InvalidArgument(format!("the parameter `{name}` must be a whole number {meaning}"));
    number.map(Some).ok_or_else(refused)
}

fn request_timeout(headers: &HeaderMap) -> Result<Option<Duration>, ServeError> {
    let Some(value) = headers.get(REQUEST_TIMEOUT_MS) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.trim().parse().ok()) {
        Some(0) => Ok(None),
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
        None => Err(ServeError::InvalidArgument(format!(
            "the header {REQUEST_TIMEOUT_MS} must be a whole number of milliseconds, 0 for no deadline, not {value:?}"
        ))),
    }
}

/// `10S`, `250m`, `1500u` and so on: at most eight digits and a unit. `None` for anything else.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grpc_timeouts() {
        #[track_caller]
        fn check(text: &str, expected: Option<Duration>) {
            assert_eq!(grpc_timeout(text), expected, "{text}");
        }
        check("10S", Some(Duration::from_secs(10)));
        check("2M", Some(Duration::from_secs(120)));
        check("1H", Some(Duration::from_secs(3600)));
        check("250m", Some(Duration::from_millis(250)));
        check("1500u", Some(Duration::from_micros(1500)));
        check("99999999n", Some(Duration::from_nanos(99_999_999)));
        check("0m", Some(Duration::ZERO));
        check("999999999n", None);
        check("+1S", None);
        check("S", None);
        check("10", None);
        check("10é", None);
        check("", None);
    }

    #[test]
    fn the_limit_on_waiting_and_the_deadline_are_two_things() {
        /// Expects the limit on waiting and the deadline, in microseconds.
        #[track_caller]
        fn check(
            grpc: Option<&str>,
            parameter: Option<ParameterValue>,
            expected: Result<(Option<u64>, Option<u64>), ()>,
        ) {
            let mut headers = HeaderMap::new();
            if let Some(text) = grpc {
                headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
            }
            let parameters = parameter.into_iter().map(|value| (TIMEOUT.to_owned(), value)).collect();
            let received = Instant::now();
            let context = of(&headers, &parameters, Protocol::Grpc, received);
            let limits = context.map(|context| (context.timeout, context.deadline.map(|at| at - received)));
            let micros = |micros: Option<u64>| micros.map(Duration::from_micros);
            assert_eq!(limits.map_err(|_| ()), expected.map(|(timeout, deadline)| (micros(timeout), micros(deadline))));
        }
        check(None, None, Ok((None, None)));
        check(Some("5m"), None, Ok((None, Some(5000))));
        check(Some("5m"), Some(ParameterValue::Int(3000)), Ok((Some(3000), Some(5000))));
        check(Some("5m"), Some(ParameterValue::Int(0)), Ok((None, Some(5000))));
        check(None, Some(ParameterValue::Uint(u64::MAX)), Ok((Some(u64::MAX), None)));
        check(None, Some(ParameterValue::Int(-1)), Err(()));
        check(None, Some(ParameterValue::String("5".to_owned())), Err(()));
    }

    #[test]
    fn a_caller_over_http_may_name_its_deadline() {
        let check = |protocol, written: &str, expected: Option<Option<u64>>| {
            let headers = HeaderMap::from_iter([(REQUEST_TIMEOUT_MS.parse().unwrap(), written.parse().unwrap())]);
            let received = Instant::now();
            let deadline = of(&headers, &Parameters::new(), protocol, received).map(|context| context.deadline);
            let expected = expected.map(|ms: Option<u64>| ms.map(|ms| received + Duration::from_millis(ms)));
            assert_eq!(deadline.ok(), expected, "{written}");
        };
        check(Protocol::Http, "250", Some(Some(250)));
        check(Protocol::Http, " 7 ", Some(Some(7)));
        check(Protocol::Http, "0", Some(None));
        check(Protocol::Http, "18446744073709551616", None);
        check(Protocol::Http, "-1", None);
        check(Protocol::Http, "1.5", None);
        check(Protocol::Http, "soon", None);
        check(Protocol::Grpc, "250", Some(None));
    }

    #[test]
    fn a_priority_is_a_level() {
        let check = |value: Option<ParameterValue>, expected: Option<u32>| {
            let parameters = value.into_iter().map(|value| (PRIORITY.to_owned(), value)).collect();
            let context = of(&HeaderMap::new(), &parameters, Protocol::Http, Instant::now());
            assert_eq!(context.ok().map(|context| context.priority), expected, "{parameters:?}");
        };
        check(None, Some(0));
        check(Some(ParameterValue::Int(1)), Some(1));
        check(Some(ParameterValue::Uint(u64::MAX)), Some(u32::MAX));
        check(Some(ParameterValue::Int(-1)), None);
        check(Some(ParameterValue::String("1".to_owned())), None);
    }

    #[test]
    fn a_caller_is_as_urgent_as_it_may_be() {
        let check = |least: &str, asked: Option<u64>, expected| {
            let headers = HeaderMap::from_iter([(LEAST_PRIORITY.parse().unwrap(), least.parse().unwrap())]);
            let parameters =
                asked.map(|level| (PRIORITY.to_owned(), ParameterValue::Uint(level))).into_iter().collect();
            let context = of(&headers, &parameters, Protocol::Http, Instant::now()).unwrap();
            assert_eq!(context.priority, expected, "{least} {asked:?}");
        };
        check("2", None, 2);
        check("2", Some(1), 2);
        check("2", Some(3), 3);
        check("soon", Some(1), 1);
    }

    #[test]
    fn reserved_parameters_are_refused() {
        let check = |protocol, name: &str, expected| {
            let parameters = [(name.to_owned(), ParameterValue::Bool(true))].into();
            let context = of(&HeaderMap::new(), &parameters, protocol, Instant::now());
            assert_eq!(context.is_ok(), expected, "{name}");
        };
        check(Protocol::Http, "temperature", true);
        check(Protocol::Http, "triton_x", false);
        check(Protocol::Grpc, "triton_x", false);
        check(Protocol::Http, EMPTY_FINAL, false);
        check(Protocol::Grpc, EMPTY_FINAL, true);
    }

    #[test]
    fn the_trace_is_continued() {
        let parent = TraceParent { trace_id: 7, parent_id: 9, sampled: true };
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, parent.to_string().parse().unwrap());
        let context = of(&headers, &Parameters::new(), Protocol::Http, Instant::now()).unwrap();
        assert_eq!(context.trace, Some(parent));
        headers.insert(TRACEPARENT, "nonsense".parse().unwrap());
        let context = of(&headers, &Parameters::new(), Protocol::Http, Instant::now()).unwrap();
        assert_eq!(context.trace, None, "an invalid header is as good as none");
    }

    proptest! {
        #[test]
        fn no_timeout_panics(text: String) {
            let _ = grpc_timeout(&text);
        }
    }
}
