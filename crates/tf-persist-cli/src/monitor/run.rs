//! Reads logs and writes a report, or makes a reference.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tf_persist_monitor::{
    Arrays, Labels, Reference, Report, Settings, State, Thresholds, reference_of_arrays, reference_of_logs, watch,
};
use tf_persist_savedmodel::scratch::NewFile;
use tf_persist_savedmodel::{SavedModel, SignatureDef, printable};

use super::args::{MonitorArgs, MonitorCommand, ReferenceArgs, ReportArgs, ReportFormat, WatchArgs};
use crate::error::{Differs, Hinted, PRINTING};
use crate::format::count;
use crate::stdout::{plain_stdout, stdout};
use crate::version_path;

pub(crate) fn run(args: &MonitorArgs) -> anyhow::Result<()> {
    match &args.command {
        Some(MonitorCommand::Reference(args)) => make_reference(args),
        None => report(&args.report),
    }
}

fn report(args: &ReportArgs) -> anyhow::Result<()> {
    let model = open(&args.watch)?;
    let mut settings = settings(&args.watch, model.as_ref())?;
    settings.window_seconds = args.window;
    settings.slices.clone_from(&args.slice);
    settings.output.clone_from(&args.label_output);
    settings.logits = args.logits;
    settings.task = args.label_task.map(|task| task.task());
    let reference = match (&args.reference, &model) {
        (Some(path), _) => Some(Reference::read(path)?),
        (None, Some(model)) => Reference::of_model(model)?,
        (None, None) => None,
    };
    let labels = if args.labels.is_empty() { None } else { Some(Labels::read(&args.labels)?) };
    let (states, logs): (Vec<PathBuf>, Vec<PathBuf>) =
        args.logs.iter().cloned().partition(|path| State::is_state(path));
    let mut all: Option<State> = None;
    let mut add = |state: State, name: &Path| match &mut all {
        None => {
            all = Some(state);
            Ok(())
        }
        Some(all) => all.merge(&state).with_context(|| format!("cannot add `{}`", name.display())),
    };
    if !logs.is_empty() {
        add(watch(&logs, reference.as_ref(), labels.as_ref(), &settings)?, &args.logs[0])?;
    }
    for path in &states {
        add(State::read(path, reference.as_ref())?, path)?;
    }
    let Some(state) = all else { bail!("there is no log to read") };
    if let Some(path) = &args.state {
        write(path, state.to_json().as_bytes())?;
    }
    let mut thresholds = Thresholds::default();
    (thresholds.false_alarm, thresholds.psi) = (args.false_alarm, args.psi);
    let report = Report::new(&state, reference.as_ref(), thresholds)?;
    print(args, &report)?;
    if args.fail_on_drift && report.has_alarm() {
        bail!(Differs)
    }
    Ok(())
}

fn print(args: &ReportArgs, report: &Report) -> anyhow::Result<()> {
    let text = match args.format {
        ReportFormat::Text => report.to_text(),
        ReportFormat::Json => report.to_json(),
        ReportFormat::Prometheus => report.to_prometheus(),
        ReportFormat::Html => report.to_html(),
    };
    if let Some(path) = &args.output {
        return write(path, text.as_bytes());
    }
    match args.format {
        ReportFormat::Text => stdout().write_all(text.as_bytes()),
        // Unfiltered: an escape sequence in a name is part of the name.
        _ => plain_stdout().write_all(text.as_bytes()),
    }
    .context(PRINTING)
}

fn make_reference(args: &ReferenceArgs) -> anyhow::Result<()> {
    let model = open(&args.watch)?;
    let mut settings = settings(&args.watch, model.as_ref())?;
    let is_array = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "npz");
    let (reference, notes) = match args.logs.as_slice() {
        [path] if is_array(path) => {
            let signature = model.as_ref().map(|model| signature(model, &args.watch)).transpose()?;
            let names = |of: fn(&SignatureDef) -> &[(String, tf_persist_savedmodel::TensorInfo)]| {
                signature
                    .map_or_else(Vec::new, |signature| of(signature).iter().map(|(name, _)| name.clone()).collect())
            };
            let arrays = Arrays::new(path, names(|signature| &signature.inputs), names(|signature| &signature.outputs));
            settings.signature = signature.map(|signature| signature.name.clone()).or(settings.signature);
            reference_of_arrays(&arrays, &settings)?
        }
        logs if logs.iter().any(is_array) => {
            let error = anyhow::anyhow!("a reference is made of one .npz file, or of logs");
            return Err(Hinted { error, hint: "put all rows into one file".to_owned() }.into());
        }
        logs => reference_of_logs(logs, &settings)?,
    };
    write(&args.output, reference.to_json().as_bytes())?;
    let mut out = stdout();
    let (rows, features) = (count(reference.rows(), "row"), count(reference.feature_count() as u64, "feature"));
    writeln!(out, "wrote {}: {rows}, {features}", args.output.display()).context(PRINTING)?;
    for note in notes {
        writeln!(out, "note: {}", printable(&note)).context(PRINTING)?;
    }
    Ok(())
}

fn open(args: &WatchArgs) -> anyhow::Result<Option<SavedModel>> {
    let Some(path) = &args.model else { return Ok(None) };
    Ok(Some(args.keras.open(&version_path::resolve(path.clone())?)?))
}

fn settings(args: &WatchArgs, model: Option<&SavedModel>) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    settings.model_name.clone_from(&args.model_name);
    settings.signature.clone_from(&args.signature);
    settings.threads = args.threads.map(usize::from);
    if let Some(model) = model {
        settings.take_rows_of(signature(model, args)?);
    }
    Ok(settings)
}

fn signature<'m>(model: &'m SavedModel, args: &WatchArgs) -> anyhow::Result<&'m SignatureDef> {
    Ok(match &args.signature {
        Some(name) => model.signature(name)?,
        None => model.meta_graph(None)?.default_signature()?,
    })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let mut file = NewFile::beside(path).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.publish(true).with_context(cannot)
}
