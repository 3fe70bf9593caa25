//! What goes over pictures: convolutions, pools, resizing.

use super::super::operation::{Convolution, Pool, Resize};
use super::numbers::activated;
use super::sums::{wide, worth};
use super::{Inputs, hold};
use crate::gpu::graph::operator::{Coordinates, Filter, Nearest, Pooling};

pub(super) fn convolution(of: &Convolution, inputs: Inputs<'_>) -> Result<Vec<f32>, String> {
    let (x, weights) = (wide(inputs.get(0)?), wide(inputs.get(1)?));
    let bias = if of.bias { Some(inputs.reals(2)?) } else { None };
    let taps = of.kernel[0] * of.kernel[1];
    hold(&x, of.batch * of.channels * of.input[0] * of.input[1])?;
    hold(&weights, of.filters * (of.channels / of.groups) * taps)?;
    bias.map_or(Ok(()), |bias| hold(bias, of.filters))?;
    let plane = of.output[0] * of.output[1];
    let mut sums = vec![0.0_f64; of.batch * of.filters * plane];
    for batch in 0..of.batch {
        for filter in 0..of.filters {
            let at = (batch * of.filters + filter) * plane;
            accumulate(of, &x, &weights, (batch, filter), &mut sums[at..at + plane]);
        }
    }
    let finish = |(at, sum): (usize, &f64)| {
        let filter = at / plane % of.filters;
        let biased = sum * worth(of.worth.as_deref(), filter) + bias.map_or(0.0, |bias| f64::from(bias[filter]));
        activated(of.activation, biased as f32)
    };
    Ok(sums.iter().enumerate().map(finish).collect())
}

/// One plane of the result.
fn accumulate(of: &Convolution, x: &[f64], weights: &[f64], (batch, filter): (usize, usize), plane: &mut [f64]) {
    let (in_group, out_group) = (of.channels / of.groups, of.filters / of.groups);
    let group = filter / out_group;
    let taps = of.kernel[0] * of.kernel[1];
    let size = of.input[0] * of.input[1];
    for channel in 0..in_group {
        let source = (batch * of.channels + group * in_group + channel) * size;
        // Transposed weights have the input's channels first.
        let first = if of.transposed {
            ((group * in_group + channel) * out_group + filter % out_group) * taps
        } else {
            (filter * in_group + channel) * taps
        };
        let (x, weights) = (&x[source..source + size], &weights[first..first + taps]);
        for (tap, weight) in weights.iter().enumerate() {
            let tap = [tap / of.kernel[1], tap % of.kernel[1]];
            for (from, to) in meetings(of, tap) {
                plane[to] += x[from] * weight;
            }
        }
    }
}

/// Which elements of an input's plane meet which of an output's at one tap of the filter.
fn meetings(of: &Convolution, tap: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    // The window moves over what is padded, which is the output where it is transposed.
    let (moving, padded) = if of.transposed { (of.input, of.output) } else { (of.output, of.input) };
    let place = move |at: usize, axis: usize, before: usize, stride: usize, dilation: usize| {
        (at * stride + tap[axis] * dilation).checked_sub(before).filter(|place| *place < padded[axis])
    };
    let [stride, dilation, before] = [of.strides, of.dilations, of.before];
    let transposed = of.transposed;
    (0..moving[0]).flat_map(move |row| {
        let padded_row = place(row, 0, before[0], stride[0], dilation[0]);
        (0..moving[1]).filter_map(move |column| {
            let padded_column = place(column, 1, before[1], stride[1], dilation[1])?;
            let (moving, padded) = (row * moving[1] + column, padded_row? * padded[1] + padded_column);
            Some(if transposed { (moving, padded) } else { (padded, moving) })
        })
    })
}

pub(super) fn pool(pool: &Pool, x: &[f32]) -> Result<Vec<f32>, String> {
    let size = pool.input[0] * pool.input[1];
    hold(x, pool.planes * size)?;
    let mut results = Vec::with_capacity(pool.planes * pool.output[0] * pool.output[1]);
    for plane in x.chunks_exact(size.max(1)).take(pool.planes) {
        for row in 0..pool.output[0] {
            for column in 0..pool.output[1] {
                results.push(window(pool, plane, [row, column]));
            }
        }
    }
    Ok(results)
}

