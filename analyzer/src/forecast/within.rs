//! The series of a long run that are worth a forecast: memory, hit rate, latency, taken together to equal times. Decides which, and
//! how far ahead.

use proofload_anomaly::Recording;
use proofload_run::findings::Forecast;

use super::{Series, forecast};

/// A shorter run says nothing of what comes.
const SHORTEST_S: usize = 1200;
/// Values that a run is cut into: enough for forecasts of the past, and few enough to be quick.
const VALUES: usize = 180;
/// How far ahead, of the run's length.
const AHEAD_SHARE: f64 = 1.0 / 15.0;
/// Warm-up, left out.
const WARM_UP_S: usize = 120;

/// Metrics that are forecast, their words and units, and what their number is multiplied by.
const WANTED: [(&str, &str, &str, f64); 4] = [
    ("server_memory_mib", "memory of the target", "MiB", 1.0),
    ("gpu_memory_mib", "GPU memory", "MiB", 1.0),
    ("cache_hit", "cache hit rate", "%", 100.0),
    ("p95_ms", "latency p95", "ms", 1.0),
];

/// Forecasts of a run's series; none where it is too short.
pub(crate) fn forecasts(recording: &Recording) -> Vec<Forecast> {
    if recording.len() < SHORTEST_S {
        return Vec::new();
    }
    let horizon = (VALUES as f64 * AHEAD_SHARE).round() as usize;
    let wanted = WANTED.iter().filter_map(|wanted| series(recording, wanted));
    wanted.map(|series| forecast(&series, horizon)).collect()
}

fn series(recording: &Recording, (metric, name, unit, scale): &(&str, &str, &str, f64)) -> Option<Series> {
    let at = recording.metrics().iter().position(|known| known.name == *metric)?;
    let values: Vec<f64> = recording.seconds().skip(WARM_UP_S).map(|second| second.values[at] * scale).collect();
    let width = values.len() / VALUES;
    let values: Option<Vec<f64>> = values[values.len() - width * VALUES..].chunks(width).map(mean).collect();
    let start_s = (recording.len() - width * VALUES) as f64;
    Some(Series {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
        // A value stands for the middle of its time.
        start_s: start_s + width as f64 / 2.0,
        step_s: width as f64,
        values: values?,
        period: None,
    })
}

/// Of what was measured; `None` where nothing was.
fn mean(values: &[f64]) -> Option<f64> {
    let measured = values.iter().filter(|value| value.is_finite());
    let (sum, n) = measured.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    (n > 0.0).then_some(sum / n)
}
