//! Entries that ask for text, as a mix states them: OpenAI's completions and KServe's `generate`.

use http::uri::PathAndQuery;
use serde_json::{Map, Value as Json};

use super::as_written::{self as written, ProtocolWord};
use super::document::Value;
use super::entries::Entries;
use super::reader::{Located, complain_missing};
use super::{CompletionProtocol, CompletionSpec, PayloadPolicy, Prompt, RequestSpec};

/// Longest prompt that is made up.
const MOST_WORDS: i64 = 1_000_000;

/// What its word says of a protocol: how it travels, and whether its answers are streams where the word decides it.
fn protocol(word: ProtocolWord) -> Option<(CompletionProtocol, Option<bool>)> {
    match word {
        ProtocolWord::OpenAiChat => Some((CompletionProtocol::OpenAiChat, None)),
        ProtocolWord::OpenAiCompletions => Some((CompletionProtocol::OpenAiCompletions, None)),
        ProtocolWord::Generate => Some((CompletionProtocol::Generate, Some(false))),
        ProtocolWord::GenerateStream => Some((CompletionProtocol::Generate, Some(true))),
        ProtocolWord::Http
        | ProtocolWord::KserveHttpJson
        | ProtocolWord::KserveHttpBinary
        | ProtocolWord::KserveGrpc
        | ProtocolWord::KserveGrpcStream => None,
    }
}

