//! Trains a model with its own train signature.

mod rate;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value};
use tf_persist_core::tensor::npz;
use tf_persist_core::train::{Dataset, TrainOptions, Trainer};
use tf_persist_core::{LoadSavedModel, SaveOptions, SavedModel};

use crate::config::{Config, HeldOut};
use crate::data::{self, Arrays};
use crate::error::{LoopError, Result};
use crate::tools::Tools;

/// The files of an attempt, in its folder.
pub(crate) const MODEL: &str = "model";
pub(crate) const HELD_OUT: &str = "held_out.npz";

/// The numbers of a training, for the store's log.
pub(crate) type Numbers = Map<String, Value>;

/// Trains from a model into the folder of an attempt, where the held-out rows are written, too.
pub(crate) fn train(config: &Config, start: &Path, folder: &Path, tools: &Tools) -> Result<Numbers> {
    let data = rows(config, folder, tools)?;
    let (trained, held_out) = match &config.train.held_out {
        HeldOut::Share(share) => {
            let (trained, held_out) = data::split(&data, *share)?;
            (Dataset::new(data.source(), trained)?, held_out)
        }
        HeldOut::File(path) => {
            let held_out = data::all_of(std::slice::from_ref(path), tools)?;
            (data, held_out.arrays().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect())
        }
    };
    write(&folder.join(HELD_OUT), &held_out)?;
    let mut numbers = Numbers::new();
    numbers.insert("rows".into(), trained.rows().into());
    numbers.insert("held_out".into(), held_out.first().and_then(|(_, tensor)| tensor.row_count()).into());
    let begun = Instant::now();
    match &config.train.command {
        Some(command) => by_command(config, command, start, folder, &trained, tools)?,
        None => by_signature(config, start, folder, trained, tools, &mut numbers)?,
    }
    numbers.insert("seconds".into(), rounded(begun.elapsed().as_secs_f64()));
    Ok(numbers)
}

/// The rows of the configuration's files, or of its command.
fn rows(config: &Config, folder: &Path, tools: &Tools) -> Result<Dataset> {
    let Some(command) = &config.train.data_command else { return data::all_of(&config.train.data, tools) };
    let made = folder.join("data.npz");
    let log = folder.join("data_command.log");
    data::run(command, &[("TF_PERSIST_DATA", &made)], &log, config.train.timeout, tools)?;
    if !made.exists() {
        let program = command.first().map_or("", String::as_str);
        return Err(LoopError::Other(format!(
            "the command `{program}` did not write the file that TF_PERSIST_DATA names"
        )));
    }
    data::all_of(&[made], tools)
}

fn by_signature(
    config: &Config,
    start: &Path,
    folder: &Path,
    data: Dataset,
    tools: &Tools,
    numbers: &mut Numbers,
) -> Result<()> {
    let train = &config.train;
    let rated = folder.join("start");
    let start = match train.learning_rate {
        Some(learning_rate) => {
            rate::set(&SavedModel::open(start)?, learning_rate, &rated)?;
            numbers.insert("learning_rate".into(), learning_rate.into());
            &rated
        }
        None => start,
    };
    let saved_model = SavedModel::open(start)?;
    let options = TrainOptions::default()
        .signature(&train.signature)
        .epochs(train.epochs)
        .batch_size(train.batch_size)
        .seed(train.seed);
    let trainer = Trainer::new(&saved_model, data, options)?.save_to(folder.join(MODEL), SaveOptions::default())?;
    // Small graphs of many ops run fastest in the calling thread.
    let model = saved_model.load(tools.load.clone().inter_op_threads(-1))?;
    let begun = Instant::now();
    let is_late = || begun.elapsed() > train.timeout.duration();
    let trained = trainer.run(&model, |_| match tools.is_stopping() || is_late() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })?;
    if tools.is_stopping() && trained.stopped {
        return Err(LoopError::Stopped);
    }
    if trained.stopped {
        return Err(LoopError::Other(format!("the training took longer than {}", train.timeout)));
    }
    numbers.insert("epochs".into(), train.epochs.into());
    numbers.insert("steps".into(), trained.steps.into());
    for (name, value) in trained.epochs.last().iter().flat_map(|epoch| &epoch.means) {
        numbers.insert(format!("train_{name}"), rounded(*value));
    }
    Ok(())
}

fn by_command(
    config: &Config,
    command: &[String],
    start: &Path,
    folder: &Path,
    data: &Dataset,
    tools: &Tools,
) -> Result<()> {
    let rows = folder.join("train.npz");
    let arrays: Arrays = data.arrays().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    write(&rows, &arrays)?;
    let (output, held_out) = (folder.join(MODEL), folder.join(HELD_OUT));
    let variables = [
        ("TF_PERSIST_MODEL", start),
        ("TF_PERSIST_DATA", &rows),
        ("TF_PERSIST_HELD_OUT", &held_out),
        ("TF_PERSIST_OUTPUT", &output),
    ];
    data::run(command, &variables, &folder.join("command.log"), config.train.timeout, tools)?;
    if !output.is_dir() {
        let program = command.first().map_or("", String::as_str);
        return Err(LoopError::Other(format!(
            "the command `{program}` did not write a SavedModel to the folder that TF_PERSIST_OUTPUT names"
        )));
    }
    Ok(())
}

/// Writes arrays to a file.
pub(crate) fn write(path: &Path, arrays: &Arrays) -> Result<()> {
    let file = File::create(path).map_err(LoopError::io("write", path))?;
    let written = npz::write(path, file, arrays.iter().map(|(name, tensor)| (name.as_str(), tensor)));
    match written {
        Ok(_) => Ok(()),
        Err(error) => {
            // Half a file could be taken for one.
            let _ = fs::remove_file(path);
            Err(error.into())
        }
    }
}

/// A number with six digits after the point: the log is read by people.
pub(crate) fn rounded(value: f64) -> Value {
    let rounded = (value * 1e6).round() / 1e6;
    Value::from(if rounded.is_finite() { rounded } else { value })
}
