//! The GPUs.

use super::Schemas;
use super::operation::Operation;
use crate::front::gpu::Document;

const TAG: &str = "gpu";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let document = schemas.answer::<Document>();
    let at = |prefix: &str, suffix: &str| {
        let path = format!("{prefix}/stats");
        Operation::get(&path, TAG, &format!("gpuStatistics{suffix}"), "What the GPUs report")
            .about("The last reading of each device, and what the last minute came to. A replay says so in `source` and in the name of every device.")
            .answer(200, "Every device, or none and why.", "application/json", document.clone())
    };
    vec![at("/api/v1/gpu", ""), at("/api/gpu", "Alias")]
}