fn window(pool: &Pool, plane: &[f32], at: [usize; 2]) -> f32 {
    let place = |axis: usize, tap: usize| {
        let padded = at[axis] * pool.strides[axis] + tap * pool.dilations[axis];
        padded.checked_sub(pool.before[axis]).filter(|place| *place < pool.input[axis])
    };
    let columns = |row: usize| (0..pool.kernel[1]).filter_map(move |tap| Some(row * pool.input[1] + place(1, tap)?));
    let places = (0..pool.kernel[0]).filter_map(|tap| place(0, tap)).flat_map(columns);
    let numbers = places.map(|place| f64::from(plane[place]));
    match pool.pooling {
        Pooling::Max => numbers.fold(f64::NEG_INFINITY, f64::max) as f32,
        Pooling::Average { padding_counts } => {
            let (count, sum) = numbers.fold((0_usize, 0.0), |(count, sum), number| (count + 1, sum + number));
            let all = taps_within(pool, at, 0) * taps_within(pool, at, 1);
            let divisor = if padding_counts { all } else { count };
            (sum / divisor as f64) as f32
        }
    }
}

/// How many taps of a window lie within the picture and what is said to be around it: a last window that is not whole
/// reaches beyond.
fn taps_within(pool: &Pool, at: [usize; 2], axis: usize) -> usize {
    let end = pool.input[axis] + pool.before[axis] + pool.after[axis];
    (0..pool.kernel[axis]).filter(|tap| at[axis] * pool.strides[axis] + tap * pool.dilations[axis] < end).count()
}

pub(super) fn resize(resize: &Resize, x: &[f32]) -> Result<Vec<f32>, String> {
    let size = resize.input[0] * resize.input[1];
    hold(x, resize.planes * size)?;
    let rows: Vec<Taps> = (0..resize.output[0]).map(|at| taps(resize, 0, at)).collect();
    let columns: Vec<Taps> = (0..resize.output[1]).map(|at| taps(resize, 1, at)).collect();
    let mut results = Vec::with_capacity(resize.planes * rows.len() * columns.len());
    for plane in x.chunks_exact(size.max(1)).take(resize.planes) {
        for row in &rows {
            for column in &columns {
                let at = |row: usize, column: usize| plane[row * resize.input[1] + column];
                let line = |row: usize| mix(at(row, column.places[0]), at(row, column.places[1]), column.share);
                results.push(mix(line(row.places[0]), line(row.places[1]), row.share));
            }
        }
    }
    Ok(results)
}

/// So much of the second.
fn mix(first: f32, second: f32, share: f32) -> f32 {
    if share == 0.0 { first } else { first * (1.0 - share) + second * share }
}

/// Two neighbours along a dimension, and how much of the second is taken.
struct Taps {
    places: [usize; 2],
    share: f32,
}

fn taps(resize: &Resize, axis: usize, at: usize) -> Taps {
    let (input, output, scale) = (resize.input[axis], resize.output[axis], resize.scale[axis]);
    let last = input.saturating_sub(1);
    let place = place(resize.coordinates, at as f32, (input as f32, output as f32), scale);
    let within = |place: f32| (place.max(0.0) as usize).min(last);
    match resize.filter {
        Filter::Nearest(nearest) => {
            let place = within(match nearest {
                // Of the halves the lower one.
                Nearest::RoundPreferFloor => (place - 0.5).ceil(),
                Nearest::RoundPreferCeil => (place + 0.5).floor(),
                Nearest::Floor => place.floor(),
                Nearest::Ceil => place.ceil(),
            });
            Taps { places: [place; 2], share: 0.0 }
        }
        Filter::Linear => {
            let place = place.clamp(0.0, last as f32);
            let first = within(place.floor());
            Taps { places: [first, (first + 1).min(last)], share: place - first as f32 }
        }
    }
}

/// Where in the input a place of the output is, as ONNX's `Resize` says it.
fn place(coordinates: Coordinates, at: f32, (input, output): (f32, f32), scale: f32) -> f32 {
    match coordinates {
        Coordinates::Asymmetric => at / scale,
        Coordinates::AlignCorners if output > 1.0 => at * (input - 1.0) / (output - 1.0),
        Coordinates::AlignCorners => 0.0,
        Coordinates::PytorchHalfPixel if output <= 1.0 => 0.0,
        Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (at + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            let adjustment = output / (scale * input);
            let centre = input / 2.0;
            centre * (1.0 - adjustment) + (at + 0.5) / scale - 0.5
        }
    }
}
