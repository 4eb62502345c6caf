//! Replays recorded requests.

use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, bail};
use tf_persist_core::warmup::{FILE, LoggedRequests, Outcome, Records, Replay, SEQUENCE_FILE, first_state_write};
use tf_persist_core::{LoadSavedModel, MetaGraph, ModelError, SavedModel, SignatureDef, TensorError, WarmupError};

use super::{VerifyArgs, record, report};
use crate::common_args::Format;
use crate::error::{Differs, PRINTING};
use crate::keras_args;
use crate::stdout::{plain_stdout, stdout};
use crate::version_path;

/// Opens one of a model's files of records.
type OpenRecords = fn(&SavedModel) -> Result<Option<Records>, ModelError>;

pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let saved_model = args.keras.open(&args.path)?;
    if let Some(file) = &args.record {
        version_path::check_writable(&args.path)?;
        return record::record(args, &saved_model, file);
    }
    let tags = args.load.tag_list();
    let meta_graph = saved_model.meta_graph(tags.as_deref())?;
    if let Some(file) = &args.requests {
        let model = saved_model.load(args.optimize.apply(args.load.options()?)?)?;
        let mut replays = Vec::new();
        for record in LoggedRequests::open(file, meta_graph)? {
            replays.push(model.replay(&record?, args.tolerated())?);
        }
        report(args, &replays)?;
        if !replays.iter().any(is_compared) {
            bail!("`{}` has no answers to compare with", file.display());
        }
        return Ok(());
    }
    let nothing = |reason: String| nothing_recorded(&saved_model, meta_graph, &args.path, reason);
    let files: [OpenRecords; 2] = [Records::open, Records::open_sequence];
    // A damaged file is an error before TensorFlow is opened, and before a verdict on a part of it.
    let mut counts = [None; 2];
    for (records, count) in files.iter().zip(&mut counts) {
        let Some(records) = records(&saved_model)? else { continue };
        *count = Some(records.map(|record| record.map(drop)).collect::<Result<Vec<()>, _>>()?.len());
    }
    match counts {
        [None, None] => bail!(nothing(format!("there is no `{FILE}`"))),
        [Some(1..), _] | [_, Some(1..)] => {}
        [Some(_), _] => bail!(nothing(format!("`{FILE}` is empty"))),
        [None, _] => bail!(nothing(format!("`{SEQUENCE_FILE}` is empty"))),
    }
    let mut replays = Vec::new();
    for (records, count) in files.iter().zip(counts) {
        if count.is_none_or(|count| count == 0) {
            continue;
        }
        // One newly loaded model for each file, one after the other: a sequence needs a model that has not run yet.
        let model = saved_model.load(args.optimize.apply(args.load.options()?)?)?;
        for record in records(&saved_model)?.into_iter().flatten() {
            replays.push(model.replay(&record?, args.tolerated())?);
        }
    }
    report(args, &replays)?;
    if !replays.iter().any(is_compared) {
        bail!(nothing("its requests ran, and have no answers to compare with".into()));
    }
    Ok(())
}

fn is_compared(replay: &Replay) -> bool {
    matches!(replay.outcome, Outcome::Compared(_))
}

/// Prints the report. A difference is an error.
fn report(args: &VerifyArgs, replays: &[Replay]) -> anyhow::Result<()> {
    match args.format {
        Format::Text => report::text(&mut BufWriter::new(stdout()), replays, args.tolerated()),
        // Unfiltered: an escape sequence in a name is part of the name.
        Format::Json => report::json(&mut plain_stdout(), replays),
    }
    .context(PRINTING)?;
    if replays.iter().any(Replay::is_different) {
        bail!(Differs);
    }
    Ok(())
}

/// The error for a model without recorded answers. Nothing can be recorded in a pack, so the hint is to unpack it.
fn nothing_recorded(saved_model: &SavedModel, meta_graph: &MetaGraph, path: &Path, reason: String) -> ModelError {
    if !saved_model.is_packed() {
        let writes = |signature: &SignatureDef| first_state_write(saved_model, meta_graph, signature).is_some();
        let signatures = meta_graph.signatures();
        let in_order = !signatures.is_empty() && signatures.iter().all(writes);
        return WarmupError::NothingRecorded { path: path.to_path_buf(), reason, in_order }.into();
    }
    let pack = path.display();
    if keras_args::is_keras_file(path) {
        let hint = format!(
            "a Keras file has no place for them: record some in a SavedModel: tf-persist export {pack} FOLDER, tf-persist verify \
             FOLDER --record FILE.npz"
        );
        let source_name = format!("`{pack}` has no recorded answers");
        return TensorError::InvalidData { source_name, reason, hint: Some(hint.into()) }.into();
    }
    let hint = format!(
        "record some in a folder: tf-persist export {pack} FOLDER, tf-persist verify FOLDER --record FILE.npz, and pack it \
         again: tf-persist export FOLDER {pack} --overwrite"
    );
    let source_name = format!("`{pack}` has no recorded answers");
    TensorError::InvalidData { source_name, reason, hint: Some(hint.into()) }.into()
}
