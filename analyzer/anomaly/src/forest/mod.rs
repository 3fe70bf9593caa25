//! An isolation forest (Liu, Ting and Zhou, 2008) as a linfa estimator: seeded, serialisable, the same bytes from the
//! same seed and data on every machine. Scores rows between 0 and 1, the odd ones near 1; decides nothing.
//!
//! ```
//! use linfa::DatasetBase;
//! use linfa::traits::{Fit, Predict};
//! use proofload_anomaly::forest::IsolationForest;
//!
//! let rows = ndarray::Array2::from_shape_fn((100, 2), |(row, column)| (row * (column + 1) % 7) as f64);
//! let forest = IsolationForest::params().trees(50).seed(1).fit(&DatasetBase::from(rows.clone()))?;
//! let scores: ndarray::Array1<f64> = forest.predict(&rows);
//! assert_eq!(scores.len(), 100);
//! # Ok::<(), proofload_anomaly::forest::ForestError>(())
//! ```

mod tree;

use linfa::traits::{Fit, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, ArrayBase, ArrayView2, CowArray, Data, Ix2};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

use tree::{Grower, Tree};

/// Euler's constant, for the mean depth of a binary search tree.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Why a forest could not be grown.
#[derive(Debug, thiserror::Error)]
pub enum ForestError {
    /// No trees.
    #[error("a forest needs at least one tree; ask for 100, as its inventors do")]
    NoTrees,
    /// Too small a part of the rows for each tree.
    #[error("a tree needs at least two rows, not {0}; ask for 256, as the forest's inventors do")]
    FewRowsPerTree(usize),
    /// Too few rows, or no columns.
    #[error("a forest cannot be grown of {rows} rows and {columns} columns; it needs two rows and a column")]
    TooSmall {
        /// Rows of the data.
        rows: usize,
        /// Columns of the data.
        columns: usize,
    },
    /// A value that is no number.
    #[error("row {row}, column {column} is not a finite number; fill it in or leave the row out")]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
    },
    /// What linfa itself found.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// Parameters that hold. Made from [`ForestParams`] by `check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForestValidParams {
    trees: usize,
    rows_per_tree: usize,
    seed: u64,
}

/// Parameters as they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForestParams(ForestValidParams);

impl ForestParams {
    /// How many trees. Default 100.
    #[must_use]
    pub fn trees(mut self, trees: usize) -> Self {
        self.0.trees = trees;
        self
    }

    /// How many rows each tree is grown of, drawn without replacement; all, where there are fewer. Default 256.
    #[must_use]
    pub fn rows_per_tree(mut self, rows: usize) -> Self {
        self.0.rows_per_tree = rows;
        self
    }

    /// Where chance begins. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }
}

impl ParamGuard for ForestParams {
    type Checked = ForestValidParams;
    type Error = ForestError;

    fn check_ref(&self) -> Result<&Self::Checked, Self::Error> {
        match &self.0 {
            ForestValidParams { trees: 0, .. } => Err(ForestError::NoTrees),
            ForestValidParams { rows_per_tree: few @ 0..2, .. } => Err(ForestError::FewRowsPerTree(*few)),
            valid => Ok(valid),
        }
    }

    fn check(self) -> Result<Self::Checked, Self::Error> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl<D: Data<Elem = f64>, T> Fit<ArrayBase<D, Ix2>, T, ForestError> for ForestValidParams {
    type Object = IsolationForest;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Self::Object, ForestError> {
        let records = dataset.records();
        let (rows, columns) = records.dim();
        if rows < 2 || columns == 0 {
            return Err(ForestError::TooSmall { rows, columns });
        }
        if let Some(((row, column), _)) = records.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(ForestError::NotFinite { row, column });
        }
        let dense = records.as_standard_layout();
        let rows_per_tree = self.rows_per_tree.min(rows);
        let mut grower = Grower::new(slice(&dense), columns, rows_per_tree);
        // A stream of chance for each tree, so that a tree does not depend on how those before it grew.
        let trees = (0..self.trees as u64).map(|number| grower.grow(&mut Pcg32::new(self.seed, number))).collect();
        Ok(IsolationForest { columns, mean_depth: mean_depth(rows_per_tree), trees })
    }
}

/// A grown forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IsolationForest {
    columns: usize,
    /// Mean depth at which a row of such a sample would be alone.
    mean_depth: f64,
    trees: Vec<Tree>,
}

impl IsolationForest {
    /// Parameters to begin with.
    pub fn params() -> ForestParams {
        ForestParams(ForestValidParams { trees: 100, rows_per_tree: 256, seed: 0 })
    }

    /// Columns that a row must have.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The score of one row: 2 to the power of minus its depth over the mean depth. A value that is no number counts
    /// as larger than any.
    ///
    /// # Panics
    /// When the row has not as many columns as the forest was grown of.
    pub fn score(&self, row: &[f64]) -> f64 {
        assert_eq!(row.len(), self.columns, "the forest was grown of rows with another number of columns");
        let depth: f64 = self.trees.iter().map(|tree| tree.depth(row)).sum();
        self.of_depth(depth)
    }

    /// The score that belongs to the sum of depths over all trees.
    fn of_depth(&self, depth: f64) -> f64 {
        (-depth / self.trees.len() as f64 / self.mean_depth).exp2()
    }

    fn score_all(&self, rows: ArrayView2<'_, f64>, scores: &mut Array1<f64>) {
        let dense = rows.as_standard_layout();
        let values = slice(&dense);
        scores.fill(0.0);
        // Tree by tree, so that each stays in the processor's cache while all rows pass through it.
        for tree in &self.trees {
            for (row, depth) in values.chunks_exact(self.columns).zip(scores.iter_mut()) {
                *depth += tree.depth(row);
            }
        }
        scores.mapv_inplace(|depth| self.of_depth(depth));
    }
}

impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for IsolationForest {
    fn predict_inplace<'a>(&'a self, x: &'a ArrayBase<D, Ix2>, y: &mut Array1<f64>) {
        assert_eq!(x.ncols(), self.columns, "the forest was grown of rows with another number of columns");
        assert_eq!(x.nrows(), y.len(), "there must be a place for each row's score");
        self.score_all(x.view(), y);
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(x.nrows())
    }
}

/// The values of an array in standard layout, which always are one slice.
fn slice<'a>(dense: &'a CowArray<'_, f64, Ix2>) -> &'a [f64] {
    dense.as_slice().unwrap_or_default()
}

/// Mean depth of an unsuccessful search in a binary search tree of so many rows.
fn mean_depth(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        rows => {
            let before = rows as f64 - 1.0;
            2.0 * (before.ln() + EULER) - 2.0 * before / rows as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_depths_are_those_of_the_paper() {
        let check = |rows: usize, expected: f64| assert!((mean_depth(rows) - expected).abs() < 1e-3, "{rows}");
        check(0, 0.0);
        check(1, 0.0);
        check(2, 1.0);
        check(3, 1.207);
        check(256, 10.244);
    }

    #[test]
    fn parameters_that_do_not_hold_are_named() {
        let check = |params: ForestParams, expected: &str| {
            let said = params.check_ref().map_or_else(|error| error.to_string(), |_| String::new());
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
        };
        check(IsolationForest::params(), "");
        check(IsolationForest::params().trees(0), "at least one tree");
        check(IsolationForest::params().rows_per_tree(1), "at least two rows");
    }
}
