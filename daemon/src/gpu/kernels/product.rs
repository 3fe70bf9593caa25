//! Matrix products, convolutions and transposed convolutions, where NVIDIA's libraries are absent.

use super::{GeometryError, Launch, Real, Source, amount, elements, for_reals, sides, size};

/// Side of the tile that a block makes: `SIDE` of the source.
const SIDE: u32 = 64;

/// `y = alpha * a b`, for each of some matrices. The result is dense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    /// How many products.
    pub batch: usize,
    /// Rows of a and of the result.
    pub m: usize,
    /// Columns of b and of the result.
    pub n: usize,
    /// Columns of a and rows of b.
    pub k: usize,
    /// Strides of a: from matrix to matrix (0 repeats it), row to row, column to column.
    pub a: [usize; 3],
    /// Strides of b.
    pub b: [usize; 3],
    /// What the product is multiplied with.
    pub alpha: f32,
}

/// A convolution, or a transposed one; each pair is height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Pictures.
    pub batch: usize,
    /// Groups of channels that know nothing of one another.
    pub groups: usize,
    /// Channels of the source, of all groups.
    pub in_channels: usize,
    /// Channels of the result, of all groups.
    pub out_channels: usize,
    /// A plane of the source.
    pub input: [usize; 2],
    /// A plane of the result.
    pub output: [usize; 2],
    /// The filter.
    pub kernel: [usize; 2],
    /// From one place of the filter to the next; of a transposed convolution, in the result.
    pub stride: [usize; 2],
    /// From one weight of the filter to the next.
    pub dilation: [usize; 2],
    /// Top, left, bottom, right: what is added to the source, or with a transposed convolution cut off the result.
    pub pads: [usize; 4],
}

pub(super) fn names() -> Vec<String> {
    for_reals(["matmul", "conv", "conv_transpose"])
}

/// Tiles of so many matrices.
fn tiles(matrices: u32, rows: u32, columns: u32) -> Result<u32, GeometryError> {
    let [down, across] = [rows, columns].map(|side| side.div_ceil(SIDE) as usize);
    elements("the grid", &[matrices as usize, down, across])
}

/// A matrix product. Pointers: a, b, y.
///
/// # Errors
/// When a size is zero or too large.
pub fn matmul(real: Real, product: &Product) -> Result<Launch, GeometryError> {
    let Product { batch, m, n, k, a, b, alpha } = *product;
    elements("the result", &[batch, m, n])?;
    reach("the left side", a, [batch, m, k])?;
    reach("the right side", b, [batch, k, n])?;
    let mut words = vec![m as u32, n as u32, size("the sum", k)?];
    words.extend(a.iter().chain(&b).map(|&stride| stride as u32));
    words.push(alpha.to_bits());
    let blocks = tiles(batch as u32, m as u32, n as u32)?;
    Ok(Launch::new(Source::Product, format!("matmul_{}", real.suffix()), blocks, words))
}

/// How far the last element lies from the first, and with it every stride that is used.
fn reach(what: &'static str, strides: [usize; 3], sizes: [usize; 3]) -> Result<(), GeometryError> {
    elements(what, &sizes)?;
    let way = strides.iter().zip(sizes).try_fold(0_usize, |way, (stride, size)| {
        let along = stride.checked_mul(size)?;
        way.checked_add(along)
    });
    amount(what, way.ok_or(GeometryError::TooLarge { what })?).map(drop)
}

/// A convolution. Pointers: x, w as `[out, in / groups, height, width]`, y.
///
/// # Errors
/// When a size is zero or too large, or the groups do not divide the channels.
pub fn conv(real: Real, convolution: &Convolution) -> Result<Launch, GeometryError> {
    launch("conv", real, convolution)
}

/// A transposed convolution. Pointers: x, w as `[in, out / groups, height, width]`, y.
///
/// # Errors
/// When a size is zero or too large, or the groups do not divide the channels.
pub fn conv_transpose(real: Real, convolution: &Convolution) -> Result<Launch, GeometryError> {
    launch("conv_transpose", real, convolution)
}

