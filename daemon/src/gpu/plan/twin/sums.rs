//! Of many numbers one: products of matrices, normalisations, shares, reductions.

use super::super::operation::{Along, Product};
use super::numbers::activated;
use super::{Inputs, hold};
use crate::gpu::graph::operator::Reduction;
use crate::gpu::graph::tensor::Data;

/// The numbers of an input, real or whole, as `f64`.
pub(super) fn wide(data: &Data) -> Vec<f64> {
    match data {
        Data::Real(numbers) => numbers.iter().map(|number| f64::from(*number)).collect(),
        Data::Whole(numbers) => numbers.iter().map(|number| *number as f64).collect(),
    }
}

/// What an integer of the result is worth; 1 where it is none.
pub(super) fn worth(worth: Option<&[f32]>, channel: usize) -> f64 {
    let of = |worth: &[f32]| worth.get(channel).or(worth.first()).copied().unwrap_or(1.0);
    worth.map_or(1.0, |worth| f64::from(of(worth)))
}

pub(super) fn product(product: &Product, inputs: Inputs<'_>) -> Result<Vec<f32>, String> {
    let (a, b) = (wide(inputs.get(0)?), wide(inputs.get(1)?));
    let bias = if product.bias { Some(inputs.reals(2)?) } else { None };
    let &Product { batch, rows, columns, depth, left_stride, right_stride, .. } = product;
    let last = batch.saturating_sub(1);
    hold(&a, last * left_stride + rows * depth)?;
    hold(&b, last * right_stride + depth * columns)?;
    bias.map_or(Ok(()), |bias| hold(bias, columns))?;
    let [left, right] = product.transposed;
    let mut results = Vec::with_capacity(batch * rows * columns);
    for pair in 0..batch {
        let (a, b) = (&a[pair * left_stride..], &b[pair * right_stride..]);
        let a_at = |row: usize, k: usize| if left { a[k * rows + row] } else { a[row * depth + k] };
        let b_at = |k: usize, column: usize| if right { b[column * depth + k] } else { b[k * columns + column] };
        for row in 0..rows {
            for column in 0..columns {
                let sum: f64 = (0..depth).map(|k| a_at(row, k) * b_at(k, column)).sum();
                let scaled = sum * f64::from(product.alpha) * worth(product.worth.as_deref(), column);
                let biased = scaled + bias.map_or(0.0, |bias| f64::from(bias[column]));
                results.push(activated(product.activation, biased as f32));
            }
        }
    }
    Ok(results)
}

pub(super) fn layer_normalization(
    rows: usize,
    columns: usize,
    epsilon: f32,
    inputs: Inputs<'_>,
) -> Result<Vec<f32>, String> {
    let (x, scale, bias) = (inputs.reals(0)?, inputs.reals(1)?, inputs.reals(2).ok());
    hold(x, rows * columns)?;
    hold(scale, columns)?;
    bias.map_or(Ok(()), |bias| hold(bias, columns))?;
    let mut results = Vec::with_capacity(rows * columns);
    for row in x.chunks_exact(columns.max(1)).take(rows) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / columns as f64;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / columns as f64;
        let deviation = (variance + f64::from(epsilon)).sqrt();
        results.extend(row.iter().enumerate().map(|(at, x)| {
            let normal = (f64::from(*x) - mean) / deviation * f64::from(scale[at]);
            (normal + bias.map_or(0.0, |bias| f64::from(bias[at]))) as f32
        }));
    }
    Ok(results)
}

/// Calls with the places of each row that lies along the middle dimension.
fn rows(along: Along, mut with: impl FnMut(&mut dyn Iterator<Item = usize>)) {
    for outer in 0..along.outer {
        for inner in 0..along.inner {
            with(&mut (0..along.axis).map(|at| (outer * along.axis + at) * along.inner + inner));
        }
    }
}

pub(super) fn softmax(along: Along, x: &[f32]) -> Result<Vec<f32>, String> {
    hold(x, along.count())?;
    let mut results = vec![0.0; along.count()];
    rows(along, |places| {
        let places: Vec<usize> = places.collect();
        let largest = places.iter().map(|at| f64::from(x[*at])).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = places.iter().map(|at| (f64::from(x[*at]) - largest).exp()).sum();
        places.iter().for_each(|at| results[*at] = ((f64::from(x[*at]) - largest).exp() / sum) as f32);
    });
    Ok(results)
}

pub(super) fn reduce(reduction: Reduction, along: Along, inputs: Inputs<'_>) -> Result<Data, String> {
    let data = inputs.get(0)?;
    let x = wide(data);
    hold(&x, along.count())?;
    let mut results: Vec<f64> = Vec::with_capacity(along.outer * along.inner);
    rows(along, |places| {
        let numbers = places.map(|at| x[at]);
        results.push(match reduction {
            Reduction::Sum => numbers.sum(),
            Reduction::Mean => numbers.sum::<f64>() / along.axis as f64,
            Reduction::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
            Reduction::Min => numbers.fold(f64::INFINITY, f64::min),
            Reduction::SumSquare => numbers.map(|x| x * x).sum(),
            Reduction::L2 => numbers.map(|x| x * x).sum::<f64>().sqrt(),
        });
    });
    Ok(match data {
        Data::Real(_) => Data::Real(results.iter().map(|number| *number as f32).collect()),
        Data::Whole(_) => Data::Whole(results.iter().map(|number| *number as i64).collect()),
    })
}
