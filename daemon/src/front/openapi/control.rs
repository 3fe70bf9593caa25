//! What changes the daemon: models that come and go, shared memory, settings. Only on a daemon that other machines cannot
//! reach, or for whoever may.

use proofload_wire::types::RepositoryIndexEntry;
use serde_json::{Value, json};

use super::Schemas;
use super::operation::Operation;
use crate::front::http::shared_memory::Listed;

const REPOSITORY: &str = "repository";
const MEMORY: &str = "shared memory";
const SETTINGS: &str = "settings";
const JSON: &str = "application/json";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = repository(schemas);
    operations.extend(system_memory(schemas));
    operations.extend(cuda_memory());
    operations.extend(settings());
    operations
}

fn repository(schemas: &mut Schemas) -> Vec<Operation> {
    let index = schemas.answer::<Vec<RepositoryIndexEntry>>();
    let ready = json!({ "type": "object", "properties": { "ready": { "type": "boolean" } } });
    let with =
        |about| json!({ "type": "object", "properties": { "parameters": { "type": "object", "description": about } } });
    let change = |verb: &str, summary| {
        let path = format!("/v2/repository/models/{{model}}/{verb}");
        let operation = Operation::post(&path, REPOSITORY, &format!("{verb}Model"), summary);
        operation.about(EXPLICIT).done(200, "It is done.").body_errors().errors(&[500, 501])
    };
    vec![
        Operation::post("/v2/repository/index", REPOSITORY, "repositoryIndex", "What the repository holds")
            .body_like(JSON, ready, false, json!({ "ready": true }))
            .answer(200, "Every version, its state and why it is in it.", JSON, index)
            .body_errors()
            .errors(&[500]),
        change("load", "Load a model, or load it again").body_like(
            JSON,
            with("`config`: another configuration as JSON; `file:<version>/<name>`: files in base64."),
            false,
            json!({}),
        ),
        change("unload", "Take a model out of service").body_like(
            JSON,
            with("`unload_dependents`: whether models that need it go too."),
            false,
            json!({}),
        ),
    ]
}

const EXPLICIT: &str = "Needs model control `explicit`, without which the answer is 503, as Triton's. A model that is not in \
                        any repository is 500, as Triton's. Requests on their way finish on the version they began with.";

fn system_memory(schemas: &mut Schemas) -> Vec<Operation> {
    let listed = schemas.answer::<Vec<Listed>>();
    let at = |below: &str| format!("/v2/systemsharedmemory{below}");
    let region = json!({
        "type": "object", "required": ["key", "byte_size"],
        "properties": {
            "key": { "type": "string", "description": "Its name under /dev/shm." },
            "offset": { "type": "integer", "minimum": 0 },
            "byte_size": { "type": "integer", "minimum": 0 },
        },
    });
    let example = json!({ "key": "/proofload-example", "offset": 0, "byte_size": 64 });
    let status = |path: String, id, summary| {
        let operation = Operation::get(&path, MEMORY, id, summary);
        operation.answer(200, "The regions.", JSON, listed.clone()).errors(&[400, 404, 501])
    };
    let post = |path: String, id, summary| {
        Operation::post(&path, MEMORY, id, summary).done(200, "It is done.").errors(&[400, 501])
    };
    vec![
        status(at("/status"), "sharedMemoryStatus", "Regions of shared memory"),
        status(at("/region/{region}/status"), "sharedMemoryRegionStatus", "One region of shared memory"),
        post(at("/region/{region}/register"), "registerSharedMemory", "Register a region")
            .about("Needs `server.allow_client_shm`, without which the answer is 501.")
            .body_like(JSON, region, true, example)
            .body_errors(),
        post(at("/region/{region}/unregister"), "unregisterSharedMemory", "Forget a region"),
        post(at("/unregister"), "unregisterAllSharedMemory", "Forget all regions"),
    ]
}

/// There is no CUDA shared memory here, which Triton's clients ask about all the same.
fn cuda_memory() -> Vec<Operation> {
    let at = |below: &str| format!("/v2/cudasharedmemory{below}");
    let none = json!({ "type": "array", "maxItems": 0 });
    let post = |path: String, id, summary| Operation::post(&path, MEMORY, id, summary);
    vec![
        Operation::get(&at("/status"), MEMORY, "cudaSharedMemoryStatus", "Regions of CUDA shared memory: none")
            .answer(200, "None.", JSON, none),
        Operation::get(&at("/region/{region}/status"), MEMORY, "cudaSharedMemoryRegionStatus", "No region is there")
            .errors(&[400, 404]),
        post(at("/region/{region}/register"), "registerCudaSharedMemory", "Not offered").errors(&[501]),
        post(at("/region/{region}/unregister"), "unregisterCudaSharedMemory", "Nothing to forget")
            .done(200, "It is done."),
        post(at("/unregister"), "unregisterAllCudaSharedMemory", "Nothing to forget").done(200, "It is done."),
    ]
}

fn settings() -> Vec<Operation> {
    let trace = json!({
        "type": "object",
        "description": "`trace_level` is a list, all others are text. Null takes back what a model has of its own.",
        "additionalProperties": { "type": ["string", "array", "null"], "items": { "type": "string" } },
    });
    let log = json!({ "type": "object", "additionalProperties": { "type": ["boolean", "integer", "string", "null"] } });
    let both = |path: &str, id: &str, what: &str, schema: &Value, example: Value, errors: &[u16]| {
        let get = Operation::get(path, SETTINGS, id, &format!("The {what}"));
        let set = Operation::post(
            path,
            SETTINGS,
            &format!("set{}{}", id[..1].to_uppercase(), &id[1..]),
            &format!("Change the {what}"),
        );
        [
            get.answer(200, "As they are.", JSON, schema.clone()).errors(errors),
            set.about("What is not named stays as it is; what does nothing here is refused by name (501).")
                .body_like(JSON, schema.clone(), false, example)
                .answer(200, "As they are now.", JSON, schema.clone())
                .errors(errors)
                .body_errors()
                .errors(&[501]),
        ]
    };
    let rate = json!({ "trace_rate": "1000" });
    [
        both("/v2/trace/setting", "traceSettings", "trace settings of the server", &trace, rate.clone(), &[]),
        both(
            "/v2/models/{model}/trace/setting",
            "modelTraceSettings",
            "trace settings of a model",
            &trace,
            rate,
            &[400, 404, 503],
        ),
        both("/v2/logging", "logSettings", "log settings", &log, json!({ "log_verbose_level": 0 }), &[]),
    ]
    .into_iter()
    .flatten()
    .collect()
}
