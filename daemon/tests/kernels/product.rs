//! Matrix products and convolutions, against loops in double precision that follow the operators' definitions.

use proofload_daemon::gpu::kernels::Real;
use proofload_daemon::gpu::kernels::product::{self, Convolution, Product};
use proptest::prelude::*;

use super::host;
use super::numbers::{decoded, near, noise, place, tensor};

/// Sizes around a tile's, and small and odd ones.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![1..9_usize, 14..19_usize, 60..70_usize, 127..130_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn matrices_are_multiplied(
        (batch, m, n, k) in (1..3_usize, side(), side(), side()),
        [a_turned, b_turned, a_shared] in any::<[bool; 3]>(),
        seed: u64,
    ) {
        let strides = |rows: usize, columns: usize, turned: bool, shared: bool| {
            let matrix = if shared { 0 } else { rows * columns };
            if turned { [matrix, 1, rows] } else { [matrix, columns, 1] }
        };
        let alpha = 0.75;
        let sizes = Product { batch, m, n, k, a: strides(m, k, a_turned, a_shared), b: strides(k, n, b_turned, false), alpha };
        for real in Real::ALL {
            let a = noise(real, seed, if a_shared { m * k } else { batch * m * k });
            let b = noise(real, seed ^ 1, batch * k * n);
            let at = |strides: [usize; 3], index: [usize; 3]| -> usize { strides.iter().zip(index).map(|(s, i)| s * i).sum() };
            let of = |[matrix, row, column]: [usize; 3]| -> f64 {
                let term = |step: usize| {
                    let (a, b) = (a[at(sizes.a, [matrix, row, step])], b[at(sizes.b, [matrix, step, column])]);
                    f64::from(a) * f64::from(b)
                };
                f64::from(alpha) * (0..k).map(term).sum::<f64>()
            };
            let wanted: Vec<f64> =
                (0..batch * m * n).map(|at| of([at / n / m, at / n % m, at % n])).collect();
            let launch = product::matmul(real, &sizes).unwrap();
            let y = host::result(&launch, &[tensor(real, &a), tensor(real, &b)], wanted.len() * real.bytes());
            near(&format!("{sizes:?}"), real, &decoded(real, &y), &wanted, 0.25 * k as f64);
        }
    }
}

/// Convolutions whose result has at least a pixel.
fn convolutions() -> impl Strategy<Value = Convolution> {
    let side = (1..12_usize, 1..4_usize, 1..4_usize, 1..3_usize, 0..3_usize, 0..3_usize);
    let channels = (1..3_usize, 1..4_usize, prop_oneof![1..5_usize, 63..66_usize]);
    (1..3_usize, channels, [side.clone(), side]).prop_map(|(batch, (groups, each_in, each_out), [v, h])| Convolution {
        batch,
        groups,
        in_channels: groups * each_in,
        out_channels: groups * each_out,
        input: [v.0, h.0],
        output: [0; 2],
        kernel: [v.1, h.1],
        stride: [v.2, h.2],
        dilation: [v.3, h.3],
        pads: [v.4, h.4, v.5, h.5],
    })
}

/// What a filter reaches along a side, less one.
fn reach(of: &Convolution, side: usize) -> usize {
    of.dilation[side] * (of.kernel[side] - 1)
}

/// Where a filter's place touches the larger of the two planes along a side, if not before its beginning.
fn touched(of: &Convolution, side: usize, at: usize, filter: usize) -> Option<usize> {
    (at * of.stride[side] + filter * of.dilation[side]).checked_sub(of.pads[side])
}

/// A convolution by its definition: every product of a pixel and a weight is added to the pixel of the result that it belongs to.
struct Loops<'a> {
    of: &'a Convolution,
    x: &'a [f32],
    w: &'a [f32],
}

