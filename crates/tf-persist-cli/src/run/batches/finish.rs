//! Makes the file that the user named of the rows that a run has computed.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, bail};
use tf_persist_core::Tensor;
use tf_persist_core::scratch::NewFile;
use tf_persist_core::tensor::json::write_lines;
use tf_persist_core::tensor::npy::{Plan, check_strings};
use tf_persist_core::tensor::npz::NpzWriter;

use super::super::output::{Kind, Target};
use super::spool::Spool;
use super::state::OutputState;
use crate::columns::{self, ColumnWriter};

/// Rows are copied in windows of about this size.
const WINDOW: u64 = 4 << 20;

/// Checks that the outputs of a batch can be written: what could fail at the end fails at once.
pub(super) fn check(target: &Target, outputs: &[(String, Tensor)], rows: usize) -> anyhow::Result<()> {
    if !matches!(target.kind(), Kind::Npz | Kind::Npy) {
        return Ok(());
    }
    for (name, tensor) in outputs {
        if let Ok(strings) = tensor.strings() {
            let width: usize = tensor.shape().iter().skip(1).product();
            check_strings(&source(target, name), strings, rows * width)?;
        }
    }
    Ok(())
}

/// Writes the file, which appears complete or not at all.
pub(super) fn write(target: &Target, spool: &Spool) -> anyhow::Result<()> {
    let writing = || format!("cannot write `{}`", target.path().display());
    let mut file = BufWriter::new(target.temporary_file().with_context(writing)?);
    match target.kind() {
        Kind::Npz => file = npz(target, spool, file)?,
        Kind::Npy => npy(target, spool, &mut file)?,
        Kind::Columns(format) => file = columns(target, format, spool, file)?,
        Kind::JsonLines => lines(target, spool, &mut file)?,
        Kind::Json => bail!("a .json file is written by runs without --batch-size alone"),
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(writing)?;
    file.publish(true).with_context(writing)
}

/// The name of an output in errors.
fn source(target: &Target, output: &str) -> String {
    format!("{}, array `{output}`", target.path().display())
}

/// The number of rows in a window.
fn window(outputs: &[OutputState], rows: usize) -> usize {
    let bytes: u64 = outputs.iter().map(|output| output.bytes).sum();
    let row = (bytes / rows.max(1) as u64).max(1);
    (WINDOW / row).clamp(1, 1 << 20) as usize
}

fn plan(target: &Target, output: &OutputState, rows: usize) -> anyhow::Result<Plan> {
    let mut shape = vec![rows];
    shape.extend(&output.row_shape);
    Ok(Plan::new(&source(target, &output.name), output.dtype, &shape, output.longest)?)
}

fn npz(target: &Target, spool: &Spool, file: BufWriter<NewFile>) -> anyhow::Result<BufWriter<NewFile>> {
    let mut archive = NpzWriter::new(target.path(), file);
    for (index, output) in spool.outputs().iter().enumerate() {
        archive.start(&output.name, plan(target, output, spool.rows())?)?;
        let window = window(std::slice::from_ref(output), spool.rows());
        let mut rows = spool.reader(index)?;
        while let Some(rows) = rows.next(window)? {
            archive.write_rows(&rows)?;
        }
    }
    Ok(archive.finish()?)
}

fn npy(target: &Target, spool: &Spool, file: &mut impl Write) -> anyhow::Result<()> {
    let writing = || format!("cannot write `{}`", target.path().display());
    let Some(output) = spool.outputs().first() else { return Ok(()) };
    let plan = plan(target, output, spool.rows())?;
    plan.write_header(file).with_context(writing)?;
    let window = window(spool.outputs(), spool.rows());
    let mut rows = spool.reader(0)?;
    while let Some(rows) = rows.next(window)? {
        plan.write_elements(file, &rows).with_context(writing)?;
    }
    Ok(())
}

fn lines(target: &Target, spool: &Spool, file: &mut impl Write) -> anyhow::Result<()> {
    windows(spool, |rows| Ok(write_lines(target.path(), file, rows.iter().map(|(name, rows)| (*name, rows)))?))
}

fn columns(
    target: &Target,
    format: columns::Format,
    spool: &Spool,
    file: BufWriter<NewFile>,
) -> anyhow::Result<BufWriter<NewFile>> {
    let outputs = spool.outputs().iter();
    let outputs = outputs.map(|output| (&*output.name, output.dtype, &*output.row_shape, output.is_text));
    let mut writer = ColumnWriter::new(target.path(), format, file, outputs)?;
    windows(spool, |rows| writer.write(rows.iter().map(|(_, rows)| rows)))?;
    writer.finish()
}

/// Calls `visit` with the next rows of all outputs, until there are none.
fn windows(spool: &Spool, mut visit: impl FnMut(&[(&str, Tensor)]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let window = window(spool.outputs(), spool.rows());
    let mut readers =
        (0..spool.outputs().len()).map(|index| spool.reader(index)).collect::<anyhow::Result<Vec<_>>>()?;
    loop {
        let mut rows = Vec::with_capacity(readers.len());
        for (reader, output) in readers.iter_mut().zip(spool.outputs()) {
            let Some(tensor) = reader.next(window)? else { return Ok(()) };
            rows.push((output.name.as_str(), tensor));
        }
        visit(&rows)?;
    }
}
