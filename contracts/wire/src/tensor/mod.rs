//! Tensors as they travel: a name, a type, a shape, and bytes. No arithmetic, no layout other than row-major.

mod datatype;
mod element;

use bytes::{BufMut, Bytes, BytesMut};

pub use datatype::DataType;
pub use element::Element;
pub(crate) use element::{to_bytes, values};

use crate::WireError;
use crate::limits::MAX_RANK;

/// Bytes in front of each element of a [`DataType::Bytes`] tensor.
const LENGTH_PREFIX: usize = 4;

/// A tensor whose data is known to fit its shape.
///
/// `data` is little-endian and row-major. A `BYTES` element is its length (`u32`, little-endian) and its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Name of the input or output.
    pub name: String,
    /// Type of the elements.
    pub datatype: DataType,
    /// Sizes of the dimensions, none negative; empty for a scalar.
    pub shape: Vec<i64>,
    /// The elements.
    pub data: Bytes,
}

impl Tensor {
    /// A tensor, if the length of the data fits type and shape.
    ///
    /// # Errors
    /// When it does not, or when the shape is impossible.
    pub fn new(name: impl Into<String>, datatype: DataType, shape: Vec<i64>, data: Bytes) -> Result<Self, WireError> {
        let name = name.into();
        let elements = element_count(&shape)?;
        match datatype.size() {
            Some(size) => check_length(&name, datatype, &shape, elements, size, data.len())?,
            None => check_strings(&name, elements, &data)?,
        }
        Ok(Self { name, datatype, shape, data })
    }

    /// A tensor of numbers.
    ///
    /// # Errors
    /// When the shape does not hold as many elements as there are values.
    pub fn from_values<T: Element>(name: impl Into<String>, shape: Vec<i64>, values: &[T]) -> Result<Self, WireError> {
        Self::new(name, T::DATATYPE, shape, to_bytes(values))
    }

    /// An `FP32` tensor.
    ///
    /// # Errors
    /// When the shape does not hold as many elements as there are values.
    pub fn from_f32(name: impl Into<String>, shape: Vec<i64>, values: &[f32]) -> Result<Self, WireError> {
        Self::from_values(name, shape, values)
    }

    /// A `BYTES` tensor.
    ///
    /// # Errors
    /// When the shape does not hold as many elements as there are strings, or one is longer than `u32` can say.
    pub fn from_strings<S: AsRef<[u8]>>(
        name: impl Into<String>,
        shape: Vec<i64>,
        strings: &[S],
    ) -> Result<Self, WireError> {
        let name = name.into();
        let mut data = BytesMut::new();
        for string in strings {
            put_string(&name, string.as_ref(), &mut data)?;
        }
        Self::new(name, DataType::Bytes, shape, data.freeze())
    }

    /// The elements as numbers.
    ///
    /// # Errors
    /// When the tensor is of another type.
    pub fn to_values<T: Element>(&self) -> Result<Vec<T>, WireError> {
        if self.datatype == T::DATATYPE {
            Ok(values(&self.data).collect())
        } else {
            Err(WireError::data(&self.name, format!("is {}, not {}", self.datatype, T::DATATYPE)))
        }
    }

    /// The elements of an `FP32` tensor.
    ///
    /// # Errors
    /// When the tensor is of another type.
    pub fn to_f32(&self) -> Result<Vec<f32>, WireError> {
        self.to_values()
    }

    /// The elements of a `BYTES` tensor; none for any other.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let data: &[u8] = if self.datatype == DataType::Bytes { &self.data } else { &[] };
        Strings { rest: data }
    }

    /// How many elements the shape holds.
    pub fn element_count(&self) -> usize {
        // Fields are public, so the shape may have been changed since `new` looked at it.
        element_count(&self.shape).unwrap_or(0)
    }
}

/// How many elements a shape holds; 1 for a scalar.
///
/// # Errors
/// When a dimension is negative, there are more than [`MAX_RANK`], or the product overflows.
pub fn element_count(shape: &[i64]) -> Result<usize, WireError> {
    let bad = |why| WireError::BadShape { shape: shape.iter().take(MAX_RANK).copied().collect(), why };
    if shape.len() > MAX_RANK {
        return Err(bad("it has more than 32 dimensions"));
    }
    shape.iter().try_fold(1_usize, |product, &dimension| {
        let size = usize::try_from(dimension).map_err(|_| bad("every dimension must be 0 or more"))?;
        product.checked_mul(size).ok_or_else(|| bad("it holds more elements than any machine"))
    })
}

fn check_length(
    name: &str,
    datatype: DataType,
    shape: &[i64],
    elements: usize,
    size: usize,
    length: usize,
) -> Result<(), WireError> {
    match elements.checked_mul(size) {
        Some(expected) if expected == length => Ok(()),
        Some(expected) => Err(WireError::data(
            name,
            format!("has {length} bytes of data, but {datatype} of shape {shape:?} takes {expected}"),
        )),
        None => Err(WireError::BadShape { shape: shape.to_vec(), why: "it holds more bytes than any machine" }),
    }
}

fn check_strings(name: &str, elements: usize, data: &[u8]) -> Result<(), WireError> {
    let mut strings = Strings { rest: data };
    let found = strings.by_ref().count();
    if !strings.rest.is_empty() {
        return Err(WireError::data(
            name,
            format!("ends in the middle of BYTES element {found}: each is a little-endian u32 length and its bytes"),
        ));
    }
    if found != elements {
        return Err(WireError::data(name, format!("holds {found} BYTES elements, but its shape {elements}")));
    }
    Ok(())
}

/// How many whole `BYTES` elements there are.
pub(crate) fn string_count(data: &[u8]) -> usize {
    Strings { rest: data }.count()
}

/// Appends one `BYTES` element.
pub(crate) fn put_string(name: &str, string: &[u8], out: &mut BytesMut) -> Result<(), WireError> {
    let length = u32::try_from(string.len())
        .map_err(|_| WireError::data(name, "has a BYTES element longer than 4 GiB, which the format cannot say"))?;
    out.reserve(LENGTH_PREFIX + string.len());
    out.put_u32_le(length);
    out.put_slice(string);
    Ok(())
}

/// Walks over `BYTES` elements, and stops in front of one that is not whole.
struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, after) = self.rest.split_first_chunk::<LENGTH_PREFIX>()?;
        let length = usize::try_from(u32::from_le_bytes(*prefix)).ok()?;
        let (string, rest) = after.split_at_checked(length)?;
        self.rest = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests;
