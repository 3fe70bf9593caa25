//! Where the time of one request went, as headers (HTTP) or metadata (gRPC) of its answer. Nobody needs a
//! collector to see it.

/// Header: nanoseconds in the server's queue.
pub const QUEUE_NS: &str = "x-proofload-queue-ns";
/// Header: nanoseconds to make the inputs ready.
pub const COPY_IN_NS: &str = "x-proofload-copy-in-ns";
/// Header: nanoseconds of computing.
pub const COMPUTE_NS: &str = "x-proofload-compute-ns";
/// Header: nanoseconds to make the outputs ready.
pub const COPY_OUT_NS: &str = "x-proofload-copy-out-ns";
/// Header: the sum of the four phases.
pub const TOTAL_NS: &str = "x-proofload-total-ns";
/// Header: size of the batch that the request was computed in.
pub const BATCH_SIZE: &str = "x-proofload-batch-size";
/// Header: `miss`, or `hit`, maybe with the layer that had the answer; absent means `miss`.
pub const CACHE: &str = "x-proofload-cache";

/// Headers of text-embeddings-inference and text-generation-inference, in milliseconds: in the queue.
const TEI_QUEUE: &str = "x-queue-time";
/// Computing.
const TEI_INFERENCE: &str = "x-inference-time";
/// Making the inputs ready, in the words of the one and of the other; before the queue there.
const TEI_INPUT: [&str; 2] = ["x-tokenization-time", "x-validation-time"];

/// In whose words an answer states its phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Ours: four phases that follow each other, in nanoseconds.
    Proofload,
    /// Hugging Face's text-embeddings-inference and text-generation-inference: queue, inference and input in
    /// milliseconds, which they round down to whole ones.
    TextInference,
}

/// The phases that an answer states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// The phases.
    pub phases: Phases,
    /// In whose words.
    pub family: Family,
}

impl Stated {
    /// Reads the phases from an answer's headers, in whichever words they are; `None` unless they are complete.
    pub fn from_lookup<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let ours = Phases::from_lookup(&header).map(|phases| Self { phases, family: Family::Proofload });
        ours.or_else(|| Some(Self { phases: in_milliseconds(header)?, family: Family::TextInference }))
    }
}

fn in_milliseconds<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Phases> {
    let nanoseconds = |name: &str| {
        let milliseconds = header(name)?.parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms >= 0.0)?;
        Some((milliseconds * 1e6).round() as u64)
    };
    Some(Phases {
        queue_ns: nanoseconds(TEI_QUEUE)?,
        compute_ns: nanoseconds(TEI_INFERENCE)?,
        copy_in_ns: TEI_INPUT.into_iter().find_map(nanoseconds).unwrap_or(0),
        ..Phases::default()
    })
}

/// Whether an answer was computed or came out of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cache {
    /// It was computed.
    #[default]
    Miss,
    /// It came out of a cache that does not say more.
    Hit,
    /// It was kept in the server.
    L1,
    /// It was kept in a cache that servers share.
    L2,
    /// It is the answer to an identical request that was on its way.
    Coalesced,
}

impl Cache {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::Miss, Self::Hit, Self::L1, Self::L2, Self::Coalesced];

    /// Whether nothing was computed for it.
    pub fn is_hit(self) -> bool {
        self != Self::Miss
    }

    /// The value of the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Hit => "hit",
            Self::L1 => "hit; layer=l1",
            Self::L2 => "hit; layer=l2",
            Self::Coalesced => "hit; layer=coalesced",
        }
    }

    /// What a header says. A hit in a layer that is not known here is a hit.
    pub fn parse(text: &str) -> Self {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        let hit = text.split(';').next().is_some_and(|word| word.trim() == "hit");
        known.unwrap_or(if hit { Self::Hit } else { Self::Miss })
    }
}

/// The phases of one request. They follow each other without gap or overlap, from the request being decoded to
/// the response being ready to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Waiting in the queue, in nanoseconds.
    pub queue_ns: u64,
    /// Making the inputs ready, in nanoseconds.
    pub copy_in_ns: u64,
    /// Computing, in nanoseconds.
    pub compute_ns: u64,
    /// Making the outputs ready, in nanoseconds.
    pub copy_out_ns: u64,
    /// Size of the batch; 0 when unknown.
    pub batch_size: u32,
    /// Whether the answer came from a cache.
    pub cache: Cache,
}

