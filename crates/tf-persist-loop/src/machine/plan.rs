//! What a loop would do, without doing it.

use jiff::{SignedDuration, Timestamp};
use tf_persist_core::SavedModel;
use tf_persist_core::train::{TrainOptions, Trainer};
use tf_persist_store::{Reference, Selector, Store};

use super::watching::{cool_down, first_time};
use crate::config::{Config, HeldOut};
use crate::error::Result;
use crate::state::{Folder, State, Step};
use crate::watch::{look, reasons};

/// What the loop of a configuration would do now, as sentences. `is_asked` as if a person asked for an attempt. Nothing
/// is changed, and another process may have the loop.
///
/// # Errors
/// What would keep the loop from going on.
pub fn plan(config: &Config, is_asked: bool) -> Result<Vec<String>> {
    let store = Store::open(&config.store)?;
    let selector = Selector::Label(config.label.clone());
    let production = store.resolve(&Reference { model: config.model.clone(), selector })?;
    let now = Timestamp::now();
    let state = Folder::look(&store, &config.model).read()?.unwrap_or_else(|| State::new(now));
    let (name, label) = (&config.model, &config.label);
    let mut lines = vec![format!("{name}@{label} is version {}", production.number())];
    if let Some(attempt) = &state.attempt {
        lines.push(format!("attempt {} is {}, and would go on there", attempt.id, state.step.name()));
        return Ok(lines);
    }
    if state.step != Step::Watching {
        lines.push(format!("the loop is {}, and would go on there", state.step.name()));
    }
    let model = SavedModel::open(production.path())?;
    let since = first_time(config, &state, now);
    let seen = look(config, &model, production.number(), since)?;
    let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
    lines.push(format!("{} requests and {} labelled rows since {since}", seen.requests, seen.labelled));
    lines.extend(seen.notes.iter().map(|note| format!("in the logs: {note}")));
    let asked = (is_asked || state.is_asked).then(|| "a person asked for it".to_owned());
    let is_asked = asked.is_some();
    let found: Vec<String> =
        asked.into_iter().chain(reasons(config, &seen, production.manifest().published_at, now)).collect();
    let rest = cool_down(config, &state, now);
    if found.is_empty() {
        lines.push("it would go on watching".to_owned());
        return Ok(lines);
    }
    if rest > SignedDuration::ZERO && !is_asked {
        lines.push(format!(
            "it would wait for {} s more before it trains: {}",
            rest.as_secs().max(1),
            found.join("; ")
        ));
    } else {
        lines.push(format!("it would train: {}", found.join("; ")));
    }
    lines.extend(steps(config, &model)?);
    Ok(lines)
}

/// The steps of an attempt.
fn steps(config: &Config, model: &SavedModel) -> Result<Vec<String>> {
    let (train, gates) = (&config.train, &config.gates);
    let mut lines = Vec::new();
    let held_out = match &train.held_out {
        HeldOut::Share(share) => format!("{}% of the rows are held out", share * 100.0),
        HeldOut::File(path) => format!("the rows of `{}` are held out", path.display()),
    };
    match &train.command {
        Some(command) => lines.push(format!("by the command `{}`; {held_out}", command.join(" "))),
        None => {
            if train.start.is_none() {
                Trainer::check(model, &TrainOptions::default().signature(&train.signature))?;
            }
            let (signature, epochs) = (&train.signature, train.epochs);
            lines
                .push(format!("by the signature `{signature}`, {epochs} epochs at most {}; {held_out}", train.timeout));
        }
    }
    let margin = if gates.margin == 0.0 { String::new() } else { format!(" plus {}", gates.margin) };
    lines.push(format!(
        "it would publish the model if its {} is at least that of production{margin}",
        gates.metric.name()
    ));
    match &config.promote {
        None => lines.push(format!("it would move `{}` at once", config.label)),
        Some(promote) => {
            if let Some(shadow) = &promote.shadow {
                lines.push(format!("it would answer {} requests in the shadow", shadow.requests));
            }
            for step in &promote.canary {
                lines.push(format!("it would answer {} requests, {}% of them all", step.requests, step.share));
            }
            lines.push(format!("it would move `{}` then", config.label));
        }
    }
    lines.push(format!("it would watch the new version for {}", config.guard.time));
    Ok(lines)
}
