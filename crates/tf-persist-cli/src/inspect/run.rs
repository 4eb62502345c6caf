//! Inspects a model.

use std::io::{BufWriter, Write};

use anyhow::Context;
use tf_persist_savedmodel::SavedModel;

#[cfg(feature = "keras")]
use super::keras;
use super::report::{Report, Selection};
use super::{InspectArgs, json, stats, text};
use crate::common_args::{Format, tags};
use crate::error::PRINTING;
use crate::stdout::{plain_stdout, stdout};

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let model = match args.keras.open_keras(&args.path, false)? {
        #[cfg(feature = "keras")]
        // What narrows the report is about its SavedModel.
        Some(model) if !args.is_narrow() => return keras::print(&model, args.format),
        Some(model) => model.to_saved_model()?,
        None => SavedModel::open(&args.path)?,
    };
    let meta_graphs = match args.tags.as_deref().map(tags) {
        Some(tags) => vec![model.meta_graph(Some(&tags))?],
        None => model.meta_graphs().iter().collect(),
    };
    let mut report = Report::new(&model, &meta_graphs, args.signature.as_deref())?;
    if args.stats {
        report.stats = report.variables.as_ref().ok().map(|variables| stats::read_all(variables));
        report.table_stats = report.variables.as_ref().ok().map(|variables| stats::read_tables(variables));
    }
    let selection = Selection { args };
    match args.format {
        Format::Text => print(stdout(), |out| text::write(out, &report, &selection)),
        // Unfiltered: an escape sequence in a name is part of the name.
        Format::Json => print(plain_stdout(), |out| json::write(out, &report, &selection)),
    }
    .context(PRINTING)?;
    // A damaged model is reported as far as possible, and then is an error.
    for meta_graph in meta_graphs {
        model.check(meta_graph)?;
    }
    let Report { variables, fingerprint, stats, table_stats, .. } = report;
    variables?;
    fingerprint?;
    let in_tables = table_stats.into_iter().flatten().find_map(Result::err);
    match stats.into_iter().flatten().find_map(Result::err).or(in_tables) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn print<W: Write>(out: W, write: impl FnOnce(&mut BufWriter<W>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(out);
    write(&mut out)?;
    Ok(out.flush()?)
}
