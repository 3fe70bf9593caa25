//! Elements that change their place: every result is the source's bytes, picked by index.

use proofload_daemon::gpu::kernels::Launch;
use proofload_daemon::gpu::kernels::movement::{self, Index, PadMode, Width};
use proptest::prelude::*;

use super::host::{self, Arg};
use super::numbers::{indices, place};

/// Elements that differ, as far as their width allows.
fn elements(width: Width, count: usize) -> Vec<u8> {
    let element = |at: usize| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17).to_le_bytes();
    (1..=count).flat_map(|at| element(at)[..width.bytes()].to_vec()).collect()
}

/// The result's element at each index is the source's element at `from`, or zero bits.
fn check(
    launch: &Launch,
    width: Width,
    (source, result): (&[usize], &[usize]),
    more: &[Arg],
    from: impl Fn(&[usize]) -> Option<Vec<usize>>,
    otherwise: u64,
) {
    let x = elements(width, source.iter().product());
    let element = |index: Vec<usize>| match from(&index) {
        Some(index) => x[place(source, &index) * width.bytes()..][..width.bytes()].to_vec(),
        None => otherwise.to_le_bytes()[..width.bytes()].to_vec(),
    };
    let expected: Vec<u8> = indices(result).into_iter().flat_map(element).collect();
    let args = [&[Arg::Bytes(x.clone())], more].concat();
    let found = host::result(launch, &args, expected.len());
    assert!(found == expected, "{launch:?}: {found:?} is not {expected:?}");
}

fn shape(most: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..most, 1..5)
}

/// A shape and an order of its axes.
fn permuted() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    prop_oneof![shape(8), shape(8), proptest::collection::vec(7..40_usize, 2..4)].prop_flat_map(|shape| {
        let axes: Vec<usize> = (0..shape.len()).collect();
        (Just(shape), Just(axes).prop_shuffle())
    })
}

