//! Elements that change their place: Transpose, Slice, Concat, Expand, Pad, Gather, and constants.

use super::walk::{self, Dimension};
use super::{GeometryError, Launch, Source, blocks, elements, size};

/// Bytes of an element, which is all that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the numbers are in the names")]
pub enum Width {
    B1,
    B2,
    B4,
    B8,
}

impl Width {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::B1, Self::B2, Self::B4, Self::B8];

    fn suffix(self) -> &'static str {
        match self {
            Self::B1 => "b1",
            Self::B2 => "b2",
            Self::B4 => "b4",
            Self::B8 => "b8",
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::B1 => 1,
            Self::B2 => 2,
            Self::B4 => 4,
            Self::B8 => 8,
        }
    }
}

/// What lies around a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PadMode {
    /// An element of these bits, the lowest first.
    Constant(u64),
    /// The outermost element.
    Edge,
    /// The tensor mirrored at its outermost element.
    Reflect,
}

/// The type of Gather's indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the types are in the names")]
pub enum Index {
    I32,
    I64,
}

/// Widest elements that are moved at once.
const MOST_BYTES: usize = 16;
/// Side of the tiles that `transpose` reads and writes: `TILE` of the source.
const TILE: u32 = 32;
/// Matrices with a shorter side are not worth tiles that are mostly empty.
const LEAST_SIDE: usize = 8;

pub(super) fn names() -> Vec<String> {
    let labels = ["strided", "transpose", "pad", "gather_i32", "gather_i64", "fill"];
    let mut names: Vec<String> =
        labels.into_iter().flat_map(|label| Width::ALL.map(|width| named(label, width))).collect();
    names.push(named_bytes(MOST_BYTES));
    names
}

fn named(label: &str, width: Width) -> String {
    format!("{label}_{}", width.suffix())
}

fn named_bytes(bytes: usize) -> String {
    format!("strided_b{bytes}")
}

/// A tensor's dimensions with its strides in the source and in the result.
type Walk = Vec<Dimension<2>>;

fn walk_of(shape: &[usize], source: &[i64], target: &[i64]) -> Result<Walk, GeometryError> {
    let strides = source.iter().zip(target);
    walk::joined(shape.iter().zip(strides).map(|(&size, (&from, &to))| Dimension { size, strides: [from, to] }))
}

/// Elements that are moved along strides: where each begins, in the source and in the result.
struct Moved {
    bytes: usize,
    walk: Walk,
    offsets: [i64; 2],
}

impl Moved {
    /// The same bytes in elements twice as wide, if they lie so.
    fn wider(&self) -> Option<Self> {
        let (inner, outer) = self.walk.split_last()?;
        let even = |values: &[i64]| values.iter().all(|value| value % 2 == 0);
        let halved = |values: [i64; 2]| values.map(|value| value / 2);
        let paired = inner.strides == [1; 2] && inner.size % 2 == 0 && even(&self.offsets);
        if self.bytes == MOST_BYTES || !paired || !outer.iter().all(|dimension| even(&dimension.strides)) {
            return None;
        }
        let outer = outer.iter().map(|dimension| Dimension { strides: halved(dimension.strides), ..*dimension });
        let inner = Dimension { size: inner.size / 2, strides: inner.strides };
        Some(Self { bytes: 2 * self.bytes, walk: outer.chain([inner]).collect(), offsets: halved(self.offsets) })
    }
}

fn strided(width: Width, walk: Walk, offsets: [i64; 2]) -> Launch {
    let mut moved = Moved { bytes: width.bytes(), walk, offsets };
    while let Some(wider) = moved.wider() {
        moved = wider;
    }
    let walk = &moved.walk;
    let count = walk.iter().map(|dimension| dimension.size as u32).product();
    let mut words = vec![count, walk.len() as u32];
    words.extend(walk::row(walk, |dimension| dimension.size as u32));
    words.extend(walk::row(walk, |dimension| walk::stride_word(dimension.strides[0])));
    words.extend(walk::row(walk, |dimension| walk::stride_word(dimension.strides[1])));
    words.extend(moved.offsets.map(|offset| offset as u32));
    Launch::new(Source::Movement, named_bytes(moved.bytes), blocks(count, 1), words)
}

