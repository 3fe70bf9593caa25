//! The table of kernels against their sources, and the host build against what it should notice.

use std::collections::BTreeSet;

use half::f16;
use proofload_daemon::gpu::kernels::convert::{self, Kind};
use proofload_daemon::gpu::kernels::elementwise::{self, Function};
use proofload_daemon::gpu::kernels::{Real, Source};

use super::host::{self, Arg};
use super::numbers::{encoded, tensor};

#[test]
fn the_table_names_every_kernel_of_the_sources() {
    let listing = host::listing();
    assert!(listing.iter().all(|kernel| kernel.words_bytes % 4 == 0 && kernel.pointers > 0), "{listing:?}");
    let built: BTreeSet<String> = listing.into_iter().map(|kernel| kernel.name).collect();
    let named: BTreeSet<String> = Source::ALL.into_iter().flat_map(Source::kernels).collect();
    assert_eq!(named.difference(&built).collect::<Vec<_>>(), Vec::<&String>::new(), "named but not there");
    assert_eq!(built.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "there but not named");
}

#[test]
fn words_are_counted() {
    let mut launch = elementwise::unary(Function::Relu, Real::F32, 4).unwrap();
    launch.words.push(0);
    let x = tensor(Real::F32, &[0.0; 4]);
    let error = host::try_run(&launch, &[x.clone(), x]).unwrap_err();
    assert!(error.contains("takes 12 bytes of words, not 16"), "{error}");
}

/// The proof would be none if it let such kernels pass.
#[test]
fn what_lies_beyond_a_buffer_is_noticed() {
    let launch = elementwise::unary(Function::Relu, Real::F32, 1000).unwrap();
    let [whole, short] = [1000, 999].map(|count| tensor(Real::F32, &vec![1.0; count]));
    for (args, access) in [([short.clone(), whole.clone()], "READ of size"), ([whole, short], "WRITE of size")] {
        let error = host::try_run(&launch, &args).unwrap_err();
        assert!(error.contains("heap-buffer-overflow") && error.contains(access), "{error}");
    }
}

#[test]
fn a_result_may_take_the_place_of_what_it_is_made_of() {
    let launch = elementwise::unary(Function::Relu, Real::F32, 4).unwrap();
    let x = tensor(Real::F32, &[-1.0, 2.0, -3.0, 4.0]);
    let found = host::run(&launch, &[x, Arg::Same(0)]);
    assert_eq!(found, [encoded(Real::F32, &[0.0, 2.0, 0.0, 4.0])]);
}

/// The host's arithmetic of halves is what all comparisons in half precision stand on.
#[test]
fn halves_are_converted_as_ieee_754_says() {
    let every: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let launch = convert::cast(Kind::F16, Kind::F32, 1 << 16).unwrap();
    let wide = host::result(&launch, &[Arg::Bytes(every)], 4 << 16);
    for (bits, found) in (0..=u16::MAX).zip(wide.as_chunks().0) {
        let (found, expected) = (f32::from_le_bytes(*found), f16::from_bits(bits).to_f32());
        assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{bits:#x}: {found}");
    }
    // Numbers between all halves, at and beside the middle, and beyond their range.
    let between = (0..0x7C00_u16).flat_map(|bits| {
        let [low, high] = [bits, bits + 1].map(|bits| f16::from_bits(bits).to_f64());
        let high = if high.is_finite() { high } else { 65536.0 };
        let middle = ((low + high) / 2.0) as f32;
        [middle, f32::from_bits(middle.to_bits() + 1), -f32::from_bits(middle.to_bits() - 1)]
    });
    let values: Vec<f32> = between.chain([1e-10, 65535.0, 1e9, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]).collect();
    let launch = convert::cast(Kind::F32, Kind::F16, values.len()).unwrap();
    let narrow = host::result(&launch, &[tensor(Real::F32, &values)], 2 * values.len());
    for (value, found) in values.iter().zip(narrow.as_chunks().0) {
        let (found, expected) = (f16::from_le_bytes(*found), f16::from_f32(*value));
        assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{value:e}: {found:e}");
    }
}
