//! Scans a model.

use std::io::Write;

use anyhow::Context;
use tf_persist_savedmodel::scan::Level;

use super::{ScanArgs, json};
use crate::common_args::{Format, tags};
use crate::error::{AlreadyReported, PRINTING};
use crate::format::count;
use crate::stdout::stdout;

pub(crate) fn run(args: &ScanArgs) -> anyhow::Result<()> {
    let model = args.keras.open(&args.path)?;
    let report = match &args.tags {
        Some(list) => model.scan_tags(&tags(list))?,
        None => model.scan()?,
    };
    let mut out = stdout();
    match args.format {
        Format::Json => writeln!(out, "{:#}", json::report(&report)),
        Format::Text => writeln!(out, "{report}"),
    }
    .context(PRINTING)?;
    match (report.level(), args.fail_on.level()) {
        (Some(found), Some(limit)) if found >= limit => {
            let number = report.of_level(found).count() as u64;
            let found = match found {
                Level::Info => format!("{} of level info", count(number, "finding")),
                level => count(number, &level.to_string()),
            };
            Err(AlreadyReported(format!("`{}` has {found}", args.path.display())).into())
        }
        _ => Ok(()),
    }
}
