//! An entry of the mix, ready to send.

use std::borrow::Cow;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Uri};
use proofload_wire::trace::{TRACEPARENT, TraceParent};

use super::{Capture, Escape, Payload, Text, Values};
use crate::judge::Expect;
use crate::plan::{Arrival, mix64};
use crate::streamed::Streaming;
use crate::transport::{Keep, Outgoing, Reception, Segments, Via};

/// See the module.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which connection carries it.
    pub via: Via,
    /// The method.
    pub method: Method,
    /// Where it goes: path and query in HTTP/1.1, the whole URI in HTTP/2.
    pub uri: Uri,
    /// Headers of every request.
    pub headers: HeaderMap,
    /// Bodies; at least one, which may be empty.
    pub payloads: Vec<Payload>,
    /// What each request fills anew; boxed, since most entries have none.
    pub holes: Option<Box<Holes>>,
    /// What later requests of a journey need of the answer.
    pub captures: Vec<Capture>,
    /// What a correct answer looks like.
    pub expect: Expect,
    /// How much of an answer is kept.
    pub keep: Keep,
    /// How an answer that comes in pieces does so.
    pub streaming: Option<Streaming>,
    /// Share of the requests that carry a sampled trace, 0 to 1.
    pub traced: f64,
    /// Makes the payloads of scenarios with different seeds differ.
    pub seed: u64,
    /// Makes the trace ids of different runs differ, whatever their seeds.
    pub run: u64,
}

/// Parts of a request that are filled with values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holes {
    /// Path and query, if they have holes.
    pub path: Option<Text>,
    /// Headers with holes.
    pub headers: Vec<(HeaderName, Text)>,
    /// Bodies with holes, and how values are written in them; the arrival's payload says which. Empty for none.
    pub bodies: Vec<(Text, Escape)>,
}

impl Holes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.path.is_none() && self.headers.is_empty() && self.bodies.is_empty()
    }

    fn fill(
        &self,
        payload: u32,
        request: &mut Outgoing<'_>,
        fill: impl Fn(&Text, Escape) -> String,
    ) -> Result<(), http::Error> {
        if let Some(path) = &self.path {
            request.uri = Cow::Owned(Uri::try_from(fill(path, Escape::Percent))?);
        }
        for (name, value) in &self.headers {
            request.own.insert(name, HeaderValue::from_bytes(fill(value, Escape::Plain).as_bytes())?);
        }
        if let Some((body, escape)) = self.bodies.get(payload as usize) {
            request.body = Segments::whole(fill(body, *escape).into());
        }
        Ok(())
    }
}

/// One request, ready to go.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// The request.
    pub request: Outgoing<'a>,
    /// Length of its body.
    pub body_bytes: u64,
    /// The trace it starts; 0 for none.
    pub trace_id: u128,
}

impl Entry {
    /// What is done with an answer while it comes.
    pub fn reception(&self) -> Reception {
        Reception::new(self.keep, self.streaming)
    }

    /// The request of an arrival. The same arrival with the same values gives the same request; which arrivals are
    /// traced is the same in every run too, and only their trace ids are the run's own.
    ///
    /// # Errors
    /// When the values make a path or a header that HTTP does not allow.
    pub fn request(&self, arrival: &Arrival, values: &Values) -> Result<Prepared<'_>, http::Error> {
        let body = self.payloads[arrival.payload as usize].body(arrival.content ^ mix64(self.seed));
        let (uri, own) = (Cow::Borrowed(&self.uri), HeaderMap::new());
        let mut request = Outgoing { method: &self.method, uri, shared: &self.headers, own, body };
        let trace_id = self.trace(arrival, &mut request.own);
        if let Some(holes) = &self.holes {
            holes.fill(arrival.payload, &mut request, |text, escape| text.fill(arrival, self.seed, values, escape))?;
        }
        Ok(Prepared { body_bytes: request.body.len(), request, trace_id })
    }

    fn trace(&self, arrival: &Arrival, headers: &mut HeaderMap) -> u128 {
        let draw = mix64(mix64(self.seed ^ 0x7472_6163_6500) ^ arrival.unique);
        if (draw >> 11) as f64 / (1u64 << 53) as f64 >= self.traced {
            return 0;
        }
        let id = mix64(draw ^ self.run);
        let trace_id = u128::from(id) << 64 | u128::from(mix64(id)) | 1;
        let parent = TraceParent { trace_id, parent_id: mix64(id ^ 1) | 1, sampled: true };
        if let Ok(value) = HeaderValue::from_str(&parent.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
        trace_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_share_of_traced_requests_is_kept_and_their_headers_match() {
        let entry = Entry {
            via: Via::Http,
            method: Method::GET,
            uri: Uri::from_static("/x"),
            headers: HeaderMap::new(),
            payloads: vec![Payload::Fixed(Bytes::new())],
            holes: None,
            captures: Vec::new(),
            expect: Expect::Http { status: None, min_bytes: 0, content_type: None },
            keep: Keep(0),
            streaming: None,
            traced: 0.25,
            seed: 3,
            run: 1,
        };
        let again = Entry { run: 2, ..entry.clone() };
        let mut traced = 0;
        for unique in 0..10_000 {
            let arrival = Arrival { unique, ..Arrival::default() };
            let prepared = entry.request(&arrival, &Values::default()).unwrap();
            let in_another_run = again.request(&arrival, &Values::default()).unwrap().trace_id;
            assert_eq!(in_another_run == 0, prepared.trace_id == 0, "the same requests are traced");
            assert!(in_another_run == 0 || in_another_run != prepared.trace_id, "under ids of their own");
            let header = prepared.request.own.get(TRACEPARENT).map(|h| h.to_str().unwrap().to_owned());
            let parsed = header.as_deref().and_then(TraceParent::parse).map_or(0, |parent| parent.trace_id);
            assert_eq!(parsed, prepared.trace_id);
            traced += u32::from(prepared.trace_id != 0);
        }
        // 2500 expected; five standard deviations are 217.
        assert!(u32::abs_diff(traced, 2500) < 217, "{traced}");
    }
}
