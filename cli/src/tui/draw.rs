//! How the live view looks, at any size of terminal. Pure: a view in, cells out.

use std::collections::VecDeque;

use proofload_loadgen::progress::Standing;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Gauge, Paragraph, Sparkline};

use super::view::View;

/// Width of the words at the left.
const LABEL: usize = 11;
/// Width of a threshold's state, and of its figure, the widest of which is a share within the bound.
const STATE: usize = 10;
const FIGURE: usize = 13;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let spark = match area.height {
        0..16 => 0,
        16..22 => 1,
        22..32 => 2,
        _ => 4,
    };
    let thresholds = thresholds(view);
    let gap = u16::from(area.height >= 22);
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(gap),
        Constraint::Length(1),
        Constraint::Length(spark),
        Constraint::Length(1),
        Constraint::Length(spark),
        Constraint::Length(2),
        Constraint::Length(gap),
        Constraint::Length(thresholds.len() as u16),
        Constraint::Length(gap),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .split(area);
    frame.render_widget(title(view), rows[0]);
    frame.render_widget(progress(view), rows[1]);
    frame.render_widget(rate(view), rows[3]);
    history(frame, rows[4], &view.rates, Color::Cyan);
    frame.render_widget(latency(view), rows[5]);
    history(frame, rows[6], &view.p95_us, Color::Yellow);
    frame.render_widget(Paragraph::new(vec![requests(view), failures(view)]), rows[7]);
    frame.render_widget(Paragraph::new(thresholds), rows[9]);
    frame.render_widget(events(view, rows[11].height), rows[11]);
    frame.render_widget(keys(view), rows[12]);
}

fn label(text: &str) -> Span<'static> {
    Span::styled(format!("{text:<LABEL$}"), Style::new().add_modifier(Modifier::BOLD))
}

fn title(view: &View) -> Line<'static> {
    let snapshot = &view.snapshot;
    let now = match (snapshot.step, view.is_open) {
        (Some(_), true) => format!("{} at {}/s", snapshot.step_name, significant(snapshot.level)),
        (Some(_), false) => format!("{} at {} users", snapshot.step_name, significant(snapshot.level)),
        (None, _) if snapshot.elapsed_ns == 0 => "connecting".to_owned(),
        (None, _) => "draining".to_owned(),
    };
    Line::from(vec![label(&view.name), Span::raw(format!(" {now}"))])
}

fn progress(view: &View) -> Gauge<'static> {
    let snapshot = &view.snapshot;
    let done = if snapshot.total_ns == 0 { 0.0 } else { snapshot.elapsed_ns as f64 / snapshot.total_ns as f64 };
    // Of whole seconds, so that both make up the whole.
    let left = snapshot.total_ns.saturating_sub(snapshot.elapsed_ns / NS_PER_S * NS_PER_S);
    let text = format!("{} of {} · {} left", clock(snapshot.elapsed_ns), clock(snapshot.total_ns), clock(left));
    Gauge::default().ratio(done.clamp(0.0, 1.0)).label(text).gauge_style(Style::new().fg(Color::Blue).bg(Color::Black))
}

/// Whole seconds as `1:02:03`, `2:03` or `3 s`.
fn clock(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

fn rate(view: &View) -> Line<'static> {
    let snapshot = &view.snapshot;
    let finished = format!("finished {}/s", significant(snapshot.finished_per_s));
    let intended = if view.is_open { format!("intended {}/s · ", significant(snapshot.level)) } else { String::new() };
    let late =
        snapshot.late_p99_ns.map_or(String::new(), |ns| format!(" · late {} (p99)", format_duration_ns(ns as f64)));
    let top =
        top(&view.rates).map_or(String::new(), |tenths| format!(" · drawn to {}/s", significant(tenths as f64 / 10.0)));
    Line::from(vec![label("rate"), Span::raw(format!("{intended}{finished}{late}")), Span::raw(top).dim()])
}

