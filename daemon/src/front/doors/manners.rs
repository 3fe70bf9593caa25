//! What every answer over HTTP says beside its content, and which web pages may ask. A browser asks for any page that it
//! shows; so what comes from a page of another origin is refused unless that origin is allowed, but for what only reads.
//! Pure.

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, ORIGIN,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use crate::front::refusal::Refusal;

/// The verbs of our routes.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
/// What scripts may read of an answer beside what they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static("*");
/// A page of ours runs what came with it, and nothing may show it in a frame.
const PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Which pages of other origins may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Such as `https://app.example.com`, exactly; or `*` alone.
    pub origins: Vec<String>,
    /// Whether their requests may carry what the browser knows of the user.
    pub credentials: bool,
    /// For how long a browser may remember what it was told.
    pub max_age_seconds: u32,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    /// No page, or one of ours.
    Nobody,
    /// A page of an origin that is allowed.
    Allowed(HeaderValue),
    /// Another one.
    Stranger,
}

/// The manners of a listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Manners {
    pub(super) cors: Option<Cors>,
}

impl Manners {
    pub(super) fn asker<B>(&self, request: &Request<B>) -> Asker {
        let Some(origin) = request.headers().get(ORIGIN) else { return Asker::Nobody };
        if is_ours(origin, request) {
            return Asker::Nobody;
        }
        let known =
            |cors: &&Cors| cors.origins.iter().any(|known| known == "*" || known.as_bytes() == origin.as_bytes());
        match self.cors.as_ref().filter(known) {
            Some(_) => Asker::Allowed(origin.clone()),
            None => Asker::Stranger,
        }
    }

    /// The answer to a browser that asks first whether it may ask, or that may not ask at all.
    pub(super) fn answer_at_once<B>(&self, asker: &Asker, request: &Request<B>) -> Option<Response<Body>> {
        let asks_first =
            request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        match asker {
            Asker::Allowed(_) if asks_first => Some(self.permission(request.headers())),
            Asker::Stranger if asks_first || !reads => {
                let message = "requests of web pages are taken from the origins in `cors.origins` only";
                Some(axum::response::IntoResponse::into_response(Refusal::new(StatusCode::FORBIDDEN, message)))
            }
            _ => None,
        }
    }

    fn permission(&self, asked: &HeaderMap) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        let max_age = self.cors.as_ref().map_or(0, |cors| cors.max_age_seconds);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(max_age));
        response
    }

    /// Adds to an answer what every one says, where the handler has said nothing else.
    pub(super) fn dress(&self, asker: &Asker, headers: &mut HeaderMap) {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
            headers.entry(CONTENT_SECURITY_POLICY).or_insert(PAGES);
            headers.entry(X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
            headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
        }
        let Some(cors) = &self.cors else { return };
        // Whoever keeps answers must not show one page what was allowed to another.
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Asker::Allowed(origin) = asker {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            if cors.credentials {
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }
}

/// Whether a page comes from where it asks.
fn is_ours<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let asked = host.or_else(|| Some(request.uri().authority()?.as_str()));
    let from = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    asked.is_some() && asked == from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manners(origins: &[&str], credentials: bool) -> Manners {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Manners { cors: Some(Cors { origins, credentials, max_age_seconds: 600 }) }
    }

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().method(method).uri("/v2").header("host", "me:8000");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    /// Status of what is answered at once, and the headers of the answer.
    fn check(manners: &Manners, request: &Request<()>, status: Option<u16>, expected: &[(&str, Option<&str>)]) {
        let asker = manners.asker(request);
        let at_once = manners.answer_at_once(&asker, request);
        assert_eq!(at_once.as_ref().map(|answer| answer.status().as_u16()), status, "{request:?}");
        let mut headers = at_once.map(|answer| answer.headers().clone()).unwrap_or_default();
        manners.dress(&asker, &mut headers);
        for (name, value) in expected {
            let found = headers.get(*name).map(|value| value.to_str().unwrap());
            assert_eq!(found, *value, "{name} to {request:?}");
        }
    }

    const APP: (&str, &str) = ("origin", "https://app");
    const OTHER: (&str, &str) = ("origin", "https://app.evil");
    const FIRST: (&str, &str) = ("access-control-request-method", "POST");

    #[test]
    fn only_the_origins_that_are_named_may_ask() {
        let allow = "access-control-allow-origin";
        let named = manners(&["https://app"], true);
        let credentials = ("access-control-allow-credentials", Some("true"));
        check(&named, &request("POST", &[]), None, &[(allow, None), ("vary", Some("origin"))]);
        check(&named, &request("POST", &[APP]), None, &[(allow, Some("https://app")), credentials]);
        check(&named, &request("POST", &[OTHER]), Some(403), &[(allow, None), ("vary", Some("origin"))]);
        check(&named, &request("GET", &[OTHER]), None, &[(allow, None)]);
        check(&named, &request("POST", &[("origin", "null")]), Some(403), &[(allow, None)]);
        check(&named, &request("POST", &[("origin", "http://me:8000")]), None, &[(allow, None)]);
        let wanted = ("access-control-request-headers", "x-a");
        let permitted = [
            (allow, Some("https://app")),
            ("access-control-allow-headers", Some("x-a")),
            ("access-control-max-age", Some("600")),
        ];
        check(&named, &request("OPTIONS", &[APP, FIRST, wanted]), Some(204), &permitted);
        check(&named, &request("OPTIONS", &[OTHER, FIRST]), Some(403), &[(allow, None)]);
        check(&named, &request("OPTIONS", &[APP]), None, &[]);
        let any = manners(&["*"], false);
        check(&any, &request("POST", &[OTHER]), None, &[(allow, Some("https://app.evil")), (credentials.0, None)]);
    }

    #[test]
    fn without_origins_nothing_is_said_and_strangers_change_nothing() {
        let off = Manners::default();
        let silent = [("access-control-allow-origin", None), ("vary", None)];
        check(&off, &request("GET", &[APP]), None, &silent);
        check(&off, &request("POST", &[]), None, &silent);
        check(&off, &request("POST", &[APP]), Some(403), &silent);
    }

    #[test]
    fn every_answer_is_dressed_and_what_it_says_itself_goes_first() {
        let check = |said: &[(&str, &str)], expected: &[(&str, Option<&str>)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in said {
                headers.insert(http::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            Manners::default().dress(&Asker::Nobody, &mut headers);
            for (name, value) in expected {
                assert_eq!(headers.get(*name).map(|value| value.to_str().unwrap()), *value, "{name} {said:?}");
            }
        };
        check(
            &[],
            &[
                ("x-content-type-options", Some("nosniff")),
                ("cache-control", Some("no-store")),
                ("x-frame-options", None),
            ],
        );
        check(&[("cache-control", "max-age=5")], &[("cache-control", Some("max-age=5"))]);
        let page = ("content-type", "text/html; charset=utf-8");
        check(
            &[page],
            &[("content-security-policy", Some(PAGES.to_str().unwrap())), ("x-frame-options", Some("DENY"))],
        );
        check(&[page, ("content-security-policy", "own")], &[("content-security-policy", Some("own"))]);
    }
}