/// Transpose: the result's axis `at` is the source's axis `perm[at]`. Pointers: x, y.
///
/// # Errors
/// When `perm` is no permutation, or the tensor is empty, too large or too much mixed up.
pub fn transpose(width: Width, shape: &[usize], perm: &[usize]) -> Result<Launch, GeometryError> {
    let mut axes = perm.to_vec();
    axes.sort_unstable();
    if !axes.iter().copied().eq(0..shape.len()) {
        return Err(GeometryError::Shape("`perm` must name each axis once"));
    }
    let count = elements("the tensor", shape)?;
    let strides = walk::dense(shape);
    let result: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    let source: Vec<i64> = perm.iter().map(|&axis| strides[axis]).collect();
    let walk = walk_of(&result, &source, &walk::dense(&result))?;
    Ok(match matrices(&walk) {
        Some([rows, columns]) => tiled(width, count, rows, columns),
        None => strided(width, walk, [0; 2]),
    })
}

/// Rows and columns of the source's matrices, if all that happens is that these change places.
fn matrices(walk: &Walk) -> Option<[usize; 2]> {
    let (matrix, [columns, rows]) = match walk.as_slice() {
        [columns, rows] => (None, [columns, rows]),
        [matrix, columns, rows] => (Some(matrix), [columns, rows]),
        _ => return None,
    };
    let swapped = columns.strides[0] == 1 && rows.strides[0] == columns.size as i64;
    let whole = matrix.is_none_or(|matrix| matrix.strides[0] == (columns.size * rows.size) as i64);
    let worth = columns.size.min(rows.size) >= LEAST_SIDE;
    (swapped && whole && worth).then_some([rows.size, columns.size])
}

fn tiled(width: Width, count: u32, rows: usize, columns: usize) -> Launch {
    let (rows, columns) = (rows as u32, columns as u32);
    let tiles = rows.div_ceil(TILE) * columns.div_ceil(TILE);
    let matrices = count / (rows * columns);
    Launch::new(Source::Movement, named("transpose", width), matrices * tiles, vec![rows, columns])
}

/// Slice: from `starts` in steps of `steps`, which may be negative, as many elements as `result` says; of every axis.
/// Pointers: x, y.
///
/// # Errors
/// When it would read beyond an end, or the result is empty or too large.
pub fn slice(
    width: Width,
    shape: &[usize],
    starts: &[i64],
    steps: &[i64],
    result: &[usize],
) -> Result<Launch, GeometryError> {
    if [starts.len(), steps.len(), result.len()] != [shape.len(); 3] {
        return Err(GeometryError::Shape("a slice names each axis"));
    }
    elements("the source", shape)?;
    elements("the result", result)?;
    for axis in 0..shape.len() {
        let last = (result[axis] as i64 - 1).checked_mul(steps[axis]).and_then(|way| way.checked_add(starts[axis]));
        let inside = |place: i64| usize::try_from(place).is_ok_and(|place| place < shape[axis]);
        if !inside(starts[axis]) || !last.is_some_and(inside) {
            return Err(GeometryError::Shape("a slice ends where its axis does"));
        }
    }
    let strides = walk::dense(shape);
    let offset: i64 = strides.iter().zip(starts).map(|(stride, start)| stride * start).sum();
    let source: Vec<i64> = (0..shape.len())
        // A step along an axis with one element is none, and might not fit a word.
        .map(|axis| if result[axis] > 1 { strides[axis] * steps[axis] } else { 0 })
        .collect();
    let walk = walk_of(result, &source, &walk::dense(result))?;
    Ok(strided(width, walk, [offset, 0]))
}

