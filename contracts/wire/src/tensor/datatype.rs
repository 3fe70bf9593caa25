//! Types of tensor elements, and their names in the protocol and in model configurations.

use crate::grpc::inference as pb;

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE half precision.
    Fp16,
    /// The upper half of [`DataType::Fp32`].
    Bf16,
    /// IEEE single precision.
    Fp32,
    /// IEEE double precision.
    Fp64,
    /// Strings of bytes, each with its own length.
    Bytes,
}

/// Every type with its name in the protocol, its name in model configurations, and bytes per element.
const TABLE: [(DataType, &str, pb::DataType, Option<usize>); 14] = [
    (DataType::Bool, "BOOL", pb::DataType::TypeBool, Some(1)),
    (DataType::Uint8, "UINT8", pb::DataType::TypeUint8, Some(1)),
    (DataType::Uint16, "UINT16", pb::DataType::TypeUint16, Some(2)),
    (DataType::Uint32, "UINT32", pb::DataType::TypeUint32, Some(4)),
    (DataType::Uint64, "UINT64", pb::DataType::TypeUint64, Some(8)),
    (DataType::Int8, "INT8", pb::DataType::TypeInt8, Some(1)),
    (DataType::Int16, "INT16", pb::DataType::TypeInt16, Some(2)),
    (DataType::Int32, "INT32", pb::DataType::TypeInt32, Some(4)),
    (DataType::Int64, "INT64", pb::DataType::TypeInt64, Some(8)),
    (DataType::Fp16, "FP16", pb::DataType::TypeFp16, Some(2)),
    (DataType::Bf16, "BF16", pb::DataType::TypeBf16, Some(2)),
    (DataType::Fp32, "FP32", pb::DataType::TypeFp32, Some(4)),
    (DataType::Fp64, "FP64", pb::DataType::TypeFp64, Some(8)),
    (DataType::Bytes, "BYTES", pb::DataType::TypeString, None),
];

impl DataType {
    /// All types.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The protocol's name, such as `FP32`.
    pub fn as_str(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The type that the protocol calls so.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Bytes per element; `None` for [`DataType::Bytes`], whose elements differ.
    pub fn size(self) -> Option<usize> {
        TABLE[self as usize].3
    }

    /// The type that a model configuration means; `None` for `TYPE_INVALID`.
    pub fn from_config(config: pb::DataType) -> Option<Self> {
        TABLE.iter().find(|row| row.2 == config).map(|row| row.0)
    }

    /// The type in a model configuration, such as `TYPE_FP32`.
    pub fn to_config(self) -> pb::DataType {
        TABLE[self as usize].2
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for (at, datatype) in DataType::all().enumerate() {
            assert_eq!(datatype as usize, at, "the table is indexed by the enum");
            assert_eq!(DataType::parse(datatype.as_str()), Some(datatype));
            assert_eq!(DataType::from_config(datatype.to_config()), Some(datatype));
        }
        assert_eq!(DataType::parse("fp32"), None);
        assert_eq!(DataType::parse("TYPE_FP32"), None);
        assert_eq!(DataType::from_config(pb::DataType::TypeInvalid), None);
    }
}
