//! The report's table of tokens, as rows of cells.

use proofload_run::findings::{Findings, Latency, Tokens};

use super::format::{count, number};
use super::tables::{Cell, Table, at, head, num, text};

/// A row an entry whose answers had tokens, and one for all of them where there are several.
pub(super) fn tokens(findings: &Findings) -> Table {
    let entries = findings.entries.iter().filter_map(|entry| Some((entry.name.clone(), entry.tokens.as_ref()?)));
    let mut named: Vec<(String, &Tokens)> = entries.collect();
    if named.len() > 1 {
        named.extend(findings.tokens.as_ref().map(|all| ("all".to_owned(), all)));
    }
    Table {
        title: "Tokens",
        note: "Times of streamed successes, from the intended arrival; between tokens is the mean of each answer, the \
               longest gap its worst. Where the server does not state how many tokens there were, each piece of the \
               stream counts as one."
            .to_owned(),
        head: head(&[
            "Entry",
            "#First p50",
            "#First p95",
            "#First p99",
            "#Between p50",
            "#Between p95",
            "#Between p99",
            "#Longest gap p95",
            "#Tokens /s",
            "#Prompt",
            "#Answer",
            "Counted by",
            "#n",
        ]),
        rows: named.into_iter().map(|(name, found)| row(name, found)).collect(),
    }
}

fn row(name: String, found: &Tokens) -> Vec<Cell> {
    let of = |times: &Option<Latency>| [50.0, 95.0, 99.0].map(|p| at(times.as_ref(), p));
    let counted = match found.stated_n {
        0 => "pieces",
        stated if stated == found.n => "the server",
        _ => "the server, in part",
    };
    let mut row = vec![text(name)];
    row.extend(of(&found.ttft));
    row.extend(of(&found.itl));
    row.extend([
        at(found.longest_gap.as_ref(), 95.0),
        num(number(found.out_per_s)),
        num(if found.mean_in > 0.0 { number(found.mean_in) } else { "–".to_owned() }),
        num(number(found.mean_out)),
        text(counted),
        num(count(found.n)),
    ]);
    row
}
