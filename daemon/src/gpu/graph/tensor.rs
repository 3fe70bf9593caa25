//! Tensors on the host: weights, what is folded at plan time, and what the CPU twin computes with. Real numbers are kept
//! as `f32` and whole ones as `i64`, whatever they are on a device: few and simple loops go before speed here.

use half::f16;

/// What the elements of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point, IEEE.
    F16,
    /// Signed 8-bit.
    I8,
    /// Unsigned 8-bit.
    U8,
    /// Signed 32-bit.
    I32,
    /// Signed 64-bit.
    I64,
    /// Truth, a byte.
    Bool,
}

impl Element {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// As people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "FP32",
            Self::F16 => "FP16",
            Self::I8 => "INT8",
            Self::U8 => "UINT8",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::Bool => "BOOL",
        }
    }

    /// Of ONNX's `TensorProto.DataType`; `None` for those that are not computed with.
    pub fn of_onnx(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            _ => return None,
        })
    }

    /// ONNX's `TensorProto.DataType`.
    pub fn to_onnx(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
        }
    }

    /// Whether it is a floating-point type.
    pub fn is_real(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// The nearest value of a quantised type.
    pub fn saturated(self, number: i64) -> i64 {
        match self {
            Self::I8 => number.clamp(i64::from(i8::MIN), i64::from(i8::MAX)),
            Self::U8 => number.clamp(0, i64::from(u8::MAX)),
            Self::I32 => number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)),
            Self::Bool => i64::from(number != 0),
            Self::I64 | Self::F32 | Self::F16 => number,
        }
    }

    /// What is left of a number in a type that is too small for it: its lowest bits, as processors do.
    fn wrapped(self, number: i64) -> i64 {
        match self {
            Self::I8 => i64::from(number as i8),
            Self::U8 => i64::from(number as u8),
            Self::I32 => i64::from(number as i32),
            Self::Bool => i64::from(number != 0),
            Self::I64 | Self::F32 | Self::F16 => number,
        }
    }

    /// The nearest value that the type has.
    pub fn rounded(self, number: f32) -> f32 {
        if self == Self::F16 { f16::from_f32(number).to_f32() } else { number }
    }
}

/// The values of a tensor, the last dimension fastest.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Of a floating-point type.
    Real(Vec<f32>),
    /// Of any other.
    Whole(Vec<i64>),
}

