//! The final, columnar form of samples and series: Parquet, written from the journals when a run ends. Any tool
//! that reads Parquet reads these files; column names are field names, with their units.
//!
//! No analysis: rows go in the order in which they were recorded.

mod column;
mod columns;
mod samples;
mod seal;
mod series;

pub use columns::ColumnsWriter;
#[cfg(test)]
pub(crate) use columns::read_columns;
pub use samples::{SampleTableWriter, read_samples};
pub use seal::{Sealed, SealedShard, seal};
pub use series::{SeriesTableWriter, read_series};

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::RunError;

/// Rows of one row group: large enough to compress, small enough that a writer's memory stays a few tens of MB.
const ROWS_PER_GROUP: usize = 131_072;

fn failed(path: &Path) -> impl Fn(ParquetError) -> RunError + '_ {
    move |error| RunError::malformed(path, error)
}

/// Compression for all columns; times and counters that grow are stored as differences.
fn properties(delta_columns: impl Iterator<Item = &'static str>) -> Arc<WriterProperties> {
    let base = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_created_by(concat!("proofload ", env!("CARGO_PKG_VERSION")).to_owned());
    let delta = |builder: WriterPropertiesBuilder, name: &str| {
        let column = ColumnPath::from(name);
        builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
    };
    Arc::new(delta_columns.fold(base, delta).build())
}
