//! `tf-persist scan`.

mod json;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tf_persist_core::SavedModel;
use tf_persist_core::scan::Level;

use crate::args::{Format, tags};
use crate::error::{AlreadyReported, PRINTING};
use crate::format::count;
use crate::stdout::stdout;

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// A SavedModel: its folder, or a .tfpack file
    path: PathBuf,
    /// Look only into the meta graph with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exit with 1 if anything is found that is at least as grave
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "danger")]
    fail_on: FailOn,
}

/// What makes a scan fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Info,
    Warning,
    Danger,
    Never,
}

impl FailOn {
    fn level(self) -> Option<Level> {
        match self {
            Self::Info => Some(Level::Info),
            Self::Warning => Some(Level::Warning),
            Self::Danger => Some(Level::Danger),
            Self::Never => None,
        }
    }
}

pub(crate) fn scan(args: &ScanArgs) -> anyhow::Result<()> {
    let model = SavedModel::open(&args.path)?;
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
