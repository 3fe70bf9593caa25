//! The service itself: what it is, how it is, what it counts, and this document.

use proofload_wire::types::ServerMetadata;

use super::Schemas;
use super::operation::{Operation, text};

const TAG: &str = "service";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let metadata = schemas.answer::<ServerMetadata>();
    let server = |path, id| {
        Operation::get(path, TAG, id, "What this server is").answer(
            200,
            "Name, version and the extensions of the protocol that it implements.",
            "application/json",
            metadata.clone(),
        )
    };
    let health = |path, id, summary, description: &str| {
        Operation::get(path, TAG, id, summary).done(200, description).done(400, "It is not.")
    };
    vec![
        server("/v2", "serverMetadata"),
        server("/v2/", "serverMetadataSlash"),
        health("/v2/health/live", "live", "Whether the process works", "It works."),
        health(
            "/v2/health/ready",
            "ready",
            "Whether requests are welcome",
            "They are. Not any more once it is stopping.",
        ),
        Operation::get("/metrics", TAG, "metrics", "Everything that is counted").answer(
            200,
            "Metrics in the OpenMetrics text format.",
            "application/openmetrics-text",
            text(),
        ),
        Operation::get("/openapi.json", TAG, "openapi", "This document").answer(
            200,
            "OpenAPI 3.1.",
            "application/json",
            serde_json::json!({ "type": "object" }),
        ),
        Operation::get("/docs", TAG, "docs", "This document as a page").answer(200, "A page.", "text/html", text()),
    ]
}
