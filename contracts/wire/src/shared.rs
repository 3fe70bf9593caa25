//! Tensors in memory that client and server share: how a request names the place of one. What is there is read and
//! written by whoever holds the memory; nothing here touches any.

use bytes::Bytes;

use crate::WireError;
use crate::infer::{ParameterValue, Parameters};

/// Parameter of a tensor: the region that holds its data.
pub const REGION: &str = "shared_memory_region";
/// Parameter of a tensor: where in the region its data begins, in bytes; 0 when absent.
pub const OFFSET: &str = "shared_memory_offset";
/// Parameter of a tensor: how long its data is, in bytes.
pub const BYTE_SIZE: &str = "shared_memory_byte_size";

/// A piece of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The region's name.
    pub region: String,
    /// Where the piece begins, in bytes from the region's beginning.
    pub offset: u64,
    /// How long it is, in bytes.
    pub byte_size: u64,
}

impl Place {
    /// The place that a tensor's parameters name; `None` where they name none.
    ///
    /// # Errors
    /// When they name one by half, or in values that cannot be meant so.
    pub fn of(tensor: &str, parameters: &Parameters) -> Result<Option<Self>, WireError> {
        let region = match parameters.get(REGION) {
            Some(ParameterValue::String(region)) => region.clone(),
            Some(_) => return Err(WireError::data(tensor, format!("has a `{REGION}` that is no string"))),
            None if parameters.contains_key(OFFSET) || parameters.contains_key(BYTE_SIZE) => {
                return Err(WireError::data(tensor, format!("has `{OFFSET}` or `{BYTE_SIZE}`, but no `{REGION}`")));
            }
            None => return Ok(None),
        };
        let Some(byte_size) = bytes(tensor, parameters, BYTE_SIZE)? else {
            return Err(WireError::data(tensor, format!("has a `{REGION}`, but no `{BYTE_SIZE}`")));
        };
        Ok(Some(Self { region, offset: bytes(tensor, parameters, OFFSET)?.unwrap_or(0), byte_size }))
    }
}

fn bytes(tensor: &str, parameters: &Parameters, name: &str) -> Result<Option<u64>, WireError> {
    let number = match parameters.get(name) {
        None => return Ok(None),
        Some(ParameterValue::Int(number)) => u64::try_from(*number).ok(),
        Some(ParameterValue::Uint(number)) => Some(*number),
        Some(_) => None,
    };
    number.map(Some).ok_or_else(|| WireError::data(tensor, format!("has a `{name}` that is no number of bytes")))
}

/// Whoever holds the regions.
pub trait Regions {
    /// A copy of what is at a place, exactly `byte_size` long.
    ///
    /// # Errors
    /// When there is no such region or place, or shared memory is not offered.
    fn read(&self, tensor: &str, place: &Place) -> Result<Bytes, WireError>;
}

/// No shared memory.
#[derive(Debug, Clone, Copy)]
pub struct NotOffered;

impl Regions for NotOffered {
    fn read(&self, tensor: &str, _: &Place) -> Result<Bytes, WireError> {
        Err(WireError::Unsupported(format!(
            "tensor '{tensor}' is in shared memory, which is not offered; send the data in the request"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_whole_or_not_there() {
        let check = |written: &[(&str, ParameterValue)], expected: Result<Option<(&str, u64, u64)>, &str>| {
            let parameters = written.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let found = Place::of("x", &parameters).map_err(|error| error.to_string());
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let expected = expected.map(|(region, offset, byte_size)| (region.to_owned(), offset, byte_size));
                    assert_eq!(found.map(|place| (place.region, place.offset, place.byte_size)), expected);
                }
                (Err(error), Err(part)) => assert!(error.contains(part) && error.contains("'x'"), "{error}"),
                (found, expected) => panic!("{written:?}: {found:?}, expected {expected:?}"),
            }
        };
        let region = || (REGION, ParameterValue::String("r".to_owned()));
        let (offset, size) = ((OFFSET, ParameterValue::Int(4)), (BYTE_SIZE, ParameterValue::Uint(8)));
        check(&[], Ok(None));
        check(&[("classification", ParameterValue::Int(1))], Ok(None));
        check(&[region(), size.clone()], Ok(Some(("r", 0, 8))));
        check(&[region(), size.clone(), offset.clone()], Ok(Some(("r", 4, 8))));
        check(&[region(), offset.clone()], Err("no `shared_memory_byte_size`"));
        check(&[offset.clone(), size.clone()], Err("no `shared_memory_region`"));
        check(&[(REGION, ParameterValue::Int(1)), size.clone()], Err("no string"));
        check(&[region(), (BYTE_SIZE, ParameterValue::Int(-1))], Err("no number of bytes"));
        check(&[region(), size, (OFFSET, ParameterValue::Double(0.5))], Err("no number of bytes"));
    }
}