fn widths() -> impl Strategy<Value = Width> {
    proptest::sample::select(Width::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn transposed((shape, perm) in permuted(), width in widths()) {
        let result: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
        let launch = movement::transpose(width, &shape, &perm).unwrap();
        let from = |index: &[usize]| {
            let mut source = vec![0; index.len()];
            perm.iter().zip(index).for_each(|(&axis, &at)| source[axis] = at);
            Some(source)
        };
        check(&launch, width, (&shape, &result), &[], from, 0);
    }

    #[test]
    fn sliced(
        axes in proptest::collection::vec((1..9_usize, 0..9_usize, 1..4_i64, any::<bool>(), 0..9_usize), 1..5),
        width in widths(),
    ) {
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let starts: Vec<usize> = axes.iter().map(|axis| axis.1 % axis.0).collect();
        let steps: Vec<i64> = axes.iter().map(|axis| if axis.3 { -axis.2 } else { axis.2 }).collect();
        let result: Vec<usize> = (0..axes.len()).map(|axis| {
            let way = if steps[axis] < 0 { starts[axis] } else { shape[axis] - 1 - starts[axis] };
            1 + axes[axis].4 % (way / steps[axis].unsigned_abs() as usize + 1)
        }).collect();
        let signed: Vec<i64> = starts.iter().map(|&start| start as i64).collect();
        let launch = movement::slice(width, &shape, &signed, &steps, &result).unwrap();
        let from = |index: &[usize]| {
            let along = |axis: usize| (signed[axis] + index[axis] as i64 * steps[axis]) as usize;
            Some((0..index.len()).map(along).collect())
        };
        check(&launch, width, (&shape, &result), &[], from, 0);
    }

    #[test]
    fn repeated(axes in proptest::collection::vec((1..6_usize, any::<bool>()), 1..5), cut in 0..4_usize, width in widths()) {
        let result: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let whole: Vec<usize> = axes.iter().map(|axis| if axis.1 { 1 } else { axis.0 }).collect();
        let cut = cut.min(whole.len());
        let source = whole[cut..].to_vec();
        let launch = movement::expand(width, &source, &result).unwrap();
        let from = |index: &[usize]| {
            Some(index[cut..].iter().zip(&source).map(|(&at, &size)| at.min(size - 1)).collect())
        };
        check(&launch, width, (&source, &result), &[], from, 0);
    }

    #[test]
    fn padded(
        axes in proptest::collection::vec((1..6_usize, -2..4_i64, -2..4_i64), 1..5),
        mode in 0..3_u8,
        bits: u64,
        width in widths(),
    ) {
        let source: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let [begins, ends]: [Vec<i64>; 2] = [axes.iter().map(|axis| axis.1).collect(), axes.iter().map(|axis| axis.2).collect()];
        let lengths: Vec<i64> = axes.iter().map(|axis| axis.0 as i64 + axis.1 + axis.2).collect();
        prop_assume!(lengths.iter().all(|&length| length > 0));
        let result: Vec<usize> = lengths.iter().map(|&length| length as usize).collect();
        let mode = [PadMode::Constant(bits), PadMode::Edge, PadMode::Reflect][usize::from(mode)];
        let along = |axis: usize, at: usize| {
            let (mut at, last) = (at as i64 - begins[axis], source[axis] as i64 - 1);
            match mode {
                PadMode::Constant(_) if at < 0 || at > last => return None,
                PadMode::Edge => at = at.clamp(0, last),
                // Back and forth, until it lies within.
                PadMode::Reflect if last == 0 => at = 0,
                PadMode::Reflect => while at < 0 || at > last {
                    at = if at < 0 { -at } else { 2 * last - at };
                },
                PadMode::Constant(_) => {}
            }
            Some(at as usize)
        };
        let launch = movement::pad(width, &source, &begins, &ends, mode).unwrap();
        let from = |index: &[usize]| (0..index.len()).map(|axis| along(axis, index[axis])).collect();
        check(&launch, width, (&source, &result), &[], from, bits);
    }

    #[test]
    fn gathered(
        (outer, axis, inner) in (1..5_usize, 1..9_usize, 1..9_usize),
        wanted in proptest::collection::vec(-12..12_i64, 1..20),
        wide: bool,
        width in widths(),
    ) {
        let index = if wide { Index::I64 } else { Index::I32 };
        let launch = movement::gather(width, index, outer, axis, inner, wanted.len()).unwrap();
        let bytes = |at: &i64| if wide { at.to_le_bytes().to_vec() } else { (*at as i32).to_le_bytes().to_vec() };
        let more = Arg::Bytes(wanted.iter().flat_map(bytes).collect());
        let from = |index: &[usize]| {
            let at = wanted[index[1]];
            let at = if at < 0 { at + axis as i64 } else { at };
            (0..axis as i64).contains(&at).then(|| vec![index[0], at as usize, index[2]])
        };
        check(&launch, width, (&[outer, axis, inner], &[outer, wanted.len(), inner]), &[more], from, 0);
    }

    #[test]
    fn filled(count in 1..2000_usize, bits: u64, width in widths()) {
        let launch = movement::fill(width, count, bits).unwrap();
        let found = host::result(&launch, &[], count * width.bytes());
        prop_assert!(found.chunks_exact(width.bytes()).all(|element| element == &bits.to_le_bytes()[..width.bytes()]));
    }

    /// Parts that are written one after the other are the whole.
    #[test]
    fn concatenated(
        (outer, inner) in (1..5_usize, 1..7_usize),
        parts in proptest::collection::vec(1..6_usize, 1..5),
        width in widths(),
    ) {
        let whole: usize = parts.iter().sum();
        let bytes = outer * whole * inner * width.bytes();
        let mut found = vec![0; bytes];
        let mut expected = vec![0; bytes];
        let mut at = 0;
        for (number, &part) in parts.iter().enumerate() {
            let x: Vec<u8> = elements(width, outer * part * inner).iter().map(|byte| byte ^ number as u8).collect();
            let line = inner * width.bytes();
            for (row, from) in x.chunks_exact(part * line).enumerate() {
                expected[(row * whole + at) * line..][..part * line].copy_from_slice(from);
            }
            let launch = movement::concat_part(width, &[outer, part, inner], 1, at, whole).unwrap();
            found = host::run(&launch, &[Arg::Bytes(x), Arg::Bytes(found)]).pop().unwrap();
            at += part;
        }
        prop_assert_eq!(found, expected);
    }
}
