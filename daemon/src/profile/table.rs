//! What was measured, as lines for people. Pure.

use super::file::{Curve, Interval, Point, Profile};

/// Above what others took the columns.
pub(super) const HEAD: &str = "engine       precision  batch  executions    median ms (95 %)           p95 ms     elements/s (95 %)          memory";

/// A batch size of an executor.
pub(super) fn row(engine: &str, precision: &str, point: &Point) -> String {
    let interval = |interval: Interval| {
        format!("{} ({} to {})", figure(interval.value), figure(interval.low), figure(interval.high))
    };
    let p95 = point.p95_ms.map_or_else(|| "-".to_owned(), figure);
    let memory =
        point.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0));
    format!(
        "{engine:<12} {precision:<10} {:>5} {:>11}    {:<25}  {p95:<9}  {:<25}  {memory}",
        point.batch,
        point.executions,
        interval(point.median_ms),
        interval(point.per_s),
    )
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        1.0..10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// What follows from it, and what was left out.
pub(super) fn conclusions(profile: &Profile) -> Vec<String> {
    let mut lines: Vec<String> = profile.curves.iter().filter_map(best).collect();
    lines.extend(profile.curves.iter().filter_map(error));
    let engines: std::collections::BTreeSet<&str> = profile.curves.iter().map(|curve| curve.engine.as_str()).collect();
    for engine in engines {
        let several = profile.curves.iter().filter(|curve| curve.engine == engine).count() > 1;
        let advice = profile.precision(engine).filter(|_| several);
        lines.extend(advice.map(|advice| format!("{engine}: {} is recommended: {}", advice.precision, advice.reason)));
    }
    for gap in &profile.left_out {
        let at = gap.batch.map_or_else(String::new, |batch| format!(" at batch {batch}"));
        lines.push(format!("not measured: {} in {}{at}: {}", gap.engine, gap.precision, gap.why));
    }
    let busy = profile.others_busy.filter(|share| *share > super::BUSY);
    lines.extend(busy.map(|share| {
        format!(
            "WARNING: others took {:.0} % of the processors meanwhile: measure again on a quiet machine",
            share * 100.0
        )
    }));
    lines
}

fn best(curve: &Curve) -> Option<String> {
    let point = curve.best()?;
    let (engine, precision) = (&curve.engine, &curve.precision);
    Some(format!("{engine} in {precision}: batch {} serves most, {}/s", point.batch, figure(point.per_s.value)))
}

fn error(curve: &Curve) -> Option<String> {
    let error = curve.error?;
    let (engine, precision) = (&curve.engine, &curve.precision);
    Some(format!(
        "{engine} in {precision}: off the first curve by {:.1e} of the largest value at most, {:.1e} in the root mean square",
        error.max_relative, error.rms_relative
    ))
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::{curve, profile};
    use super::*;

    #[test]
    fn rows_stand_under_their_heads() {
        let curve = curve("onnxruntime", "fp32", None, &[(16, 12.5)]);
        let row = row("onnxruntime", "fp32", &curve.points[0]);
        let column = |name: &str| HEAD.find(name).expect(name);
        assert_eq!(row.find("fp32"), Some(column("precision")), "{row}");
        assert_eq!(row.find("12.5 (6.25 to 25.0)"), Some(column("median")), "{row}");
        assert_eq!(row.find("18.8 "), Some(column("p95")), "{row}");
        assert_eq!(row.find("1280 (640 to 2560)"), Some(column("elements/s")), "{row}");
        assert_eq!(row.find("16.0 MiB"), Some(column("memory")), "{row}");
    }

    #[test]
    fn conclusions_say_what_follows_and_what_is_missing() {
        let mut profile = profile(vec![
            curve("rten", "fp32", None, &[(1, 10.0), (4, 20.0)]),
            curve("cuda", "fp32", Some(1e-5), &[(1, 1.0)]),
            curve("cuda", "fp16", Some(2e-3), &[(1, 0.5)]),
        ]);
        profile.others_busy = Some(0.5);
        let lines = conclusions(&profile).join("\n");
        for part in [
            "rten in fp32: batch 4 serves most, 200/s",
            "cuda in fp16: off the first curve by 2.0e-3",
            "cuda: fp16 is recommended: 2.00 times as fast",
            "not measured: cuda in int8: it cannot",
            "WARNING: others took 50 %",
        ] {
            assert!(lines.contains(part), "{part} in\n{lines}");
        }
        assert!(!lines.contains("rten: fp32 is recommended"), "there is nothing to choose:\n{lines}");
    }
}