impl Phases {
    /// The sum of the phases, in nanoseconds.
    pub fn total_ns(&self) -> u64 {
        self.queue_ns.saturating_add(self.copy_in_ns).saturating_add(self.compute_ns).saturating_add(self.copy_out_ns)
    }

    /// Names and values of the headers.
    pub fn to_headers(&self) -> [(&'static str, String); 7] {
        [
            (QUEUE_NS, self.queue_ns.to_string()),
            (COPY_IN_NS, self.copy_in_ns.to_string()),
            (COMPUTE_NS, self.compute_ns.to_string()),
            (COPY_OUT_NS, self.copy_out_ns.to_string()),
            (TOTAL_NS, self.total_ns().to_string()),
            (BATCH_SIZE, self.batch_size.to_string()),
            (CACHE, self.cache.as_str().to_owned()),
        ]
    }

    /// Reads the phases from an answer's headers; `None` unless all four are there.
    pub fn from_lookup<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let nanoseconds = |name| header(name)?.parse().ok();
        Some(Self {
            queue_ns: nanoseconds(QUEUE_NS)?,
            copy_in_ns: nanoseconds(COPY_IN_NS)?,
            compute_ns: nanoseconds(COMPUTE_NS)?,
            copy_out_ns: nanoseconds(COPY_OUT_NS)?,
            batch_size: header(BATCH_SIZE).and_then(|size| size.parse().ok()).unwrap_or(0),
            cache: header(CACHE).map(Cache::parse).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(queue_ns: u64, copy_in_ns: u64, compute_ns: u64, copy_out_ns: u64, batch_size: u32, cache in proptest::sample::select(&Cache::ALL[..])) {
            let phases = Phases { queue_ns, copy_in_ns, compute_ns, copy_out_ns, batch_size, cache };
            let headers = phases.to_headers();
            let read = Phases::from_lookup(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str()));
            prop_assert_eq!(read, Some(phases));
        }
    }

    #[test]
    fn phases_are_read_in_either_words() {
        let check = |headers: &[(&str, &str)], expected: Option<(Family, [u64; 3])>| {
            let found =
                Stated::from_lookup(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value));
            let found = found.map(|s| (s.family, [s.phases.queue_ns, s.phases.copy_in_ns, s.phases.compute_ns]));
            assert_eq!(found, expected, "{headers:?}");
        };
        let (queue, inference) = (("x-queue-time", "3"), ("x-inference-time", "12.5"));
        let both = [queue, inference];
        let text = |phases| Some((Family::TextInference, phases));
        check(&both, text([3_000_000, 0, 12_500_000]));
        check(&[&both[..], &[("x-tokenization-time", "1")]].concat(), text([3_000_000, 1_000_000, 12_500_000]));
        check(&[&both[..], &[("x-validation-time", "2")]].concat(), text([3_000_000, 2_000_000, 12_500_000]));
        check(&[queue], None);
        check(&[inference], None);
        check(&[queue, ("x-inference-time", "NaN")], None);
        check(&[queue, ("x-inference-time", "-1")], None);
        check(&[queue, ("x-inference-time", "12ms")], None);
        let ours = Phases { queue_ns: 7, compute_ns: 8, ..Phases::default() }.to_headers();
        let ours: Vec<(&str, &str)> = ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
        check(&[&ours[..], &both].concat(), Some((Family::Proofload, [7, 0, 8])));
    }

    #[test]
    fn whether_it_was_a_hit() {
        let check = |text: &str, expected: Cache| assert_eq!(Cache::parse(text), expected, "{text}");
        check("miss", Cache::Miss);
        check("hit", Cache::Hit);
        check("hit; layer=l2", Cache::L2);
        check("hit; layer=edge", Cache::Hit);
        check("hit;ttl=3", Cache::Hit);
        check("hitherto", Cache::Miss);
        check("", Cache::Miss);
    }

    #[test]
    fn a_missing_phase_means_no_phases() {
        let headers = Phases::default().to_headers();
        for missing in [QUEUE_NS, COPY_IN_NS, COMPUTE_NS, COPY_OUT_NS] {
            let read = Phases::from_lookup(|name| {
                headers.iter().find(|(key, _)| *key == name && *key != missing).map(|(_, value)| value.as_str())
            });
            assert_eq!(read, None, "without {missing}");
        }
    }
}