/// One part of Concat: lies at `at` along `axis` of a result that is `whole` long there. Pointers: part, y. Each part is a
/// launch of its own.
///
/// # Errors
/// When the part does not fit, is empty, or the result is too large.
pub fn concat_part(
    width: Width,
    part: &[usize],
    axis: usize,
    at: usize,
    whole: usize,
) -> Result<Launch, GeometryError> {
    let Some(&along) = part.get(axis) else {
        return Err(GeometryError::Shape("the axis of a concatenation is one of the parts'"));
    };
    if at.checked_add(along).is_none_or(|end| end > whole) {
        return Err(GeometryError::Shape("a part ends where the result does"));
    }
    elements("the part", part)?;
    let mut result = part.to_vec();
    result[axis] = whole;
    elements("the result", &result)?;
    let target = walk::dense(&result);
    let offset = target[axis] * at as i64;
    let walk = walk_of(part, &walk::dense(part), &target)?;
    Ok(strided(width, walk, [0, offset]))
}

/// Expand: repeats a tensor to a larger shape. Pointers: x, y.
///
/// # Errors
/// When the shapes do not fit, or are empty or too large.
pub fn expand(width: Width, shape: &[usize], result: &[usize]) -> Result<Launch, GeometryError> {
    if walk::broadcast(shape, result)? != result {
        return Err(GeometryError::Shape("a tensor is not repeated to a smaller one"));
    }
    elements("the result", result)?;
    let walk = walk_of(result, &walk::repeated(shape, result), &walk::dense(result))?;
    Ok(strided(width, walk, [0; 2]))
}

/// Pad: `begins` elements before and `ends` behind, along every axis; negative ones cut. Pointers: x, y.
///
/// # Errors
/// When nothing is left, or there are too many axes that are padded.
pub fn pad(
    width: Width,
    shape: &[usize],
    begins: &[i64],
    ends: &[i64],
    mode: PadMode,
) -> Result<Launch, GeometryError> {
    if [begins.len(), ends.len()] != [shape.len(); 2] {
        return Err(GeometryError::Shape("paddings are given for each axis"));
    }
    elements("the source", shape)?;
    let axes = padded_axes(shape, begins, ends)?;
    let result: Vec<usize> = axes.iter().map(|axis| axis.result).collect();
    let count = elements("the result", &result)?;
    if axes.len() > walk::MOST_DIMENSIONS {
        return Err(GeometryError::Rank { dimensions: axes.len() });
    }
    let (mode, bits) = match mode {
        PadMode::Constant(bits) => (0, bits),
        PadMode::Edge => (1, 0),
        PadMode::Reflect => (2, 0),
    };
    let row = |field: fn(&PaddedAxis) -> u32| {
        let mut row = [0; walk::MOST_DIMENSIONS];
        row.iter_mut().zip(&axes).for_each(|(word, axis)| *word = field(axis));
        row
    };
    let mut words = vec![count, axes.len() as u32, mode, bits as u32, (bits >> 32) as u32];
    words.extend(row(|axis| axis.result as u32));
    words.extend(row(|axis| axis.source as u32));
    words.extend(row(|axis| axis.begin as u32));
    Ok(Launch::new(Source::Movement, named("pad", width), blocks(count, 1), words))
}

struct PaddedAxis {
    source: usize,
    result: usize,
    begin: i32,
}

/// The axes of a padding; those that lie side by side and are not padded are one.
fn padded_axes(shape: &[usize], begins: &[i64], ends: &[i64]) -> Result<Vec<PaddedAxis>, GeometryError> {
    let mut axes: Vec<PaddedAxis> = Vec::new();
    for ((&source, &begin), &end) in shape.iter().zip(begins).zip(ends) {
        let result = (source as i64).checked_add(begin).and_then(|sum| sum.checked_add(end)).unwrap_or(i64::MAX);
        let result = usize::try_from(result).map_err(|_| GeometryError::Empty)?;
        size("the result", result)?;
        let begin = i32::try_from(begin).map_err(|_| GeometryError::TooLarge { what: "the padding" })?;
        let plain = |axis: &PaddedAxis| axis.begin == 0 && axis.source == axis.result;
        let axis = PaddedAxis { source, result, begin };
        match axes.last_mut() {
            Some(outer) if plain(outer) && plain(&axis) => {
                outer.source *= source;
                outer.result *= result;
            }
            _ => axes.push(axis),
        }
    }
    Ok(axes)
}

