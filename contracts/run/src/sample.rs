//! One request as the generator saw it, and its fixed-size form in the journal. Nothing is judged here: whether
//! a sample is good, slow or counts against an SLO is the analyzer's affair.

/// How a request ended, as far as the generator can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// A correct, whole answer.
    Ok = 0,
    /// An honest refusal: 429, 503 with `Retry-After` or with KServe's error message, gRPC `RESOURCE_EXHAUSTED` or
    /// `UNAVAILABLE`.
    Shed = 1,
    /// No whole answer within the request's time limit; or the server said that the limit was over: 504, gRPC
    /// `DEADLINE_EXCEEDED`.
    Timeout = 2,
    /// No connection could be made.
    ConnectError = 3,
    /// The connection broke or the answer violated the protocol.
    TransportError = 4,
    /// The server said that it failed: 5xx that is no shed, or the like in gRPC.
    ServerError = 5,
    /// The server said that the request was wrong: 4xx other than 429, or the like in gRPC.
    Rejected = 6,
    /// An answer that says it is fine and is not: wrong length, wrong shape, wrong type.
    BadBody = 7,
    /// Sent, and not answered when the run's drain ended. Censored at its age, never dropped.
    InFlight = 8,
    /// An intended arrival that the generator never sent. The generator's fault or the end of the run.
    Dropped = 9,
}

impl Outcome {
    /// All outcomes, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Shed,
        Self::Timeout,
        Self::ConnectError,
        Self::TransportError,
        Self::ServerError,
        Self::Rejected,
        Self::BadBody,
        Self::InFlight,
        Self::Dropped,
    ];

    /// The outcome with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The code in the journal and in the Parquet column `outcome`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in reports and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Shed => "shed",
            Self::Timeout => "timeout",
            Self::ConnectError => "connect_error",
            Self::TransportError => "transport_error",
            Self::ServerError => "server_error",
            Self::Rejected => "rejected",
            Self::BadBody => "bad_body",
            Self::InFlight => "in_flight",
            Self::Dropped => "dropped",
        }
    }

    /// Whether it is an error: a wrong or missing answer. A shed is none, and neither is what was still in
    /// flight or was never sent.
    pub fn is_error(self) -> bool {
        match self {
            Self::Timeout
            | Self::ConnectError
            | Self::TransportError
            | Self::ServerError
            | Self::Rejected
            | Self::BadBody => true,
            Self::Ok | Self::Shed | Self::InFlight | Self::Dropped => false,
        }
    }
}

/// Bits of [`Sample::flags`].
pub mod flags {
    /// The request opened a new connection.
    pub const NEW_CONNECTION: u16 = 1;
    /// The answer came from the server's cache, as the server says.
    pub const CACHE_HIT: u16 = 2;
    /// The server stated its phases, so that the `*_ns` phase fields mean something.
    pub const HAS_PHASES: u16 = 4;
    /// A closed-model request: `intended` is the end of the user's think time.
    pub const CLOSED_MODEL: u16 = 8;
    /// The answer came as a stream of pieces, so that the token fields mean something.
    pub const STREAMED: u16 = 16;
    /// The server stated how many tokens there were; without this bit each piece counts as one.
    pub const TOKENS_STATED: u16 = 32;
    /// The phases were stated in whole milliseconds, rounded down: text-embeddings-inference's headers.
    pub const PHASES_IN_MS: u16 = 64;
}

/// One request. All times are nanoseconds since the start of the run on one monotonic clock (the run's anchor is
/// in the manifest); 0 means "did not happen" for `sent_ns`, `first_byte_ns` and `done_ns`.
///
/// Latency is `done − intended`, lateness is `sent − intended`. Of the lateness, `generator_late_ns` is what the
/// generator itself cost (a late timer, a late wake-up); the rest is waiting for a free connection, which is the
/// target's doing, or the scenario's, that allows so few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Place in the plan of arrivals, from 0; together with `shard` it names the request.
    pub sequence: u64,
    /// When the plan wanted it sent.
    pub intended_ns: u64,
    /// When it was handed to the connection.
    pub sent_ns: u64,
    /// When the first byte (in HTTP: the head) of the answer was there.
    pub first_byte_ns: u64,
    /// When the last byte of the answer was there, or the request was given up.
    pub done_ns: u64,
    /// The generator's own share of `sent − intended`.
    pub generator_late_ns: u64,
    /// Server phase: waiting in its queue.
    pub queue_ns: u64,
    /// Server phase: making the inputs ready.
    pub copy_in_ns: u64,
    /// Server phase: computing.
    pub compute_ns: u64,
    /// Server phase: making the outputs ready.
    pub copy_out_ns: u64,
    /// When the first piece of a streamed answer that holds output was there.
    pub first_token_ns: u64,
    /// When the last such piece was there.
    pub last_token_ns: u64,
    /// The longest wait between two such pieces.
    pub longest_gap_ns: u64,
    /// W3C trace id, zero when the request carried none.
    pub trace_id: u128,
    /// Bytes of body sent.
    pub bytes_out: u32,
    /// Bytes of body received.
    pub bytes_in: u32,
    /// Which of the generator's connections carried it.
    pub connection: u32,
    /// Which payload of its entry was sent.
    pub payload: u32,
    /// Tokens of the prompt, as the server says; 0 when it does not.
    pub tokens_in: u32,
    /// Tokens of the answer: as the server says ([`flags::TOKENS_STATED`]), or else its pieces.
    pub tokens_out: u32,
    /// HTTP status or gRPC code; 0 when there was no answer (gRPC OK is outcome `Ok`).
    pub status: u16,
    /// Index into the manifest's steps.
    pub step: u16,
    /// Index into the manifest's entries.
    pub entry: u16,
    /// Size of the batch it was computed in, as the server says; 0 when unknown.
    pub batch_size: u16,
    /// Which generator of a sharded run sent it.
    pub shard: u16,
    /// See [`flags`].
    pub flags: u16,
    /// Pieces of a streamed answer that hold output; 65 535 stands for that many or more.
    pub pieces: u16,
    /// How often it had been tried before.
    pub retry: u8,
    /// [`Outcome::code`].
    pub outcome: u8,
}

