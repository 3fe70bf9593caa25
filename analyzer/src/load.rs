//! The only reader of a run folder. Judges nothing and leaves nothing out but the scraped series that no analysis asks
//! for.

use std::fs::File;
use std::path::Path;

use polars::prelude::{DataFrame, ParquetReader, PolarsError, SerReader};
use proofload_anomaly::Recording;
use proofload_run::RunError;
use proofload_run::events::Event;
use proofload_run::folder::RunFolder;
use proofload_run::jsonl::LineReader;
use proofload_run::manifest::Manifest;
use proofload_run::series::Source;

use crate::anomalies::{self, Latency, baseline};
use crate::cost::{self, Terms};
use crate::lines::{Gather, Line};
use crate::samples::{MOST_KEPT, Samples, failed};
use crate::{AnalyzeError, attribution, counters, endurance, happenings, series};

/// Points read at a time: as many as the writer puts into a row group, so that none is decoded twice.
const POINTS_AT_A_TIME: usize = 131_072;

/// A run folder as far as it is held in memory.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) manifest: Manifest,
    pub(crate) samples: Samples,
    pub(crate) series: Vec<Line>,
    pub(crate) events: Vec<Event>,
    /// Latency by second, where the generator left histograms.
    pub(crate) latency: Vec<Latency>,
    /// Earlier healthy runs that lie in the folder, to compare with.
    pub(crate) healthy: Vec<Recording>,
    /// What things cost.
    pub(crate) terms: Terms,
}

/// Reads a sealed folder.
pub(crate) fn load(folder: &RunFolder) -> Result<Run, AnalyzeError> {
    let manifest = folder.read_manifest()?;
    let mut series = Gather::default();
    for shard in folder.shards("series-", ".parquet")? {
        read_series(&folder.series_table(shard), &mut series)?;
    }
    let samples = Samples::open(folder, MOST_KEPT)?;
    let events = read_events(&folder.events())?;
    let healthy = baseline::beside(folder).map_err(|error| AnalyzeError::Baseline(Box::new(error)))?;
    let (latency, terms) = (anomalies::latency(folder)?, cost::beside(folder.path())?);
    Ok(Run { manifest, samples, series: series.finish(), events, latency, healthy, terms })
}

fn read_events(path: &Path) -> Result<Vec<Event>, RunError> {
    if path.is_file() { LineReader::open(path)?.collect() } else { Ok(Vec::new()) }
}

/// Reads a part of the points at a time: their names as text are many times what is kept of them.
fn read_series(path: &Path, series: &mut Gather) -> Result<(), AnalyzeError> {
    let open = || File::open(path).map(ParquetReader::new).map_err(|source| RunError::io(path, source));
    let rows = open()?.num_rows().map_err(failed(path))?;
    for start in (0..rows).step_by(POINTS_AT_A_TIME) {
        let columns = ["t_ns", "shard", "source", "name", "labels", "value"].map(str::to_owned).to_vec();
        let part = open()?.with_columns(Some(columns)).with_slice(Some((start, POINTS_AT_A_TIME)));
        part.finish().and_then(|table| collect_points(&table, series)).map_err(failed(path))?;
    }
    Ok(())
}

/// Whether some analysis asks for a series. Of what targets tell, most is about their inner life.
fn is_wanted(source: Source, name: &str) -> bool {
    let of_target = [
        series::is_shown,
        counters::is_counted,
        anomalies::is_watched,
        attribution::is_watched,
        cost::is_metered,
        endurance::is_watched,
        happenings::tells_of_loads,
    ];
    source != Source::Target || of_target.iter().any(|is_wanted| is_wanted(name))
}

/// Points whose source this version does not know are left out.
fn collect_points(table: &DataFrame, series: &mut Gather) -> Result<(), PolarsError> {
    let (times, shards) = (table.column("t_ns")?.u64()?, table.column("shard")?.u16()?);
    let (sources, names) = (table.column("source")?.str()?, table.column("name")?.str()?);
    let (labels, values) = (table.column("labels")?.str()?, table.column("value")?.f64()?);
    for row in 0..table.height() {
        let Some(source) = sources.get(row).and_then(Source::from_word) else { continue };
        let (name, labels) = (names.get(row).unwrap_or_default(), labels.get(row).unwrap_or_default());
        if is_wanted(source, name) {
            let point = (times.get(row).unwrap_or(0), values.get(row).unwrap_or(f64::NAN));
            series.add((shards.get(row).unwrap_or(0), source, name, labels), point);
        }
    }
    Ok(())
}
