//! Compares two models.

use std::io::BufWriter;

use anyhow::{Context, bail};
use tf_persist_savedmodel::diff::DiffOptions;
use tf_persist_savedmodel::tensor::Tolerance;

use super::{DiffArgs, json, text};
use crate::common_args::{Format, tags};
use crate::error::{Differs, PRINTING};
use crate::stdout::{plain_stdout, stdout};

pub(crate) fn run(args: &DiffArgs) -> anyhow::Result<()> {
    let (a, b) = (args.keras.open(&args.a)?, args.keras.open(&args.b)?);
    let options = DiffOptions::default()
        .tags(args.tags.as_deref().map(tags))
        .tolerance(Tolerance::Within(args.tolerance))
        .only_variables(args.variables);
    let diff = tf_persist_savedmodel::diff::diff(&a, &b, &options)?;
    match args.format {
        Format::Text => text::write(&mut BufWriter::new(stdout()), &diff, args),
        // Unfiltered: an escape sequence in a name is part of the name.
        Format::Json => json::write(&mut plain_stdout(), &diff),
    }
    .context(PRINTING)?;
    if diff.is_same() { Ok(()) } else { bail!(Differs) }
}
