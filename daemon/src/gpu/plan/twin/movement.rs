//! What only moves numbers.

use super::super::operation::Along;
use super::Inputs;
use crate::gpu::graph::operator::Border;
use crate::gpu::graph::tensor::{Data, Element};

/// By how much the place grows with each dimension.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}

/// Every place of a shape by its dimensions, in order.
fn places(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    let (count, strides) = (shape.iter().product(), strides(&shape));
    (0..count).map(move |at: usize| strides.iter().zip(&shape).map(|(stride, size)| at / stride % size).collect())
}

/// Takes numbers from those places, which must be there.
fn picked(x: &Data, at: impl Iterator<Item = usize>) -> Result<Data, String> {
    let mut outside = None;
    let checked = at.map(|at| {
        if at >= x.len() {
            outside = Some(at);
        }
        Some(at).filter(|at| *at < x.len())
    });
    let data = x.pick(checked);
    outside.map_or(Ok(data), |at| Err(format!("place {at} lies outside of {}", x.len())))
}

/// The places in both that make up each element of the result.
pub(super) fn broadcast_places(left: &[usize], right: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let rank = left.len().max(right.len());
    let padded = |shape: &[usize]| -> Vec<usize> {
        std::iter::repeat_n(1, rank - shape.len()).chain(shape.iter().copied()).collect()
    };
    let (left, right) = (padded(left), padded(right));
    let still = |shape: &[usize]| -> Vec<usize> {
        strides(shape).into_iter().zip(shape).map(|(stride, size)| if *size == 1 { 0 } else { stride }).collect()
    };
    let (left_strides, right_strides) = (still(&left), still(&right));
    // A dimension of 0 wins over one of 1.
    let wider = |(left, right): (&usize, &usize)| if *left == 1 { *right } else { *left };
    let shape: Vec<usize> = left.iter().zip(&right).map(wider).collect();
    let of =
        |strides: &[usize], place: &[usize]| strides.iter().zip(place).map(|(stride, at)| stride * at).sum::<usize>();
    places(&shape).map(move |place| (of(&left_strides, &place), of(&right_strides, &place)))
}

pub(super) fn concat(axis: usize, parts: &[Vec<usize>], inputs: Inputs<'_>, element: Element) -> Result<Data, String> {
    let chunk = |shape: &[usize]| shape.iter().skip(axis).product::<usize>();
    let outer: usize = parts.first().map_or(0, |shape| shape.iter().take(axis).product());
    let (mut reals, mut wholes) = (Vec::new(), Vec::new());
    for row in 0..outer {
        for (at, shape) in parts.iter().enumerate() {
            let range = row * chunk(shape)..(row + 1) * chunk(shape);
            let missing = || format!("input {at} has fewer elements than {}", range.end);
            if element.is_real() {
                reals.extend_from_slice(inputs.reals(at)?.get(range.clone()).ok_or_else(missing)?);
            } else {
                wholes.extend_from_slice(inputs.wholes(at)?.get(range.clone()).ok_or_else(missing)?);
            }
        }
    }
    Ok(if element.is_real() { Data::Real(reals) } else { Data::Whole(wholes) })
}

pub(super) fn transpose(shape: &[usize], order: &[usize], x: &Data) -> Result<Data, String> {
    let strides = strides(shape);
    let moved: Vec<usize> = order.iter().map(|at| shape[*at]).collect();
    let at = |place: Vec<usize>| place.iter().zip(order).map(|(at, dimension)| at * strides[*dimension]).sum::<usize>();
    picked(x, places(&moved).map(at))
}

pub(super) fn slice(
    shape: &[usize],
    starts: &[usize],
    steps: &[isize],
    output: &[usize],
    x: &Data,
) -> Result<Data, String> {
    let strides = strides(shape);
    let at = |place: Vec<usize>| {
        let along = place.iter().zip(starts).zip(steps).zip(&strides);
        // A place outside is one that is caught.
        let places = along.map(|(((at, start), step), stride)| {
            start.checked_add_signed(at.cast_signed() * step).map_or(usize::MAX, |at| at.saturating_mul(*stride))
        });
        places.fold(0, usize::saturating_add)
    };
    picked(x, places(output).map(at))
}

pub(super) fn expand(shape: &[usize], output: &[usize], x: &Data) -> Result<Data, String> {
    let strides = strides(shape);
    let at = |place: Vec<usize>| {
        let along = place.iter().zip(shape).zip(&strides);
        along.map(|((at, size), stride)| if *size == 1 { 0 } else { at * stride }).sum::<usize>()
    };
    picked(x, places(output).map(at))
}

pub(super) fn pad(
    shape: &[usize],
    (before, after): (&[i64], &[i64]),
    border: Border,
    value: f32,
    x: &Data,
) -> Result<Data, String> {
    let strides = strides(shape);
    let sizes = shape.iter().zip(before.iter().zip(after));
    let output: Vec<usize> = sizes
        .map(|(size, (before, after))| usize::try_from(size.cast_signed() as i64 + before + after).unwrap_or(0))
        .collect();
    let place = |place: &[usize]| -> Option<usize> {
        let along = place.iter().zip(before).zip(shape).zip(&strides);
        along.map(|(((at, before), size), stride)| Some(inside(*at as i64 - before, *size, border)? * stride)).sum()
    };
    let places: Vec<Option<usize>> = places(&output).map(|at| place(&at)).collect();
    if places.iter().flatten().any(|at| *at >= x.len()) {
        return Err(format!("{} numbers are fewer than shape {shape:?} holds", x.len()));
    }
    Ok(match x.pick(places.iter().copied()) {
        Data::Real(numbers) => {
            Data::Real(numbers.into_iter().zip(&places).map(|(number, at)| at.map_or(value, |_| number)).collect())
        }
        Data::Whole(numbers) => Data::Whole(
            numbers.into_iter().zip(&places).map(|(number, at)| at.map_or(value as i64, |_| number)).collect(),
        ),
    })
}

/// Which element stands at a place that may lie beyond the edge; `None` where none does.
fn inside(at: i64, size: usize, border: Border) -> Option<usize> {
    let last = i64::try_from(size).ok()? - 1;
    let at = match border {
        Border::Constant => Some(at).filter(|at| (0..=last).contains(at)),
        Border::Edge => Some(at.clamp(0, last.max(0))),
        Border::Reflect if at < 0 => Some(-at),
        Border::Reflect if at > last => Some(2 * last - at),
        Border::Reflect => Some(at),
    };
    usize::try_from(at?).ok()
}

pub(super) fn gather(along: Along, inputs: Inputs<'_>) -> Result<Data, String> {
    let (x, indices) = (inputs.get(0)?, inputs.wholes(1)?);
    let size = i64::try_from(along.axis).map_err(|error| error.to_string())?;
    let wanted = indices.iter().map(|index| {
        let from_start = if *index < 0 { index.saturating_add(size) } else { *index };
        let found = usize::try_from(from_start).ok().filter(|at| *at < along.axis);
        found.ok_or_else(|| format!("index {index} is none of {size}"))
    });
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let row = |outer: usize, at: usize| {
        let first = (outer * along.axis + at) * along.inner;
        first..first + along.inner
    };
    picked(x, (0..along.outer).flat_map(|outer| wanted.iter().flat_map(move |at| row(outer, *at))))
}
