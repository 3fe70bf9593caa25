//! A request as it goes out: what all requests of an entry share is borrowed, and only what is its own is made anew.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::Segments;

/// See the module.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query in HTTP/1.1, the whole URI in HTTP/2.
    pub uri: Cow<'a, Uri>,
    /// Headers that it shares with others.
    pub shared: &'a HeaderMap,
    /// Headers of its own; one of the same name takes the place of a shared one.
    pub own: HeaderMap,
    /// The body.
    pub body: Segments,
}

impl<'a> Outgoing<'a> {
    /// A request that is there as a whole.
    pub fn of(request: &'a Request<Segments>) -> Self {
        Self {
            method: request.method(),
            uri: Cow::Borrowed(request.uri()),
            shared: request.headers(),
            own: HeaderMap::new(),
            body: request.body().clone(),
        }
    }

    /// The headers as they are sent.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let has_own = !self.own.is_empty();
        self.shared.iter().filter(move |(name, _)| !has_own || !self.own.contains_key(*name)).chain(&self.own)
    }

    /// The request as HTTP/2 takes it.
    pub fn to_request(&self) -> Request<Segments> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.as_ref().clone();
        *request.headers_mut() = self.shared.clone();
        for (name, value) in &self.own {
            request.headers_mut().insert(name, value.clone());
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_headers_take_the_place_of_shared_ones() {
        let mut shared = HeaderMap::new();
        shared.insert("a", HeaderValue::from_static("1"));
        shared.insert("b", HeaderValue::from_static("2"));
        let mut own = HeaderMap::new();
        own.insert("b", HeaderValue::from_static("3"));
        own.insert("c", HeaderValue::from_static("4"));
        let uri = Cow::Owned(Uri::from_static("/x"));
        let outgoing = Outgoing { method: &Method::GET, uri, shared: &shared, own, body: Segments::default() };
        let mut sent: Vec<_> = outgoing.headers().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(sent, [("a", "1"), ("b", "3"), ("c", "4")]);
        let request = outgoing.to_request();
        assert_eq!(request.headers().len(), 3);
        assert!(sent.iter().all(|(name, value)| request.headers()[*name] == value));
    }
}