fn latency(view: &View) -> Line<'static> {
    let shown = |name: &str, ns: Option<u64>| {
        format!("{name} {}", ns.map_or_else(|| "–".to_owned(), |ns| format_duration_ns(ns as f64)))
    };
    let snapshot = &view.snapshot;
    let figures = [shown("p50", snapshot.p50_ns), shown("p95", snapshot.p95_ns), shown("p99", snapshot.p99_ns)];
    let top = top(&view.p95_us)
        .map_or(String::new(), |us| format!(" · p95 drawn to {}", format_duration_ns(us as f64 * 1e3)));
    Line::from(vec![label("latency"), Span::raw(figures.join(" · ")), Span::raw(top).dim()])
}

/// What the highest bar of a history stands for.
fn top(values: &VecDeque<u64>) -> Option<u64> {
    values.iter().max().copied().filter(|top| *top > 0)
}

fn history(frame: &mut Frame<'_>, area: Rect, values: &VecDeque<u64>, color: Color) {
    let area = Rect { x: area.x + LABEL as u16, width: area.width.saturating_sub(LABEL as u16), ..area };
    let shown: Vec<u64> = values.iter().skip(values.len().saturating_sub(usize::from(area.width))).copied().collect();
    frame.render_widget(Sparkline::default().data(shown).style(Style::new().fg(color)), area);
}

fn requests(view: &View) -> Line<'static> {
    let snapshot = &view.snapshot;
    let waiting = if snapshot.backlog > 0 { format!(" (+{} waiting)", snapshot.backlog) } else { String::new() };
    Line::from(vec![
        label("requests"),
        Span::raw(format!("{} ok · ", snapshot.ok)),
        counted(snapshot.errors, "errors", Color::Red),
        counted(snapshot.sheds, "sheds", Color::Yellow),
        Span::raw(format!("{} in flight{waiting}", snapshot.in_flight)),
    ])
}

fn counted(count: u64, what: &str, color: Color) -> Span<'static> {
    let text = Span::raw(format!("{count} {what} · "));
    if count > 0 { text.fg(color) } else { text }
}

fn failures(view: &View) -> Line<'static> {
    let failures: Vec<String> = view.failures().iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let text = if failures.is_empty() { "none".to_owned() } else { failures.join(" · ") };
    Line::from(vec![label("not ok"), Span::raw(text)])
}

/// A line for each threshold; at most six, those first that are watched.
fn thresholds(view: &View) -> Vec<Line<'static>> {
    let watched = view.snapshot.standings.iter().map(standing);
    let unwatched = view.at_the_end.iter().map(|text| judged(Span::raw("at the end").dim(), "", text));
    let all: Vec<Vec<Span<'static>>> = watched.chain(unwatched).collect();
    let more = all.len().saturating_sub(6);
    let mut lines: Vec<Line<'static>> =
        all.into_iter().take(6).enumerate().map(|(n, spans)| row(n, "thresholds", spans)).collect();
    if more > 0 {
        lines.push(row(1, "", vec![Span::raw(format!("and {more} more")).dim()]));
    }
    lines
}

/// A line under a label that only the first one has.
fn row(n: usize, name: &str, spans: Vec<Span<'static>>) -> Line<'static> {
    let first = if n == 0 { name } else { "" };
    Line::from([vec![label(first)], spans].concat())
}

fn standing(standing: &Standing) -> Vec<Span<'static>> {
    let state = match (standing.was_missed, standing.holds) {
        (true, _) => Span::raw("MISSED").red().bold(),
        (false, Some(_)) => Span::raw("met").green(),
        (false, None) => Span::raw("waiting").dim(),
    };
    judged(state, &standing.figure, &standing.threshold)
}

