//! Runs a loop, and prints what it does.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use serde_json::json;
use tf_persist_core::train::Dataset;
use tf_persist_core::{Tensor, printable};
use tf_persist_loop::{Config, Line, Loop, LoopError, Tools, Until, plan};

use super::LoopArgs;
use crate::columns::{ColumnReader, Format as ColumnFormat};
use crate::common_args::Format;
use crate::error::{Hinted, PRINTING};
use crate::format::numbers;
use crate::load_args::LoadArgs;
use crate::signals::Stop;
use crate::stdout::{plain_stdout, stdout};

/// Rows of a file of columns that are read at a time.
const WINDOW: usize = 4096;

pub(crate) fn run(args: &LoopArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.path)?;
    if args.dry_run {
        return print_plan(args, &plan(&config, args.now)?);
    }
    let stop = Stop::on_signals(|_| ())?;
    let format = args.format;
    let load = LoadArgs { library: args.library.clone(), ..LoadArgs::default() };
    let tools = Tools::new(load.options()?)
        .read_columns(|path| read_columns(path).map_err(|error| format!("{error:#}")))
        .stop_when(move || stop.exit_code().is_some())
        // Whoever reads the lines may have closed them; the loop goes on.
        .report(move |line| drop(print(format, line)));
    let mut opened = match Loop::open(config.clone(), tools) {
        Err(error @ LoopError::Busy { .. }) if args.now => {
            Loop::ask(&config)?;
            return writeln!(stdout(), "{error}; it was asked to train a new version").context(PRINTING);
        }
        opened => opened.map_err(hinted)?,
    };
    if args.now {
        opened.act_now()?;
    }
    opened.run(if args.once { Until::NothingToDo } else { Until::Stopped }).map_err(hinted)
}

/// An error with what would help.
fn hinted(error: LoopError) -> anyhow::Error {
    let hint = match &error {
        LoopError::Busy { .. } => "a model has one loop: stop the other one first",
        LoopError::State { .. } => {
            "without this file the loop begins anew, and the version in production stays: delete it"
        }
        _ => return error.into(),
    };
    Hinted { error: error.into(), hint: hint.to_owned() }.into()
}

fn print_plan(args: &LoopArgs, lines: &[String]) -> anyhow::Result<()> {
    match args.format {
        Format::Json => writeln!(plain_stdout(), "{:#}", json!({ "plan": lines })),
        Format::Text => {
            let mut out = stdout();
            lines.iter().try_for_each(|line| writeln!(out, "{}", printable(line)))
        }
    }
    .context(PRINTING)
}

fn print(format: Format, line: &Line) -> std::io::Result<()> {
    if format == Format::Json {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        return plain_stdout().write_all(&text);
    }
    let time = line.at.to_zoned(TimeZone::system()).strftime("%H:%M:%S");
    let version = line.version.map_or_else(String::new, |version| format!(" version {version}"));
    let what = match line.kind.as_str() {
        "look" | "note" => String::new(),
        kind => format!("{}{version}: ", kind.replace('_', " ")),
    };
    // What was only looked at has its numbers in the sentence.
    let numbers = if line.kind == "look" { String::new() } else { numbers(&line.numbers) };
    writeln!(stdout(), "{time}  {:<10} {what}{}{numbers}", line.step, printable(&line.text))
}

/// All columns of a file.
fn read_columns(path: &Path) -> anyhow::Result<Vec<(String, Tensor)>> {
    let Some(format) = ColumnFormat::of(path) else { bail!("`{}` is not a file of columns", path.display()) };
    let mut reader = ColumnReader::open(path, format, WINDOW, |_| true)?;
    let names: Vec<String> = reader.columns().map(|(name, _)| name.to_owned()).collect();
    let mut parts: Vec<Vec<Tensor>> = Vec::new();
    loop {
        let rows = reader.read_rows(WINDOW)?;
        let is_empty = rows.first().is_none_or(|tensor| tensor.row_count() == Some(0));
        if is_empty && !parts.is_empty() {
            break;
        }
        parts.push(rows);
        if is_empty {
            break;
        }
    }
    let mut arrays = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let tensors: Vec<&Tensor> = parts.iter().filter_map(|part| part.get(index)).collect();
        arrays.push((name, Tensor::concatenate(&tensors)?));
    }
    // The same checks as of other files.
    Dataset::new(path.display().to_string(), arrays.clone())?;
    Ok(arrays)
}
