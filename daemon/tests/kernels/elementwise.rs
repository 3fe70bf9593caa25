//! Functions of one and two numbers.

use proofload_daemon::gpu::kernels::Real;
use proofload_daemon::gpu::kernels::elementwise::{self, Binary, Function};
use proptest::prelude::*;

use super::host::{self, Arg};
use super::numbers::{decoded, encoded, indices, near, noise, optional, place, scaled, tensor};

const FUNCTIONS: [Function; 19] = [
    Function::None,
    Function::Relu,
    Function::LeakyRelu { alpha: 0.02 },
    Function::Sigmoid,
    Function::Tanh,
    Function::Gelu,
    Function::GeluTanh,
    Function::Silu,
    Function::Clip { low: -0.5, high: 6.0 },
    Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Function::HardSwish,
    Function::Elu { alpha: 1.5 },
    Function::Erf,
    Function::Exp,
    Function::Log,
    Function::Sqrt,
    Function::Reciprocal,
    Function::Neg,
    Function::Abs,
];

/// By the operators' definitions, in double precision.
fn expected(function: Function, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        Function::None => x,
        Function::Relu => x.max(0.0),
        Function::LeakyRelu { alpha } => x.max(0.0) + f64::from(alpha) * x.min(0.0),
        Function::Sigmoid => sigmoid(x),
        Function::Tanh => x.tanh(),
        Function::Gelu => 0.5 * x * libm::erfc(-x / 2.0_f64.sqrt()),
        Function::GeluTanh => x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))),
        Function::Silu => x * sigmoid(x),
        Function::Clip { low, high } => x.clamp(f64::from(low), f64::from(high)),
        Function::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Elu { alpha } => x.max(0.0) + f64::from(alpha) * x.min(0.0).exp_m1(),
        Function::Erf => libm::erf(x),
        Function::Exp => x.exp(),
        Function::Log => x.ln(),
        Function::Sqrt => x.sqrt(),
        Function::Reciprocal => 1.0 / x,
        Function::Neg => -x,
        Function::Abs => x.abs(),
    }
}

/// A function's terms may cancel where they are of about this size.
fn terms(function: Function) -> f64 {
    match function {
        Function::HardSigmoid { .. } | Function::HardSwish | Function::Log => 0.1,
        // Its argument is cubed before it becomes an exponent.
        Function::GeluTanh => 1e-3,
        _ => 0.0,
    }
}

#[test]
fn functions_of_one_number() {
    for function in FUNCTIONS {
        for real in Real::ALL {
            for count in [1, 3, 4, 5, 8, 255, 1023, 1024, 1029, 2049] {
                let mut x = scaled(real, &noise(real, count as u64, count), 6.0);
                x[0] = 0.0;
                let wanted: Vec<f64> = x.iter().map(|&x| expected(function, f64::from(x))).collect();
                let launch = elementwise::unary(function, real, count).unwrap();
                let y = host::result(&launch, &[tensor(real, &x)], count * real.bytes());
                near(&format!("{function:?}"), real, &decoded(real, &y), &wanted, terms(function));
                let in_place = host::run(&launch, &[tensor(real, &x), Arg::Same(0)]);
                assert_eq!(in_place, [y], "{function:?} in place");
            }
        }
    }
}

#[test]
fn extremes_are_kept() {
    let check = |function: Function, x: f32, expected: f32| {
        let launch = elementwise::unary(function, Real::F32, 1).unwrap();
        let found = decoded(Real::F32, &host::result(&launch, &[tensor(Real::F32, &[x])], 4))[0];
        assert!(
            found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
            "{function:?}({x}) = {found}"
        );
    };
    let clip = Function::Clip { low: -1.0, high: 1.0 };
    for function in [Function::Relu, Function::Sigmoid, Function::Gelu, Function::Silu, Function::Tanh, clip] {
        check(function, f32::NAN, f32::NAN);
    }
    check(Function::Relu, f32::INFINITY, f32::INFINITY);
    check(Function::Relu, f32::NEG_INFINITY, 0.0);
    check(Function::Sigmoid, -1000.0, 0.0);
    check(Function::Sigmoid, 1000.0, 1.0);
    check(Function::Gelu, 50.0, 50.0);
    check(Function::GeluTanh, 50.0, 50.0);
    check(Function::Tanh, -90.0, -1.0);
    check(clip, f32::NEG_INFINITY, -1.0);
    check(Function::Log, -1.0, f32::NAN);
    check(Function::Sqrt, -1.0, f32::NAN);
}

