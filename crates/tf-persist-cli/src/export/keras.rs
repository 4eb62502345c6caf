//! Exports from and to Keras files.

use std::io::Write;

use anstream::eprintln;
use anyhow::Context;
use serde_json::json;
use tf_persist_keras::{KerasModel, KerasSaveOptions, KerasVersion, write_back};
use tf_persist_savedmodel::{SavedModel, printable};

use super::ExportArgs;
use crate::common_args::Format;
use crate::error::{PRINTING, UsageError};
use crate::format::{bytes, count};
use crate::stdout::stdout;

/// Writes a Keras file, of a Keras file or of a SavedModel that came from one.
pub(super) fn write_file(args: &ExportArgs) -> anyhow::Result<()> {
    if args.inference_only || args.is_rewritten() {
        let reason =
            "the options that change the graph are for SavedModels; a Keras file is written with its whole model";
        return Err(UsageError(reason.into()).into());
    }
    let mut options = KerasSaveOptions::default().overwrite(args.overwrite).custom_objects(args.keras.custom()?);
    if let Some(version) = &args.keras_version {
        options = options.keras(if version == "2" { KerasVersion::Keras2 } else { KerasVersion::Keras3 });
    }
    let saved = match args.keras.open_keras(&args.source, false)? {
        Some(model) => model.save(&args.target, &options)?,
        None => {
            let like = args.like.as_deref().map(|path| args.keras.open_keras(path, false)).transpose()?.flatten();
            write_back(&SavedModel::open(&args.source)?, like.as_ref(), &args.target, &options)?
        }
    };
    for note in &saved.notes {
        eprintln!("note: {}", printable(note));
    }
    let size = std::fs::metadata(&args.target).map_or(0, |metadata| metadata.len());
    let mut out = stdout();
    if args.format == Format::Json {
        let report = json!({
            "path": args.target.display().to_string(), "bytes": size, "converted": saved.is_converted, "notes": saved.notes,
        });
        return writeln!(out, "{report:#}").context(PRINTING);
    }
    let converted = if saved.is_converted { ", converted from Keras 2 to Keras 3" } else { "" };
    writeln!(out, "`{}`: a Keras file of {}{converted}", args.target.display(), bytes(size)).context(PRINTING)
}

/// Writes a Keras file as a SavedModel.
pub(super) fn export(args: &ExportArgs, model: &KerasModel) -> anyhow::Result<()> {
    let exported = model.export(&args.target, args.overwrite)?;
    if let Some(reason) = exported.why_inference_only {
        eprintln!("note: it is written for inference only, without `train` and `evaluate`: {}", printable(&reason));
    }
    let written = SavedModel::open(&args.target)?;
    let signatures: Vec<&str> = written.meta_graph(None)?.signatures().iter().map(|it| it.name.as_str()).collect();
    let variables = written.variables()?;
    let variable_bytes = variables.total_bytes;
    let mut out = stdout();
    if args.format == Format::Json {
        let report = json!({
            "path": args.target.display().to_string(),
            "meta_graphs": 1,
            "signatures": signatures,
            "variables": variables.all.len(),
            "tables": [],
            "variable_bytes": variable_bytes,
            "restored": null,
        });
        return writeln!(out, "{report:#}").context(PRINTING);
    }
    let shown: Vec<String> = signatures.iter().map(|name| format!("`{}`", printable(name))).collect();
    writeln!(
        out,
        "`{}`: {} ({}), {} {}",
        args.target.display(),
        count(variables.all.len() as u64, "variable"),
        bytes(variable_bytes),
        if shown.len() == 1 { "signature" } else { "signatures" },
        shown.join(", ")
    )
    .context(PRINTING)
}
