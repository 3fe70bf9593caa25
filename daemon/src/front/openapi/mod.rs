//! The REST part of the daemon as an `OpenAPI` 3.1 document, and the same as a page for people. Answers are described by the
//! types that are serialised; a test holds paths and verbs against the router, and sends every example. What is said over
//! gRPC is in the protocol's own `.proto` files.

mod cache;
mod control;
mod gpu;
mod inference;
mod jobs;
mod models;
mod operation;
mod page;
mod service;
mod studio;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use proofload_wire::types::ErrorBody;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use self::operation::Operation;
use super::credentials;

static TEXT: LazyLock<String> = LazyLock::new(text);
static PAGE: LazyLock<page::Page> = LazyLock::new(|| page::render(&document()));

/// The schemas of what is sent and answered.
struct Schemas {
    answers: SchemaGenerator,
    defined: Map<String, Value>,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let settings = settings.with(|settings| settings.definitions_path = "/components/schemas".into());
        Self { answers: settings.into_generator(), defined: Map::new() }
    }

    /// What a type is serialised to.
    fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// What is read by hand, and described by hand.
    fn define(&mut self, name: &str, schema: Value) {
        self.defined.insert(name.to_owned(), schema);
    }

    fn finish(mut self) -> Value {
        self.defined.extend(self.answers.take_definitions(true));
        self.defined.into()
    }
}

/// The prefixes of what can be said of a model and of one of its versions, and what that adds to the names.
fn of_a_model() -> [(&'static str, &'static str); 2] {
    [("/v2/models/{model}", ""), ("/v2/models/{model}/versions/{version}", "OfVersion")]
}

/// The document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    schemas.answer::<ErrorBody>();
    let parts: [fn(&mut Schemas) -> Vec<Operation>; 8] = [
        service::operations,
        models::operations,
        inference::operations,
        control::operations,
        studio::operations,
        jobs::operations,
        cache::operations,
        gpu::operations,
    ];
    let mut paths = Map::new();
    for operation in parts.iter().flat_map(|part| part(&mut schemas)).map(guarded) {
        let (method, path) = (operation.method, operation.path.clone());
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation.into_value();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "proofload daemon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{ "url": "/" }],
        "security": [{}, { "bearer": [] }, { "key": [] }],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": { "schemas": schemas.finish(), "responses": operation::error_answers(), "securitySchemes": security() },
    })
}

const ABOUT: &str = "Inference over KServe v2 with Triton's extensions, pictures to relief meshes, meshes repaired, long work \
                     as jobs. Every answer says in headers where its time went; every error is a JSON object with the one \
                     member `error`, and names what would be right. The same inference is served over gRPC.";

/// What every operation but those of health answers where the server wants keys, or counts requests.
fn guarded(operation: Operation) -> Operation {
    if operation.path.starts_with("/v2/health/") { operation } else { operation.errors(&[401, 429]) }
}

/// How a caller says who it is, where the server was started with keys.
fn security() -> Value {
    json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "An API key, or the admin token." },
        "key": { "type": "apiKey", "in": "header", "name": credentials::API_KEY, "description": "An API key." },
    })
}

/// The parts of the document, in the order in which somebody wants to read them.
const TAGS: [(&str, &str); 10] = [
    ("inference", "Compute, over KServe v2 and Triton's generate extension."),
    ("models", "What models are, and what they have done."),
    ("studio", "Pictures to relief meshes, and meshes looked at and repaired."),
    ("jobs", "Long work that is taken at once and done behind what somebody waits for."),
    ("cache", "Answers that are kept, so that who asks again gets them at once."),
    ("gpu", "What the GPUs report, or what was recorded of others."),
    ("service", "What this server is, how it is, and what it counts."),
    ("repository", "Models come and go."),
    ("shared memory", "Tensors that are handed over in memory."),
    ("settings", "Traces and logs."),
];

/// The document as text, as it is committed and served.
pub fn text() -> String {
    // Text, numbers and lists: there is nothing that could fail.
    serde_json::to_string_pretty(&document()).unwrap_or_default() + "\n"
}

/// `GET /openapi.json`
pub(super) async fn json() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], TEXT.as_str()).into_response()
}

/// `GET /docs`
pub(super) async fn docs() -> Response {
    let page::Page { html, policy } = &*PAGE;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, html.as_str()).into_response()
}
