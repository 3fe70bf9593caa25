//! What a request about jobs says in its address and headers: kind, urgency, whose it is, which page. Pure.

use axum::extract::Query;
use http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::front::credentials;
use crate::front::refusal::Refusal;
use crate::jobs::{JobId, Kind, Owner};

/// The most and the least urgent.
const PRIORITIES: std::ops::RangeInclusive<u8> = 1..=9;
/// Between the two.
const USUAL_PRIORITY: u8 = 5;
/// Jobs on a page.
pub(super) const MOST_LISTED: usize = 100;
const USUALLY_LISTED: usize = 20;
/// How long a client may wait for a result, in seconds.
pub(super) const LONGEST_WAIT_S: u64 = 60;

/// A job that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) priority: u8,
    /// What else the address says: the parameters of that kind.
    pub(super) others: Vec<(String, String)>,
}

/// Which jobs are to be listed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) after: Option<JobId>,
}

/// Whether a parameter is about the job and not about its work.
pub(super) fn is_own(name: &str) -> bool {
    matches!(name, "kind" | "priority")
}

/// Names and values of the address, each name once.
fn query(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = query.map_err(|error| bad_request(format!("the query cannot be read: {error}")))?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(before, _)| before == name) {
            return Err(bad_request(format!("`{}` is given twice; give it once", name.escape_debug())));
        }
    }
    Ok(pairs)
}

/// The job that an address asks for. Every mistake is named.
pub(super) fn job(uri: &Uri) -> Result<Asked, Refusal> {
    let mut others = query(uri)?;
    let (mut kind, mut priority, mut errors) = (None, USUAL_PRIORITY, Vec::new());
    for (name, value) in others.extract_if(.., |(name, _)| is_own(name)) {
        match (name.as_str(), Kind::parse(&value), value.parse().ok().filter(|level| PRIORITIES.contains(level))) {
            ("kind", Some(known), _) => kind = Some(known),
            ("kind", None, _) => errors.push(format!("there is no kind '{}'; {}", value.escape_debug(), kinds())),
            (_, _, Some(level)) => priority = level,
            _ => errors.push(format!(
                "`priority` must be a whole number from 1, the most urgent, to 9, not '{}'",
                value.escape_debug()
            )),
        }
    }
    match kind {
        Some(kind) if errors.is_empty() => return Ok(Asked { kind, priority, others }),
        None if errors.is_empty() => errors.push(format!("the job needs a `kind` in its address; {}", kinds())),
        _ => {}
    }
    Err(bad_request(errors.join("; ")))
}

fn kinds() -> String {
    format!("the kinds are {}", Kind::ALL.map(Kind::as_str).join(", "))
}

/// The page that an address asks for.
pub(super) fn page(uri: &Uri) -> Result<Page, Refusal> {
    let mut page = Page { limit: USUALLY_LISTED, after: None };
    for (name, value) in query(uri)? {
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST_LISTED).contains(limit));
                let wrong = || bad_request(format!("`limit` must be a whole number from 1 to {MOST_LISTED}"));
                page.limit = limit.ok_or_else(wrong)?;
            }
            "after" => {
                let id = value.parse();
                page.after = Some(id.map_err(|_| bad_request("`after` must be the id of a job, its 32 digits"))?);
            }
            _ => return Err(no_parameter(&name, "limit, after")),
        }
    }
    Ok(page)
}

/// How many seconds the client wants to wait for the result.
pub(super) fn wait_s(uri: &Uri) -> Result<u64, Refusal> {
    let mut wait_s = 0;
    for (name, value) in query(uri)? {
        if name != "wait_seconds" {
            return Err(no_parameter(&name, "wait_seconds"));
        }
        let wrong = || bad_request(format!("`wait_seconds` must be a whole number from 0 to {LONGEST_WAIT_S}"));
        wait_s = value.parse().ok().filter(|wait| *wait <= LONGEST_WAIT_S).ok_or_else(wrong)?;
    }
    Ok(wait_s)
}

/// What is said of a name that means nothing.
pub(super) fn no_parameter(name: &str, names: &str) -> Refusal {
    bad_request(format!("`{}` is no parameter; the parameters are {names}", name.escape_debug()))
}

/// Whose jobs a request is about. Only a digest of the credentials is kept.
pub(super) fn owner(headers: &HeaderMap) -> Owner {
    credentials::shown(headers).next().map(|secret| Sha256::digest(secret).into())
}

/// How many events a client has seen, from its `Last-Event-ID`.
pub(super) fn seen(headers: &HeaderMap) -> Result<usize, Refusal> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| bad_request("Last-Event-ID must be the id of an event that was sent"))
}

pub(super) fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        of: fn(&Uri) -> Result<T, Refusal>,
        query: &str,
        expected: Result<T, &[&str]>,
    ) {
        let uri = format!("/api/v1/jobs?{query}").parse().unwrap();
        match (of(&uri).map_err(|refusal| refusal.message), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{query}"),
            (Err(message), Err(parts)) => assert!(parts.iter().all(|part| message.contains(part)), "{message}"),
            (found, expected) => panic!("{query}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn jobs_that_are_asked_for() {
        let asked = |kind, priority| Ok(Asked { kind, priority, others: Vec::new() });
        check(job, "kind=relief", asked(Kind::Relief, 5));
        check(job, "priority=1&kind=mesh_repair", asked(Kind::MeshRepair, 1));
        let others = vec![("model".to_owned(), "m".to_owned())];
        check(job, "kind=inference&model=m&priority=9", Ok(Asked { kind: Kind::Inference, priority: 9, others }));
        check(job, "", Err(&["needs a `kind`", "relief, mesh_repair, inference"]));
        check(job, "kind=sleep&priority=10", Err(&["no kind 'sleep'", "from 1, the most urgent, to 9, not '10'"]));
        check(job, "kind=relief&priority=0", Err(&["not '0'"]));
        check(job, "kind=relief&kind=relief", Err(&["`kind` is given twice"]));
    }

    #[test]
    fn pages_and_waits() {
        check(page, "", Ok(Page { limit: 20, after: None }));
        let after = Some(JobId::numbered(10));
        check(page, "limit=100&after=0000000000000000000000000000000a", Ok(Page { limit: 100, after }));
        check(page, "limit=0", Err(&["from 1 to 100"]));
        check(page, "limit=101", Err(&["from 1 to 100"]));
        check(page, "after=x", Err(&["`after` must be the id"]));
        check(page, "before=x", Err(&["`before` is no parameter; the parameters are limit, after"]));
        check(wait_s, "", Ok(0));
        check(wait_s, "wait_seconds=60", Ok(60));
        check(wait_s, "wait_seconds=61", Err(&["from 0 to 60"]));
        check(wait_s, "x=1", Err(&["`x` is no parameter"]));
    }

    #[test]
    fn whose_jobs() {
        let with = |name: &'static str, value| HeaderMap::from_iter([(name.parse().unwrap(), value)]);
        let of = |name, value: &'static str| owner(&with(name, value.parse().unwrap()));
        assert_eq!(owner(&HeaderMap::new()), None);
        assert!(of("authorization", "Bearer a").is_some());
        assert_eq!(of("authorization", "Bearer a"), of("x-api-key", "a"));
        assert_ne!(of("x-api-key", "a"), of("x-api-key", "b"));
    }
}