fn launch(label: &str, real: Real, convolution: &Convolution) -> Result<Launch, GeometryError> {
    let Convolution { batch, groups, in_channels, out_channels, input, output, kernel, stride, dilation, pads } =
        *convolution;
    if groups == 0 || in_channels % groups != 0 || out_channels % groups != 0 {
        return Err(GeometryError::Shape("the groups divide the channels"));
    }
    elements("the source", &[batch, in_channels, input[0], input[1]])?;
    elements("the result", &[batch, out_channels, output[0], output[1]])?;
    elements("the weights", &[out_channels, in_channels / groups, kernel[0], kernel[1]])?;
    for side in 0..2 {
        way(input[side].max(output[side]), stride[side], kernel[side], dilation[side], pads[side])?;
    }
    let mut words = vec![groups as u32, in_channels as u32, out_channels as u32];
    let pairs = [
        sides("the source", input)?,
        sides("the result", output)?,
        sides("the filter", kernel)?,
        sides("the stride", stride)?,
        sides("the dilation", dilation)?,
    ];
    words.extend(pairs.as_flattened());
    words.extend([amount("the padding", pads[0])?, amount("the padding", pads[1])?]);
    let rows = (out_channels / groups) as u32;
    let matrices = elements("the grid", &[batch, groups])?;
    let blocks = tiles(matrices, rows, (output[0] * output[1]) as u32)?;
    Ok(Launch::new(Source::Product, format!("{label}_{}", real.suffix()), blocks, words))
}

/// Every place that a filter may touch along a side is counted in 31 bits.
fn way(side: usize, stride: usize, kernel: usize, dilation: usize, pad: usize) -> Result<(), GeometryError> {
    let filter = kernel.saturating_mul(dilation);
    let whole = side.saturating_mul(stride).saturating_add(filter).saturating_add(pad);
    elements("the filter's way", &[whole]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Convolution = Convolution {
        batch: 2,
        groups: 2,
        in_channels: 4,
        out_channels: 6,
        input: [5, 7],
        output: [5, 7],
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
    };

    #[test]
    fn what_does_not_fit_is_named() {
        let check = |convolution: Convolution, expected: &str| {
            let error = conv(Real::F32, &convolution).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        assert_eq!(conv(Real::F16, &SMALL).unwrap().blocks, 4);
        check(Convolution { groups: 3, ..SMALL }, "groups divide");
        check(Convolution { groups: 0, ..SMALL }, "groups divide");
        check(Convolution { batch: 0, ..SMALL }, "no elements");
        check(Convolution { stride: [0, 1], ..SMALL }, "no elements");
        check(Convolution { dilation: [1, usize::MAX], ..SMALL }, "filter's way");
        check(Convolution { batch: 1 << 30, ..SMALL }, "more than");
    }

    proptest! {
        /// Each result lies in exactly one tile, and each block has at least one.
        #[test]
        fn tiles_cover_each_result_once(matrices in 1..5_u32, rows in 1..300_u32, columns in 1..300_u32) {
            let mut covered = vec![0; (matrices * rows * columns) as usize];
            let (across, down) = (columns.div_ceil(SIDE), rows.div_ceil(SIDE));
            for block in 0..tiles(matrices, rows, columns).unwrap() {
                // As `tile_of` of the source.
                let (matrix, row, column) = (block / across / down, block / across % down * SIDE, block % across * SIDE);
                prop_assert!(matrix < matrices && row < rows && column < columns);
                for row in row..rows.min(row + SIDE) {
                    for column in column..columns.min(column + SIDE) {
                        covered[((matrix * rows + row) * columns + column) as usize] += 1;
                    }
                }
            }
            prop_assert!(covered.iter().all(|&count| count == 1));
        }
    }
}