impl Entries<'_> {
    /// The request of an entry that asks for text.
    pub(super) fn completion(&self, written: &written::Mix) -> Option<(RequestSpec, PayloadPolicy)> {
        let (protocol, streams) = protocol(written.protocol.as_ref()?.value)?;
        self.refuse_foreign_keys(written, protocol);
        if let (Some(stream), Some(_)) = (&written.stream, streams) {
            self.complain(stream, "write protocol = \"generate-stream\" for a stream, \"generate\" for none");
        }
        let model = self.required(written.model.as_ref(), "model", "llama-3", &written.here);
        let prompt = self.prompt(written);
        let payload = self.policy(written, None);
        let stream = streams.unwrap_or_else(|| written.stream.as_ref().is_none_or(|stream| stream.value));
        let spec = CompletionSpec {
            protocol,
            stream,
            path: self.completion_path(written, protocol, stream),
            model: model?,
            headers: self.headers(written),
            prompt: prompt?,
            system: written.system.as_ref().map(|system| system.value.clone()),
            max_tokens: written.max_tokens.as_ref().and_then(|most| self.positive(most)),
            parameters: self.parameters(written),
        };
        Some((RequestSpec::Completion(spec), payload))
    }

    fn positive(&self, number: &Located<i64>) -> Option<u32> {
        let positive = u32::try_from(number.value).ok().filter(|number| *number > 0);
        if positive.is_none() {
            self.complain(number, "write 1 or more");
        }
        positive
    }

    fn refuse_foreign_keys(&self, written: &written::Mix, protocol: CompletionProtocol) {
        let message = "does not belong to a request for text, which states model, prompt, max_tokens and parameters";
        for stranger in [&written.method, &written.body].into_iter().flatten() {
            self.complain(stranger, message);
        }
        let tables = written.inputs.iter().map(|input| &input.here).chain(written.expect.iter().map(|e| &e.here));
        tables.for_each(|stranger| self.complain(stranger, message));
        let values = written.outputs.iter().chain(written.captures.iter().map(|(_, value)| value));
        values.for_each(|stranger| self.complain(stranger, message));
        if let (Some(system), true) = (&written.system, protocol != CompletionProtocol::OpenAiChat) {
            self.complain(system, "belongs to protocol = \"openai-chat\"; write it into the prompt");
        }
        if let (Some(version), true) = (&written.version, protocol != CompletionProtocol::Generate) {
            self.complain(version, "belongs to kserve and generate; OpenAI's models have no versions");
        }
        if let (Some(path), true) = (&written.path, protocol == CompletionProtocol::Generate) {
            self.complain(path, "follows from model and version; remove it");
        }
    }

    fn completion_path(&self, written: &written::Mix, protocol: CompletionProtocol, stream: bool) -> String {
        let path = match (&written.path, protocol) {
            (Some(path), CompletionProtocol::OpenAiChat | CompletionProtocol::OpenAiCompletions) => path.value.clone(),
            (None, CompletionProtocol::OpenAiChat) => "/v1/chat/completions".to_owned(),
            (None, CompletionProtocol::OpenAiCompletions) => "/v1/completions".to_owned(),
            (_, CompletionProtocol::Generate) => {
                let model = written.model.as_ref().map_or("", |model| model.value.as_str());
                let version = written.version.as_ref().map(|v| format!("/versions/{}", v.value)).unwrap_or_default();
                format!("/v2/models/{model}{version}/generate{}", if stream { "_stream" } else { "" })
            }
        };
        if !path.starts_with('/') || path.parse::<PathAndQuery>().is_err() {
            let at = written.path.as_ref().or(written.model.as_ref()).map_or(written.here.clone(), Located::unit);
            self.complain(&at, format!("`{path}` is no path; a path begins with `/` and holds no spaces"));
        }
        path
    }

    fn prompt(&self, written: &written::Mix) -> Option<Prompt> {
        let stated = [
            written.prompt.as_ref().map(|prompt| (prompt.unit(), Prompt::Text(prompt.value.clone()))),
            written.prompt_words.as_ref().map(|words| (words.unit(), Prompt::Words(self.words(words)))),
            written.files.first().map(|file| (file.unit(), Prompt::Files(self.files(&written.files)))),
        ];
        let mut stated = stated.into_iter().flatten();
        let first = stated.next();
        for (second, _) in stated {
            self.complain(&second, "write one of prompt, prompt_words and files");
        }
        if first.is_none() {
            let remedy =
                "write prompt = \"Tell me about the sea.\", prompt_words = 200, or files = [\"prompts/*.txt\"]";
            complain_missing(self.problems, &written.here, "prompt", remedy);
        }
        first.map(|(_, prompt)| prompt)
    }

    fn words(&self, words: &Located<i64>) -> u32 {
        if !(1..=MOST_WORDS).contains(&words.value) {
            self.complain(words, format!("write 1 to {MOST_WORDS} words"));
        }
        u32::try_from(words.value).unwrap_or(1)
    }

    fn parameters(&self, written: &written::Mix) -> Map<String, Json> {
        let Some(parameters) = &written.parameters else { return Map::new() };
        match json(&parameters.value) {
            Ok(Json::Object(map)) => {
                let ours = ["model", "prompt", "messages", "stream", "max_tokens", "text_input"];
                for key in ours.iter().filter(|key| map.contains_key(**key)) {
                    let message = format!("`{key}` has a key of its own beside parameters, or follows from others");
                    self.complain(parameters, message);
                }
                map
            }
            Ok(_) => {
                self.complain(parameters, "a table was expected; write parameters = { temperature = 0.0 }");
                Map::new()
            }
            Err(message) => {
                self.complain(parameters, message);
                Map::new()
            }
        }
    }

    /// Complains about the keys of requests for text in an entry that asks for none.
    pub(super) fn refuse_completion_keys(&self, written: &written::Mix) {
        let places = [
            written.prompt.as_ref().map(Located::unit),
            written.prompt_words.as_ref().map(Located::unit),
            written.system.as_ref().map(Located::unit),
            written.max_tokens.as_ref().map(Located::unit),
            written.stream.as_ref().map(Located::unit),
            written.parameters.as_ref().map(Located::unit),
        ];
        for stranger in places.into_iter().flatten() {
            self.complain(
                &stranger,
                "belongs to the protocols openai-chat, openai-completions, generate and generate-stream",
            );
        }
    }
}

/// A value of TOML as JSON.
fn json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::String(text) => Json::from(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => {
            Json::Number(serde_json::Number::from_f64(*number).ok_or_else(|| format!("JSON has no {number}"))?)
        }
        Value::Boolean(value) => Json::from(*value),
        Value::Array(items) => Json::Array(items.iter().map(|item| json(&item.value)).collect::<Result<_, _>>()?),
        Value::Table(fields) => {
            let field = |field: &super::document::Field| Ok::<_, String>((field.key.clone(), json(&field.node.value)?));
            Json::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        Value::Other => return Err("JSON has no dates and no integers beyond 64 bits".to_owned()),
    })
}
