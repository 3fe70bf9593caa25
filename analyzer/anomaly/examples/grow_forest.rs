//! Grows a forest of numbers in a file and scores them, for a comparison with other forests: prints how long both took,
//! writes the scores beside the file.
//!
//! `grow_forest FILE COLUMNS TREES SEED [REPEATS]`, the file holding f64 in native order, row by row.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example that is run by a script, which reads what it says"
)]

use std::time::Instant;

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use ndarray::{Array1, Array2};
use proofload_anomaly::forest::IsolationForest;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |place: usize| words.get(place).map_or(1, |word| word.parse::<u64>().unwrap());
    let bytes = std::fs::read(&words[1]).unwrap();
    let (eights, []) = bytes.as_chunks::<8>() else { panic!("{} is no file of f64", words[1]) };
    let values: Vec<f64> = eights.iter().map(|eight| f64::from_ne_bytes(*eight)).collect();
    let columns = number(2) as usize;
    let rows = Array2::from_shape_vec((values.len() / columns, columns), values).unwrap();
    let params = IsolationForest::params().trees(number(3) as usize).seed(number(4));
    let mut best = (f64::INFINITY, f64::INFINITY);
    let mut scores = Array1::zeros(0);
    for _ in 0..number(5) {
        let begun = Instant::now();
        let forest = params.fit(&DatasetBase::from(rows.view())).unwrap();
        let grown = begun.elapsed().as_secs_f64();
        scores = forest.predict(&rows);
        let scored = begun.elapsed().as_secs_f64() - grown;
        if grown + scored < best.0 + best.1 {
            best = (grown, scored);
        }
    }
    let written: Vec<u8> = scores.iter().flat_map(|score: &f64| score.to_ne_bytes()).collect();
    std::fs::write(format!("{}.scores", words[1]), written).unwrap();
    println!("{} {}", best.0, best.1);
}
