//! Reports where libtensorflow is found.

use std::io::Write;

use anyhow::Context;
use serde_json::json;
use tf_persist_core::Error;
use tf_persist_core::runtime::{Place, Runtime};

use super::args::RuntimeAction;
use super::{RuntimeArgs, install};
use crate::common_args::Format;
use crate::error::PRINTING;
use crate::stdout::{plain_stdout, stdout};

pub(crate) fn run(args: &RuntimeArgs) -> anyhow::Result<()> {
    if let Some(RuntimeAction::Install(install)) = &args.action {
        return install::install(install);
    }
    let places = args.library.search().places();
    let opened = args.library.open();
    match args.format {
        Format::Text => print_text(&places, &opened),
        Format::Json => print_json(&places, &opened),
    }
    .context(PRINTING)?;
    opened.map(drop).map_err(Into::into)
}

/// The outcome of the search in a location.
fn outcome(place: &Place, opened: &Result<Runtime, Error>) -> String {
    let tried = match opened {
        Ok(runtime) if runtime.place() == place => return "used".into(),
        Ok(_) => None,
        Err(Error::Runtime(error)) => error.tried().iter().find(|attempt| attempt.place == *place),
        Err(_) => None,
    };
    tried.map_or_else(|| place.look(), |attempt| attempt.outcome.to_string())
}

fn print_text(places: &[Place], opened: &Result<Runtime, Error>) -> anyhow::Result<()> {
    let mut out = stdout();
    if let Ok(runtime) = opened {
        writeln!(out, "libtensorflow {}", runtime.version())?;
        writeln!(out, "  {}", runtime.file().display())?;
        writeln!(out)?;
    }
    writeln!(out, "searched in this order:")?;
    let width = places.iter().map(|place| place.origin().to_string().len()).max().unwrap_or(0);
    for place in places {
        writeln!(out, "  {:width$}  {}: {}", place.origin(), place.folder().display(), outcome(place, opened))?;
    }
    Ok(())
}

fn print_json(places: &[Place], opened: &Result<Runtime, Error>) -> anyhow::Result<()> {
    let places: Vec<_> = places
        .iter()
        .map(|place| {
            json!({
                "origin": place.origin().to_string(),
                "folder": place.folder().display().to_string(),
                "outcome": outcome(place, opened),
            })
        })
        .collect();
    let runtime = opened.as_ref().ok();
    let report = json!({
        "version": runtime.map(Runtime::version),
        "file": runtime.map(|runtime| runtime.file().display().to_string()),
        "places": places,
    });
    writeln!(plain_stdout(), "{report:#}")?;
    Ok(())
}
