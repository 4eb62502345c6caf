//! Exports a model.

use std::io::Write;

use anstream::eprintln;
use anyhow::Context;
use serde_json::json;
use tf_persist_savedmodel::checkpoint::restore::Mapping;
use tf_persist_savedmodel::saved_model::{Variables, name_of};
use tf_persist_savedmodel::{SavedModel, printable, warmup};

use super::ExportArgs;
#[cfg(feature = "keras")]
use super::keras;
use crate::common_args::{Format, is_keras_name};
use crate::error::PRINTING;
use crate::format::{self, bytes, count};
#[cfg(not(feature = "keras"))]
use crate::keras_args;
use crate::stdout::stdout;
use crate::version_path;

/// The number of variables that a list names.
const MAX_NAMES: usize = 5;

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    version_path::check_writable(&args.target)?;
    if is_keras_name(&args.target) {
        #[cfg(feature = "keras")]
        return keras::write_file(args);
        #[cfg(not(feature = "keras"))]
        keras_args::refuse(&args.target)?;
    }
    let options = args.options();
    options.check_target(&args.target)?;
    let keras = args.keras.open_keras(&args.source, args.inference_only)?;
    #[cfg(feature = "keras")]
    if let Some(model) = keras.as_ref().filter(|_| !args.is_rewritten()) {
        return keras::export(args, model);
    }
    let source = match keras {
        Some(model) => model.to_saved_model()?,
        None => SavedModel::open(&args.source)?,
    };
    let saved = source.save(&args.target, options)?;
    if let Some(note) = &saved.note {
        eprintln!("note: {}", printable(note));
    }
    if saved.dropped_sequence {
        eprintln!(
            "note: its recorded sequence of requests is left out: it calls signatures that are not kept. `tf-persist verify {} \
             --record FILE.jsonl --in-order` records another",
            printable(&args.target.display().to_string())
        );
    }
    let recorded = |model: &SavedModel| -> tf_persist_savedmodel::Result<bool> {
        Ok(warmup::Records::open(model)?.is_some() || warmup::Records::open_sequence(model)?.is_some())
    };
    if args.from_checkpoint.is_some() && recorded(&SavedModel::open(&args.target)?)? {
        eprintln!(
            "note: the recorded answers are from before, with other variables; record new ones with `tf-persist verify {} --record FILE --replace`",
            printable(&args.target.display().to_string())
        );
    }
    let target = args.target.display();
    let mut out = stdout();
    if args.format == Format::Json {
        let restored = saved.restored.as_ref().map(|mapping| {
            json!({
                "from_checkpoint": mapping.pairs.len(), "kept": mapping.kept, "unused": mapping.unused,
                "moving_averages": args.moving_averages.then(|| mapping.averages()),
            })
        });
        let report = json!({
            "path": target.to_string(),
            "meta_graphs": saved.meta_graphs,
            "signatures": saved.signatures,
            "variables": saved.variables,
            "tables": saved.tables.iter().map(|(name, entries)| json!({ "name": name, "entries": entries })).collect::<Vec<_>>(),
            "variable_bytes": saved.variable_bytes,
            "restored": restored,
        });
        return writeln!(out, "{report:#}").context(PRINTING);
    }
    let signatures: Vec<String> = saved.signatures.iter().map(|name| format!("`{}`", printable(name))).collect();
    writeln!(
        out,
        "`{target}`: {}, {}{} ({}), {}",
        count(saved.meta_graphs as u64, "meta graph"),
        count(saved.variables as u64, "variable"),
        tables(&saved.tables),
        bytes(saved.variable_bytes),
        match signatures.as_slice() {
            [] => "no signatures".to_owned(),
            names => format!("{} {}", if names.len() == 1 { "signature" } else { "signatures" }, names.join(", ")),
        }
    )
    .context(PRINTING)?;
    saved.restored.as_ref().map_or(Ok(()), |mapping| {
        write_restored(&mut out, mapping, source.variables()?, args.moving_averages).context(PRINTING)
    })
}

/// `, 2 tables with 5 entries`.
fn tables(tables: &[(String, Option<usize>)]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let entries: Option<usize> = tables.iter().map(|(_, entries)| *entries).sum();
    let entries = entries.map(|entries| format!(" with {}", format::entries(entries)));
    format!(", {}{}", count(tables.len() as u64, "table"), entries.unwrap_or_default())
}

/// Writes which variables came from the checkpoint, and which did not.
fn write_restored(out: &mut impl Write, mapping: &Mapping, model: &Variables, averages: bool) -> std::io::Result<()> {
    let names = |keys: Vec<&str>| {
        let name = |key| model.table_of(key).map_or_else(|| name_of(key), |table| table.name.as_str());
        let mut keys: Vec<&str> = keys.into_iter().map(name).collect();
        // Keys and values of a table have one name.
        keys.dedup();
        let shown: Vec<String> = keys.iter().take(MAX_NAMES).map(|key| format!("`{}`", printable(key))).collect();
        let more = keys.len().saturating_sub(MAX_NAMES);
        if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
    };
    let all = |keys: &'_ [String]| names(keys.iter().map(String::as_str).collect());
    let tables =
        mapping.pairs.iter().filter(|pair| model.tables.iter().any(|table| table.keys.key == pair.key)).count();
    let variables = mapping.pairs.iter().filter(|pair| model.table_of(&pair.key).is_none()).count();
    let tables = if tables > 0 { format!(", {}", count(tables as u64, "table")) } else { String::new() };
    writeln!(out, "from the checkpoint: {}{tables}", count(variables as u64, "variable"))?;
    if averages {
        writeln!(out, "moving averages: {}", count(mapping.averages() as u64, "variable"))?;
        let without = mapping
            .pairs
            .iter()
            .filter(|pair| !pair.is_average && model.table_of(&pair.key).is_none())
            .map(|pair| pair.key.as_str());
        let without: Vec<&str> = without.collect();
        if !without.is_empty() {
            writeln!(out, "without a moving average, with their own values: {}", names(without))?;
        }
    }
    if !mapping.kept.is_empty() {
        writeln!(out, "kept the model's values: {}", all(&mapping.kept))?;
    }
    if !mapping.unused.is_empty() {
        writeln!(out, "unused in the checkpoint: {}", all(&mapping.unused))?;
    }
    Ok(())
}
