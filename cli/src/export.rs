//! `proofload export`: what a run recorded, as one table for other tools.

use anyhow::Context as _;
use proofload_run::export::{Form, What, export};
use proofload_run::verdict::Verdict;

use crate::args::{ExportArgs, ExportForm, ExportWhat};
use crate::console::print;

/// Writes the file and says how many rows it has.
pub(crate) fn export_command(args: &ExportArgs) -> anyhow::Result<Verdict> {
    let what = match args.what {
        ExportWhat::Samples => What::Samples,
        ExportWhat::Series => What::Series,
        ExportWhat::Timeline => What::Timeline,
    };
    let form = match args.format {
        ExportForm::Csv => Form::Csv,
        ExportForm::Parquet => Form::Parquet,
    };
    let rows = export(&args.run, what, form, &args.out);
    let rows = rows.with_context(|| format!("cannot export {}", args.run.display()))?;
    print(&format!("{rows} rows in {}", args.out.display()));
    Ok(Verdict::Pass)
}
