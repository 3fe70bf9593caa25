//! One operation of the document: what may be sent, what may be answered. A builder of JSON, no more.

use proofload_wire::phases::Phases;
use serde_json::{Map, Value, json};

/// What is said of every error.
const ERRORS: [(u16, &str); 16] = [
    (400, "The request is not right; the message says what would be."),
    (401, "The credentials are missing or wrong."),
    (403, "Not for this caller."),
    (404, "There is no such thing."),
    (408, "The body did not arrive in time."),
    (409, "The state it is in does not allow that."),
    (410, "It was there once, and is kept no more."),
    (413, "The body, or what is in it, is too large."),
    (415, "A body of this type or encoding is not taken."),
    (422, "The file is of a known format, and damaged or not usable."),
    (429, "More than this client's share; `Retry-After` says when to come back."),
    (500, "It failed here. Triton's status also for what cannot be put into the form that was asked for."),
    (501, "The protocol knows it, this server does not do it."),
    (503, "No room now (`Retry-After` says when), not allowed as the server was started, or it is stopping."),
    (504, "The caller's own deadline came first."),
    (507, "The result is larger than may be kept."),
];

/// The named answers that operations refer to.
pub(super) fn error_answers() -> Value {
    let answer = |(status, description): (u16, &str)| {
        let mut answer = json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } },
            "headers": phase_headers(),
        });
        if matches!(status, 429 | 503) {
            answer["headers"]["Retry-After"] =
                json!({ "description": "Whole seconds.", "schema": { "type": "integer", "minimum": 1 } });
        }
        (name(status), answer)
    };
    ERRORS.into_iter().map(answer).collect::<Map<_, _>>().into()
}

fn name(status: u16) -> String {
    format!("Error{status}")
}

/// Headers that say where the time of a request went.
pub(super) fn phase_headers() -> Value {
    let header = |(name, _): (&str, String)| {
        let (about, schema) = match name.strip_prefix("x-proofload-").unwrap_or(name) {
            "batch-size" => ("Size of the batch that it was computed in.", json!({ "type": "integer", "minimum": 0 })),
            "cache" => ("Whether the answer came from a cache.", json!({ "type": "string", "enum": ["hit", "miss"] })),
            _ => ("Nanoseconds that the request spent in this phase.", json!({ "type": "integer", "minimum": 0 })),
        };
        (name.to_owned(), json!({ "description": about, "schema": schema }))
    };
    Phases::default().to_headers().into_iter().map(header).collect::<Map<_, _>>().into()
}

/// An operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    value: Value,
}

/// What stands for something in a path's examples.
fn path_example(name: &str) -> &'static str {
    match name {
        "model" => "tiny_mlp",
        "version" => "1",
        "region" => "example",
        _ => "00000000000000000000000000000000",
    }
}

impl Operation {
    fn new(method: &'static str, path: &str, tag: &str, id: &str, summary: &str) -> Self {
        let named = path.split(['{', '}']).skip(1).step_by(2).map(|name| {
            json!({
                "name": name, "in": "path", "required": true, "example": path_example(name),
                "schema": { "type": "string", "minLength": 1 },
            })
        });
        let parameters: Vec<_> = named.collect();
        let value = json!({
            "operationId": id, "tags": [tag], "summary": summary, "parameters": parameters, "responses": {},
        });
        Self { method, path: path.to_owned(), value }
    }

    /// `GET path`.
    pub(super) fn get(path: &str, tag: &str, id: &str, summary: &str) -> Self {
        Self::new("get", path, tag, id, summary)
    }

    /// `POST path`.
    pub(super) fn post(path: &str, tag: &str, id: &str, summary: &str) -> Self {
        Self::new("post", path, tag, id, summary)
    }

    /// `DELETE path`.
    pub(super) fn delete(path: &str, tag: &str, id: &str, summary: &str) -> Self {
        Self::new("delete", path, tag, id, summary)
    }

    /// With more words.
    pub(super) fn about(mut self, description: &str) -> Self {
        self.value["description"] = description.into();
        self
    }

