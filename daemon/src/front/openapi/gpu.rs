//! The GPUs.

use super::Schemas;
use super::operation::Operation;
use crate::front::gpu::{Document, Outlook};

const TAG: &str = "gpu";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (document, outlook) = (schemas.answer::<Document>(), schemas.answer::<Outlook>());
    let at = |prefix: &str, suffix: &str| {
        let get = |name: &str, id: &str, summary: &str| {
            Operation::get(&format!("{prefix}/{name}"), TAG, &format!("{id}{suffix}"), summary)
        };
        [
            get("stats", "gpuStatistics", "What the GPUs report").about(STATISTICS).answer(
                200,
                "Every device, or none and why.",
                "application/json",
                document.clone(),
            ),
            get("profile", "gpuProfile", "Whose the GPUs' memory is, and when it will be used up")
                .about(PROFILE)
                .answer(200, "Every device, or none and why.", "application/json", outlook.clone()),
        ]
    };
    [at("/api/v1/gpu", ""), at("/api/gpu", "Alias")].into_iter().flatten().collect()
}

const STATISTICS: &str = "The last reading of each device, and what the last minute came to. A replay says so in `source` \
                          and in the name of every device. `managed_memory` is what models have of it.";
const PROFILE: &str = "Of each device, the budget of its memory, what is used of it, and whether it grows: by the slope of \
                       Theil and Sen through the minima of the last ten minutes, with its 90 % interval and the time that \
                       is left until the budget is used up. `managed` says of the GPU that models run on what they have \
                       of it, by model, instance and class, how its pool is divided, what was given back and why, and which \
                       models were not taken; `models` what `daemon profile` has measured, and in which batches and in what \
                       they should compute.";
