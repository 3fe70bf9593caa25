//! What a text generator's answer says, whole or piece by piece: OpenAI's chat and text completions, as vLLM,
//! Triton and llama.cpp speak them too, and KServe's `generate`. Only what a client has to know of it is read: whether
//! a piece holds output, how many tokens the server counted, how it ended. The text itself is let go.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::WireError;

/// What an OpenAI stream ends with.
pub const OPENAI_DONE: &[u8] = b"[DONE]";

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat and text completions.
    OpenAi,
    /// KServe's `generate` and `generate_stream`.
    Generate,
}

/// Tokens as the server counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Usage {
    /// Of the prompt.
    #[serde(default, rename = "prompt_tokens")]
    pub prompt: u32,
    /// Of the answer, reasoning included.
    #[serde(default, rename = "completion_tokens")]
    pub completion: u32,
}

/// One piece of an answer, or a whole one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// Whether it holds output: text, reasoning, or a call of a tool.
    pub has_output: bool,
    /// Whether it says that the answer is complete.
    pub is_last: bool,
    /// Tokens so far; most servers say so in the last piece only.
    pub usage: Option<Usage>,
    /// What the server says went wrong.
    pub error: Option<String>,
}

/// Reads a piece of a stream, or a whole answer.
///
/// # Errors
/// [`WireError::Json`] for what is no piece of this dialect.
pub fn read_piece(dialect: Dialect, data: &[u8]) -> Result<Piece, WireError> {
    match dialect {
        Dialect::OpenAi if data == OPENAI_DONE => Ok(Piece { is_last: true, ..Piece::default() }),
        Dialect::OpenAi => parse::<OpenAi<'_>>(data).map(|piece| piece.read()),
        Dialect::Generate => parse::<Generated<'_>>(data).map(|piece| piece.read()),
    }
}

fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(data).map_err(|e| WireError::Json(e.to_string()))
}

#[derive(Deserialize)]
struct OpenAi<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<Value>,
    object: Option<Cow<'a, str>>,
    message: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    /// Of a streamed chat.
    #[serde(borrow)]
    delta: Option<Said<'a>>,
    /// Of a whole chat.
    #[serde(borrow)]
    message: Option<Said<'a>>,
    /// Of a text completion.
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    // Two names for the same: DeepSeek's and vLLM's of old, and vLLM's of late.
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    tool_calls: Option<Vec<IgnoredAny>>,
}

impl Said<'_> {
    fn has_output(&self) -> bool {
        let texts = [&self.content, &self.reasoning_content, &self.reasoning, &self.refusal];
        texts.into_iter().flatten().any(|text| !text.is_empty())
            || self.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())
    }
}

impl OpenAi<'_> {
    fn read(&self) -> Piece {
        let choices = self.choices.as_deref().unwrap_or_default();
        Piece {
            has_output: choices.iter().any(Choice::has_output),
            is_last: choices.iter().any(|choice| choice.finish_reason.is_some()),
            usage: self.usage,
            error: self.error(),
        }
    }

    /// An error stands under `error`, or, as older vLLM writes it, the whole object is one.
    fn error(&self) -> Option<String> {
        let whole = (self.object.as_deref() == Some("error")).then_some(&self.message).and_then(Option::as_ref);
        self.error.as_ref().or(whole).map(message)
    }
}

impl Choice<'_> {
    fn has_output(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !text.is_empty())
            || [&self.delta, &self.message].into_iter().flatten().any(Said::has_output)
    }
}

#[derive(Deserialize)]
struct Generated<'a> {
    error: Option<Value>,
    /// A model may name its outputs otherwise; then each answer is taken for output.
    #[serde(borrow)]
    text_output: Option<Cow<'a, str>>,
}

impl Generated<'_> {
    fn read(&self) -> Piece {
        let error = self.error.as_ref().map(message);
        let silent = self.text_output.as_ref().is_some_and(|text| text.is_empty());
        Piece { has_output: error.is_none() && !silent, error, ..Piece::default() }
    }
}

/// The words of an error, which may be a string or an object that holds one.
fn message(error: &Value) -> String {
    let words = error.as_str().or_else(|| error.get("message").and_then(Value::as_str));
    words.map_or_else(|| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn openai_pieces() {
        let check = |json: &str, has_output: bool, is_last: bool, tokens: Option<(u32, u32)>, error: Option<&str>| {
            let usage = tokens.map(|(prompt, completion)| Usage { prompt, completion });
            let expected = Piece { has_output, is_last, usage, error: error.map(str::to_owned) };
            assert_eq!(read_piece(Dialect::OpenAi, json.as_bytes()).unwrap(), expected, "{json}");
        };
        check(
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            false,
            false,
            None,
            None,
        );
        check(r#"{"choices":[{"delta":{"content":"Hi \u00e9"}}]}"#, true, false, None, None);
        check(r#"{"choices":[{"delta":{"reasoning_content":"so"}}]}"#, true, false, None, None);
        check(r#"{"choices":[{"delta":{"reasoning":"so","content":null}}]}"#, true, false, None, None);
        check(r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, true, false, None, None);
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, false, true, None, None);
        check(r#"{"choices":[{"text":"a","finish_reason":"length"}]}"#, true, true, None, None);
        let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}"#;
        check(&format!(r#"{{"choices":[],{usage}}}"#), false, false, Some((9, 12)), None);
        check(
            &format!(r#"{{"choices":[{{"message":{{"content":"Hi"}},"finish_reason":"stop"}}],{usage}}}"#),
            true,
            true,
            Some((9, 12)),
            None,
        );
        check("[DONE]", false, true, None, None);
        check(r#"{"error":{"message":"out of memory","code":500}}"#, false, false, None, Some("out of memory"));
        check(r#"{"error":"gone"}"#, false, false, None, Some("gone"));
        check(r#"{"object":"error","message":"too long","code":400}"#, false, false, None, Some("too long"));
    }

    #[test]
    fn generated_pieces() {
        let check = |json: &str, has_output: bool, error: Option<&str>| {
            let piece = read_piece(Dialect::Generate, json.as_bytes()).unwrap();
            assert_eq!((piece.has_output, piece.error.as_deref()), (has_output, error), "{json}");
        };
        check(r#"{"model_name":"m","text_output":"a"}"#, true, None);
        check(r#"{"model_name":"m","text_output":""}"#, false, None);
        check(r#"{"model_name":"m","OUT":[1,2]}"#, true, None);
        check(r#"{"error":"CUDA error"}"#, false, Some("CUDA error"));
    }

    #[test]
    fn what_is_no_piece_is_refused() {
        for data in ["", "hello", "[1]", r#"{"choices":5}"#] {
            assert!(read_piece(Dialect::OpenAi, data.as_bytes()).is_err(), "{data}");
        }
        assert!(read_piece(Dialect::Generate, b"data").is_err());
    }

    proptest! {
        /// No bytes make it panic.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_piece(Dialect::OpenAi, &bytes);
            let _ = read_piece(Dialect::Generate, &bytes);
        }
    }
}
