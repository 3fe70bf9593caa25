//! How a simulated model is declared: the `parameters` of its configuration. Pure.

use std::collections::BTreeMap;

use proofload_wire::grpc::inference::ModelParameter;

use super::SimulatedSpec;
use super::faults::FaultSpec;
use super::service_time::{ServiceTimeSpec, Spread};
use crate::repository::scheduling::OF_ANY_MODEL;

/// `constant` (the default), `exponential` or `lognormal`.
const SERVICE_TIME: &str = "service_time";
/// Mean time of an execution beside its elements, in milliseconds. The only one that must be given.
const MEAN_MS: &str = "mean_ms";
/// What every batch element adds to it, in milliseconds; 0 by default.
const PER_ELEMENT_MS: &str = "per_element_ms";
/// Standard deviation over mean; for `lognormal` only, which needs it.
const CV: &str = "cv";
/// Seed of the times; 0 by default.
const SEED: &str = "seed";
/// Bytes of the GPU's memory that every execution leaves behind, where models run on one; 0 by default.
const LEAK_GPU_BYTES: &str = "leak_gpu_bytes";
/// Bytes of the host's memory that every execution leaves behind; 0 by default.
const LEAK_BYTES: &str = "leak_bytes";
/// Of the executions, the share that fails, from 0 to 1; 0 by default.
const FAIL_SHARE: &str = "fail_share";
/// More than this an execution does not leave behind.
const MOST_LEAK_BYTES: f64 = 1e9;

/// Reads a declaration. All mistakes are given at once.
///
/// # Errors
/// One message for each mistake.
pub fn read(parameters: &BTreeMap<String, ModelParameter>) -> Result<SimulatedSpec, Vec<String>> {
    let mut errors = unknown(parameters);
    let text = |key: &str| parameters.get(key).map(|parameter| parameter.string_value.as_str());
    let mut number = |key: &str, default: Option<f64>| match (text(key), default) {
        (None, Some(default)) => default,
        (Some(text), _) => text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0).unwrap_or_else(|| {
            errors.push(format!("parameter '{key}' must be a number of 0 or more, not '{text}'"));
            0.0
        }),
        (None, None) => {
            errors.push(format!("parameter '{key}' is missing"));
            0.0
        }
    };
    let base_s = number(MEAN_MS, None) / 1000.0;
    let per_element_s = number(PER_ELEMENT_MS, Some(0.0)) / 1000.0;
    let cv = number(CV, Some(0.0));
    let (fail_share, leak_bytes) = (number(FAIL_SHARE, Some(0.0)), number(LEAK_BYTES, Some(0.0)));
    if fail_share > 1.0 {
        errors.push(format!("parameter '{FAIL_SHARE}' is a share, from 0 to 1, not {fail_share}"));
    }
    if leak_bytes > MOST_LEAK_BYTES {
        errors.push(format!("parameter '{LEAK_BYTES}' must be {MOST_LEAK_BYTES} at most, not {leak_bytes}"));
    }
    let faults = FaultSpec { fail_share, leak_bytes: leak_bytes as usize };
    let spread = spread(text(SERVICE_TIME), text(CV).map(|_| cv)).map_err(|what| errors.push(what));
    let seed = text(SEED).map_or(Ok(0), str::parse);
    let seed = seed.map_err(|_| errors.push(format!("parameter '{SEED}' must be a whole number of 0 or more")));
    let leak = text(LEAK_GPU_BYTES).map_or(Ok(0), str::parse);
    let leak =
        leak.map_err(|_| errors.push(format!("parameter '{LEAK_GPU_BYTES}' must be a whole number of 0 or more")));
    match (spread, seed, leak) {
        (Ok(spread), Ok(seed), Ok(leak_gpu_bytes)) if errors.is_empty() => {
            let service_time = ServiceTimeSpec { base_s, per_element_s, spread };
            Ok(SimulatedSpec { service_time, seed, leak_gpu_bytes, faults })
        }
        _ => Err(errors),
    }
}

