//! Statistics that the daemon, while it serves, and the analyzer, afterwards, have to agree on: the slope of a noisy series
//! (`slope`), and memory on its way to a limit (`growth`). Plain functions of numbers: no clock, no dependency, no words.
//! What only one of the two needs stays with it.

pub mod growth;
pub mod slope;
