//! The reports' outward form: golden files for what machines read, structure for what people read.
//!
//! After a deliberate change write the golden files anew with `UPDATE_GOLDEN=1 cargo test -p proofload-analyzer`.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use std::path::{Path, PathBuf};

use proofload_analyzer::{Reports, analyze, write_reports};
use proofload_run::criteria::Slo;
use proofload_run::events::EventKind;
use proofload_run::findings::Findings;
use proofload_run::manifest::ScenarioKind;
use support::{MS, Recorded, S, Server, manifest, step};

/// A run with something of everything: a warm-up, slow answers, sheds, an outage with a message that tries to be
/// markup, a threshold of each verdict.
fn eventful() -> Recorded {
    let mut steps = vec![step("warm-up", 0, 2, 100.0, 0), step("hold", 2, 22, 360.0, 1)];
    steps[0].warm_up = true;
    let slo = Slo::new(60 * MS, 95.0, 0.01);
    let thresholds = ["p95 < 1s", "p50 < 1ms", "relief: p99.9 < 1s", "shed_rate <= 5%"];
    let server = Server {
        slots: 4,
        service_ns: 10e6,
        exponential: true,
        shed_after_ns: Some(70 * MS),
        down: Some((12 * S, 12 * S + 400 * MS)),
    };
    let plan = manifest(ScenarioKind::Sustained, steps, Some(slo), &thresholds);
    let mut recorded = Recorded::simulate(plan, server, false, 2026).completed();
    let message = "refused & <b>\"lost\"</b> | `it`\u{1}".to_owned();
    recorded
        .event(12 * S, EventKind::ErrorExample { entry: 1, outcome: "connect_error".to_owned(), status: 0, message });
    let (code, message) = ("fd_limit".to_owned(), "only 256 files may be open; raise ulimit -n".to_owned());
    recorded.event(0, EventKind::Warning { code, message });
    recorded
}

fn reported(recorded: &Recorded, folder: &Path) -> (Findings, Reports) {
    recorded.write(folder);
    let findings = analyze(folder).unwrap();
    let reports = write_reports(folder, &findings).unwrap();
    (findings, reports)
}

fn check_golden(path: &Path, name: &str) {
    let golden: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect();
    let found = std::fs::read_to_string(path).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
    assert!(found == expected, "{name} differs from the golden file, first in line {line:?}");
}

/// A reader of markup that knows only what it must: that elements are closed in the order in which they were opened.
/// Gives the names of all elements.
fn elements(markup: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "br"];
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with(['!', '?']) {
            continue;
        }
        assert!(!name.is_empty(), "a stray < before {tag:?}");
        if name == "script" && !tag.starts_with('/') {
            // What a script says is no markup.
            rest = &rest[rest.find("</script>").expect("a script ends")..];
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order: {tag}");
        } else {
            if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
                open.push(name.clone());
            }
            all.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    all
}

#[test]
fn what_machines_read_is_golden() {
    let folder = tempfile::tempdir().unwrap();
    let (findings, reports) = reported(&eventful(), folder.path());
    check_golden(&reports.summary, "summary.md");
    check_golden(&reports.markdown, "report.md");
    check_golden(&reports.junit, "junit.xml");
    check_golden(&reports.findings, "findings.json");
    let read: Findings = serde_json::from_str(&std::fs::read_to_string(&reports.findings).unwrap()).unwrap();
    assert_eq!((read.verdict, &read.reasons, &read.totals), (findings.verdict, &findings.reasons, &findings.totals));
    let junit = std::fs::read_to_string(&reports.junit).unwrap();
    let cases = elements(&junit).iter().filter(|name| *name == "testcase").count();
    assert_eq!(cases, 2 + findings.thresholds.len() + findings.conservation.len() + findings.slos.len());
    assert!(junit.contains(&format!("tests=\"{cases}\"")));
}

/// The schema of `findings.json` is made from the types, and every field of it has words.
#[test]
fn the_schema_of_findings_is_that_of_the_types() {
    let schema = proofload_run::findings::schema();
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "reports", "findings.schema.json"].iter().collect();
    let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == made,
        "reports/findings.schema.json is not what the types of contracts/run/src/findings make; write it again with \
         `cargo run --release -- report --schema > reports/findings.schema.json`, look at the difference, commit it"
    );
    let definitions = schema["$defs"].as_object().unwrap().iter().map(|(name, of)| (name.as_str(), of));
    let mut silent = Vec::new();
    for (name, of) in definitions.chain([("Findings", &schema)]) {
        let fields = of["properties"].as_object().into_iter().flatten();
        let without = fields.filter(|(_, field)| !field["description"].is_string());
        silent.extend(without.map(|(field, _)| format!("{name}.{field}")));
    }
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn machines_read_how_far_the_figures_can_be_trusted() {
    let said = |stalls_ms: &[u64]| {
        let mut recorded = eventful();
        stalls_ms.iter().for_each(|ms| recorded.event(15 * S, EventKind::Stalled { for_ns: ms * MS }));
        let folder = tempfile::tempdir().unwrap();
        let (_, reports) = reported(&recorded, folder.path());
        let junit = std::fs::read_to_string(&reports.junit).unwrap();
        elements(&junit);
        junit
    };
    let check = |junit: &str, word: &str, reason: &str| {
        let property = format!("<property name=\"proofload.validity\" value=\"{word}\"/>");
        let output = format!("<system-out>{word}");
        assert!(junit.contains(&property) && junit.contains(&output), "{word}: {junit}");
        assert!(junit.matches(reason).count() >= 2, "once in the suite, once in the case: {junit}");
        let reasons = junit.matches("proofload.validity.reason").count();
        assert_eq!(reasons > 0, word != "VALID", "{junit}");
    };
    check(&said(&[]), "VALID", "VALID");
    check(&said(&[300]), "SUSPECT", "the generator stalled for 300 ms at 15 s; see what held it up");
    check(&said(&[3000]), "INVALID", "stalled for 3 s at 15 s");
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (findings, reports) = reported(&eventful(), folder.path());
    let html = std::fs::read_to_string(&reports.html).unwrap();
    let names = elements(&html);
    assert!(!names.iter().any(|name| ["link", "img", "iframe", "object", "form"].contains(&name.as_str())));
    assert_eq!(names.iter().filter(|name| *name == "script").count(), 1, "ours, within the page");
    for reference in ["src=", "href=\"h", "href=\"/", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!html.contains(reference), "{reference} reaches outside");
    }
    assert!(html.contains("default-src 'none'"), "and could not, if it tried");
    for id in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(html.contains(&format!("id=\"{id}\"")), "#{id} is nowhere");
    }
    assert!(html.contains(&format!("<h1>{}</h1>", findings.verdict)));
    let drawings = names.iter().filter(|name| *name == "svg").count();
    assert_eq!(drawings, 2 * names.iter().filter(|name| *name == "figure").count());
    assert_eq!(html.matches("role=\"img\" aria-label=\"").count(), drawings, "every drawing has its words");
    assert_eq!(names.iter().filter(|n| *n == "caption").count(), names.iter().filter(|n| *n == "table").count());
    assert!(html.contains("&#60;script&#62;"), "the scenario's text is shown, not run");
    for text in ["proofload run scenarios/quick.toml --set load.duration=30s", "raise ulimit -n", "2026-11-20"] {
        assert!(html.contains(text), "{text} is missing");
    }
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
}

