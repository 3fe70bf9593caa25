//! The section on where a long run's figures are going, with what such forecasts were worth beside each.

use proofload_run::findings::{Ahead, Findings, Forecast};

use super::chart::{Axis, Chart, Ink, Mark, Series};
use super::format::{count, duration, number};
use super::page::sentence;
use super::sections::Section;
use super::tables::{Cell, Table, head, num, text};

/// Empty of a run that is too short.
pub(super) fn forecast(findings: &Findings) -> Section {
    let charts = findings.forecasts.iter().filter(|found| found.offered).map(|found| Some(chart(found)));
    let note = "A forecast is offered where it did surely better than saying that the last value stays. 1 − MAPE stands beside it because \
                people ask for it: where a figure hardly changes it is near 100 % for a forecast that says nothing.";
    Section {
        note: note.to_owned(),
        ..Section::new("forecast", "Where it is going", charts, [table(&findings.forecasts)])
    }
}

fn table(found: &[Forecast]) -> Table {
    Table {
        title: "Forecasts, and what they were worth",
        note: "Skill is 1 − mean error / mean error of the last value, over forecasts made from earlier points of the run, with 95 % \
               intervals; those of the forecasts are 90 %, by these errors."
            .to_owned(),
        head: head(&["What", "#Now", "#Then", "#90 % interval", "In", "By", "#Skill", "#Its interval", "#1 − MAPE", "#n", "Offered"]),
        rows: found.iter().map(row).collect(),
    }
}

fn row(found: &Forecast) -> Vec<Cell> {
    let dash = || "–".to_owned();
    let end: Option<&Ahead> = found.ahead.last().filter(|_| found.offered);
    let range = |ends: [f64; 2]| format!("{} to {}", number(ends[0]), number(ends[1]));
    let percent = |share: Option<f64>| share.map_or_else(dash, |share| format!("{} %", number(share * 100.0)));
    let skill = found.skill;
    let now = found.history.last().map_or_else(dash, |(_, value)| number(*value));
    let mape = skill.map_or_else(dash, |skill| {
        format!("{} (last value {})", percent(skill.one_minus_mape), percent(skill.one_minus_mape_of_last))
    });
    vec![
        text(format!("{}, {}", sentence(&found.name), found.unit)),
        num(now),
        num(end.map_or_else(dash, |end| number(end.value))),
        num(end.and_then(|end| end.interval).map_or_else(dash, range)),
        text(duration(found.step_s * found.ahead.len() as f64 * 1e9)),
        text(if found.method.is_empty() { dash() } else { found.method.clone() }),
        num(skill.map_or_else(dash, |skill| number(skill.value))),
        num(skill.map_or_else(dash, |skill| range(skill.interval))),
        num(mape),
        num(skill.map_or_else(dash, |skill| count(skill.origins))),
        text(match (found.offered, skill) {
            (true, _) => "yes".to_owned(),
            (false, Some(_)) => "no: not surely better than the last value".to_owned(),
            (false, None) => "no: too little data, or no change".to_owned(),
        }),
    ]
}

fn chart(found: &Forecast) -> Chart {
    let minutes = |t_s: f64| t_s / 60.0;
    let points = |values: Vec<(f64, f64)>| values.into_iter().map(|(t, value)| (minutes(t), Some(value))).collect();
    let ends = || found.ahead.iter().filter_map(|ahead| Some((ahead.t_s, ahead.interval?)));
    let all = found.history.iter().map(|point| point.1).chain(ends().flat_map(|(_, interval)| interval));
    let (low, high) =
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let margin = ((high - low) * 0.05).max(high.abs() * 1e-3);
    let first = found.history.first().map_or(0.0, |point| minutes(point.0));
    let last = found.ahead.last().map_or(first, |ahead| minutes(ahead.t_s));
    let (x, y) = (Axis::range("time, min", first, last), Axis::range("", (low - margin).max(0.0), high + margin));
    let mut chart = Chart::new(
        &format!("{}, {}", sentence(&found.name), found.unit),
        "What was, and what is forecast with its 90 % interval.",
        x,
        y,
    );
    let ahead =
        |of: fn(&Ahead) -> Option<f64>| found.ahead.iter().filter_map(|a| Some((a.t_s, of(a)?))).collect::<Vec<_>>();
    chart.series = vec![
        Series::new("measured", Ink::Blue, Mark::Line, points(found.history.clone())),
        Series::new("forecast", Ink::Violet, Mark::Line, points(ahead(|a| Some(a.value)))),
        Series::new("90 % interval", Ink::Slate, Mark::Dashed, points(ahead(|a| Some(a.interval?[0])))),
        Series::new("", Ink::Slate, Mark::Dashed, points(ahead(|a| Some(a.interval?[1])))),
    ];
    chart.summary = sentence(&found.sentence);
    chart
}
