//! The only module that prints. A closed pipe is no error: whoever reads us has seen enough.

use std::io::{ErrorKind, Write, stderr, stdout};

/// Results: what a user may pipe into something.
pub(crate) fn print(text: &str) {
    write_line(stdout().lock(), text);
}

/// Progress, notes and errors.
pub(crate) fn note(text: &str) {
    write_line(stderr().lock(), text);
}

fn write_line(mut stream: impl Write, text: &str) {
    match writeln!(stream, "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        // Nowhere is left to say that nothing can be said.
        Err(_) | Ok(()) => {}
    }
}