/// Every chart is a figure whose numbers can be read without seeing it or running a script: in its own table, or, of bars
/// with names, in one of its section.
#[test]
fn behind_every_chart_are_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (_, reports) = reported(&eventful(), folder.path());
    let html = std::fs::read_to_string(&reports.html).unwrap();
    let figures: Vec<&str> =
        html.split("<figure").skip(1).map(|rest| rest.split("</figure>").next().unwrap()).collect();
    assert!(figures.len() >= 8, "{}", figures.len());
    let mut without = Vec::new();
    for figure in figures {
        let title = figure.split("<h3>").nth(1).unwrap().split("</h3>").next().unwrap();
        let rows = figure.matches("<tr>").count();
        if rows < 2 {
            without.push(title);
            continue;
        }
        assert!(figure.contains("data-kind=\"") && figure.matches("data-plot=\"").count() == 2, "{title}");
        let heads = figure.matches("<th scope=\"col\"").count();
        assert_eq!(figure.matches("<td>").count(), heads * (rows - 1), "{title}: every row is as long as the head");
    }
    assert_eq!(without, ["Where the time went, ms", "A typical and a slow request, ms"], "whose bars have names");
    assert!(html.contains("Latencies over time, ms (logarithmic)") && html.contains("Latency by percentile, ms"));
}

/// What a page shows does not grow with the samples: as many points, cells and rows as charts can show, of everything.
#[test]
fn the_page_of_a_long_run_with_many_steps_is_small() {
    let steps = (0..60).map(|i| step(&format!("step {i}"), i * 10, i * 10 + 10, 20.0 + i as f64 * 0.5, 1)).collect();
    let server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: Some(70 * MS), down: None };
    let plan = manifest(ScenarioKind::Stress, steps, Some(Slo::new(60 * MS, 95.0, 0.01)), &["p95 < 1s"]);
    let mut recorded = Recorded::simulate(plan, server, false, 5).completed();
    (0..500).for_each(|i| recorded.event(i * S, EventKind::Stalled { for_ns: 120 * MS }));
    for t_s in 0..600 {
        for gpu in 0..8 {
            let labels = format!("gpu_uuid=\"{gpu}\"");
            let value = f64::from(t_s) * 0.001 + f64::from(gpu) * 0.01;
            let target = proofload_run::series::Source::Target;
            for name in ["nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_power_usage"] {
                recorded.series.push(support::point(u64::from(t_s as u32) * S, target, name, &labels, value));
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (findings, reports) = reported(&recorded, folder.path());
    assert_eq!(findings.timeline.buckets.len(), 301, "two seconds each");
    assert!(findings.happenings.len() <= 30 && findings.happenings.iter().map(|one| one.n).sum::<u64>() == 500);
    let html = std::fs::read_to_string(&reports.html).unwrap();
    elements(&html);
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}

#[test]
fn a_page_is_made_of_anything_that_can_be_analysed() {
    let mut empty = eventful();
    empty.samples.clear();
    empty.series.clear();
    empty.manifest.end = None;
    let folder = tempfile::tempdir().unwrap();
    let (findings, reports) = reported(&empty, folder.path());
    let html = std::fs::read_to_string(&reports.html).unwrap();
    elements(&html);
    assert!(html.contains(&format!("<h1>{}</h1>", findings.verdict)));
}

#[test]
fn means_by_counters_are_shown_where_answers_do_not_state_phases() {
    let shown = |phases_on_answers: bool| {
        let mut recorded = eventful();
        if !phases_on_answers {
            recorded.samples.iter_mut().for_each(|sample| sample.flags = 0);
        }
        let folder = tempfile::tempdir().unwrap();
        let (_, reports) = reported(&recorded, folder.path());
        let html = std::fs::read_to_string(&reports.html).unwrap();
        ["MEANS over the successes", "v2/models/stats"].map(|text| html.contains(text))
    };
    assert_eq!(shown(false), [true, true]);
    assert_eq!(shown(true), [false, false]);
}
