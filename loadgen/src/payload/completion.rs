//! Requests for text: the bodies of OpenAI's completions and of KServe's `generate`.

use serde_json::{Map, Value, json};

use super::{Escape, Text, TextError};
use crate::plan::mix64;
use crate::scenario::{CompletionProtocol, CompletionSpec};

/// Goes before a prompt that is to be unlike others. At the front, because servers keep the computed beginnings of
/// prompts: two prompts that differ only at their ends share most of the work.
const MARK: &str = "{{content}} ";

/// Common English words, which every tokenizer knows.
const WORDS: [&str; 64] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "thing",
    "world",
    "life",
    "hand",
    "part",
    "child",
    "eye",
    "woman",
    "place",
    "work",
    "week",
    "case",
    "point",
    "company",
    "number",
    "group",
    "problem",
    "fact",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "month",
    "right",
    "study",
    "book",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "city",
    "community",
    "name",
    "team",
    "minute",
    "idea",
    "body",
    "back",
    "parent",
    "face",
    "level",
    "office",
    "door",
    "health",
    "person",
];

/// A prompt of so many words; the same seed gives the same.
pub(super) fn words(count: u32, seed: u64) -> String {
    let word = |n: u32| WORDS[(mix64(seed ^ u64::from(n)) % WORDS.len() as u64) as usize];
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}

/// The body that asks this; `varies` makes each request's prompt begin unlike the others'.
///
/// # Errors
/// When the prompt has a hole of an unknown name.
pub(super) fn body(spec: &CompletionSpec, prompt: &str, varies: bool) -> Result<(Text, Escape), TextError> {
    let prompt = if varies { format!("{MARK}{prompt}") } else { prompt.to_owned() };
    let body = match spec.protocol {
        CompletionProtocol::OpenAiChat => openai(spec, "messages", messages(spec, &prompt)),
        CompletionProtocol::OpenAiCompletions => openai(spec, "prompt", prompt.into()),
        CompletionProtocol::Generate => generate(spec, prompt.into()),
    };
    Ok((Text::parse(&Value::Object(body).to_string(), &[])?, Escape::Json))
}

fn messages(spec: &CompletionSpec, prompt: &str) -> Value {
    let system = spec.system.iter().map(|system| json!({"role": "system", "content": system}));
    system.chain([json!({"role": "user", "content": prompt})]).collect()
}

/// What the scenario states goes last, and so wins.
fn openai(spec: &CompletionSpec, key: &str, asked: Value) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".to_owned(), spec.model.as_str().into());
    body.insert(key.to_owned(), asked);
    body.extend(spec.max_tokens.map(|most| ("max_tokens".to_owned(), most.into())));
    if spec.stream {
        body.insert("stream".to_owned(), true.into());
        // Without it a stream does not say how many tokens it had.
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    body.extend(spec.parameters.clone());
    body
}

fn generate(spec: &CompletionSpec, asked: Value) -> Map<String, Value> {
    let mut parameters = Map::new();
    parameters.extend(spec.max_tokens.map(|most| ("max_tokens".to_owned(), most.into())));
    parameters.extend(spec.parameters.clone());
    let mut body = Map::from_iter([("text_input".to_owned(), asked)]);
    if !parameters.is_empty() {
        body.insert("parameters".to_owned(), parameters.into());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Values;
    use crate::plan::Arrival;
    use crate::scenario::Prompt;

    fn spec(protocol: CompletionProtocol, stream: bool) -> CompletionSpec {
        CompletionSpec {
            protocol,
            stream,
            model: "m".to_owned(),
            path: "/".to_owned(),
            headers: Default::default(),
            prompt: Prompt::Words(3),
            system: Some("Be \"brief\".".to_owned()),
            max_tokens: Some(7),
            parameters: Map::from_iter([("temperature".to_owned(), json!(0.5))]),
        }
    }

    fn filled(spec: &CompletionSpec, prompt: &str, varies: bool, content: u64) -> Value {
        let (text, escape) = body(spec, prompt, varies).unwrap();
        let arrival = Arrival { content, ..Arrival::default() };
        serde_json::from_str(&text.fill(&arrival, 1, &Values { user: 4, carried: Vec::new() }, escape)).unwrap()
    }

    #[test]
    fn bodies_are_what_the_protocols_say() {
        let check = |protocol, stream, expected: Value| {
            assert_eq!(filled(&spec(protocol, stream), "say \"x\" to {{user}}\n", false, 0), expected);
        };
        check(
            CompletionProtocol::OpenAiChat,
            true,
            json!({
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be \"brief\"."},
                    {"role": "user", "content": "say \"x\" to 4\n"}
                ],
                "max_tokens": 7, "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.5
            }),
        );
        check(
            CompletionProtocol::OpenAiCompletions,
            false,
            json!({"model": "m", "prompt": "say \"x\" to 4\n", "max_tokens": 7, "temperature": 0.5}),
        );
        check(
            CompletionProtocol::Generate,
            true,
            json!({"text_input": "say \"x\" to 4\n", "parameters": {"max_tokens": 7, "temperature": 0.5}}),
        );
    }

    #[test]
    fn prompts_that_vary_begin_unlike_each_other() {
        let spec = spec(CompletionProtocol::OpenAiCompletions, true);
        let prompt = |varies, content| filled(&spec, "the same", varies, content)["prompt"].to_string();
        assert_ne!(prompt(true, 1)[..9], prompt(true, 2)[..9]);
        assert_eq!(prompt(true, 1), prompt(true, 1), "the same content is the same prompt");
        assert_eq!(prompt(false, 1), prompt(false, 2));
    }

    #[test]
    fn made_up_prompts_have_their_length_and_repeat() {
        assert_eq!(words(200, 5).split(' ').count(), 200);
        assert_eq!(words(200, 5), words(200, 5));
        assert_ne!(words(200, 5), words(200, 6));
    }
}
