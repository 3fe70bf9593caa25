//! The file `profile.json` beside a model: how long its batches take, what they keep in memory, and how far each precision is
//! off, by engine, on the machine where that was measured. Types and what they say; measuring is `measure`'s affair. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gpu::memory::recommend::{self, Measured, Recommendation, Timed};

/// Its name, in the model's folder.
pub const FILE: &str = "profile.json";
/// The version of the format; another one is not read.
pub const VERSION: u32 = 1;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ModelProfile")]
pub struct Profile {
    /// Version of this format: 1.
    pub format: u32,
    /// The model.
    pub model: String,
    /// Its version.
    pub version: i64,
    /// SHA-256 of its file, in hexadecimal digits: another file is another model.
    pub sha256: String,
    /// When it was measured, in seconds since 1970.
    pub measured_unix_s: u64,
    /// Version of the daemon that measured it.
    pub daemon: String,
    /// Where.
    pub host: Host,
    /// The shapes of the inputs at a batch of one, in the order of the configuration.
    pub shapes: Vec<Vec<i64>>,
    /// The share of the processors' time that others took meanwhile, 0 to 1; absent where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others_busy: Option<f64>,
    /// What was measured, by engine and precision.
    pub curves: Vec<Curve>,
    /// What was not, and why.
    pub left_out: Vec<LeftOut>,
}

/// A machine, as far as it decides how fast a model is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProfileHost")]
pub struct Host {
    /// Its processor.
    pub cpu: String,
    /// Cores that the daemon may use.
    pub cores: usize,
    /// Threads that compute models on the CPU.
    pub compute_threads: usize,
    /// The GPU that models run on, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// What batches of a model take, by one engine in one precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProfileCurve")]
pub struct Curve {
    /// `rten`, `onnxruntime`, `cuda` or another backend.
    pub engine: String,
    /// `fp32`, `fp16` or `int8`. On the CPU `fp32` stands for the types of the model's file.
    pub precision: String,
    /// How far its answers are off those of the first curve in FP32; absent for that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Deviation>,
    /// By batch size, ascending.
    pub points: Vec<Point>,
}

/// How far answers are off those that they are compared with, on the same seeded inputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProfileDeviation")]
pub struct Deviation {
    /// The largest difference, as a share of the largest value.
    pub max_relative: f64,
    /// The root mean square of the differences, as a share of that of the values.
    pub rms_relative: f64,
}

/// A figure with the interval in which its true value lies 19 times out of 20.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProfileInterval")]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// The figure.
    pub value: f64,
    /// Its upper end.
    pub high: f64,
}

/// A batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProfilePoint")]
pub struct Point {
    /// Batch elements; 1 for a model without a batch dimension.
    pub batch: u32,
    /// Executions that it is made of.
    pub executions: usize,
    /// The median time of an execution in milliseconds.
    pub median_ms: Interval,
    /// The 95th percentile in milliseconds; absent of fewer than 100 executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// Batch elements a second, one execution after the other.
    pub per_s: Interval,
    /// On a GPU what the model has of its memory at this batch; on the CPU by how much the process grew at most since
    /// the first. Absent where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// Something that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProfileGap")]
pub struct LeftOut {
    /// Of which engine.
    pub engine: String,
    /// In which precision.
    pub precision: String,
    /// At which batch; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Why.
    pub why: String,
}

impl Profile {
    /// Reads a profile of the model with this digest.
    ///
    /// # Errors
    /// When it is none, or is of another format or of another file; says what to do.
    pub fn read(text: &[u8], sha256: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let again = "measure again with `daemon profile`";
        let wrong = |error: serde_json::Error| format!("it is no profile: {error}; {again}");
        let Format { format } = serde_json::from_slice(text).map_err(wrong)?;
        if format != VERSION {
            return Err(format!("it is of format {format}, and {VERSION} is read; {again}"));
        }
        let profile: Self = serde_json::from_slice(text).map_err(wrong)?;
        if profile.sha256 != sha256 {
            return Err(format!("it was measured of another model file; {again}"));
        }
        Ok(profile)
    }

    /// What holds on a machine for an engine and a precision; nothing that was measured elsewhere.
    pub fn curve(&self, host: &Host, engine: &str, precision: &str) -> Option<&Curve> {
        let processors = self.host.cpu == host.cpu && self.host.cores == host.cores;
        let same = match engine {
            "cuda" => self.host.gpu.is_some() && self.host.gpu == host.gpu,
            _ => processors && self.host.compute_threads == host.compute_threads,
        };
        let wanted = |curve: &&Curve| curve.engine == engine && curve.precision == precision;
        self.curves.iter().find(wanted).filter(|_| same)
    }

