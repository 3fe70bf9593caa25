//! The only module that prints. Whoever reads us may have seen enough and closed the pipe: that neither ends a run
//! nor changes its exit code.

use std::io::{Write, stderr, stdout};

/// Results: what a user may pipe into something.
pub(crate) fn print(text: &str) {
    write_line(stdout().lock(), text);
}

/// Progress, notes and errors.
pub(crate) fn note(text: &str) {
    write_line(stderr().lock(), text);
}

fn write_line(mut stream: impl Write, text: &str) {
    // Nowhere is left to say that nothing can be said.
    let _ = writeln!(stream, "{text}");
}
