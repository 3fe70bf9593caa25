//! Inference: KServe v2, and Triton's generate extension.

use proofload_wire::json_body::JSON_LENGTH;
use proofload_wire::tensor::DataType;
use serde_json::{Value, json};

use super::operation::{Operation, bytes, events, integer, text};
use super::{Schemas, of_a_model};

const TAG: &str = "inference";
const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";
/// What can go wrong with a request that is computed.
const ERRORS: [u16; 6] = [404, 415, 429, 500, 501, 504];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    schemas.define("InferRequest", infer_request());
    schemas.define("InferResponse", infer_response());
    schemas.define("Parameters", parameters());
    of_a_model().into_iter().flat_map(|(prefix, suffix)| of_one(prefix, suffix)).collect()
}

fn of_one(prefix: &str, suffix: &str) -> [Operation; 3] {
    let post = |below: &str, id: &str, summary: &str| {
        let operation = Operation::post(&format!("{prefix}{below}"), TAG, &format!("{id}{suffix}"), summary);
        with_deadline(operation)
            .header("traceparent", text(), json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), TRACE)
            .body_errors()
            .errors(&ERRORS)
    };
    let answer = schema("InferResponse");
    [
        post("/infer", "infer", "Compute")
            .about(INFER)
            .header(JSON_LENGTH, integer(0, u64::from(u32::MAX)), Value::Null, HEADER_LENGTH)
            .body_like(JSON, schema("InferRequest"), true, example())
            .body(BINARY, bytes(), true)
            .answer(200, "The outputs.", JSON, answer)
            .answer(200, "The outputs.", BINARY, bytes())
            .phases(200),
        post("/generate", "generate", "Compute, in plain JSON")
            .about(GENERATE)
            .body_like(JSON, json!({ "type": "object" }), true, generate_example())
            .answer(200, "The outputs by name.", JSON, json!({ "type": "object" }))
            .phases(200),
        post("/generate_stream", "generateStream", "Compute, and stream the responses")
            .about("As generate, with one server-sent event (`data: {…}`) for each response of the model.")
            .body_like(JSON, json!({ "type": "object" }), true, generate_example())
            .answer(200, "An event for each response.", "text/event-stream", events()),
    ]
}

/// A request whose caller may say how long it waits.
pub(super) fn with_deadline(operation: Operation) -> Operation {
    operation.header("x-request-timeout-ms", integer(0, u64::from(u32::MAX)), json!(30_000), DEADLINE)
}

const DEADLINE: &str =
    "After how many milliseconds the caller stops waiting; 0 for never. What is late is not computed.";
const TRACE: &str = "The caller's span (W3C Trace Context); the server's spans are below it.";
const HEADER_LENGTH: &str = "How many bytes of the body are JSON; the tensors follow in binary. 0: all of the body is the \
                             only input.";
const INFER: &str = "Tensors as JSON, or as bytes behind the JSON (`binary_data_size` of an input, and \
                     `binary_data_output` or `binary_data` for the outputs). Requests that wait for the same model are \
                     computed together.";
const GENERATE: &str = "The inputs and parameters by name, values as they are: a scalar or a list for each.";

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn example() -> Value {
    let data: Vec<f64> = (0..16).map(|n| f64::from(n) / 8.0).collect();
    json!({ "inputs": [{ "name": "input", "datatype": "FP32", "shape": [1, 16], "data": data }] })
}

fn generate_example() -> Value {
    let data: Vec<f64> = (0..16).map(|n| f64::from(n) / 8.0).collect();
    json!({ "input": data })
}

fn parameters() -> Value {
    json!({
        "type": "object",
        "description": "Options by name, such as `timeout` (microseconds in the queue), `priority` (1 is the most urgent), \
                        `binary_data_size`, `classification`, `shared_memory_region`.",
        "additionalProperties": { "type": ["boolean", "integer", "number", "string"] },
    })
}

fn tensor(more: &Value, required: &[&str]) -> Value {
    let mut properties = json!({
        "name": { "type": "string" },
        "shape": { "type": "array", "items": { "type": "integer", "minimum": 0 }, "maxItems": 32 },
        "datatype": { "type": "string", "enum": DataType::all().map(DataType::as_str).collect::<Vec<_>>() },
        "parameters": schema("Parameters"),
    });
    if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
        properties.extend(more.clone());
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Values in the order of rows, flat or nested as the shape.
fn data() -> Value {
    json!({ "data": { "type": "array", "description": "Values row by row, flat or nested as the shape is." } })
}

fn infer_request() -> Value {
    let output = json!({
        "type": "object", "required": ["name"],
        "properties": { "name": { "type": "string" }, "parameters": schema("Parameters") },
    });
    json!({
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": { "type": "string" },
            "parameters": schema("Parameters"),
            "inputs": { "type": "array", "items": tensor(&data(), &["name", "shape", "datatype"]) },
            "outputs": { "type": "array", "items": output, "description": "Those that are wanted; all, when none is named." },
        },
    })
}

fn infer_response() -> Value {
    json!({
        "type": "object", "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "id": { "type": "string" },
            "parameters": schema("Parameters"),
            "outputs": { "type": "array", "items": tensor(&data(), &["name", "shape", "datatype"]) },
        },
    })
}
