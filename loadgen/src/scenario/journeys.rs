//! Journeys, and the text with holes that they make sense of: whether every value a request needs is captured before.

use std::collections::BTreeSet;

use super::as_written::{self as written, ModelWord};
use super::entries::Entries;
use super::reader::complain_missing;
use super::{Journey, MixEntry, RequestSpec};
use crate::payload::{Text, is_pointer};

impl Entries<'_> {
    /// All journeys of a scenario whose entries are `mix`, in the order in which they were written.
    pub(super) fn journeys(
        &self,
        written: &[written::Journey],
        mix: &[MixEntry],
        model: Option<ModelWord>,
    ) -> Vec<Journey> {
        if let (Some(first), Some(ModelWord::Open)) = (written.first(), model) {
            let remedy = "open arrivals come one by one; write model = \"closed\" with users";
            self.complain(&first.here, format!("journeys are made by users: {remedy}"));
        }
        written.iter().filter_map(|journey| self.journey(journey, mix)).collect()
    }

    fn journey(&self, written: &written::Journey, mix: &[MixEntry]) -> Option<Journey> {
        let name = self.required(written.name.as_ref(), "name", "shopper", &written.here);
        let weight = written.weight.as_ref().map_or(1.0, |weight| weight.value);
        if let Some(weight) = written.weight.as_ref().filter(|w| !(w.value >= 0.0 && w.value.is_finite())) {
            self.complain(weight, "a weight is 0 or more");
        }
        if written.requests.is_empty() {
            let remedy = "write requests = [\"login\", \"list\"], names of entries of the mix";
            complain_missing(self.problems, &written.here, "requests", remedy);
        }
        let mut requests = Vec::new();
        for request in &written.requests {
            let Some(index) = mix.iter().position(|entry| entry.name == request.value) else {
                let known: Vec<&str> = mix.iter().map(|entry| entry.name.as_str()).collect();
                self.complain(request, format!("there is no such entry; there are {}", known.join(", ")));
                return None;
            };
            requests.push(index as u16);
        }
        self.check_order(written, &requests, mix);
        Some(Journey { name: name?, weight, requests })
    }

    /// Every value must be captured before it is needed.
    fn check_order(&self, written: &written::Journey, requests: &[u16], mix: &[MixEntry]) {
        let carried = carried(mix);
        let mut captured = BTreeSet::new();
        for (request, written) in requests.iter().zip(&written.requests) {
            let entry = &mix[usize::from(*request)];
            for needed in needs(entry, &carried).iter().filter(|needed| !captured.contains(*needed)) {
                self.complain(written, format!("needs {{{{{needed}}}}}, and no request before it captures that"));
            }
            captured.extend(entry.request.captures().keys().cloned());
        }
    }

    /// Weights when there are journeys: an entry that states none is made in journeys only. Complains about entries
    /// that are made on their own and need what only a journey has, and about such as are never made.
    pub(super) fn settle_weights(&self, written: &[written::Mix], mix: &mut [MixEntry], journeys: &[Journey]) {
        let carried = carried(mix);
        for entry in mix {
            let Some(written) = written.iter().find(|w| w.name.as_ref().is_some_and(|name| name.value == entry.name))
            else {
                continue;
            };
            if !journeys.is_empty() && written.weight.is_none() {
                entry.weight = 0.0;
            } else if let Some(needed) = needs(entry, &carried).first() {
                let remedy = "name it in a journey after the request that captures it";
                self.complain(&written.here, format!("needs {{{{{needed}}}}}, which only a journey has; {remedy}"));
            }
        }
    }

    /// Checks what an entry captures, and the text in which values stand.
    pub(super) fn check_text(&self, written: &written::Mix, carried: &[String]) {
        for (name, pointer) in &written.captures {
            if !is_pointer(&pointer.value) {
                self.complain(pointer, "is no JSON pointer; write \"/access_token\" or \"/items/0/id\"");
            }
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.complain(pointer, format!("`{name}` cannot stand in {{{{…}}}}; use letters, digits and `_`"));
            }
        }
        let texts = written
            .headers
            .iter()
            .map(|(_, value)| value)
            .chain(&written.path)
            .chain(&written.body)
            .chain(&written.prompt)
            .chain(&written.system);
        for text in texts {
            if let Err(e) = Text::parse(&text.value, carried) {
                self.complain(text, e);
            }
        }
    }
}

/// The names that entries capture, as [`super::Scenario::carried`] gives them.
fn carried(mix: &[MixEntry]) -> Vec<String> {
    let names: BTreeSet<&String> = mix.iter().flat_map(|entry| entry.request.captures().keys()).collect();
    names.into_iter().cloned().collect()
}

/// The captured values that an entry's text needs.
fn needs(entry: &MixEntry, carried: &[String]) -> BTreeSet<String> {
    let RequestSpec::Http(spec) = &entry.request else { return BTreeSet::new() };
    let texts = spec.headers.values().chain([&spec.path, &spec.body]);
    let parsed = texts.filter_map(|text| Text::parse(text, carried).ok());
    parsed.flat_map(|text| text.needs().map(|index| carried[usize::from(index)].clone()).collect::<Vec<_>>()).collect()
}