impl Sample {
    /// Bytes of one encoded sample.
    pub const SIZE: usize = 160;

    /// Writes the sample, little-endian, into exactly [`Sample::SIZE`] bytes.
    pub fn encode(&self, out: &mut [u8; Self::SIZE]) {
        let mut at = Cursor { bytes: out, position: 0 };
        for value in self.words() {
            at.put(&value.to_le_bytes());
        }
        at.put(&self.trace_id.to_le_bytes());
        for value in [self.bytes_out, self.bytes_in, self.connection, self.payload, self.tokens_in, self.tokens_out] {
            at.put(&value.to_le_bytes());
        }
        for value in [self.status, self.step, self.entry, self.batch_size, self.shard, self.flags, self.pieces] {
            at.put(&value.to_le_bytes());
        }
        at.put(&[self.retry, self.outcome]);
    }

    /// The inverse of [`Sample::encode`]. Every byte pattern decodes to something; the journal's checksums say
    /// whether it is what was written.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let mut at = Reader { bytes, position: 0 };
        let [
            sequence,
            intended_ns,
            sent_ns,
            first_byte_ns,
            done_ns,
            generator_late_ns,
            queue_ns,
            copy_in_ns,
            compute_ns,
            copy_out_ns,
            first_token_ns,
            last_token_ns,
            longest_gap_ns,
        ] = std::array::from_fn(|_| u64::from_le_bytes(at.take()));
        let trace_id = u128::from_le_bytes(at.take());
        let [bytes_out, bytes_in, connection, payload, tokens_in, tokens_out] =
            std::array::from_fn(|_| u32::from_le_bytes(at.take()));
        let [status, step, entry, batch_size, shard, flags, pieces] =
            std::array::from_fn(|_| u16::from_le_bytes(at.take()));
        let [retry, outcome] = at.take();
        Self {
            sequence,
            intended_ns,
            sent_ns,
            first_byte_ns,
            done_ns,
            generator_late_ns,
            queue_ns,
            copy_in_ns,
            compute_ns,
            copy_out_ns,
            first_token_ns,
            last_token_ns,
            longest_gap_ns,
            trace_id,
            bytes_out,
            bytes_in,
            connection,
            payload,
            tokens_in,
            tokens_out,
            status,
            step,
            entry,
            batch_size,
            shard,
            flags,
            pieces,
            retry,
            outcome,
        }
    }

    /// The 64-bit fields in their order on disk.
    fn words(&self) -> [u64; 13] {
        [
            self.sequence,
            self.intended_ns,
            self.sent_ns,
            self.first_byte_ns,
            self.done_ns,
            self.generator_late_ns,
            self.queue_ns,
            self.copy_in_ns,
            self.compute_ns,
            self.copy_out_ns,
            self.first_token_ns,
            self.last_token_ns,
            self.longest_gap_ns,
        ]
    }

    /// How it ended. An unknown code (a newer writer) counts as a transport error rather than as a success.
    pub fn outcome(&self) -> Outcome {
        Outcome::from_code(self.outcome).unwrap_or(Outcome::TransportError)
    }

    /// Latency from the intended arrival, in nanoseconds.
    pub fn latency_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.intended_ns)
    }

    /// From the intended arrival to the first token of a streamed answer; `None` without one.
    pub fn first_token_latency_ns(&self) -> Option<u64> {
        (self.first_token_ns > 0).then(|| self.first_token_ns.saturating_sub(self.intended_ns))
    }

    /// Mean time between the tokens of a streamed answer; `None` with fewer than two.
    pub fn mean_gap_ns(&self) -> Option<f64> {
        mean_gap_ns(self.first_token_ns, self.last_token_ns, self.tokens_out)
    }
}

/// Mean time between tokens: from the first to the last, over one less than their number. `None` where that is no time.
pub fn mean_gap_ns(first_token_ns: u64, last_token_ns: u64, tokens: u32) -> Option<f64> {
    (first_token_ns > 0 && tokens > 1)
        .then(|| last_token_ns.saturating_sub(first_token_ns) as f64 / f64::from(tokens - 1))
}

/// Fills a fixed buffer from the front.
struct Cursor<'a> {
    bytes: &'a mut [u8; Sample::SIZE],
    position: usize,
}

impl Cursor<'_> {
    fn put(&mut self, value: &[u8]) {
        self.bytes[self.position..self.position + value.len()].copy_from_slice(value);
        self.position += value.len();
    }
}

/// Reads a fixed buffer from the front.
struct Reader<'a> {
    bytes: &'a [u8; Sample::SIZE],
    position: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.position..self.position + N]);
        self.position += N;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn outcome_codes_are_stable() {
        for (code, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(outcome.code()), code);
            assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        }
        assert_eq!(Outcome::from_code(10), None);
    }

    proptest! {
        /// Decoding and encoding again gives the same bytes: there is no padding.
        #[test]
        fn any_bytes_survive_a_round_trip(bytes in proptest::array::uniform32(any::<u8>())) {
            let mut record = [0; Sample::SIZE];
            for (i, byte) in record.iter_mut().enumerate() {
                *byte = bytes[i % 32].wrapping_add(i as u8);
            }
            let mut again = [0; Sample::SIZE];
            Sample::decode(&record).encode(&mut again);
            prop_assert_eq!(record, again);
        }
    }
}