/// How it stands, the figure now, and which it is: last, since it may be longer than the line.
fn judged(state: Span<'static>, figure: &str, threshold: &str) -> Vec<Span<'static>> {
    let pad = " ".repeat(STATE.saturating_sub(state.width()));
    vec![state, Span::raw(format!("{pad}{figure:>FIGURE$}  {threshold}"))]
}

fn events(view: &View, height: u16) -> Paragraph<'static> {
    let skipped = view.events.len().saturating_sub(usize::from(height));
    let line = |(n, (at_s, event)): (usize, &(u64, String))| {
        row(
            n,
            "events",
            vec![Span::raw(format!("{:>7}  ", clock(at_s * 1_000_000_000))).dim(), Span::raw(event.clone())],
        )
    };
    Paragraph::new(view.events.iter().skip(skipped).enumerate().map(line).collect::<Vec<_>>())
}

fn keys(view: &View) -> Line<'static> {
    let text = match view.stops {
        0 => "q or Ctrl-C: stop, drain and report",
        1 => "draining; q again: give up what is in flight",
        _ => "giving up what is in flight; q again: leave without a report",
    };
    Line::from(Span::raw(text).dim())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proofload_loadgen::progress::Snapshot;
    use proofload_run::sample::Outcome;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn view() -> View {
        let mut view = View {
            name: "release".to_owned(),
            is_open: true,
            at_the_end: vec!["p99 < 2 s".to_owned()],
            ..View::default()
        };
        let mut snapshot = Snapshot {
            total_ns: 90_000_000_000,
            step: Some(1),
            step_name: "hold".to_owned(),
            level: 40.0,
            ..Snapshot::default()
        };
        for second in 0..72u64 {
            let busy = second % 24 < 12;
            snapshot.elapsed_ns = second * 1_000_000_000 + 400_000_000;
            snapshot.finished_per_s = if busy { 39.8 } else { 31.0 };
            snapshot.p95_ns = Some(if busy { 23_400_000 } else { 4_000_000 + second * 100_000 });
            view.fold(&snapshot, 0);
        }
        snapshot.outcomes[usize::from(Outcome::Timeout.code())] = 3;
        snapshot.outcomes[usize::from(Outcome::Shed.code())] = 12;
        (snapshot.ok, snapshot.errors, snapshot.sheds, snapshot.in_flight, snapshot.backlog) = (2846, 3, 12, 7, 2);
        (snapshot.p50_ns, snapshot.p99_ns, snapshot.late_p99_ns) = (Some(3_100_000), Some(41_000_000), Some(61_000));
        let watched = |threshold: &str, holds, was_missed, figure: &str| Standing {
            threshold: threshold.to_owned(),
            holds,
            was_missed,
            figure: figure.to_owned(),
        };
        snapshot.standings = vec![
            watched("p95 < 500 ms over any 10 s", Some(true), false, "97.4 % within"),
            watched("error_rate < 0.1% over any 30 s", Some(false), true, "0.3 %"),
            watched("goodput >= 30/s over any 60 s", None, false, ""),
        ];
        view.fold(&snapshot, 1);
        view
    }

    fn check(name: &str, width: u16, height: u16, view: &View) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let found = terminal.backend().to_string();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui/goldens").join(format!("{name}.txt"));
        if std::env::var_os("PROOFLOAD_WRITE_GOLDENS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found.trim_end(),
            golden.trim_end(),
            "{name}: if it is meant, set PROOFLOAD_WRITE_GOLDENS=1 once:\n{found}"
        );
    }

    #[test]
    fn it_fits_every_terminal() {
        check("usual", 80, 24, &view());
        check("large", 120, 40, &view());
        check("narrow", 60, 20, &view());
        check("beginning", 80, 24, &View { name: "quick".to_owned(), ..View::default() });
    }

    #[test]
    fn no_size_is_too_small() {
        for (width, height) in [(1, 1), (11, 3), (20, 5), (300, 100)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &view())).unwrap();
        }
    }

    #[test]
    fn times_as_clocks() {
        let check = |s: u64, expected: &str| assert_eq!(clock(s * 1_000_000_000 + 5), expected);
        check(0, "0 s");
        check(59, "59 s");
        check(61, "1:01");
        check(3600, "1:00:00");
        check(86_399, "23:59:59");
    }
}
