//! The gate as a layer around a router, the same for HTTP and gRPC: it asks the gate, hands on what handlers need to know,
//! and says how whoever asks stands (`RateLimit-*`, draft-ietf-httpapi-ratelimit-headers-06, which most clients know).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, EXPECT, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Version};

use super::{Gate, LEAST_PRIORITY, Peer, Refused, Toll, Who};
use crate::admit::rate::Standing;
use crate::front::body::discard;
use crate::front::refusal::{self, Refusal};

/// Who may always ask: whoever watches the daemon has no key.
const OPEN: [&str; 4] = [
    "/v2/health/live",
    "/v2/health/ready",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];
/// All calls of gRPC's own health service.
const OPEN_SERVICE: &str = "/grpc.health.v1.Health/";
const METRICS: &str = "/metrics";

/// gRPC's codes for what found no room: `RESOURCE_EXHAUSTED` and `UNAVAILABLE`.
const NO_ROOM: [&str; 2] = ["8", "14"];

/// A router behind the gate, if there is one.
pub(in crate::front) fn guard(router: Router, gate: Option<&Arc<Gate>>) -> Router {
    match gate {
        Some(gate) => router.layer(middleware::from_fn_with_state(Arc::clone(gate), admit)),
        None => router,
    }
}

async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    if gate.is_open(&request) {
        return next.run(request).await;
    }
    let nobody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let peer = request.extensions().get::<Peer>().map_or(nobody, |Peer(address)| *address);
    let now = Instant::now();
    match gate.judge(request.headers(), peer, now).await {
        Ok((who, standing)) => {
            hand_on(&mut request, &gate, &who);
            let mut response = next.run(request).await;
            if found_no_room(&response) {
                gate.give_back(&who, unix_s()).await;
            }
            standing.iter().for_each(|standing| state(standing, response.headers_mut()));
            response
        }
        Err(refused) => {
            gate.meters.refused(refused.reason);
            refuse(refused, request, gate.max_body_bytes).await
        }
    }
}

impl Gate {
    async fn judge(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<(Who, Option<Standing>), Refused> {
        let who = self.identify(headers, peer, now).await?;
        let standing = self.charge(&who, now, unix_s()).await?;
        Ok((who, standing))
    }

    fn is_open(&self, request: &Request) -> bool {
        let path = request.uri().path();
        // A browser asks without credentials whether it may ask with them.
        let preflight =
            request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let metrics = path == METRICS && !self.metrics_need_key;
        preflight || metrics || OPEN.contains(&path) || path.starts_with(OPEN_SERVICE)
    }
}

/// Tells the handlers how urgent the request is at most, and what further messages of it cost.
fn hand_on(request: &mut Request, gate: &Arc<Gate>, who: &Who) {
    let priority = if let Who::Key(caller) = who { caller.priority } else { None };
    match priority {
        Some(level) => drop(request.headers_mut().insert(LEAST_PRIORITY, HeaderValue::from(level))),
        None => drop(request.headers_mut().remove(LEAST_PRIORITY)),
    }
    if is_grpc(request.headers()) {
        request.extensions_mut().insert(Toll::new(Arc::clone(gate), who.clone()));
    }
}

/// Answers in the protocol of the request. Over HTTP/1.1 its body is read, so that the client reads the answer and not a
/// broken connection; one that asks before it sends it need not send it.
async fn refuse(refused: Refused, request: Request, max_body_bytes: usize) -> Response {
    let (head, body) = request.into_parts();
    let Refused { error, standing, .. } = refused;
    let mut response = if is_grpc(&head.headers) {
        refusal::status(&error).into_http::<Body>()
    } else {
        if head.version <= Version::HTTP_11 && !head.headers.contains_key(EXPECT) {
            discard(body.into_data_stream(), max_body_bytes).await;
        }
        Refusal::from(error).into_response()
    };
    standing.iter().for_each(|standing| state(standing, response.headers_mut()));
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn found_no_room(response: &Response) -> bool {
    let of_grpc = response.headers().get("grpc-status").and_then(|code| code.to_str().ok());
    let of_http = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status());
    of_http || of_grpc.is_some_and(|code| NO_ROOM.contains(&code))
}

fn state(standing: &Standing, headers: &mut HeaderMap) {
    let Standing { rate, remaining, reset } = standing;
    let seconds = |time: &Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    headers.insert("ratelimit-limit", HeaderValue::from(rate.burst));
    headers.insert("ratelimit-remaining", HeaderValue::from(*remaining));
    headers.insert("ratelimit-reset", HeaderValue::from(seconds(reset)));
    let policy = format!("{};w={};burst={}", rate.requests, seconds(&rate.per), rate.burst);
    // Digits and these signs are always a header's value.
    HeaderValue::try_from(policy).into_iter().for_each(|policy| drop(headers.insert("ratelimit-policy", policy)));
}

/// Quotas go by the calendar.
pub(super) fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
