//! Prints what happened to a model.

use std::io::{BufWriter, Write};

use anyhow::Context;
use jiff::tz::TimeZone;
use serde_json::json;
use tf_persist_savedmodel::printable;
use tf_persist_store::{Event, What, Why};

use super::args::LogArgs;
use super::place::Place;
use super::run::print_json;
use crate::common_args::Format;
use crate::error::PRINTING;
use crate::stdout::stdout;

pub(super) fn run(store: &Place, args: &LogArgs) -> anyhow::Result<()> {
    let mut events = match &args.label {
        Some(label) => store.label_log(&args.model, label)?,
        None => store.log(&args.model)?,
    };
    events.retain(|event| args.at.is_none_or(|time| event.at <= time));
    if args.format == Format::Json {
        return print_json(&json!({ "model": args.model.as_str(), "events": events }));
    }
    // The newest first, as in `git log`.
    write(&mut BufWriter::new(stdout()), events.iter().rev()).context(PRINTING)
}

fn write<'a>(out: &mut impl Write, events: impl Iterator<Item = &'a Event>) -> anyhow::Result<()> {
    for event in events {
        let at = event.at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z");
        writeln!(out, "{at}  {}  by {}", text(&event.what), event.by)?;
    }
    Ok(out.flush()?)
}

fn text(what: &What) -> String {
    match what {
        What::Published { version, manifest, from: None } => {
            format!("published version {version} ({})", short(manifest))
        }
        What::Published { version, manifest, from: Some(from) } => {
            format!("pulled version {version} ({}) from {}", short(manifest), printable(from))
        }
        What::Removed { version, manifest } => format!("removed version {version} ({})", short(manifest)),
        What::Signed { version, key } => format!("signed version {version} (key {})", short(key)),
        What::Labelled { label, from, to, why } => {
            let how = match why {
                Why::Promote => "promoted",
                Why::Rollback => "rolled back",
                _ => "labelled",
            };
            match (from, to) {
                (Some(from), Some(to)) => format!("{how} {label}: {from} -> {to}"),
                (None, Some(to)) => format!("{how} {label}: {to}"),
                (Some(from), None) => format!("took the label {label} from {from}"),
                (None, None) => format!("{how} {label}"),
            }
        }
        _ => "another event".to_owned(),
    }
}

/// The first digits of a digest.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
