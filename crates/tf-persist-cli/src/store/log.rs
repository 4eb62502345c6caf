//! Prints what happened to a model.

use std::io::{BufWriter, Write};

use anyhow::Context;
use jiff::tz::TimeZone;
use serde_json::json;
use tf_persist_savedmodel::printable;
use tf_persist_store::{Decision, Event, What, Why};

use super::args::LogArgs;
use super::place::Place;
use super::run::print_json;
use crate::common_args::Format;
use crate::error::PRINTING;
use crate::format::numbers;
use crate::stdout::stdout;

pub(super) fn run(store: &Place, args: &LogArgs) -> anyhow::Result<()> {
    let mut events = match &args.label {
        Some(label) => store.label_log(&args.model, label)?,
        None => store.log(&args.model)?,
    };
    let mut decisions = match &args.label {
        // Only what moved the label.
        Some(_) => Vec::new(),
        None => store.decisions(&args.model)?,
    };
    events.retain(|event| args.at.is_none_or(|time| event.at <= time));
    decisions.retain(|decision| args.at.is_none_or(|time| decision.at <= time));
    if args.format == Format::Json {
        let mut report = json!({ "model": args.model.as_str(), "events": events });
        if !decisions.is_empty() {
            report["decisions"] = json!(decisions);
        }
        return print_json(&report);
    }
    write(&mut BufWriter::new(stdout()), &events, &decisions).context(PRINTING)
}

/// Writes events and decisions, the newest first, as in `git log`.
fn write(out: &mut impl Write, events: &[Event], decisions: &[Decision]) -> anyhow::Result<()> {
    let (mut events, mut decisions) = (events.iter().rev().peekable(), decisions.iter().rev().peekable());
    loop {
        let (at, text, by) = match (events.peek(), decisions.peek()) {
            (None, None) => return Ok(out.flush()?),
            (Some(event), decision) if decision.is_none_or(|decision| event.at > decision.at) => {
                let event = *event;
                events.next();
                (event.at, self::text(&event.what), &event.by)
            }
            (_, Some(_)) => {
                let Some(decision) = decisions.next() else { continue };
                (decision.at, decided(decision), &decision.by)
            }
            (Some(_), None) => continue,
        };
        let at = at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z");
        writeln!(out, "{at}  {text}  by {by}")?;
    }
}

fn decided(decision: &Decision) -> String {
    let version = decision.version.map_or_else(String::new, |version| format!(" version {version}"));
    let attempt =
        decision.attempt.as_ref().map_or_else(String::new, |attempt| format!(" (attempt {})", printable(attempt)));
    let (what, reason) = (decision.decision.replace('_', " "), printable(&decision.reason));
    format!("decided to {}{version}: {reason}{}{attempt}", printable(&what), numbers(&decision.numbers))
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
