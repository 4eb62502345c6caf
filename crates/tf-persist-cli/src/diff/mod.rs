//! `tf-persist diff`: what two models differ in.

mod args;
mod json;
mod text;

use std::io::BufWriter;

use anyhow::{Context, bail};
use tf_persist_core::SavedModel;
use tf_persist_core::diff::DiffOptions;
use tf_persist_core::tensor::Tolerance;

use crate::args::{Format, tags};
use crate::error::{Differs, PRINTING};
use crate::stdout::{plain_stdout, stdout};
pub(crate) use args::DiffArgs;

pub(crate) fn diff(args: &DiffArgs) -> anyhow::Result<()> {
    let (a, b) = (SavedModel::open(&args.a)?, SavedModel::open(&args.b)?);
    let options = DiffOptions::default()
        .tags(args.tags.as_deref().map(tags))
        .tolerance(Tolerance::Within(args.tolerance))
        .only_variables(args.variables);
    let diff = tf_persist_core::diff::diff(&a, &b, &options)?;
    match args.format {
        Format::Text => text::write(&mut BufWriter::new(stdout()), &diff, args),
        // As it is: what looks like a colour in a name is part of the name.
        Format::Json => json::write(&mut plain_stdout(), &diff),
    }
    .context(PRINTING)?;
    if diff.is_same() { Ok(()) } else { bail!(Differs) }
}
