//! Scales and biases that are known go into the weights of what comes before them: batch normalisation behind a convolution,
//! a bias behind a product of matrices.

use super::super::draft::{Op, StorageId};
use super::super::operation::{Channels, Operation};
use super::Rewriter;
use crate::gpu::graph::operator::Binary;

/// `x · scale + bias` for each channel, or one for all.
struct Affine {
    scale: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
}

impl Rewriter<'_> {
    /// Folds an operation into the one before it, if both allow it.
    pub(super) fn fold(&mut self, at: usize) -> bool {
        let Some(op) = self.op(at).cloned() else { return false };
        let givers = op.inputs.iter().filter_map(|input| self.only_giver(*input));
        let folded = givers.collect::<Vec<_>>().into_iter().find_map(|giver| {
            let before = self.op(giver)?.clone();
            let (channels, axis) = self.channels_of(&before)?;
            if !self.draft.has_room(channels) {
                return None;
            }
            let affine = self.affine(&op, before.output, channels, axis)?;
            Some((giver, self.with(before, &affine, channels)?))
        });
        let Some((giver, changed)) = folded else { return false };
        self.take_over(giver, at, changed);
        true
    }

    /// How many channels something gives, and where they are: dimensions behind them.
    fn channels_of(&self, op: &Op) -> Option<(usize, ChannelAxis)> {
        match &op.operation {
            Operation::Convolution(convolution) if convolution.activation.is_none() => {
                let plane = convolution.output[0] * convolution.output[1];
                Some((convolution.filters, ChannelAxis::Second { plane }))
            }
            Operation::Product(product) if product.activation.is_none() => Some((product.columns, ChannelAxis::Last)),
            _ => None,
        }
    }

    /// What an operation does to each channel of `x`, if that is known.
    fn affine(&self, op: &Op, x: StorageId, count: usize, axis: ChannelAxis) -> Option<Affine> {
        match &op.operation {
            Operation::Channels(Channels { along, scale, bias, added: false, activation: None })
                if along.axis == count
                    && axis == (ChannelAxis::Second { plane: along.inner })
                    && op.inputs.first() == Some(&x) =>
            {
                let mut rest = op.inputs.iter().skip(1);
                let mut next = |there: bool| -> Option<Option<Vec<f32>>> {
                    if !there {
                        return Some(None);
                    }
                    self.known_reals(*rest.next()?).map(|numbers| Some(numbers.to_vec()))
                };
                Some(Affine { scale: next(*scale)?, bias: next(*bias)? })
            }
            Operation::Binary { operator, left, right } => {
                let &[first, second] = op.inputs.as_slice() else { return None };
                let (x_shape, other, other_shape) =
                    if first == x { (left, second, right) } else { (right, first, left) };
                let numbers = per_channel(self.known_reals(other)?, x_shape, other_shape, count, axis)?;
                let of = |change: fn(f32) -> f32| Some(numbers.iter().map(|number| change(*number)).collect());
                match operator {
                    Binary::Add => Some(Affine { scale: None, bias: of(|number| number) }),
                    Binary::Sub if first == x => Some(Affine { scale: None, bias: of(|number| -number) }),
                    Binary::Mul => Some(Affine { scale: of(|number| number), bias: None }),
                    Binary::Div if first == x => Some(Affine { scale: of(|number| 1.0 / number), bias: None }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The operation that does both.
    fn with(&mut self, mut op: Op, affine: &Affine, channels: usize) -> Option<Op> {
        let old = op.inputs.get(2).copied();
        let mut bias = old.map(|old| self.known_reals(old).map(<[f32]>::to_vec));
        if let Some(scale) = &affine.scale {
            self.scale(&mut op, scale)?;
            bias = match bias {
                None => None,
                Some(known) => Some(Some(known?.iter().zip(scale).map(|(bias, scale)| bias * scale).collect())),
            };
        }
        if affine.bias.is_none() && bias.is_none() {
            return Some(op);
        }
        let mut sum = match bias {
            None => vec![0.0; channels],
            Some(known) => known?,
        };
        affine.bias.iter().flatten().zip(&mut sum).for_each(|(more, sum)| *sum += more);
        let bias = self.vector(sum)?;
        op.inputs.truncate(2);
        op.inputs.push(bias);
        match &mut op.operation {
            Operation::Convolution(convolution) => convolution.bias = true,
            Operation::Product(product) => product.bias = true,
            _ => return None,
        }
        Some(op)
    }

    /// Multiplies what an operation gives, by its weights.
    fn scale(&mut self, op: &mut Op, scale: &[f32]) -> Option<()> {
        match &mut op.operation {
            Operation::Product(product) => {
                let first =
                    scale.first().filter(|first| scale.iter().all(|other| other.to_bits() == first.to_bits()))?;
                product.alpha *= first;
                Some(())
            }
            Operation::Convolution(convolution) if convolution.worth.is_none() => {
                let weights = self.known(*op.inputs.get(1)?)?.clone();
                let numbers = weights.reals()?;
                let taps = convolution.kernel[0] * convolution.kernel[1];
                let (in_group, out_group) =
                    (convolution.channels / convolution.groups, convolution.filters / convolution.groups);
                let filter = |at: usize| {
                    if convolution.transposed {
                        let (channel, filter) = (at / taps / out_group, at / taps % out_group);
                        channel / in_group.max(1) * out_group + filter
                    } else {
                        at / taps / in_group.max(1)
                    }
                };
                let scaled = numbers.iter().enumerate().map(|(at, weight)| Some(weight * scale.get(filter(at))?));
                let scaled = scaled.collect::<Option<Vec<_>>>()?;
                *op.inputs.get_mut(1)? = self.constant(&weights, scaled)?;
                Some(())
            }
            _ => None,
        }
    }
}

/// Where the channels of a tensor are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChannelAxis {
    /// Of pictures of so many elements. What takes them may see them in other dimensions, where the second is none.
    Second { plane: usize },
    /// Of rows.
    Last,
}

/// The numbers of a constant for each channel, if it varies along no other dimension and `x` is not broadcast.
fn per_channel(
    numbers: &[f32],
    x_shape: &[usize],
    shape: &[usize],
    channels: usize,
    axis: ChannelAxis,
) -> Option<Vec<f32>> {
    let (axis, inner) = match axis {
        ChannelAxis::Second { plane } => (1, plane),
        ChannelAxis::Last => (x_shape.len().checked_sub(1)?, 1),
    };
    if x_shape.iter().skip(axis + 1).product::<usize>() != inner {
        return None;
    }
    if x_shape.get(axis) != Some(&channels) || shape.len() > x_shape.len() {
        return None;
    }
    if let &[number] = numbers {
        return Some(vec![number; channels]);
    }
    let missing = x_shape.len() - shape.len();
    let along = shape.iter().enumerate().all(|(at, size)| *size == if at + missing == axis { channels } else { 1 });
    (along && numbers.len() == channels).then(|| numbers.to_vec())
}
