//! Models: what they are, whether they serve, what they have done.

use proofload_wire::types::{ModelMetadata, StatisticsResponse};
use serde_json::json;

use super::operation::Operation;
use super::{Schemas, of_a_model};

const TAG: &str = "models";
const JSON: &str = "application/json";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (metadata, statistics) = (schemas.answer::<ModelMetadata>(), schemas.answer::<StatisticsResponse>());
    let mut operations = vec![
        Operation::get("/v2/models/stats", TAG, "statistics", "What all models have done")
            .answer(200, "Counts and times of every version that serves.", JSON, statistics.clone())
            .errors(&[503]),
    ];
    for (prefix, suffix) in of_a_model() {
        let get = |below: &str, id: &str, summary: &str| {
            let operation = Operation::get(&format!("{prefix}{below}"), TAG, &format!("{id}{suffix}"), summary);
            operation.errors(&[400, 404, 503])
        };
        operations.extend([
            get("", "modelMetadata", "What a model takes and gives").answer(
                200,
                "Its inputs, outputs and versions.",
                JSON,
                metadata.clone(),
            ),
            get("/ready", "modelReady", "Whether a model serves").done(200, "It does."),
            get("/config", "modelConfig", "A model's configuration").answer(
                200,
                "Triton's ModelConfig as JSON, with what was completed from the model.",
                JSON,
                json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } }),
            ),
            get("/stats", "modelStatistics", "What a model has done").answer(
                200,
                "Counts and times, those of Triton.",
                JSON,
                statistics.clone(),
            ),
        ]);
    }
    operations
}
