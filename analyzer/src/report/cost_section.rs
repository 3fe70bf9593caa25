//! The section on what requests cost: the price, the figures, and each one's formula with the numbers put in.

use proofload_run::findings::{Cost, CostFigure, Findings, PricedMachine};
use proofload_run::units::digits;

use super::format::{count, number, percent};
use super::page::sentence;
use super::sections::Section;
use super::tables::{Cell, Table, head, num, text};

/// A price or such: its digits where it is small, grouped where it is large.
fn figure_of(value: f64) -> String {
    if value.abs() >= 1000.0 { number(value) } else { digits(value).replace('-', "−") }
}

/// Empty where nothing can be priced or said.
pub(super) fn cost(findings: &Findings) -> Section {
    let Some(found) = &findings.cost else { return Section::new("cost", "Cost", [], []) };
    let tables = [figures(found), formulas(found), machine(found), computing(found), missing(found)];
    Section { note: sentence(&found.sentence), ..Section::new("cost", "Cost", [], tables) }
}

fn figures(found: &Cost) -> Table {
    let row = |figure: &CostFigure| {
        let interval = figure
            .interval
            .map_or_else(|| "–".to_owned(), |[low, high]| format!("{} to {}", figure_of(low), figure_of(high)));
        vec![
            text(sentence(&figure.name)),
            num(figure_of(figure.value)),
            text(figure.unit.clone()),
            num(interval),
            num(count(figure.n)),
            text(figure.note.clone()),
        ]
    };
    Table {
        title: "What it costs",
        note: format!(
            "Over {}. Intervals are those of what was measured, not of the price: where that is another, the figures change in \
             proportion.",
            found.measured.over
        ),
        head: head(&["What", "#Figure", "Unit", "#Interval", "#n", "Note"]),
        rows: found.figures.iter().map(row).collect(),
    }
}

fn formulas(found: &Cost) -> Table {
    let row = |figure: &CostFigure| {
        vec![
            text(sentence(&figure.name)),
            text(figure.formula.clone()),
            text(format!("{} = {} {}", figure.numbers, figure_of(figure.value), figure.unit)),
        ]
    };
    Table {
        title: "How it was computed",
        note: String::new(),
        head: head(&["What", "Formula", "With the numbers"]),
        rows: found.figures.iter().filter(|figure| !figure.formula.is_empty()).map(row).collect(),
    }
}

fn machine(found: &Cost) -> Table {
    Table {
        title: "What is paid",
        note: "Ballpark prices unless you give yours: --prices FILE, --machine NAME.".to_owned(),
        head: head(&["What", "Figure"]),
        rows: found.machine.as_ref().map_or_else(Vec::new, paid),
    }
}

fn paid(machine: &PricedMachine) -> Vec<Vec<Cell>> {
    let currency = &machine.currency;
    let unit = format!("{} {currency} / {} and hour", figure_of(machine.unit_per_hour), machine.unit.as_str());
    let range = machine.unit_range_per_hour.map(|[low, high]| {
        let factors = [low, high].map(|end| figure_of(end / machine.unit_per_hour));
        format!("{} to {} {currency}: all prices × {} to × {}", figure_of(low), figure_of(high), factors[0], factors[1])
    });
    let rows = [
        ("machine", Some(machine.name.clone())),
        ("known by", Some(machine.known_by.clone())),
        ("price", Some(unit)),
        ("range of prices", range),
        ("units of a machine", Some(figure_of(machine.units))),
        ("machines", Some(count(u64::from(machine.replicas)))),
        ("all of them", Some(format!("{} {currency} / h", figure_of(machine.per_hour)))),
        ("seen on", Some(machine.date.clone())),
        ("source", Some(machine.source.clone())),
    ];
    rows.into_iter().filter_map(|(what, figure)| Some(vec![text(what), text(figure?)])).collect()
}

fn computing(found: &Cost) -> Table {
    let rows = found.measured.computing.map_or_else(Vec::new, |computing| {
        let ms = |seconds: f64| format!("{} ms", figure_of(seconds * 1e3));
        let per = computing.per_success_s;
        let interval = per.interval.map_or_else(String::new, |[low, high]| {
            format!(" ({} to {})", figure_of(low * 1e3), figure_of(high * 1e3))
        });
        let mut rows = vec![("of a success".to_owned(), format!("{}{interval}, n = {}", ms(per.value), count(per.n)))];
        rows.extend(computing.per_miss_s.map(|seconds| ("of one that was computed".to_owned(), ms(seconds))));
        if computing.hit_share > 0.0 {
            rows.push(("answers from the cache".to_owned(), percent(computing.hit_share)));
            rows.push(("saved by them".to_owned(), percent(computing.saved_share)));
        }
        rows.into_iter().map(|(what, figure)| vec![text(what), num(figure)]).collect()
    });
    Table {
        title: "Time of computing",
        note: "By what the answers state; a batch's time is shared by its requests.".to_owned(),
        head: head(&["What", "#Figure"]),
        rows,
    }
}

fn missing(found: &Cost) -> Table {
    Table {
        title: "What is not said",
        note: String::new(),
        head: head(&["And what would have to be given for it"]),
        rows: found.missing.iter().map(|missing| vec![text(sentence(missing))]).collect(),
    }
}