fn of_two(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => a.powf(b),
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
    }
}

/// Two shapes that are repeated to a third.
fn shapes() -> impl Strategy<Value = [Vec<usize>; 2]> {
    let axis = (1..7_usize, 0..4_u8);
    (proptest::collection::vec(axis, 0..5), 0..3_usize, any::<bool>()).prop_map(|(axes, cut, swap)| {
        let side =
            |narrow: u8| axes.iter().map(|&(size, kind)| if kind == narrow { 1 } else { size }).collect::<Vec<_>>();
        let (a, b) = (side(0), side(1));
        let b = b[cut.min(b.len())..].to_vec();
        if swap { [b, a] } else { [a, b] }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn functions_of_two_numbers([a_shape, b_shape] in shapes(), seed: u64) {
        let rank = a_shape.len().max(b_shape.len());
        let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
        let shape: Vec<usize> = (0..rank).map(|axis| size(&a_shape, axis).max(size(&b_shape, axis))).collect();
        let at = |own: &[usize], index: &[usize]| {
            let index = &index[rank - own.len()..];
            let within: Vec<usize> = index.iter().zip(own).map(|(&at, &size)| at.min(size - 1)).collect();
            place(own, &within)
        };
        for real in Real::ALL {
            let a: Vec<f32> = noise(real, seed, a_shape.iter().product()).iter().map(|a| a.abs() + 0.25).collect();
            let b: Vec<f32> = noise(real, seed ^ 1, b_shape.iter().product()).iter().map(|b| b + 1.5).collect();
            let [a, b] = [a, b].map(|values| decoded(real, &encoded(real, &values)));
            for op in Binary::ALL {
                let of = |index: &Vec<usize>| {
                    of_two(op, f64::from(a[at(&a_shape, index)]), f64::from(b[at(&b_shape, index)]))
                };
                let wanted: Vec<f64> = indices(&shape).iter().map(of).collect();
                let launch = elementwise::binary(op, real, &a_shape, &b_shape).unwrap();
                let y = host::result(&launch, &[tensor(real, &a), tensor(real, &b)], wanted.len() * real.bytes());
                near(&format!("{op:?} {a_shape:?} {b_shape:?}"), real, &decoded(real, &y), &wanted, 1e-2);
            }
        }
    }

    #[test]
    fn what_follows_a_convolution(
        (outer, channels, inner) in (1..4_usize, 1..7_usize, 1..40_usize),
        [scale, bias, residual] in any::<[bool; 3]>(),
        seed: u64,
    ) {
        let count = outer * channels * inner;
        let of_channels = |wanted: bool, seed: u64| wanted.then(|| noise(Real::F32, seed, channels));
        let (scale, bias) = (of_channels(scale, seed ^ 1), of_channels(bias, seed ^ 2));
        for real in Real::ALL {
            let x = noise(real, seed, count);
            let more = residual.then(|| noise(real, seed ^ 3, count));
            for function in [Function::None, Function::Relu, Function::LeakyRelu { alpha: 0.1 }, Function::Silu] {
                let wanted: Vec<f64> = (0..count).map(|at| {
                    let term = |values: &Option<Vec<f32>>, at: usize, absent: f64| {
                        values.as_ref().map_or(absent, |values| f64::from(values[at]))
                    };
                    let channel = at / inner % channels;
                    let scaled = f64::from(x[at]) * term(&scale, channel, 1.0);
                    expected(function, scaled + term(&bias, channel, 0.0) + term(&more, at, 0.0))
                }).collect();
                let launch = elementwise::channels(function, real, outer, channels, inner).unwrap();
                let residual = more.as_ref().map_or(Arg::Absent, |more| tensor(real, more));
                let args = [tensor(real, &x), optional(scale.as_deref()), optional(bias.as_deref()), residual];
                let y = host::result(&launch, &args, count * real.bytes());
                near(&format!("{function:?}"), real, &decoded(real, &y), &wanted, 0.1);
                let in_place = host::run(&launch, &[&args[..], &[Arg::Same(0)]].concat());
                prop_assert_eq!(&in_place[0], &y);
            }
        }
    }
}
