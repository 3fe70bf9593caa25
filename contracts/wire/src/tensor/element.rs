//! Numbers that tensors hold. FP16 and BF16 are not here: no Rust type of the standard library holds them.

use bytes::Bytes;

use super::DataType;

/// A Rust type that a tensor can hold. Sealed by [`private::Sealed`]: the protocol's list of types is closed.
pub trait Element: private::Sealed + Copy {
    /// The protocol's name for it.
    const DATATYPE: DataType;
}

mod private {
    /// Little-endian bytes of a number, and back.
    pub trait Sealed: Sized {
        /// Bytes of one element.
        const SIZE: usize;
        /// Writes exactly [`Sealed::SIZE`] bytes.
        fn write(self, out: &mut [u8]);
        /// Reads exactly [`Sealed::SIZE`] bytes.
        fn read(bytes: &[u8]) -> Self;
    }
}

macro_rules! elements {
    ($($rust:ty => $datatype:ident),*) => {$(
        impl Element for $rust {
            const DATATYPE: DataType = DataType::$datatype;
        }

        impl private::Sealed for $rust {
            const SIZE: usize = size_of::<$rust>();

            fn write(self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap_or_default())
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
    let mut out = vec![0; values.len() * T::SIZE];
    for (slot, value) in out.chunks_exact_mut(T::SIZE).zip(values) {
        value.write(slot);
    }
    out.into()
}

/// The values in some bytes; a rest that is no whole element is left out.
pub(crate) fn values<T: Element>(bytes: &[u8]) -> impl ExactSizeIterator<Item = T> {
    bytes.chunks_exact(T::SIZE).map(T::read)
}
