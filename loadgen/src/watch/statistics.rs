//! The inference statistics of a KServe / Triton server as series. Pure.

use proofload_wire::types::StatisticsResponse;

/// Name, labels and value of every count in an answer to `GET v2/models/stats`.
///
/// # Errors
/// When it is no such answer.
pub fn parse(body: &[u8]) -> Result<Vec<(String, String, f64)>, serde_json::Error> {
    let response: StatisticsResponse = serde_json::from_slice(body)?;
    let mut values = Vec::new();
    for model in &response.model_stats {
        let labels = format!("model=\"{}\",version=\"{}\"", escape(&model.name), escape(&model.version));
        let stats = &model.inference_stats;
        let mut put = |name: &str, value: u64| values.push((name.to_owned(), labels.clone(), value as f64));
        put("inference_count", model.inference_count);
        put("execution_count", model.execution_count);
        for (name, duration) in [
            ("success", &stats.success),
            ("fail", &stats.fail),
            ("queue", &stats.queue),
            ("compute_input", &stats.compute_input),
            ("compute_infer", &stats.compute_infer),
            ("compute_output", &stats.compute_output),
            ("cache_hit", &stats.cache_hit),
            ("cache_miss", &stats.cache_miss),
        ] {
            put(&format!("inference_{name}_count"), duration.count);
            put(&format!("inference_{name}_ns"), duration.ns);
        }
    }
    Ok(values)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_carry_their_model() {
        let zero = r#"{"count":0,"ns":0}"#;
        let body = format!(
            r#"{{"model_stats":[{{"name":"m","version":"1","last_inference":5,"inference_count":8,"execution_count":2,
            "inference_stats":{{"success":{{"count":4,"ns":40}},"fail":{zero},"queue":{zero},"compute_input":{zero},
            "compute_infer":{zero},"compute_output":{zero},"cache_hit":{zero},"cache_miss":{zero}}},"batch_stats":[]}}]}}"#
        );
        let values = parse(body.as_bytes()).unwrap();
        let get =
            |name: &str| values.iter().find(|(n, _, _)| n == name).map(|(_, labels, value)| (labels.as_str(), *value));
        assert_eq!(get("inference_success_count"), Some((r#"model="m",version="1""#, 4.0)));
        assert_eq!(get("inference_success_ns"), Some((r#"model="m",version="1""#, 40.0)));
        assert_eq!(get("inference_count"), Some((r#"model="m",version="1""#, 8.0)));
        assert!(parse(b"<html>").is_err());
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
