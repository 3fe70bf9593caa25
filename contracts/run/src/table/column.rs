//! One column of a Parquet file, read or written as a whole row group. Knows nothing of samples or series.

use std::io::Write;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::RowGroupReader;
use parquet::file::writer::SerializedRowGroupWriter;

/// The values of one column of one row group.
pub(super) enum Values {
    U64(Vec<u64>),
    OptionalU64(Vec<Option<u64>>),
    /// For 8, 16 and 32 bits: Parquet stores them all as 32.
    U32(Vec<u32>),
    F64(Vec<f64>),
    Text(Vec<String>),
    OptionalText(Vec<Option<String>>),
}

impl Values {
    /// Writes the values as the next column of the group.
    pub(super) fn write<W: Write + Send>(self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        match self {
            Self::U64(values) => {
                write_plain::<Int64Type, _>(group, &values.into_iter().map(u64::cast_signed).collect::<Vec<_>>(), None)
            }
            Self::OptionalU64(values) => {
                let present: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                let values: Vec<i64> = values.into_iter().flatten().map(u64::cast_signed).collect();
                write_plain::<Int64Type, _>(group, &values, Some(&present))
            }
            Self::U32(values) => {
                write_plain::<Int32Type, _>(group, &values.into_iter().map(u32::cast_signed).collect::<Vec<_>>(), None)
            }
            Self::F64(values) => write_plain::<DoubleType, _>(group, &values, None),
            Self::Text(values) => write_plain::<ByteArrayType, _>(group, &byte_arrays(values), None),
            Self::OptionalText(values) => {
                let present: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                write_plain::<ByteArrayType, _>(group, &byte_arrays(values.into_iter().flatten()), Some(&present))
            }
        }
    }
}

fn byte_arrays(texts: impl IntoIterator<Item = String>) -> Vec<ByteArray> {
    texts.into_iter().map(|text| ByteArray::from(text.into_bytes())).collect()
}

fn write_plain<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    definition_levels: Option<&[i16]>,
) -> Result<()> {
    let mut column =
        group.next_column()?.ok_or_else(|| ParquetError::General("more columns than the schema".into()))?;
    column.typed::<T>().write_batch(values, definition_levels, None)?;
    column.close()
}

/// Reads a whole column of a group; `None` where a value is absent.
fn read_plain<T: DataType>(group: &dyn RowGroupReader, index: usize) -> Result<Vec<Option<T::T>>>
where
    T::T: Clone,
{
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut reader = parquet::column::reader::get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, _, _) = reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::EOF("a column is shorter than its row group".into()));
        }
        read += records;
    }
    if levels.is_empty() {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| if level > 0 { values.next() } else { None }).collect())
}

pub(super) fn read_u64(group: &dyn RowGroupReader, index: usize) -> Result<Vec<u64>> {
    Ok(read_plain::<Int64Type>(group, index)?.into_iter().map(|v| v.unwrap_or(0).cast_unsigned()).collect())
}

pub(super) fn read_u32(group: &dyn RowGroupReader, index: usize) -> Result<Vec<u32>> {
    Ok(read_plain::<Int32Type>(group, index)?.into_iter().map(|v| v.unwrap_or(0).cast_unsigned()).collect())
}

pub(super) fn read_f64(group: &dyn RowGroupReader, index: usize) -> Result<Vec<f64>> {
    Ok(read_plain::<DoubleType>(group, index)?.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

pub(super) fn read_text(group: &dyn RowGroupReader, index: usize) -> Result<Vec<Option<String>>> {
    let text = |bytes: ByteArray| Ok(bytes.as_utf8()?.to_owned());
    read_plain::<ByteArrayType>(group, index)?.into_iter().map(|v| v.map(text).transpose()).collect()
}