/// Gather along the middle of `outer * axis * inner` elements: `indices` of them. Pointers: x, indices, y. An index may
/// count from the end; one that points nowhere gives zero bits.
///
/// # Errors
/// When there is nothing to gather, or too much.
pub fn gather(
    width: Width,
    index: Index,
    outer: usize,
    axis: usize,
    inner: usize,
    indices: usize,
) -> Result<Launch, GeometryError> {
    elements("the source", &[outer, axis, inner])?;
    let count = elements("the result", &[outer, indices, inner])?;
    let label = match index {
        Index::I32 => "gather_i32",
        Index::I64 => "gather_i64",
    };
    let words = vec![count, axis as u32, inner as u32, indices as u32];
    Ok(Launch::new(Source::Movement, named(label, width), blocks(count, 1), words))
}

/// The same bits everywhere, the lowest first. Pointer: y.
///
/// # Errors
/// When there is nothing to fill, or too much.
pub fn fill(width: Width, count: usize, bits: u64) -> Result<Launch, GeometryError> {
    let count = size("the tensor", count)?;
    let words = vec![count, bits as u32, (bits >> 32) as u32];
    Ok(Launch::new(Source::Movement, named("fill", width), blocks(count, 1), words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_transposed_in_tiles() {
        let check = |shape: &[usize], perm: &[usize], expected: &str, blocks: u32| {
            let launch = transpose(Width::B4, shape, perm).unwrap();
            assert_eq!((launch.kernel.name.as_str(), launch.blocks), (expected, blocks), "{shape:?} {perm:?}");
        };
        check(&[40, 70], &[1, 0], "transpose_b4", 6);
        check(&[2, 3, 40, 70], &[0, 2, 3, 1], "strided_b4", 66);
        check(&[2, 3, 40, 70], &[1, 0, 2, 3], "strided_b16", 17);
        check(&[2, 30, 40, 70], &[0, 2, 3, 1], "transpose_b4", 2 * 88);
        check(&[2, 5, 40, 70], &[0, 1, 3, 2], "transpose_b4", 10 * 6);
        check(&[2, 3], &[0, 1], "strided_b8", 1);
    }

    #[test]
    fn bytes_move_in_elements_as_wide_as_they_lie() {
        let check = |width: Width, part: &[usize], at: usize, whole: usize, expected: &str| {
            let launch = concat_part(width, part, 1, at, whole).unwrap();
            assert_eq!(launch.kernel.name, expected, "{width:?} {part:?} at {at} of {whole}");
        };
        check(Width::B2, &[2, 3, 16, 16], 5, 8, "strided_b16");
        check(Width::B2, &[2, 3, 6, 6], 5, 8, "strided_b8");
        check(Width::B2, &[2, 3, 3, 3], 5, 8, "strided_b2");
        check(Width::B4, &[1, 4], 2, 6, "strided_b8");
        check(Width::B1, &[1, 4], 2, 6, "strided_b2");
        check(Width::B8, &[3, 2], 1, 4, "strided_b8");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let shape = |result: Result<Launch, GeometryError>| matches!(result, Err(GeometryError::Shape(_)));
        assert!(shape(transpose(Width::B1, &[2, 3], &[0, 0])));
        assert!(shape(slice(Width::B1, &[4], &[0], &[2], &[3])));
        assert!(shape(slice(Width::B1, &[4], &[3], &[-1], &[5])));
        assert!(shape(slice(Width::B1, &[4], &[-1], &[1], &[1])));
        assert!(shape(slice(Width::B1, &[4], &[0], &[i64::MAX], &[3])));
        assert!(shape(concat_part(Width::B1, &[2, 3], 1, 2, 4)));
        assert!(shape(expand(Width::B1, &[2, 3], &[2, 1])));
        assert_eq!(pad(Width::B1, &[2], &[-1], &[-1], PadMode::Edge), Err(GeometryError::Empty));
        assert_eq!(fill(Width::B8, 0, 1), Err(GeometryError::Empty));
        assert_eq!(gather(Width::B8, Index::I32, 2, 3, 4, 0), Err(GeometryError::Empty));
    }
}
