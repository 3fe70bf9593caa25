//! Between the wire's tensors (little-endian bytes) and ONNX Runtime's values, type by type as they are: nothing is widened,
//! narrowed or rounded on the way.

use std::fmt::Debug;

use bytes::Bytes;
use half::{bf16, f16};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as Value};
use proofload_wire::tensor::{DataType, Tensor};

/// The data of all parts, one after the other, as a value of that shape.
pub(super) fn gather(datatype: DataType, parts: &[&Tensor], shape: Vec<i64>) -> Result<DynValue, String> {
    match datatype {
        DataType::Bool => numbers(parts, shape, |[byte]: [u8; 1]| byte != 0),
        DataType::Uint8 => numbers(parts, shape, u8::from_le_bytes),
        DataType::Uint16 => numbers(parts, shape, u16::from_le_bytes),
        DataType::Uint32 => numbers(parts, shape, u32::from_le_bytes),
        DataType::Uint64 => numbers(parts, shape, u64::from_le_bytes),
        DataType::Int8 => numbers(parts, shape, i8::from_le_bytes),
        DataType::Int16 => numbers(parts, shape, i16::from_le_bytes),
        DataType::Int32 => numbers(parts, shape, i32::from_le_bytes),
        DataType::Int64 => numbers(parts, shape, i64::from_le_bytes),
        DataType::Fp16 => numbers(parts, shape, f16::from_le_bytes),
        DataType::Bf16 => numbers(parts, shape, bf16::from_le_bytes),
        DataType::Fp32 => numbers(parts, shape, f32::from_le_bytes),
        DataType::Fp64 => numbers(parts, shape, f64::from_le_bytes),
        DataType::Bytes => strings(parts, shape),
    }
}

fn numbers<T, const N: usize>(parts: &[&Tensor], shape: Vec<i64>, read: fn([u8; N]) -> T) -> Result<DynValue, String>
where
    T: PrimitiveTensorElementType + Debug + Clone + 'static,
{
    let mut numbers = Vec::with_capacity(parts.iter().map(|part| part.data.len() / N).sum());
    for part in parts {
        numbers.extend(part.data.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)));
    }
    Value::from_array((shape, numbers)).map(Value::into_dyn).map_err(|error| error.to_string())
}

fn strings(parts: &[&Tensor], shape: Vec<i64>) -> Result<DynValue, String> {
    let each = parts.iter().flat_map(|part| part.strings());
    let text = |(index, bytes): (usize, &'_ [u8])| match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(format!("element {index} is no UTF-8 text without NUL, which is what ONNX Runtime computes with")),
    };
    let texts = each.enumerate().map(text).collect::<Result<Vec<String>, _>>()?;
    Value::from_string_array((shape, texts.as_slice())).map(Value::into_dyn).map_err(|error| error.to_string())
}

/// Shape and bytes of an output.
pub(super) fn scatter(datatype: DataType, value: &DynValue) -> Result<(Vec<i64>, Bytes), String> {
    match datatype {
        DataType::Bool => bytes(value, |truth: &bool| [u8::from(*truth)]),
        DataType::Uint8 => bytes(value, |number: &u8| number.to_le_bytes()),
        DataType::Uint16 => bytes(value, |number: &u16| number.to_le_bytes()),
        DataType::Uint32 => bytes(value, |number: &u32| number.to_le_bytes()),
        DataType::Uint64 => bytes(value, |number: &u64| number.to_le_bytes()),
        DataType::Int8 => bytes(value, |number: &i8| number.to_le_bytes()),
        DataType::Int16 => bytes(value, |number: &i16| number.to_le_bytes()),
        DataType::Int32 => bytes(value, |number: &i32| number.to_le_bytes()),
        DataType::Int64 => bytes(value, |number: &i64| number.to_le_bytes()),
        DataType::Fp16 => bytes(value, |number: &f16| number.to_le_bytes()),
        DataType::Bf16 => bytes(value, |number: &bf16| number.to_le_bytes()),
        DataType::Fp32 => bytes(value, |number: &f32| number.to_le_bytes()),
        DataType::Fp64 => bytes(value, |number: &f64| number.to_le_bytes()),
        DataType::Bytes => texts(value),
    }
}

fn bytes<T: PrimitiveTensorElementType, const N: usize>(
    value: &DynValue,
    write: fn(&T) -> [u8; N],
) -> Result<(Vec<i64>, Bytes), String> {
    let (shape, numbers) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    let mut data = Vec::with_capacity(numbers.len() * N);
    numbers.iter().for_each(|number| data.extend_from_slice(&write(number)));
    Ok((shape.to_vec(), data.into()))
}

fn texts(value: &DynValue) -> Result<(Vec<i64>, Bytes), String> {
    let (shape, texts) = value.try_extract_strings().map_err(|error| error.to_string())?;
    let mut data = Vec::with_capacity(texts.iter().map(|text| text.len() + 4).sum());
    for text in texts {
        let length = u32::try_from(text.len()).map_err(|_| "a string is longer than 4 GiB".to_owned())?;
        data.extend_from_slice(&length.to_le_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    Ok((shape.to_vec(), data.into()))
}
