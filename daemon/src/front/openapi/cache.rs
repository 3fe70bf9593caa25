//! The cache.

use super::Schemas;
use super::operation::Operation;
use crate::front::cache::Document;

const TAG: &str = "cache";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let document = schemas.answer::<Document>();
    let at = |prefix: &str, suffix: &str| {
        let stats = Operation::get(
            &format!("{prefix}/stats"),
            TAG,
            &format!("cacheStatistics{suffix}"),
            "What it holds and saved",
        );
        let clear =
            Operation::post(&format!("{prefix}/clear"), TAG, &format!("clearCache{suffix}"), "Forget what it holds");
        [
            stats.answer(200, "Hits, misses and memory, by layer.", "application/json", document.clone()),
            clear.about("Needs the admin token, where there is one.").done(200, "It is done.").errors(&[400, 501]),
        ]
    };
    [at("/api/v1/cache", ""), at("/api/cache", "Alias")].into_iter().flatten().collect()
}
