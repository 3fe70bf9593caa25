//! A streamed answer while it comes: when its pieces were there, and what they said. Pure: bytes and times come as
//! arguments. Whether the answer was right is [`crate::judge`]'s affair.

use proofload_wire::WireError;
use proofload_wire::completion::{Dialect, Piece, Usage, read_piece};
use proofload_wire::grpc::frames::FrameReader;
use proofload_wire::grpc::inference::ModelStreamInferResponse;
use proofload_wire::sse::EventReader;
use prost::Message;

/// How an answer comes in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// Server-sent events, each of which holds one piece.
    Events(Dialect),
    /// Messages of gRPC's `ModelStreamInfer`.
    ModelStreamInfer,
}

/// What has been seen of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// When the first piece with output was there; 0 for none yet.
    pub first_ns: u64,
    /// When the last one was there.
    pub last_ns: u64,
    /// The longest wait between two of them.
    pub longest_gap_ns: u64,
    /// How many there were.
    pub pieces: u32,
    /// Tokens, where the server states them.
    pub usage: Option<Usage>,
    /// Whether the server said that the answer is complete.
    pub is_complete: bool,
    /// What the server said went wrong in the middle of the answer.
    pub error: Option<String>,
    /// Why what came cannot be read.
    pub unreadable: Option<String>,
}

impl Seen {
    fn piece(&mut self, dialect: Dialect, data: &[u8], now_ns: u64) {
        // What comes after something that cannot be read is not looked at, wherever the bytes were cut.
        if self.unreadable.is_some() {
            return;
        }
        match read_piece(dialect, data) {
            Ok(piece) => self.add(piece, now_ns),
            Err(e) => self.refuse(&e),
        }
    }

    fn add(&mut self, piece: Piece, now_ns: u64) {
        self.is_complete |= piece.is_last;
        self.usage = piece.usage.or(self.usage);
        if self.error.is_none() {
            self.error = piece.error;
        }
        if piece.has_output {
            self.output(now_ns);
        }
    }

    fn output(&mut self, now_ns: u64) {
        if self.pieces == 0 {
            self.first_ns = now_ns;
        } else {
            self.longest_gap_ns = self.longest_gap_ns.max(now_ns.saturating_sub(self.last_ns));
        }
        self.last_ns = now_ns;
        self.pieces = self.pieces.saturating_add(1);
    }

    fn message(&mut self, bytes: &[u8], now_ns: u64) {
        if self.unreadable.is_some() {
            return;
        }
        match ModelStreamInferResponse::decode(bytes) {
            Ok(message) if !message.error_message.is_empty() => {
                self.error.get_or_insert(message.error_message);
            }
            // A response without outputs only says that there will be no more.
            Ok(message) if message.infer_response.as_ref().is_some_and(|response| !response.outputs.is_empty()) => {
                self.output(now_ns);
            }
            Ok(_) => {}
            Err(e) => self.refuse(&WireError::Framing(e.to_string())),
        }
    }

    fn refuse(&mut self, error: &WireError) {
        self.unreadable.get_or_insert_with(|| error.to_string());
    }
}

enum Reader {
    Events(Dialect, EventReader),
    Messages(FrameReader),
}

/// See the module.
pub struct Watch {
    reader: Reader,
    seen: Seen,
}

impl Watch {
    /// Watches one answer.
    pub fn new(streaming: Streaming) -> Self {
        let reader = match streaming {
            Streaming::Events(dialect) => Reader::Events(dialect, EventReader::default()),
            Streaming::ModelStreamInfer => Reader::Messages(FrameReader::default()),
        };
        Self { reader, seen: Seen::default() }
    }

    /// Takes in bytes of the body that were there at `now_ns`.
    pub fn take(&mut self, bytes: &[u8], now_ns: u64) {
        let seen = &mut self.seen;
        if seen.unreadable.is_some() {
            return;
        }
        let taken = match &mut self.reader {
            Reader::Events(dialect, reader) => reader.push(bytes, |event| seen.piece(*dialect, event.data, now_ns)),
            Reader::Messages(reader) => reader.push(bytes, |message| seen.message(message, now_ns)),
        };
        if let Err(e) = taken {
            self.seen.refuse(&e);
        }
    }

    /// What was seen, the answer having ended or been given up.
    pub fn finish(mut self) -> Seen {
        if matches!(&self.reader, Reader::Messages(reader) if !reader.is_whole()) {
            self.seen.refuse(&WireError::Framing("it broke off in the middle of a message".to_owned()));
        }
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_wire::grpc::inference::ModelInferResponse;
    use proofload_wire::grpc::inference::model_infer_response::InferOutputTensor;

    const MS: u64 = 1_000_000;

    fn watch(streaming: Streaming, arrivals: &[(u64, &[u8])]) -> Seen {
        let mut watch = Watch::new(streaming);
        arrivals.iter().for_each(|(at_ms, bytes)| watch.take(bytes, at_ms * MS));
        watch.finish()
    }

    #[test]
    fn a_chat_is_timed_by_its_output() {
        let seen = watch(
            Streaming::Events(Dialect::OpenAi),
            &[
                (5, b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"),
                (10, b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n"),
                // The event ends only here.
                (20, b"\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n: still here\n\n"),
                (60, b"data: {\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\n\n"),
                (70, b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"),
                (71, b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n"),
            ],
        );
        let expected = Seen {
            first_ns: 20 * MS,
            last_ns: 60 * MS,
            longest_gap_ns: 40 * MS,
            pieces: 3,
            usage: Some(Usage { prompt: 4, completion: 5 }),
            is_complete: true,
            ..Seen::default()
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn errors_in_the_middle_are_kept() {
        let generate = Streaming::Events(Dialect::Generate);
        let seen = watch(
            generate,
            &[(1, b"data: {\"text_output\":\"a\"}\n\n"), (2, b"data: {\"error\":\"out of memory\"}\n\n")],
        );
        assert_eq!((seen.pieces, seen.error.as_deref(), seen.is_complete), (1, Some("out of memory"), false));
        let seen = watch(generate, &[(1, b"data: <html>\n\n"), (2, b"data: {\"text_output\":\"a\"}\n\n")]);
        assert!(seen.unreadable.unwrap().contains("cannot read the JSON"));
        assert_eq!(seen.pieces, 0);
    }

    #[test]
    fn messages_of_model_stream_infer() {
        let framed = |error: &str, outputs: usize| {
            let response =
                ModelInferResponse { outputs: vec![InferOutputTensor::default(); outputs], ..Default::default() };
            let message = ModelStreamInferResponse { error_message: error.to_owned(), infer_response: Some(response) };
            let bytes = message.encode_to_vec();
            [&[0][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat()
        };
        let streaming = Streaming::ModelStreamInfer;
        let seen = watch(streaming, &[(3, &framed("", 1)), (9, &framed("", 2)), (11, &framed("", 0))]);
        assert_eq!((seen.pieces, seen.first_ns, seen.last_ns), (2, 3 * MS, 9 * MS));
        let seen = watch(streaming, &[(3, &framed("no such model", 0))]);
        assert_eq!((seen.pieces, seen.error.as_deref()), (0, Some("no such model")));
        assert!(watch(streaming, &[(3, &[1, 0, 0, 0, 0])]).unreadable.is_some());
        let whole = framed("", 1);
        let seen = watch(streaming, &[(3, &whole), (4, &whole[..whole.len() - 1])]);
        assert!(seen.pieces == 1 && seen.unreadable.unwrap().contains("broke off in the middle"));
    }
}
