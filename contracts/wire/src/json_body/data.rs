//! The `data` of a tensor as JSON text: an array of numbers, booleans or strings, nested or flat.
//!
//! Reading works on text that a JSON parser has already found valid, so it only has to find the leaves. Numbers
//! are read by the standard library straight into the tensor's type, which rounds once and correctly.

use std::borrow::Cow;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use serde::ser::{Error, Serialize, Serializer};

use crate::WireError;
use crate::tensor::{DataType, Element, Tensor, put_string, to_bytes, values};

/// The bytes of a tensor from its JSON data. The result's length is not checked against any shape.
pub(super) fn parse(name: &str, datatype: DataType, json: &str) -> Result<Bytes, WireError> {
    if !json.starts_with('[') {
        return Err(WireError::data(name, "has `data` that is no array"));
    }
    match datatype {
        DataType::Bool => booleans(name, json),
        DataType::Uint8 => numbers::<u8>(name, json),
        DataType::Uint16 => numbers::<u16>(name, json),
        DataType::Uint32 => numbers::<u32>(name, json),
        DataType::Uint64 => numbers::<u64>(name, json),
        DataType::Int8 => numbers::<i8>(name, json),
        DataType::Int16 => numbers::<i16>(name, json),
        DataType::Int32 => numbers::<i32>(name, json),
        DataType::Int64 => numbers::<i64>(name, json),
        DataType::Fp32 => finite::<f32>(name, json, f32::is_finite),
        DataType::Fp64 => finite::<f64>(name, json, f64::is_finite),
        DataType::Fp16 | DataType::Bf16 => Err(binary_only(name, datatype)),
        DataType::Bytes => strings(name, json),
    }
}

fn booleans(name: &str, json: &str) -> Result<Bytes, WireError> {
    let parsed: Result<Vec<u8>, WireError> = Leaves { rest: json }
        .map(|leaf| match leaf {
            "true" => Ok(1),
            "false" => Ok(0),
            _ => Err(not_a(name, leaf, DataType::Bool)),
        })
        .collect();
    Ok(parsed?.into())
}

fn numbers<T: Element + FromStr>(name: &str, json: &str) -> Result<Bytes, WireError> {
    finite::<T>(name, json, |_| true)
}

fn finite<T: Element + FromStr>(name: &str, json: &str, in_range: fn(T) -> bool) -> Result<Bytes, WireError> {
    let parsed: Result<Vec<T>, WireError> = Leaves { rest: json }
        .map(|leaf| {
            let number = leaf.parse().ok().filter(|&number| in_range(number));
            number.ok_or_else(|| not_a(name, leaf, T::DATATYPE))
        })
        .collect();
    Ok(to_bytes(&parsed?))
}

fn strings(name: &str, json: &str) -> Result<Bytes, WireError> {
    let mut out = BytesMut::new();
    for leaf in (Leaves { rest: json }) {
        let text: Cow<'_, str> = match plain_string(leaf) {
            Some(plain) => plain.into(),
            None => serde_json::from_str::<String>(leaf).map_err(|_| not_a(name, leaf, DataType::Bytes))?.into(),
        };
        put_string(name, text.as_bytes(), &mut out)?;
    }
    Ok(out.freeze())
}

/// What is between the quotes, if nothing in it is escaped.
fn plain_string(leaf: &str) -> Option<&str> {
    let inner = leaf.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

fn not_a(name: &str, leaf: &str, datatype: DataType) -> WireError {
    let shown: String = leaf.chars().take(40).collect();
    WireError::data(name, format!("has {shown} in its data, which is no {datatype}"))
}

fn binary_only(name: &str, datatype: DataType) -> WireError {
    WireError::data(
        name,
        format!("is {datatype}, which JSON cannot carry; use the binary tensor data extension for it"),
    )
}

/// The leaves of valid JSON that consists of arrays: everything but brackets, commas and white space.
struct Leaves<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let start = bytes.iter().position(|&byte| !is_separator(byte))?;
        let length = if bytes[start] == b'"' {
            string_length(&bytes[start..])
        } else {
            bytes[start..].iter().position(|&byte| is_separator(byte)).unwrap_or(bytes.len() - start)
        };
        // Both cuts are next to ASCII characters, so they never split a character.
        let (leaf, rest) = self.rest.get(start..)?.split_at_checked(length)?;
        self.rest = rest;
        Some(leaf)
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'[' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r')
}

/// Bytes of the string that starts here, quotes included.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A tensor's data, to be written as a flat array.
pub(super) struct Data<'a>(pub(super) &'a Tensor);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let bytes = &self.0.data;
        match self.0.datatype {
            DataType::Bool => out.collect_seq(bytes.iter().map(|&byte| byte != 0)),
            DataType::Uint8 => out.collect_seq(values::<u8>(bytes)),
            DataType::Uint16 => out.collect_seq(values::<u16>(bytes)),
            DataType::Uint32 => out.collect_seq(values::<u32>(bytes)),
            DataType::Uint64 => out.collect_seq(values::<u64>(bytes)),
            DataType::Int8 => out.collect_seq(values::<i8>(bytes)),
            DataType::Int16 => out.collect_seq(values::<i16>(bytes)),
            DataType::Int32 => out.collect_seq(values::<i32>(bytes)),
            DataType::Int64 => out.collect_seq(values::<i64>(bytes)),
            DataType::Fp32 if values::<f32>(bytes).all(f32::is_finite) => out.collect_seq(values::<f32>(bytes)),
            DataType::Fp64 if values::<f64>(bytes).all(f64::is_finite) => out.collect_seq(values::<f64>(bytes)),
            DataType::Fp32 | DataType::Fp64 => Err(S::Error::custom(format!(
                "tensor '{}' holds NaN or infinity, which JSON cannot carry; ask for binary data",
                self.0.name
            ))),
            DataType::Fp16 | DataType::Bf16 => Err(S::Error::custom(binary_only(&self.0.name, self.0.datatype))),
            DataType::Bytes => self.serialize_strings(out),
        }
    }
}

impl Data<'_> {
    fn serialize_strings<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let texts: Result<Vec<&str>, _> = self.0.strings().map(std::str::from_utf8).collect();
        let texts = texts.map_err(|_| {
            S::Error::custom(format!(
                "tensor '{}' holds bytes that are no UTF-8, which JSON cannot carry; ask for binary data",
                self.0.name
            ))
        })?;
        out.collect_seq(texts)
    }
}
