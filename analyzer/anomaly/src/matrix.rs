//! Small symmetric systems of equations, solved by Cholesky's method. Tens of unknowns, not thousands.

/// A symmetric matrix with its lower triangle filled, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Symmetric {
    n: usize,
    values: Vec<f64>,
}

impl Symmetric {
    /// All zeros.
    pub(crate) fn new(n: usize) -> Self {
        Self { n, values: vec![0.0; n * n] }
    }

    /// Of its elements at and below the diagonal.
    pub(crate) fn of(n: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        let mut made = Self::new(n);
        for i in 0..n {
            (0..=i).for_each(|j| made.values[i * n + j] = element(i, j));
        }
        made
    }

    /// All elements, row by row.
    pub(crate) fn into_full(self) -> Vec<f64> {
        let n = self.n;
        let mut values = self.values;
        for i in 0..n {
            (0..i).for_each(|j| values[j * n + i] = values[i * n + j]);
        }
        values
    }

    /// Adds the outer product of a row with itself.
    pub(crate) fn add_outer(&mut self, row: &[f64]) {
        for (i, left) in row.iter().enumerate() {
            if *left != 0.0 {
                let place = &mut self.values[i * self.n..=i * self.n + i];
                place.iter_mut().zip(row).for_each(|(sum, right)| *sum += left * right);
            }
        }
    }

    /// Adds to the diagonal.
    pub(crate) fn add_diagonal(&mut self, of: impl Fn(usize, f64) -> f64) {
        for i in 0..self.n {
            let place = i * self.n + i;
            self.values[place] += of(i, self.values[place]);
        }
    }

    /// Multiplies everything.
    pub(crate) fn scale(&mut self, by: f64) {
        self.values.iter_mut().for_each(|value| *value *= by);
    }

    /// The Cholesky factor; a pivot that is not positive becomes one, and its unknown 0 in effect.
    pub(crate) fn factor(mut self) -> Factor {
        let n = self.n;
        for i in 0..n {
            for j in 0..=i {
                let (left, right) = (&self.values[i * n..i * n + j], &self.values[j * n..j * n + j]);
                let rest = self.values[i * n + j] - left.iter().zip(right).map(|(a, b)| a * b).sum::<f64>();
                self.values[i * n + j] = match i == j {
                    true if rest > 1e-12 => rest.sqrt(),
                    true => 1e6,
                    false => rest / self.values[j * n + j],
                };
            }
        }
        Factor { n, lower: self.values }
    }
}

/// Cholesky's lower triangle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factor {
    n: usize,
    lower: Vec<f64>,
}

impl Factor {
    /// Solves `L y = right` in place.
    pub(crate) fn forward(&self, right: &mut [f64]) {
        for i in 0..self.n {
            let row = &self.lower[i * self.n..i * self.n + i];
            let known: f64 = row.iter().zip(&*right).map(|(a, b)| a * b).sum();
            right[i] = (right[i] - known) / self.lower[i * self.n + i];
        }
    }

    /// Solves `L Lᵀ x = right` in place.
    pub(crate) fn solve(&self, right: &mut [f64]) {
        self.forward(right);
        for i in (0..self.n).rev() {
            let known: f64 = (i + 1..self.n).map(|j| self.lower[j * self.n + i] * right[j]).sum();
            right[i] = (right[i] - known) / self.lower[i * self.n + i];
        }
    }

    /// The inverse of the lower triangle, row by row.
    pub(crate) fn inverse(&self) -> Vec<f64> {
        let mut inverse = vec![0.0; self.n * self.n];
        let mut column = vec![0.0; self.n];
        for j in 0..self.n {
            column.fill(0.0);
            column[j] = 1.0;
            self.forward(&mut column);
            (0..self.n).for_each(|i| inverse[i * self.n + j] = column[i]);
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let mut matrix = Symmetric::new(3);
        [[2.0, 1.0, 0.5], [0.0, 3.0, 1.0], [1.0, -1.0, 4.0]].iter().for_each(|row| matrix.add_outer(row));
        // AᵀA x with x = (1, 2, 3).
        let product = [5.0 + 2.0 + 15.0, 1.0 + 22.0 - 1.5, 5.0 - 1.0 + 51.75];
        let mut right = product;
        matrix.factor().solve(&mut right);
        for (found, expected) in right.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-9, "{right:?}");
        }
    }
}