    /// With a parameter of the query that works with this example.
    pub(super) fn query(self, name: &str, schema: Value, example: Value, description: &str) -> Self {
        self.parameter("query", name, schema, example, description, false)
    }

    /// With a parameter of the query that must be there.
    pub(super) fn needed(self, name: &str, schema: Value, example: Value, description: &str) -> Self {
        self.parameter("query", name, schema, example, description, true)
    }

    /// With a header.
    pub(super) fn header(self, name: &str, schema: Value, example: Value, description: &str) -> Self {
        self.parameter("header", name, schema, example, description, false)
    }

    fn parameter(
        mut self,
        place: &str,
        name: &str,
        schema: Value,
        example: Value,
        description: &str,
        required: bool,
    ) -> Self {
        if let Some(parameters) = self.value["parameters"].as_array_mut() {
            let mut parameter = json!({
                "name": name, "in": place, "required": required, "description": description,
            });
            parameter["schema"] = schema;
            if !example.is_null() {
                parameter["example"] = example;
            }
            parameters.push(parameter);
        }
        self
    }

    /// With a body of this media type; of several when asked several times.
    pub(super) fn body(mut self, media_type: &str, schema: Value, required: bool) -> Self {
        self.value["requestBody"]["required"] = required.into();
        self.value["requestBody"]["content"][media_type]["schema"] = schema;
        self
    }

    /// With a body of this media type that works.
    pub(super) fn body_like(self, media_type: &str, schema: Value, required: bool, example: Value) -> Self {
        let mut with = self.body(media_type, schema, required);
        with.value["requestBody"]["content"][media_type]["example"] = example;
        with
    }

    /// With an answer that has no body.
    pub(super) fn done(mut self, status: u16, description: &str) -> Self {
        self.value["responses"][status.to_string()] = json!({ "description": description });
        self
    }

    /// With an answer of this media type; of several when asked several times.
    pub(super) fn answer(mut self, status: u16, description: &str, media_type: &str, schema: Value) -> Self {
        let answer = &mut self.value["responses"][status.to_string()];
        answer["description"] = description.into();
        answer["content"][media_type]["schema"] = schema;
        self
    }

    /// With headers on the answer of this status.
    pub(super) fn answer_headers(mut self, status: u16, headers: Value) -> Self {
        let answer = &mut self.value["responses"][status.to_string()];
        if let (Value::Object(headers), Value::Object(answer)) = (headers, answer) {
            let known = answer.entry("headers").or_insert_with(|| json!({}));
            known.as_object_mut().into_iter().for_each(|known| known.extend(headers.clone()));
        }
        self
    }

    /// With the headers that say where the time went.
    pub(super) fn phases(self, status: u16) -> Self {
        self.answer_headers(status, phase_headers())
    }

    /// With these errors.
    pub(super) fn errors(mut self, statuses: &[u16]) -> Self {
        for &status in statuses {
            let reference = format!("#/components/responses/{}", name(status));
            self.value["responses"][status.to_string()] = json!({ "$ref": reference });
        }
        self
    }

    /// With the errors of every request whose body is read.
    pub(super) fn body_errors(self) -> Self {
        self.errors(&[400, 408, 413, 503])
    }

    /// The operation as JSON.
    pub(super) fn into_value(self) -> Value {
        self.value
    }
}

/// What bytes are.
pub(super) fn bytes() -> Value {
    json!({ "type": "string", "format": "binary" })
}

/// One server-sent event of a stream.
pub(super) fn events() -> Value {
    json!({
        "description": "Each event of the stream.",
        "type": "object",
        "required": ["data"],
        "properties": { "id": text(), "event": text(), "data": text() },
    })
}

/// A flag.
pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

/// A number within bounds.
pub(super) fn number(least: f64, most: f64) -> Value {
    json!({ "type": "number", "minimum": least, "maximum": most })
}

/// A whole number within bounds.
pub(super) fn integer(least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

/// One of these words.
pub(super) fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// Text.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}
