//! Reports where libtensorflow is found.

use std::io::Write;

use anyhow::Context;
use serde_json::json;
use tf_persist_core::Error;
use tf_persist_core::runtime::{Runtime, SearchLocation};

use super::args::RuntimeAction;
use super::{RuntimeArgs, install};
use crate::common_args::Format;
use crate::error::PRINTING;
use crate::stdout::{plain_stdout, stdout};

pub(crate) fn run(args: &RuntimeArgs) -> anyhow::Result<()> {
    if let Some(RuntimeAction::Install(install)) = &args.action {
        return install::install(install);
    }
    let locations = args.library.search().locations();
    let opened = args.library.open();
    match args.format {
        Format::Text => print_text(&locations, &opened),
        Format::Json => print_json(&locations, &opened),
    }
    .context(PRINTING)?;
    opened.map(drop).map_err(Into::into)
}

/// The outcome of the search in a location.
fn outcome(location: &SearchLocation, opened: &Result<Runtime, Error>) -> String {
    let tried = match opened {
        Ok(runtime) if runtime.location() == location => return "used".into(),
        Ok(_) => None,
        Err(Error::Runtime(error)) => error.tried().iter().find(|attempt| attempt.location == *location),
        Err(_) => None,
    };
    tried.map_or_else(|| location.describe(), |attempt| attempt.outcome.to_string())
}

fn print_text(locations: &[SearchLocation], opened: &Result<Runtime, Error>) -> anyhow::Result<()> {
    let mut out = stdout();
    if let Ok(runtime) = opened {
        writeln!(out, "libtensorflow {}", runtime.version())?;
        writeln!(out, "  {}", runtime.file().display())?;
        writeln!(out)?;
    }
    writeln!(out, "searched in this order:")?;
    let width = locations.iter().map(|location| location.origin().to_string().len()).max().unwrap_or(0);
    for location in locations {
        writeln!(
            out,
            "  {:width$}  {}: {}",
            location.origin(),
            location.folder().display(),
            outcome(location, opened)
        )?;
    }
    Ok(())
}

fn print_json(locations: &[SearchLocation], opened: &Result<Runtime, Error>) -> anyhow::Result<()> {
    let locations: Vec<_> = locations
        .iter()
        .map(|location| {
            json!({
                "origin": location.origin().to_string(),
                "folder": location.folder().display().to_string(),
                "outcome": outcome(location, opened),
            })
        })
        .collect();
    let runtime = opened.as_ref().ok();
    let report = json!({
        "version": runtime.map(Runtime::version),
        "file": runtime.map(|runtime| runtime.file().display().to_string()),
        "places": locations,
    });
    writeln!(plain_stdout(), "{report:#}")?;
    Ok(())
}
