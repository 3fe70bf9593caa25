//! What a model is asked while it is measured: the same numbers at every run. Pure.

use bytes::Bytes;
use proofload_wire::tensor::{DataType, Tensor, element_count};
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::backend::Request;
use crate::repository::spec::{ModelSpec, TensorSpec};

/// The same numbers at every run.
const SEED: u64 = 0x9e37_79b9;
/// More than this is a slip of the pen.
const MAX_BYTES: usize = 1 << 32;

/// The shape of each input at a batch of one, without the batch dimension. Sizes that the configuration leaves open are those
/// of its first warm-up sample, or else `open_size`.
pub(super) fn shapes(spec: &ModelSpec, open_size: i64) -> Vec<Vec<i64>> {
    let sample = spec.warm_up.first();
    let shape = |(at, input): (usize, &TensorSpec)| {
        let known = sample.and_then(|sample| sample.inputs.get(at));
        let known = known.map(|tensor| &tensor.shape[usize::from(spec.batched()).min(tensor.shape.len())..]);
        let size = |(index, size): (usize, &i64)| match size {
            -1 => known.and_then(|known| known.get(index)).copied().unwrap_or(open_size),
            size => *size,
        };
        input.dims.iter().enumerate().map(size).collect()
    };
    spec.inputs.iter().enumerate().map(shape).collect()
}

/// A request of so many elements.
///
/// # Errors
/// When an input cannot be made up.
pub(super) fn request(spec: &ModelSpec, shapes: &[Vec<i64>], batch: u32) -> Result<Request, String> {
    let mut rng = Pcg64Mcg::seed_from_u64(SEED);
    let made = spec.inputs.iter().zip(shapes).map(|(input, shape)| {
        let shape: Vec<i64> =
            spec.batched().then_some(i64::from(batch)).into_iter().chain(shape.iter().copied()).collect();
        let wrong = |what: String| format!("input '{}': {what}", input.name);
        let count = element_count(&shape).map_err(|error| wrong(error.to_string()))?;
        let size = input.datatype.size().ok_or_else(|| wrong("strings cannot be made up".to_owned()))?;
        if count.saturating_mul(size) > MAX_BYTES {
            return Err(wrong(format!("shape {shape:?} takes more than {MAX_BYTES} bytes")));
        }
        let data = numbers(input.datatype, count, &mut rng);
        Tensor::new(input.name.clone(), input.datatype, shape, Bytes::from(data))
            .map_err(|error| wrong(error.to_string()))
    });
    let elements = if spec.batched() { batch } else { 1 };
    Ok(Request::new(made.collect::<Result<_, _>>()?, elements))
}

/// Numbers of a type. Those with a fraction are between 0 and 1, as pictures and embeddings are; whole ones are small, so
/// that what they number is there.
fn numbers(datatype: DataType, count: usize, rng: &mut Pcg64Mcg) -> Vec<u8> {
    let mut unit = || f64::from(rng.next_u32() >> 8) / f64::from(1_u32 << 24);
    let mut bytes = Vec::with_capacity(count * datatype.size().unwrap_or(0));
    for _ in 0..count {
        let real = unit();
        match datatype {
            DataType::Fp16 => bytes.extend(half::f16::from_f64(real).to_le_bytes()),
            DataType::Bf16 => bytes.extend(half::bf16::from_f64(real).to_le_bytes()),
            DataType::Fp32 => bytes.extend((real as f32).to_le_bytes()),
            DataType::Fp64 => bytes.extend(real.to_le_bytes()),
            DataType::Uint8 => bytes.push((real * 256.0) as u8),
            whole => {
                let value = (real * 2.0) as u64;
                bytes.extend(&value.to_le_bytes()[..whole.size().unwrap_or(0)]);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt;
    use crate::repository::resolve::{Found, resolve};
    use crate::sched::queue::Limits;

    fn spec(datatype: &str, dims: &str, max_batch_size: u32) -> ModelSpec {
        let text = format!(
            "backend: \"identity\" max_batch_size: {max_batch_size}
             input [{{ name: \"x\" data_type: {datatype} dims: {dims} }}]
             output [{{ name: \"y\" data_type: {datatype} dims: {dims} }}]"
        );
        let found = Found { name: "m".to_owned(), version: 1, config: pbtxt::parse(&text).config, onnx: Vec::new() };
        resolve(found, Limits { requests: 1, bytes: 1 }).expect("right")
    }

    #[test]
    fn inputs_are_the_same_every_time_and_of_the_right_size() {
        let check = |datatype: &str, dims: &str, max: u32, batch: u32, shape: &[i64], elements: u32| {
            let spec = spec(datatype, dims, max);
            let make = || request(&spec, &shapes(&spec, 5), batch).expect(datatype);
            let (one, other) = (make(), make());
            assert_eq!((&one.inputs, one.elements), (&other.inputs, elements), "{datatype}");
            assert_eq!(one.inputs[0].shape, shape, "{datatype}");
        };
        check("TYPE_FP32", "[3, -1]", 8, 4, &[4, 3, 5], 4);
        check("TYPE_FP32", "[3, 2]", 0, 4, &[3, 2], 1);
        for datatype in ["TYPE_FP16", "TYPE_BF16", "TYPE_FP64", "TYPE_UINT8", "TYPE_INT64", "TYPE_BOOL", "TYPE_INT8"] {
            check(datatype, "[7]", 2, 2, &[2, 7], 2);
        }
        let reals = request(&spec("TYPE_FP32", "[100]", 0), &[vec![100]], 1).expect("right").inputs[0].to_f32();
        let reals = reals.expect("numbers");
        assert!(reals.iter().all(|real| (0.0..1.0).contains(real)) && reals.iter().any(|real| *real > 0.9));
    }

    #[test]
    fn what_cannot_be_made_up_is_named() {
        let check = |datatype: &str, shape: Vec<i64>, part: &str| {
            let error = request(&spec(datatype, "[-1]", 0), &[shape], 1).expect_err(part);
            assert!(error.contains("input 'x'") && error.contains(part), "{error}");
        };
        check("TYPE_STRING", vec![1], "strings");
        check("TYPE_FP32", vec![1 << 40], "takes more than");
        check("TYPE_FP32", vec![-1], "shape");
    }
}
