//! Typed contents: one list per family of types. They are turned into raw bytes.

use bytes::{Bytes, BytesMut};

use crate::WireError;
use crate::grpc::inference::InferTensorContents;
use crate::tensor::{DataType, Element, put_string, to_bytes as elements_to_bytes};

/// The bytes of a tensor whose data is in typed lists. Every list but the right one must be empty.
pub(super) fn to_bytes(name: &str, datatype: DataType, mut from: InferTensorContents) -> Result<Bytes, WireError> {
    let data = match datatype {
        DataType::Bool => {
            let bytes: Vec<u8> = std::mem::take(&mut from.bool_contents).into_iter().map(u8::from).collect();
            Ok(bytes.into())
        }
        DataType::Int8 => narrow::<_, i8>(name, &std::mem::take(&mut from.int_contents)),
        DataType::Int16 => narrow::<_, i16>(name, &std::mem::take(&mut from.int_contents)),
        DataType::Int32 => Ok(elements_to_bytes(&std::mem::take(&mut from.int_contents))),
        DataType::Int64 => Ok(elements_to_bytes(&std::mem::take(&mut from.int64_contents))),
        DataType::Uint8 => narrow::<_, u8>(name, &std::mem::take(&mut from.uint_contents)),
        DataType::Uint16 => narrow::<_, u16>(name, &std::mem::take(&mut from.uint_contents)),
        DataType::Uint32 => Ok(elements_to_bytes(&std::mem::take(&mut from.uint_contents))),
        DataType::Uint64 => Ok(elements_to_bytes(&std::mem::take(&mut from.uint64_contents))),
        DataType::Fp32 => Ok(elements_to_bytes(&std::mem::take(&mut from.fp32_contents))),
        DataType::Fp64 => Ok(elements_to_bytes(&std::mem::take(&mut from.fp64_contents))),
        DataType::Bytes => strings(name, &std::mem::take(&mut from.bytes_contents)),
        DataType::Fp16 | DataType::Bf16 => Err(WireError::data(
            name,
            format!("is {datatype}, which has no typed contents; send it in raw_input_contents"),
        )),
    }?;
    if from != InferTensorContents::default() {
        return Err(WireError::data(name, format!("is {datatype}, but holds contents of another type")));
    }
    Ok(data)
}

fn narrow<Wide: Copy + std::fmt::Display, Narrow: Element + TryFrom<Wide>>(
    name: &str,
    values: &[Wide],
) -> Result<Bytes, WireError> {
    let narrowed: Result<Vec<Narrow>, WireError> = values
        .iter()
        .map(|&value| {
            Narrow::try_from(value)
                .map_err(|_| WireError::data(name, format!("holds {value}, which is no {}", Narrow::DATATYPE)))
        })
        .collect();
    Ok(elements_to_bytes(&narrowed?))
}

fn strings(name: &str, values: &[Bytes]) -> Result<Bytes, WireError> {
    let mut out = BytesMut::new();
    for value in values {
        put_string(name, value, &mut out)?;
    }
    Ok(out.freeze())
}
