//! What a forest promises, whatever the data: the same bytes from the same seed, scores that are scores, and odd rows
//! before ordinary ones.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use ndarray::{Array1, Array2, ArrayView2};
use proofload_anomaly::forest::{ForestError, IsolationForest};
use proptest::prelude::*;
use rand_core::RngCore as _;
use rand_pcg::Pcg64;

fn grown(rows: ArrayView2<'_, f64>, seed: u64) -> Result<IsolationForest, ForestError> {
    IsolationForest::params().trees(60).seed(seed).fit(&DatasetBase::from(rows))
}

/// Rows of independent numbers around 0, made of sums of uniform ones.
fn cloud(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut chance = Pcg64::new(u128::from(seed), 7);
    let mut uniform = || chance.next_u32() as f64 / f64::from(u32::MAX) - 0.5;
    Array2::from_shape_simple_fn((rows, columns), || (0..6).map(|_| uniform()).sum())
}

/// Share of pairs of an odd and an ordinary row in which the odd one scores higher.
fn roc_auc(scores: &Array1<f64>, is_odd: impl Fn(usize) -> bool) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (odd, high) in scores.iter().enumerate().filter(|(row, _)| is_odd(*row)) {
        for (_, low) in scores.iter().enumerate().filter(|(row, _)| !is_odd(*row)) {
            won += if high > low { 1.0 } else { f64::from(u8::from(high >= low)) / 2.0 };
            pairs += 1.0;
        }
        assert!(is_odd(odd));
    }
    won / pairs
}

#[test]
fn odd_rows_score_higher() {
    let check = |distance: f64, at_least: f64| {
        let mut rows = cloud(600, 5, 3);
        rows.rows_mut().into_iter().take(20).for_each(|mut row| row += distance);
        let scores = grown(rows.view(), 1).unwrap().predict(&rows);
        let found = roc_auc(&scores, |row| row < 20);
        assert!(found >= at_least, "{distance}: {found}");
    };
    check(1.5, 0.93);
    check(3.0, 0.999);
}

#[test]
fn data_that_no_forest_can_be_grown_of_is_named() {
    let check = |rows: Array2<f64>, expected: &str| {
        let said = grown(rows.view(), 0).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    };
    check(Array2::zeros((1, 3)), "1 rows and 3 columns");
    check(Array2::zeros((5, 0)), "5 rows and 0 columns");
    check(
        Array2::from_shape_fn((4, 2), |(row, column)| if (row, column) == (2, 1) { f64::NAN } else { 0.0 }),
        "row 2, column 1",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The same seed and data give the same bytes, in whatever layout the data lies, and a forest read back is the forest.
    #[test]
    fn the_same_seed_gives_the_same_bytes(rows in 2usize..400, columns in 1usize..6, seed in any::<u64>()) {
        let data = cloud(rows, columns, seed ^ 5);
        let forest = grown(data.view(), seed).unwrap();
        let bytes = serde_json::to_vec(&forest).unwrap();
        let turned = data.t().as_standard_layout().into_owned();
        prop_assert_eq!(&bytes, &serde_json::to_vec(&grown(turned.t(), seed).unwrap()).unwrap());
        let read: IsolationForest = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(read.columns(), columns);
        let (scores, again): (Array1<f64>, Array1<f64>) = (forest.predict(&data), read.predict(&data));
        prop_assert!(scores.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    /// Scores lie between 0 and 1, one row scores alone as it does among others, and shifting or stretching a column
    /// by a power of two, which loses no bit, changes no score.
    #[test]
    fn scores_are_scores(rows in 3usize..300, columns in 1usize..5, seed in any::<u64>(), power in -8i32..9) {
        let data = cloud(rows, columns, seed);
        let forest = grown(data.view(), seed).unwrap();
        let scores: Array1<f64> = forest.predict(&data);
        for (row, score) in data.rows().into_iter().zip(&scores) {
            prop_assert!((0.0..=1.0).contains(score));
            prop_assert!((forest.score(&row.to_vec()) - score).abs() < 1e-12);
        }
        let stretched = data.mapv(|value| value * 2f64.powi(power));
        let same: Array1<f64> = grown(stretched.view(), seed).unwrap().predict(&stretched);
        prop_assert!(scores.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    /// Rows that are all alike are all as ordinary as can be told: none stands out.
    #[test]
    fn equal_rows_score_equally(rows in 2usize..300, value in -1e9f64..1e9) {
        let data = Array2::from_elem((rows, 3), value);
        let scores: Array1<f64> = grown(data.view(), 1).unwrap().predict(&data);
        prop_assert!(scores.iter().all(|score| (score - scores[0]).abs() < 1e-12));
    }
}
