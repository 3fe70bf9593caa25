//! Tensors to send: seeded contents, and patches of their first elements that make each request unlike every other.

use bytes::{BufMut, Bytes, BytesMut};
use proofload_wire::WireError;
use proofload_wire::tensor::{DataType, Tensor, element_count};
use rand_core::RngCore;

use crate::plan::{mix64, stream};

/// A tensor of zeros; empty strings for `BYTES`.
///
/// # Errors
/// When the shape is impossible.
pub fn zero_tensor(name: &str, datatype: DataType, shape: &[i64]) -> Result<Tensor, WireError> {
    let bytes = element_count(shape)? * datatype.size().unwrap_or(4);
    Tensor::new(name, datatype, shape.to_vec(), vec![0; bytes].into())
}

/// A tensor of seeded values: floating point from 0 to 1, whole numbers over the non-negative half of their range
/// up to 127, strings of sixteen hexadecimal digits.
///
/// # Errors
/// When the shape is impossible.
pub fn random_tensor(name: &str, datatype: DataType, shape: &[i64], seed: u64) -> Result<Tensor, WireError> {
    let mut rng = stream(seed, 3);
    let mut data = BytesMut::new();
    for _ in 0..element_count(shape)? {
        put(&mut data, datatype, rng.next_u64());
    }
    Tensor::new(name, datatype, shape.to_vec(), data.freeze())
}

/// Bits that [`put`] can tell apart in one element: two numbers that differ in them give different elements.
fn bits(datatype: DataType) -> u32 {
    match datatype {
        DataType::Bool => 1,
        DataType::Fp16 => 10,
        DataType::Fp32 => 23,
        DataType::Fp64 => 52,
        DataType::Bytes => 64,
        DataType::Bf16
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Uint32
        | DataType::Uint64
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64 => 7,
    }
}

/// Appends an element made of the lowest bits of `random`. Floating-point numbers take them as mantissa below 1.
fn put(data: &mut BytesMut, datatype: DataType, random: u64) {
    let low = random & (u64::MAX >> (64 - bits(datatype)));
    match datatype {
        // 0.5 and 1 enclose all numbers with this exponent, whatever the mantissa.
        DataType::Bf16 => data.put_u16_le(0x3f00 | low as u16),
        DataType::Fp16 => data.put_u16_le(0x3800 | low as u16),
        DataType::Fp32 => data.put_u32_le(0x3f00_0000 | low as u32),
        DataType::Fp64 => data.put_u64_le(0x3fe0_0000_0000_0000 | low),
        DataType::Bytes => {
            data.put_u32_le(16);
            data.put_slice(format!("{random:016x}").as_bytes());
        }
        DataType::Bool
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Uint32
        | DataType::Uint64
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64 => data.put_uint_le(low, datatype.size().unwrap_or(1)),
    }
}

/// How the first elements of an encoded tensor are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    datatype: DataType,
    /// How many elements it takes to hold 64 bits, or all there are.
    elements: usize,
    json: bool,
}

impl Patch {
    /// The patch of a tensor; as many elements as hold 64 different bits, if it has so many.
    pub(super) fn of(tensor: &Tensor, json: bool) -> Self {
        let wanted = u64::BITS.div_ceil(bits(tensor.datatype)) as usize;
        Self { datatype: tensor.datatype, elements: wanted.min(tensor.element_count()), json }
    }

    /// The bytes of the first elements as the wire has them.
    pub(super) fn fill(self, unique: u64) -> Bytes {
        let data = self.elements_of(unique);
        if self.json { json_items(self.datatype, &data) } else { data }
    }

    /// The raw bytes of the first elements. The lowest bits go first: with fewer elements than 64 bits need,
    /// neighbours still differ.
    fn elements_of(self, unique: u64) -> Bytes {
        let mut data = BytesMut::new();
        let (mut rest, step) = (spread(unique, self), bits(self.datatype));
        for _ in 0..self.elements {
            put(&mut data, self.datatype, rest);
            rest = rest.checked_shr(step).unwrap_or(0);
        }
        data.freeze()
    }

    /// The tensor with its first elements replaced.
    pub(super) fn apply(self, tensor: &Tensor, unique: u64) -> Tensor {
        let head = self.elements_of(unique);
        let tail = match self.datatype {
            DataType::Bytes => strings_after(tensor, self.elements),
            _ => tensor.data.slice(head.len()..),
        };
        Tensor { data: [head, tail].concat().into(), ..tensor.clone() }
    }
}

/// Spreads a number over the bits that the patch has, without two numbers ever coming out the same.
fn spread(unique: u64, patch: Patch) -> u64 {
    let width = bits(patch.datatype) as usize * patch.elements;
    if width >= 64 {
        mix64(unique)
    } else {
        unique.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (u64::MAX >> (64 - width.max(1)))
    }
}

fn strings_after(tensor: &Tensor, count: usize) -> Bytes {
    let skipped: usize = tensor.strings().take(count).map(|s| 4 + s.len()).sum();
    tensor.data.slice(skipped..)
}

/// Elements as JSON writes them inside `data`. 16-bit floating point has no JSON form and never comes here.
fn json_items(datatype: DataType, data: &Bytes) -> Bytes {
    let count = match datatype.size() {
        Some(size) => data.len() / size,
        None => data.len() / 20,
    };
    let tensor = Tensor { name: String::new(), datatype, shape: vec![count as i64], data: data.clone() };
    let request = proofload_wire::infer::InferRequest { inputs: vec![tensor], ..Default::default() };
    let encoded = proofload_wire::json_body::encode_request(&request, false).map(|e| e.body).unwrap_or_default();
    inner_data(&encoded)
}

/// What stands between the brackets of the only `data` array of an encoded request.
fn inner_data(json: &Bytes) -> Bytes {
    let find =
        |wanted: &[u8], from: usize| json[from..].windows(wanted.len()).position(|w| w == wanted).map(|p| from + p);
    let Some(start) = find(b"\"data\":[", 0).map(|at| at + 8) else { return Bytes::new() };
    let end = find(b"]", start).unwrap_or(json.len());
    json.slice(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn patches_keep_a_tensor_valid_and_never_repeat() {
        for datatype in DataType::all().filter(|d| *d != DataType::Bool) {
            for json in [false, true] {
                if json && matches!(datatype, DataType::Fp16 | DataType::Bf16) {
                    continue;
                }
                let tensor = random_tensor("x", datatype, &[2, 8], 5).unwrap();
                let patch = Patch::of(&tensor, json);
                let seen: HashSet<Bytes> = (0..20_000).map(|unique| patch.fill(unique)).collect();
                assert_eq!(seen.len(), 20_000, "{datatype} {json}");
                let patched = patch.apply(&tensor, 77);
                assert!(Tensor::new("x", datatype, vec![2, 8], patched.data).is_ok(), "{datatype}");
            }
        }
    }

    #[test]
    fn few_elements_still_differ_while_they_can() {
        let tensor = random_tensor("x", DataType::Fp32, &[1], 5).unwrap();
        let patch = Patch::of(&tensor, false);
        let seen: HashSet<Bytes> = (0..1 << 20).map(|unique| patch.fill(unique)).collect();
        assert_eq!(seen.len(), 1 << 20);
    }

    #[test]
    fn floating_point_values_lie_between_a_half_and_one() {
        let values = random_tensor("x", DataType::Fp32, &[1000], 1).unwrap().to_f32().unwrap();
        assert!(values.iter().all(|v| (0.5..1.0).contains(v)));
    }
}