impl Data {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Real(numbers) => numbers.len(),
            Self::Whole(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those at these places, zero where a place is `None`.
    ///
    /// # Panics
    /// When a place lies outside.
    pub fn pick(&self, places: impl Iterator<Item = Option<usize>>) -> Self {
        match self {
            Self::Real(numbers) => Self::Real(places.map(|at| at.map_or(0.0, |at| numbers[at])).collect()),
            Self::Whole(numbers) => Self::Whole(places.map(|at| at.map_or(0, |at| numbers[at])).collect()),
        }
    }

    /// In another type, as ONNX's `Cast` converts them.
    #[must_use]
    pub fn cast(&self, element: Element) -> Self {
        match (self, element.is_real()) {
            (Self::Real(numbers), true) => Self::Real(numbers.iter().map(|n| element.rounded(*n)).collect()),
            (Self::Real(numbers), false) if element == Element::Bool => {
                Self::Whole(numbers.iter().map(|number| i64::from(*number != 0.0)).collect())
            }
            (Self::Real(numbers), false) => Self::Whole(numbers.iter().map(|n| element.wrapped(*n as i64)).collect()),
            (Self::Whole(numbers), true) => Self::Real(numbers.iter().map(|n| element.rounded(*n as f32)).collect()),
            (Self::Whole(numbers), false) => Self::Whole(numbers.iter().map(|n| element.wrapped(*n)).collect()),
        }
    }

    /// The bytes at the beginning of `bytes` as so many elements; `None` where there are fewer.
    pub fn from_bytes(element: Element, bytes: &[u8], count: usize) -> Option<Self> {
        let bytes = bytes.get(..count.checked_mul(element.bytes())?)?;
        Some(match element {
            Element::F32 => Self::Real(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Element::F16 => {
                Self::Real(bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect())
            }
            Element::I8 => Self::Whole(bytes.iter().map(|byte| i64::from(byte.cast_signed())).collect()),
            Element::U8 => Self::Whole(bytes.iter().map(|byte| i64::from(*byte)).collect()),
            Element::Bool => Self::Whole(bytes.iter().map(|byte| i64::from(*byte != 0)).collect()),
            Element::I32 => {
                Self::Whole(bytes.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect())
            }
            Element::I64 => Self::Whole(bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
        })
    }

    /// Their bytes, little-endian, in a type of the same kind; what the type cannot hold is rounded or cut off.
    pub fn to_bytes(&self, element: Element) -> Vec<u8> {
        match self {
            Self::Real(numbers) if element == Element::F16 => {
                numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect()
            }
            Self::Real(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::Whole(numbers) => {
                let size = element.bytes();
                numbers.iter().flat_map(|number| number.to_le_bytes().into_iter().take(size)).collect()
            }
        }
    }
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    element: Element,
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor; `None` when the data is of another kind or another size.
    pub fn new(element: Element, shape: Vec<usize>, data: Data) -> Option<Self> {
        let fits = elements(&shape) == Some(data.len()) && element.is_real() == matches!(data, Data::Real(_));
        fits.then_some(Self { element, shape, data })
    }

    /// One dimension of whole numbers, as shapes and axes are.
    pub fn list(numbers: Vec<i64>) -> Self {
        Self { element: Element::I64, shape: vec![numbers.len()], data: Data::Whole(numbers) }
    }

    /// A single real number, of no dimension.
    pub fn scalar(number: f32) -> Self {
        Self { element: Element::F32, shape: Vec::new(), data: Data::Real(vec![number]) }
    }

    /// Real numbers of one dimension.
    pub fn vector(numbers: Vec<f32>) -> Self {
        Self { element: Element::F32, shape: vec![numbers.len()], data: Data::Real(numbers) }
    }

    /// What its elements are.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Its dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its values.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its values, if they are real.
    pub fn reals(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Real(numbers) => Some(numbers),
            Data::Whole(_) => None,
        }
    }

    /// Its values, if they are whole.
    pub fn wholes(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Real(_) => None,
            Data::Whole(numbers) => Some(numbers),
        }
    }

    /// The only real number in it.
    pub fn only(&self) -> Option<f32> {
        self.reals().filter(|numbers| numbers.len() == 1).and_then(|numbers| numbers.first().copied())
    }

    /// The same values in other dimensions; `None` when those hold another number.
    pub fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        Self::new(self.element, shape, self.data.clone())
    }

    /// Its values in another type.
    #[must_use]
    pub fn cast(&self, element: Element) -> Self {
        Self { element, shape: self.shape.clone(), data: self.data.cast(element) }
    }
}

/// How many elements a shape holds; `None` where that is more than can be counted.
pub fn elements(shape: &[usize]) -> Option<usize> {
    let extent = shape.iter().try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)));
    extent.map(|extent| if shape.contains(&0) { 0 } else { extent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_went() {
        let check = |element: Element, data: Data| {
            let bytes = data.to_bytes(element);
            assert_eq!(bytes.len(), data.len() * element.bytes(), "{}", element.as_str());
            assert_eq!(Data::from_bytes(element, &bytes, data.len()), Some(data), "{}", element.as_str());
            assert_eq!(Element::of_onnx(element.to_onnx().into()), Some(element));
        };
        check(Element::F32, Data::Real(vec![1.5, -0.1, f32::MAX]));
        check(Element::F16, Data::Real(vec![1.5, -0.25, 65504.0]));
        check(Element::I8, Data::Whole(vec![-128, 127, 0]));
        check(Element::U8, Data::Whole(vec![255, 0]));
        check(Element::I32, Data::Whole(vec![i64::from(i32::MIN), 7]));
        check(Element::I64, Data::Whole(vec![i64::MIN, i64::MAX]));
        check(Element::Bool, Data::Whole(vec![1, 0]));
        assert_eq!(Data::from_bytes(Element::F32, &[0; 7], 2), None);
    }

    #[test]
    fn casts_are_as_in_onnx() {
        let check = |from: &Tensor, to: Element, expected: Data| assert_eq!(from.cast(to).data(), &expected);
        let reals = Tensor::vector(vec![1.9, -1.9, 300.0, 0.0]);
        check(&reals, Element::I64, Data::Whole(vec![1, -1, 300, 0]));
        check(&reals, Element::U8, Data::Whole(vec![1, 255, 44, 0]));
        check(&reals, Element::Bool, Data::Whole(vec![1, 1, 1, 0]));
        check(&Tensor::scalar(0.1), Element::F16, Data::Real(vec![0.099_975_586]));
        check(&Tensor::list(vec![3, -4]), Element::F32, Data::Real(vec![3.0, -4.0]));
    }

    #[test]
    fn a_shape_holds_what_it_says() {
        assert!(Tensor::new(Element::F32, vec![2, 2], Data::Real(vec![0.0; 3])).is_none());
        assert!(Tensor::new(Element::F32, vec![2], Data::Whole(vec![0; 2])).is_none());
        assert_eq!((elements(&[]), elements(&[3, 0]), elements(&[usize::MAX, 2])), (Some(1), Some(0), None));
    }
}