    /// In what an engine should compute it.
    pub fn precision(&self, engine: &str) -> Option<Recommendation> {
        let of_engine = self.curves.iter().filter(|curve| curve.engine == engine);
        let measured: Vec<_> = of_engine.filter_map(Curve::measured).collect();
        recommend::precision(&measured)
    }
}

impl Curve {
    /// The batch size that serves most.
    pub fn best(&self) -> Option<&Point> {
        self.points.iter().max_by(|one, other| one.per_s.value.total_cmp(&other.per_s.value))
    }

    /// How long its batches take, in order of size.
    pub fn timed(&self) -> Vec<Timed> {
        let timed = |point: &Point| Timed { batch: point.batch, latency_s: point.median_ms.value / 1e3 };
        self.points.iter().map(timed).collect()
    }

    fn measured(&self) -> Option<Measured> {
        let best = self.best()?;
        Some(Measured {
            precision: self.precision.clone(),
            error: self.error.map(|error| error.max_relative),
            per_s: best.per_s.value,
            memory_bytes: best.memory_bytes.unwrap_or(0),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn interval(value: f64) -> Interval {
        Interval { low: value / 2.0, value, high: value * 2.0 }
    }

    /// A curve with these batches and their times in milliseconds.
    pub(crate) fn curve(engine: &str, precision: &str, error: Option<f64>, points: &[(u32, f64)]) -> Curve {
        let point = |&(batch, ms): &(u32, f64)| Point {
            batch,
            executions: 200,
            median_ms: interval(ms),
            p95_ms: Some(ms * 1.5),
            per_s: interval(f64::from(batch) * 1e3 / ms),
            memory_bytes: Some(u64::from(batch) << 20),
        };
        let error = error.map(|error| Deviation { max_relative: error, rms_relative: error / 10.0 });
        Curve {
            engine: engine.to_owned(),
            precision: precision.to_owned(),
            error,
            points: points.iter().map(point).collect(),
        }
    }

    pub(crate) fn host() -> Host {
        Host { cpu: "C".to_owned(), cores: 4, compute_threads: 3, gpu: Some("G".to_owned()) }
    }

    pub(crate) fn profile(curves: Vec<Curve>) -> Profile {
        Profile {
            format: VERSION,
            model: "m".to_owned(),
            version: 1,
            sha256: "ab".to_owned(),
            measured_unix_s: 1,
            daemon: "1".to_owned(),
            host: host(),
            shapes: vec![vec![1, 3]],
            others_busy: Some(0.01),
            curves,
            left_out: vec![LeftOut {
                engine: "cuda".to_owned(),
                precision: "int8".to_owned(),
                batch: None,
                why: "it cannot".to_owned(),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = profile(vec![curve("rten", "fp32", None, &[(1, 10.0), (2, 16.0)])]);
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(Profile::read(text.as_bytes(), "ab"), Ok(written));
        let check = |text: &str, digest: &str, part: &str| {
            let error = Profile::read(text.as_bytes(), digest).unwrap_err();
            assert!(error.contains(part) && error.contains("daemon profile"), "{error}");
        };
        check(&text, "cd", "another model file");
        check(&text.replace("\"format\":1", "\"format\":2"), "ab", "it is of format 2");
        check("{}", "ab", "missing field `format`");
        check("{\"format\":1}", "ab", "missing field `model`");
    }

    #[test]
    fn only_what_was_measured_here_holds() {
        let both = [curve("rten", "fp32", None, &[(1, 10.0)]), curve("cuda", "fp16", None, &[(1, 1.0)])];
        let profile = profile(both.to_vec());
        let check = |host: Host, engine: &str, precision: &str, expected: bool| {
            assert_eq!(profile.curve(&host, engine, precision).is_some(), expected, "{engine} {precision} {host:?}");
        };
        check(host(), "rten", "fp32", true);
        check(host(), "rten", "fp16", false);
        check(host(), "cuda", "fp16", true);
        check(Host { cores: 2, ..host() }, "rten", "fp32", false);
        check(Host { compute_threads: 1, ..host() }, "rten", "fp32", false);
        check(Host { cores: 2, ..host() }, "cuda", "fp16", true);
        check(Host { gpu: None, ..host() }, "cuda", "fp16", false);
        check(Host { gpu: Some("H".to_owned()), ..host() }, "cuda", "fp16", false);
    }

    #[test]
    fn the_best_batch_and_the_precision_come_from_the_curves() {
        let full = curve("cuda", "fp32", Some(0.0), &[(1, 10.0), (8, 20.0), (16, 60.0)]);
        assert_eq!(full.best().map(|point| point.batch), Some(8));
        assert_eq!(full.timed()[1], Timed { batch: 8, latency_s: 0.02 });
        let half = curve("cuda", "fp16", Some(1e-3), &[(1, 6.0), (8, 10.0)]);
        let measured = profile(vec![full, half]);
        assert_eq!(measured.precision("cuda").map(|found| found.precision), Some("fp16".to_owned()));
        assert_eq!(measured.precision("rten"), None);
    }
}