fn unknown(parameters: &BTreeMap<String, ModelParameter>) -> Vec<String> {
    let known = [SERVICE_TIME, MEAN_MS, PER_ELEMENT_MS, CV, SEED, LEAK_GPU_BYTES, LEAK_BYTES, FAIL_SHARE];
    let unknown =
        parameters.keys().filter(|key| !known.contains(&key.as_str()) && !OF_ANY_MODEL.contains(&key.as_str()));
    unknown.map(|key| format!("unknown parameter '{key}'; known are {}", known.join(", "))).collect()
}

fn spread(name: Option<&str>, cv: Option<f64>) -> Result<Spread, String> {
    let without_cv = |spread, name| match cv {
        None => Ok(spread),
        Some(_) => Err(format!("parameter '{CV}' has no meaning for the service time '{name}'")),
    };
    match name {
        None | Some("constant") => without_cv(Spread::Constant, "constant"),
        Some("exponential") => without_cv(Spread::Exponential, "exponential"),
        Some("lognormal") => match cv {
            Some(cv) if cv > 0.0 => Ok(Spread::Lognormal { cv }),
            _ => Err(format!("the service time 'lognormal' needs the parameter '{CV}', above 0")),
        },
        Some(other) => {
            Err(format!("parameter '{SERVICE_TIME}' must be constant, exponential or lognormal, not '{other}'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &[(&str, &str)], expected: Result<(f64, f64, Spread, u64), &[&str]>) {
        let parameter =
            |(key, value): &(&str, &str)| ((*key).to_owned(), ModelParameter { string_value: (*value).to_owned() });
        match (read(&written.iter().map(parameter).collect()), expected) {
            (
                Ok(SimulatedSpec { service_time, seed, leak_gpu_bytes: 0, faults: _ }),
                Ok((base_s, per_element_s, spread, expected_seed)),
            ) => {
                assert_eq!(service_time, ServiceTimeSpec { base_s, per_element_s, spread }, "{written:?}");
                assert_eq!(seed, expected_seed, "{written:?}");
            }
            (Err(errors), Err(parts)) => {
                assert_eq!(errors.len(), parts.len(), "{errors:?}");
                assert!(errors.iter().zip(parts).all(|(error, part)| error.contains(part)), "{errors:?}");
            }
            (got, expected) => panic!("{written:?}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn declarations() {
        check(&[("mean_ms", "10")], Ok((0.01, 0.0, Spread::Constant, 0)));
        let lognormal =
            [("service_time", "lognormal"), ("mean_ms", "2"), ("cv", "0.5"), ("per_element_ms", "1"), ("seed", "7")];
        check(&lognormal, Ok((0.002, 0.001, Spread::Lognormal { cv: 0.5 }, 7)));
        check(&[("mean_ms", "1"), ("service_time", "exponential")], Ok((0.001, 0.0, Spread::Exponential, 0)));
        check(&[], Err(&["'mean_ms' is missing"]));
        check(&[("mean_ms", "-1"), ("sede", "1")], Err(&["unknown parameter 'sede'", "0 or more, not '-1'"]));
        check(&[("mean_ms", "1"), ("cv", "1")], Err(&["no meaning for the service time 'constant'"]));
        check(&[("mean_ms", "1"), ("service_time", "lognormal")], Err(&["needs the parameter 'cv'"]));
        check(&[("mean_ms", "1"), ("service_time", "normal"), ("seed", "x")], Err(&["not 'normal'", "'seed' must be"]));
        check(&[("mean_ms", "1"), ("leak_gpu_bytes", "-1")], Err(&["'leak_gpu_bytes' must be a whole number"]));
        check(&[("mean_ms", "1"), ("fail_share", "1.5")], Err(&["'fail_share' is a share, from 0 to 1, not 1.5"]));
        check(&[("mean_ms", "1"), ("leak_bytes", "1e12")], Err(&["'leak_bytes' must be 1000000000 at most"]));
    }

    #[test]
    fn faults_are_declared() {
        let parameters = [("mean_ms", "1"), ("fail_share", "0.25"), ("leak_bytes", "4096")];
        let parameter =
            |(key, value): (&str, &str)| (key.to_owned(), ModelParameter { string_value: value.to_owned() });
        let spec = read(&parameters.map(parameter).into()).unwrap();
        assert_eq!(spec.faults, FaultSpec { fail_share: 0.25, leak_bytes: 4096 });
    }
}
