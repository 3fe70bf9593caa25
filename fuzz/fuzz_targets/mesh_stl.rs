//! Meshes as STL files: what is read has corners that exist and finite places, can be looked at and repaired, and costs
//! memory by its length.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| proofload_fuzz::mesh(b"", file));
