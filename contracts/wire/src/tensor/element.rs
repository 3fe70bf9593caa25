//! Numbers that tensors hold. FP16 and BF16 are not here: no Rust type of the standard library holds them.

use bytes::Bytes;

use super::DataType;

/// A Rust type that a tensor can hold. Sealed, because the protocol's list of types is closed.
pub trait Element: private::Sealed + Copy {
    /// The protocol's name for it.
    const DATATYPE: DataType;
}

mod private {
    /// Little-endian bytes of numbers, and back.
    pub trait Sealed: Sized {
        /// The bytes of all values, one after the other.
        fn encode(values: &[Self]) -> Vec<u8>;
        /// The values in some bytes; a rest that is no whole element is left out.
        fn decode(bytes: &[u8]) -> impl ExactSizeIterator<Item = Self>;
    }
}

macro_rules! elements {
    ($($rust:ty => $datatype:ident),*) => {$(
        impl Element for $rust {
            const DATATYPE: DataType = DataType::$datatype;
        }

        // Chunks of constant size: the compiler turns both loops into plain copies.
        impl private::Sealed for $rust {
            fn encode(values: &[Self]) -> Vec<u8> {
                let mut out = vec![0; size_of_val(values)];
                let (slots, _) = out.as_chunks_mut::<{ size_of::<$rust>() }>();
                for (slot, value) in slots.iter_mut().zip(values) {
                    *slot = value.to_le_bytes();
                }
                out
            }

            fn decode(bytes: &[u8]) -> impl ExactSizeIterator<Item = Self> {
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$rust>() }>();
                chunks.iter().copied().map(Self::from_le_bytes)
            }
        }
    )*};
}

elements! {
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    f32 => Fp32, f64 => Fp64
}

/// All values, one after the other.
pub(crate) fn to_bytes<T: Element>(values: &[T]) -> Bytes {
    T::encode(values).into()
}

/// The values in some bytes; a rest that is no whole element is left out.
pub(crate) fn values<T: Element>(bytes: &[u8]) -> impl ExactSizeIterator<Item = T> {
    T::decode(bytes)
}