impl Loops<'_> {
    /// Every picture, group, channel of the source in it, channel of the result in it, and place of the filter.
    fn each(&self, mut visit: impl FnMut([usize; 4], [usize; 2])) {
        let of = self.of;
        for batch in 0..of.batch {
            for group in 0..of.groups {
                for from in 0..of.in_channels / of.groups {
                    for to in 0..of.out_channels / of.groups {
                        for line in 0..of.kernel[0] {
                            (0..of.kernel[1]).for_each(|step| visit([batch, group, from, to], [line, step]));
                        }
                    }
                }
            }
        }
    }

    fn pixel(&self, [batch, group, from, _]: [usize; 4], [row, column]: [usize; 2]) -> f64 {
        let channel = group * (self.of.in_channels / self.of.groups) + from;
        let shape = [self.of.batch, self.of.in_channels, self.of.input[0], self.of.input[1]];
        f64::from(self.x[place(&shape, &[batch, channel, row, column])])
    }

    fn result(&self, [batch, group, _, to]: [usize; 4], [row, column]: [usize; 2]) -> usize {
        let channel = group * (self.of.out_channels / self.of.groups) + to;
        place(
            &[self.of.batch, self.of.out_channels, self.of.output[0], self.of.output[1]],
            &[batch, channel, row, column],
        )
    }

    fn results(&self) -> Vec<f64> {
        vec![0.0; self.of.batch * self.of.out_channels * self.of.output[0] * self.of.output[1]]
    }

    fn conv(&self) -> Vec<f64> {
        let of = self.of;
        let (in_each, out_each) = (of.in_channels / of.groups, of.out_channels / of.groups);
        let mut sums = self.results();
        self.each(|at, filter| {
            let weights = [of.out_channels, in_each, of.kernel[0], of.kernel[1]];
            let w = f64::from(self.w[place(&weights, &[at[1] * out_each + at[3], at[2], filter[0], filter[1]])]);
            for row in 0..of.output[0] {
                for column in 0..of.output[1] {
                    let source = [0, 1].map(|side| touched(of, side, [row, column][side], filter[side]));
                    if let [Some(y), Some(x)] = source
                        && y < of.input[0]
                        && x < of.input[1]
                    {
                        sums[self.result(at, [row, column])] += w * self.pixel(at, [y, x]);
                    }
                }
            }
        });
        sums
    }

    /// By its definition: every pixel of the source is spread over the result.
    fn conv_transpose(&self) -> Vec<f64> {
        let of = self.of;
        let (in_each, out_each) = (of.in_channels / of.groups, of.out_channels / of.groups);
        let mut sums = self.results();
        self.each(|at, filter| {
            let weights = [of.in_channels, out_each, of.kernel[0], of.kernel[1]];
            let w = f64::from(self.w[place(&weights, &[at[1] * in_each + at[2], at[3], filter[0], filter[1]])]);
            for row in 0..of.input[0] {
                for column in 0..of.input[1] {
                    let target = [0, 1].map(|side| touched(of, side, [row, column][side], filter[side]));
                    if let [Some(y), Some(x)] = target
                        && y < of.output[0]
                        && x < of.output[1]
                    {
                        sums[self.result(at, [y, x])] += w * self.pixel(at, [row, column]);
                    }
                }
            }
        });
        sums
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pictures_are_convolved(of in convolutions(), seed: u64) {
        let room = |side: usize| (of.input[side] + of.pads[side] + of.pads[side + 2]).checked_sub(reach(&of, side) + 1);
        let (Some(rows), Some(columns)) = (room(0), room(1)) else { return Ok(()) };
        let of = Convolution { output: [rows / of.stride[0] + 1, columns / of.stride[1] + 1], ..of };
        let depth = of.in_channels / of.groups * of.kernel[0] * of.kernel[1];
        for real in Real::ALL {
            let x = noise(real, seed, of.batch * of.in_channels * of.input[0] * of.input[1]);
            let w = noise(real, seed ^ 1, of.out_channels * depth);
            let wanted = Loops { of: &of, x: &x, w: &w }.conv();
            let launch = product::conv(real, &of).unwrap();
            let y = host::result(&launch, &[tensor(real, &x), tensor(real, &w)], wanted.len() * real.bytes());
            near(&format!("{of:?}"), real, &decoded(real, &y), &wanted, 0.25 * depth as f64);
        }
    }

    #[test]
    fn pictures_are_spread(of in convolutions(), seed: u64) {
        let whole = |side: usize| (of.input[side] - 1) * of.stride[side] + reach(&of, side) + 1;
        let cut = |side: usize| whole(side).checked_sub(of.pads[side] + of.pads[side + 2]).filter(|&left| left > 0);
        let (Some(rows), Some(columns)) = (cut(0), cut(1)) else { return Ok(()) };
        let of = Convolution { output: [rows, columns], ..of };
        let depth = of.in_channels / of.groups * of.kernel[0] * of.kernel[1];
        for real in Real::ALL {
            let x = noise(real, seed, of.batch * of.in_channels * of.input[0] * of.input[1]);
            let w = noise(real, seed ^ 1, of.out_channels * depth);
            let wanted = Loops { of: &of, x: &x, w: &w }.conv_transpose();
            let launch = product::conv_transpose(real, &of).unwrap();
            let y = host::result(&launch, &[tensor(real, &x), tensor(real, &w)], wanted.len() * real.bytes());
            near(&format!("{of:?}"), real, &decoded(real, &y), &wanted, 0.25 * depth as f64);
        }
    }
}
