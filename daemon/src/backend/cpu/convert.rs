//! Between the wire's tensors (little-endian bytes) and rten's values. rten computes in four element types; the
//! others are widened or narrowed here, and a value that does not fit is an error, never cut off.

use bytes::Bytes;
use proofload_wire::tensor::{DataType, Tensor};
use rten::Value;
use rten_tensor::Layout;

/// A type that can be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fp32,
    /// Computed as FP32.
    Fp64,
    Int32,
    /// Computed as INT32.
    Int64,
    /// Computed as INT32.
    Bool,
    Int8,
    Uint8,
}

impl Kind {
    /// `None` for a type that rten cannot compute with.
    pub(super) fn of(datatype: DataType) -> Option<Self> {
        Some(match datatype {
            DataType::Fp32 => Self::Fp32,
            DataType::Fp64 => Self::Fp64,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Bool => Self::Bool,
            DataType::Int8 => Self::Int8,
            DataType::Uint8 => Self::Uint8,
            _ => return None,
        })
    }
}

/// The data of all parts, one after the other, as a value of that shape.
pub(super) fn gather(kind: Kind, parts: &[&Tensor], shape: &[usize]) -> Result<Value, String> {
    match kind {
        Kind::Fp32 => value(shape, numbers(parts, |bytes| Ok(f32::from_le_bytes(bytes)))?),
        Kind::Fp64 => value(shape, numbers(parts, |bytes| Ok(f64::from_le_bytes(bytes) as f32))?),
        Kind::Int32 => value(shape, numbers(parts, |bytes| Ok(i32::from_le_bytes(bytes)))?),
        Kind::Int64 => value(shape, numbers(parts, |bytes| narrowed(i64::from_le_bytes(bytes)))?),
        Kind::Bool => value(shape, numbers(parts, |[byte]| Ok(i32::from(byte != 0)))?),
        Kind::Int8 => value(shape, numbers(parts, |bytes| Ok(i8::from_le_bytes(bytes)))?),
        Kind::Uint8 => value(shape, numbers(parts, |[byte]| Ok(byte))?),
    }
}

fn numbers<T, const N: usize>(
    parts: &[&Tensor],
    mut read: impl FnMut([u8; N]) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut numbers = Vec::with_capacity(parts.iter().map(|part| part.data.len() / N).sum());
    for part in parts {
        for chunk in part.data.as_chunks::<N>().0 {
            numbers.push(read(*chunk)?);
        }
    }
    Ok(numbers)
}

fn narrowed(number: i64) -> Result<i32, String> {
    i32::try_from(number).map_err(|_| format!("{number} does not fit INT32, in which the CPU backend computes INT64"))
}

fn value<T>(shape: &[usize], numbers: Vec<T>) -> Result<Value, String>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    let count = numbers.len();
    let tensor = rten_tensor::Tensor::try_from_data(shape, numbers);
    tensor.map(Value::from).map_err(|_| format!("shape {shape:?} does not hold {count} elements"))
}

/// Shape and bytes of an output.
pub(super) fn scatter(kind: Kind, value: Value) -> Result<(Vec<i64>, Bytes), String> {
    match kind {
        Kind::Fp32 => bytes(value, f32::to_le_bytes),
        Kind::Fp64 => bytes(value, |number: f32| f64::from(number).to_le_bytes()),
        Kind::Int32 => bytes(value, i32::to_le_bytes),
        Kind::Int64 => bytes(value, |number: i32| i64::from(number).to_le_bytes()),
        Kind::Bool => bytes(value, |number: i32| [u8::from(number != 0)]),
        Kind::Int8 => bytes(value, i8::to_le_bytes),
        Kind::Uint8 => bytes(value, |number: u8| [number]),
    }
}

fn bytes<T: Copy, const N: usize>(value: Value, write: impl Fn(T) -> [u8; N]) -> Result<(Vec<i64>, Bytes), String>
where
    rten_tensor::Tensor<T>: TryFrom<Value>,
{
    let found = value.dtype();
    let tensor = rten_tensor::Tensor::<T>::try_from(value);
    let tensor = tensor.map_err(|_| format!("the model answered {found}, which is not the declared type"))?;
    let shape = tensor.shape().iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    let numbers = tensor.into_data();
    Ok((shape, numbers.into_iter().flat_map(write).collect::<Vec<u8>>().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(datatype: DataType, data: &[u8], expected: Result<(), &str>) {
        let size = datatype.size().expect("a number");
        let count = data.len() / size;
        let shape = vec![i64::try_from(count).expect("small")];
        let tensor = Tensor::new("x", datatype, shape.clone(), Bytes::copy_from_slice(data)).expect("well-formed");
        let kind = Kind::of(datatype).expect("supported");
        let round_trip = gather(kind, &[&tensor], &[count]).and_then(|value| scatter(kind, value));
        match expected {
            Ok(()) => assert_eq!(round_trip, Ok((shape, tensor.data)), "{datatype}"),
            Err(part) => assert!(round_trip.clone().is_err_and(|error| error.contains(part)), "{round_trip:?}"),
        }
    }

    #[test]
    fn every_type_comes_back_as_it_went() {
        check(DataType::Fp32, &[1.5f32.to_le_bytes(), (-0.25f32).to_le_bytes()].concat(), Ok(()));
        check(DataType::Fp64, &[1.5f64.to_le_bytes(), (-0.25f64).to_le_bytes()].concat(), Ok(()));
        check(DataType::Int32, &(-7i32).to_le_bytes(), Ok(()));
        check(DataType::Int64, &(-7i64).to_le_bytes(), Ok(()));
        check(DataType::Int64, &(1i64 << 40).to_le_bytes(), Err("1099511627776 does not fit INT32"));
        check(DataType::Bool, &[1, 0, 1], Ok(()));
        check(DataType::Int8, &[0x80, 3], Ok(()));
        check(DataType::Uint8, &[0x80, 3], Ok(()));
        assert_eq!(Kind::of(DataType::Bytes), None);
        assert_eq!(Kind::of(DataType::Fp16), None);
    }
}
