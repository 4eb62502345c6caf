//! Writes outputs to the terminal and to files.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use tf_persist_core::scratch::NewFile;
use tf_persist_core::tensor::json::{Form, Layout, write_lines, write_outputs};
use tf_persist_core::tensor::{npy, npz};
use tf_persist_core::{Outputs, SignatureDef, Strings, printable};

use super::timings::Timings;
use super::view;
use crate::columns::{self, ColumnWriter};
use crate::common_args::Format;
use crate::error::{PRINTING, UsageError};
use crate::format::count;
use crate::stdout::{plain_stdout, stdout};

/// Every output by name, also a single one.
pub(super) const COLUMN: Layout = Layout { form: Form::Column, bare_single: false };

/// A file to write the outputs to.
pub(super) struct Target {
    path: PathBuf,
    kind: Kind,
}

/// The format of a file of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Npz,
    Npy,
    Json,
    /// One object a row.
    JsonLines,
    /// One column an output.
    Columns(columns::Format),
}

impl Target {
    /// Checks that the outputs of this signature, or the selected ones, can be written there.
    pub(super) fn new(path: &Path, signature: &SignatureDef, wanted: Option<&[String]>) -> anyhow::Result<Self> {
        let outputs = signature.output_tensors(wanted)?.len();
        let kind = match path.extension().and_then(|ending| ending.to_str()) {
            Some("npz") => Kind::Npz,
            Some("npy") if outputs != 1 => {
                let name = &signature.name;
                bail!(UsageError(format!(
                    "signature `{name}` has {outputs} outputs, and a .npy file holds one: write an .npz file, or choose one with \
                     --outputs NAME"
                )))
            }
            Some("npy") => Kind::Npy,
            Some("json") => Kind::Json,
            Some("jsonl") => Kind::JsonLines,
            _ => match columns::Format::of(path) {
                Some(format) => {
                    let names = signature.output_tensors(wanted)?;
                    for (name, info) in signature.outputs.iter().filter(|(name, _)| names.contains(name)) {
                        columns::check(path, name, info.dtype)?;
                    }
                    Kind::Columns(format)
                }
                None => bail!(UsageError(format!(
                    "`{}` does not end in .npz, .npy, .json, .jsonl, .parquet or .arrow",
                    path.display()
                ))),
            },
        };
        let target = Self { path: path.to_path_buf(), kind };
        target.check()?;
        Ok(target)
    }

