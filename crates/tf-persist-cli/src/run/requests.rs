//! Answers many requests with one session, one line each.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::json;
use tf_persist_core::tensor::json::{ExtraInputs, Form, Layout, Request, without_byte_order_mark, write_outputs};
use tf_persist_core::warmup::{Kind, LoggedRequests, Record};
use tf_persist_core::{LoadedModel, RunOptions};

use super::RunArgs;
use super::output::COLUMN;
use crate::error::{AlreadyReported, PRINTING};
use crate::stdout::plain_stdout;

/// The row form of an answer, as in TensorFlow Serving.
const ROW: Layout = Layout { form: Form::Row, bare_single: true };

/// Answers every line in order. A request that fails is answered with `{"error": …}`, and the next ones still run.
pub(super) fn answer(
    args: &RunArgs,
    path: &Path,
    load: impl FnOnce() -> anyhow::Result<LoadedModel>,
) -> anyhow::Result<()> {
    let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let reading = || format!("cannot read `{name}`");
    let mut lines: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).with_context(reading)?))
    };
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        bail!("cannot read `{name}`: it is a folder");
    }
    let model = load()?;
    if LoggedRequests::is_records(path) {
        return answer_records(args, path, &model);
    }
    let mut out = BufWriter::new(plain_stdout());
    let (mut line, mut number, mut requests, mut failed) = (Vec::new(), 0, 0, 0);
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).with_context(reading)? == 0 {
            break;
        }
        number += 1;
        let line = if number == 1 { without_byte_order_mark(&line) } else { line.as_slice() };
        if line.trim_ascii().is_empty() {
            continue;
        }
        requests += 1;
        match one(&model, args, &format!("line {number}"), line) {
            Ok(answer) => out.write_all(&answer).context(PRINTING)?,
            Err(error) => {
                failed += 1;
                write!(out, "{}", json!({ "error": error.to_string() })).context(PRINTING)?;
            }
        }
        out.write_all(b"\n").context(PRINTING)?;
        // The reader may wait for each answer before it writes the next request.
        out.flush().context(PRINTING)?;
    }
    report_failures(failed, requests, &name)
}

fn report_failures(failed: usize, requests: usize, name: &str) -> anyhow::Result<()> {
    if failed > 0 {
        bail!(AlreadyReported(format!(
            "{failed} of {requests} requests of `{name}` failed; their answers have the reasons"
        )));
    }
    Ok(())
}

/// Answers the requests of a TFRecord file of `PredictionLog`s, as a server's request log or a warm-up file is one.
fn answer_records(args: &RunArgs, path: &Path, model: &LoadedModel) -> anyhow::Result<()> {
    let mut out = BufWriter::new(plain_stdout());
    let (mut requests, mut failed) = (0, 0);
    for record in LoggedRequests::open(path, model.meta_graph())? {
        requests += 1;
        match answer_record(args, model, &record?) {
            Ok(answer) => out.write_all(&answer).context(PRINTING)?,
            Err(error) => {
                failed += 1;
                write!(out, "{}", json!({ "error": error.to_string() })).context(PRINTING)?;
            }
        }
        out.write_all(b"\n").context(PRINTING)?;
    }
    out.flush().context(PRINTING)?;
    report_failures(failed, requests, &path.display().to_string())
}

/// The answer to a recorded request, by the names of its outputs.
fn answer_record(args: &RunArgs, model: &LoadedModel, record: &Record) -> anyhow::Result<Vec<u8>> {
    let kind = record.kind();
    if !matches!(kind, Kind::Predict | Kind::Classify | Kind::Regress) {
        bail!("requests of the kind `{kind}` are not run");
    }
    let signature = model.signature(record.signature())?;
    let outputs = signature.run_with(record.inputs(), &options(args, record.output_filter()))?;
    let mut answer = Vec::new();
    write_outputs("answer", &mut answer, outputs.iter(), COLUMN)?;
    Ok(answer)
}

/// The answer to one request, in its own form.
fn one(model: &LoadedModel, args: &RunArgs, source: &str, line: &[u8]) -> tf_persist_core::Result<Vec<u8>> {
    let request = Request::parse(source, line)?;
    let signature = match request.signature_name().or(args.signature.as_deref()) {
        Some(name) => model.signature(name)?,
        None => model.default_signature()?,
    };
    let form = request.form()?;
    let definition = signature.definition();
    let inputs = request.tensors(&definition.name, &definition.input_tensors(), ExtraInputs::Refuse)?;
    let inputs = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let outputs = signature.run_with(inputs, &options(args, request.output_filter()))?;
    let layout = if form == Form::Row { ROW } else { COLUMN };
    let mut answer = Vec::new();
    write_outputs("answer", &mut answer, outputs.iter(), layout)?;
    Ok(answer)
}

/// Runs a request as a server answers it: for the outputs that a logged one asked for, unless the command line names
/// some.
fn options<'a>(args: &'a RunArgs, filter: &'a [String]) -> RunOptions<'a> {
    let options = match (&args.outputs, filter) {
        (None, [_, ..]) => RunOptions::default().outputs(filter),
        _ => args.run_options(),
    };
    options.skip_shape_check(true)
}
