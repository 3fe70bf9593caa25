//! Tensors that are walked by strides: dimensions that lie one behind the other in every operand are one dimension.

use super::GeometryError;

/// `MOST_DIMENSIONS` of the sources.
pub(super) const MOST_DIMENSIONS: usize = 6;

/// A dimension: its size, and each operand's stride along it, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dimension<const OPERANDS: usize> {
    pub(super) size: usize,
    pub(super) strides: [i64; OPERANDS],
}

/// The strides of a dense tensor.
pub(super) fn dense(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as i64;
    }
    strides
}

/// Joins what can be joined, outermost first. What has one element only is no dimension.
pub(super) fn joined<const N: usize>(
    dimensions: impl IntoIterator<Item = Dimension<N>>,
) -> Result<Vec<Dimension<N>>, GeometryError> {
    let mut walk: Vec<Dimension<N>> = Vec::new();
    for inner in dimensions.into_iter().filter(|dimension| dimension.size > 1) {
        match walk.last_mut() {
            Some(outer) if follows(outer, &inner) => {
                *outer = Dimension { size: outer.size * inner.size, strides: inner.strides };
            }
            _ => walk.push(inner),
        }
    }
    if walk.len() > MOST_DIMENSIONS { Err(GeometryError::Rank { dimensions: walk.len() }) } else { Ok(walk) }
}

fn follows<const N: usize>(outer: &Dimension<N>, inner: &Dimension<N>) -> bool {
    let step = |stride: i64| stride * inner.size as i64;
    outer.strides.iter().zip(inner.strides).all(|(&outer, inner)| outer == step(inner))
}

/// A field of every dimension, as the sources' arrays take it.
pub(super) fn row<const N: usize>(
    walk: &[Dimension<N>],
    field: impl Fn(&Dimension<N>) -> u32,
) -> [u32; MOST_DIMENSIONS] {
    let mut row = [0; MOST_DIMENSIONS];
    row.iter_mut().zip(walk).for_each(|(word, dimension)| *word = field(dimension));
    row
}

/// A stride as a word: tensors have less than 2^31 elements, so it fits.
pub(super) fn stride_word(stride: i64) -> u32 {
    stride as i32 as u32
}

/// A shape that two shapes are repeated to, after ONNX: sizes are equal or one, counted from the last.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, GeometryError> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(GeometryError::Shape("two sizes differ and neither is 1")),
        })
        .collect()
}

/// The strides of a dense tensor that is repeated to a larger shape: zero where it is repeated.
pub(super) fn repeated(shape: &[usize], to: &[usize]) -> Vec<i64> {
    let strides = dense(shape);
    let missing = to.len() - shape.len();
    (0..to.len())
        .map(|axis| axis.checked_sub(missing).filter(|&at| shape[at] == to[axis]).map_or(0, |at| strides[at]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shapes_are_repeated() {
        let check = |a: &[usize], b: &[usize], expected: Option<&[usize]>| {
            assert_eq!(broadcast(a, b).ok().as_deref(), expected, "{a:?} {b:?}");
        };
        check(&[2, 3], &[3], Some(&[2, 3]));
        check(&[2, 1], &[1, 3], Some(&[2, 3]));
        check(&[], &[4], Some(&[4]));
        check(&[2, 0], &[1], Some(&[2, 0]));
        check(&[2], &[3], None);
    }

    #[test]
    fn neighbours_are_joined() {
        let check = |shape: &[usize], strides: &[i64], expected: &[(usize, i64)]| {
            let dimensions = shape.iter().zip(strides).map(|(&size, &stride)| Dimension { size, strides: [stride] });
            let found: Vec<(usize, i64)> =
                joined(dimensions).unwrap().iter().map(|found| (found.size, found.strides[0])).collect();
            assert_eq!(found, expected, "{shape:?} {strides:?}");
        };
        check(&[2, 3, 4], &[12, 4, 1], &[(24, 1)]);
        check(&[2, 3, 4], &[0, 4, 1], &[(2, 0), (12, 1)]);
        check(&[2, 1, 4], &[4, 77, 1], &[(8, 1)]);
        check(&[2, 3], &[0, 0], &[(6, 0)]);
        check(&[2, 3], &[1, 2], &[(2, 1), (3, 2)]);
        check(&[], &[], &[]);
        let many = (0..7).map(|axis| Dimension { size: 2, strides: [1 << axis] });
        assert_eq!(joined(many), Err(GeometryError::Rank { dimensions: 7 }));
    }

    /// Where a walk's elements lie, in its order.
    fn places(walk: &[Dimension<1>]) -> Vec<i64> {
        walk.iter().fold(vec![0], |places, dimension| {
            let steps = |place: i64| (0..dimension.size as i64).map(move |at| place + at * dimension.strides[0]);
            places.into_iter().flat_map(steps).collect()
        })
    }

    proptest! {
        /// Joining dimensions changes neither which elements are visited nor their order.
        #[test]
        fn joining_changes_no_place(dimensions in proptest::collection::vec((1..4_usize, -3..9_i64), 0..6)) {
            let walk: Vec<_> = dimensions.iter().map(|&(size, stride)| Dimension { size, strides: [stride] }).collect();
            prop_assert_eq!(places(&joined(walk.clone()).unwrap()), places(&walk));
        }
    }
}