    /// Checks that a file can be written there, before the model runs.
    fn check(&self) -> anyhow::Result<()> {
        let writing = || format!("cannot write `{}`", self.path.display());
        if self.path.is_dir() {
            bail!("{}: it is a folder", writing());
        }
        // Gives the operating system's message for the folder, rather than one about a temporary file.
        fs::metadata(self.folder().join(".")).with_context(writing)?;
        self.temporary_file().map(drop).with_context(writing)
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// A file that becomes the target when it is published.
    pub(super) fn temporary_file(&self) -> io::Result<NewFile> {
        // The full message names a hidden temporary file.
        NewFile::beside(&self.path).map_err(|error| io::Error::from(error.kind()))
    }

    /// Writes the outputs; the file appears complete or not at all.
    pub(super) fn write(&self, outputs: &Outputs) -> anyhow::Result<()> {
        let writing = || format!("cannot write `{}`", self.path.display());
        let mut file = BufWriter::new(self.temporary_file().with_context(writing)?);
        match self.kind {
            Kind::Npz => {
                npz::write(&self.path, &mut file, outputs.iter())?;
            }
            Kind::Npy => {
                let (_, tensor) = outputs.iter().next().context("the signature has no output")?;
                npy::write(&self.path, &mut file, tensor)?;
            }
            Kind::Json => {
                write_outputs(&self.path, &mut file, outputs.iter(), COLUMN)?;
                file.write_all(b"\n").with_context(writing)?;
            }
            Kind::Columns(format) => file = self.write_columns(file, format, outputs)?,
            Kind::JsonLines => write_lines(&self.path, &mut file, outputs.iter())?,
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(writing)?;
        file.publish(true).with_context(writing)
    }
}

impl Target {
    /// Writes the outputs as columns.
    fn write_columns(
        &self,
        file: BufWriter<NewFile>,
        format: columns::Format,
        outputs: &Outputs,
    ) -> anyhow::Result<BufWriter<NewFile>> {
        let rows = outputs.iter().next().and_then(|(_, tensor)| tensor.row_count());
        for (name, tensor) in outputs.iter() {
            if tensor.row_count() != rows || rows.is_none() {
                let (name, shape) = (printable(name), tensor.shape());
                bail!("output `{name}` has the shape {shape:?}, and columns have as many rows as each other");
            }
        }
        let outputs = outputs.iter().map(|(name, tensor)| {
            let is_text = tensor.strings().map_or(true, is_text);
            ((name, tensor.dtype(), tensor.shape().get(1..).unwrap_or_default(), is_text), tensor)
        });
        let (columns, tensors): (Vec<_>, Vec<_>) = outputs.unzip();
        let mut writer = ColumnWriter::new(&self.path, format, file, columns)?;
        writer.write(tensors)?;
        writer.finish()
    }
}

/// Whether all strings are text.
pub(super) fn is_text(strings: &Strings) -> bool {
    strings.iter().all(|string| std::str::from_utf8(string).is_ok())
}

/// Prints the outputs, and the timings if there are any.
pub(super) fn print(format: Format, outputs: &Outputs, timings: Option<&Timings>) -> anyhow::Result<()> {
    match format {
        Format::Text => write_text(&mut BufWriter::new(stdout()), outputs, timings),
        // Unfiltered: an escape sequence in a name is part of the name.
        Format::Json => write_json(&mut plain_stdout(), outputs, timings),
    }
}

fn write_text(out: &mut impl Write, outputs: &Outputs, timings: Option<&Timings>) -> anyhow::Result<()> {
    for (name, tensor) in outputs.iter() {
        let view = view::view(tensor)?;
        writeln!(out, "{}  {} {:?}\n{view}", printable(name), tensor.dtype(), tensor.shape()).context(PRINTING)?;
    }
    if let Some(timings) = timings {
        writeln!(out, "{}", sentence(timings)).context(PRINTING)?;
    }
    out.flush().context(PRINTING)
}

fn write_json(out: &mut impl Write, outputs: &Outputs, timings: Option<&Timings>) -> anyhow::Result<()> {
    let mut object = Vec::new();
    write_outputs("standard output", &mut object, outputs.iter(), COLUMN)?;
    if let Some(timings) = timings {
        let micros = |duration: std::time::Duration| duration.as_secs_f64() * 1e6;
        let timings = json!({
            "runs": timings.runs(),
            "min_us": micros(timings.min()),
            "median_us": micros(timings.median()),
            "max_us": micros(timings.max()),
        });
        // Replaces the closing brace by one more member and a brace.
        object.truncate(object.iter().rposition(|byte| *byte == b'}').unwrap_or(object.len()));
        write!(object, ", \"timings\": {timings}}}")?;
    }
    object.push(b'\n');
    out.write_all(&object).and_then(|()| out.flush()).context(PRINTING)
}

/// Prints only the timings, where the outputs went to a file.
pub(super) fn print_timings(timings: Option<&Timings>) -> anyhow::Result<()> {
    match timings {
        Some(timings) => writeln!(stdout(), "{}", sentence(timings)).context(PRINTING),
        None => Ok(()),
    }
}

fn sentence(timings: &Timings) -> String {
    format!(
        "{}: median {:.1?}, shortest {:.1?}, longest {:.1?}",
        count(timings.runs() as u64, "run"),
        timings.median(),
        timings.min(),
        timings.max()
    )
}
