//! Trains a model.

use std::ops::ControlFlow;
use std::path::Path;

use anstream::eprintln;
use anyhow::Context;
use tf_persist_core::train::{Dataset, Event, TrainOptions, TrainReport, Trainer};
use tf_persist_core::warmup::{Record, Records};
use tf_persist_core::{LoadSavedModel, SaveOptions, SavedModel, printable};

use super::args::TrainArgs;
use super::curve::Curve;
use super::keras_output::{self, KerasOutput};
#[cfg(feature = "plot")]
use super::plot;
use super::progress::Progress;
use super::{command, report};
use crate::common_args::{Format, is_keras_name, tags};
use crate::error::Interrupted;
use crate::format::count;
use crate::signals::Stop;
use crate::version_path;

/// Training steps are mostly small graphs of many ops, which run fastest in the calling thread. Large ops still use all
/// cores.
const INTRA_OP_THREADS: i32 = 0;
const INTER_OP_THREADS: i32 = -1;

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    #[cfg(feature = "plot")]
    let plot = args.plot.as_deref().map(|path| plot::Target::new(path, &args.output)).transpose()?;
    let mut keras_file = KerasOutput::new(args)?;
    let output = keras_file.as_ref().map_or(args.output.clone(), KerasOutput::folder);
    version_path::check_writable(&args.output)?;
    let saved_model = args.keras.open_for_training(&args.path)?;
    let trainer = trainer(args, &saved_model, &output)?.shown_as(&args.output);
    if let Some(file) = &keras_file {
        file.rehearse(args, &saved_model)?;
    }
    // Signals are caught once there is work that could be lost.
    let stop = Stop::on_signals(|_| ())?;
    let model = saved_model.load(args.load.options_or(INTRA_OP_THREADS, INTER_OP_THREADS)?)?;
    // Every step is kept only for a plot or a JSON report.
    let mut curve = Curve::new(args.draws() || args.format == Format::Json);
    let mut progress = Progress::new(trainer.state());
    let mut written = anyhow::Ok(());
    let trained = trainer.run(&model, |event| {
        curve.add(&event);
        progress.show(&event);
        if let (Event::Saved(_), Some(file)) = (&event, &mut keras_file) {
            written = file.write(args);
        }
        if written.is_err() {
            return ControlFlow::Break(());
        }
        if stop.exit_code().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.end();
    // A failed training is plotted as well, but its error is reported first.
    #[cfg(feature = "plot")]
    let drawn = plot.map_or(Ok(()), |plot| plot.draw(&curve));
    #[cfg(not(feature = "plot"))]
    let drawn = anyhow::Ok(());
    let trained = trained?;
    written?;
    let to_go_on = if trained.stopped { print_how_to_continue(args, &trained) } else { None };
    report::print(args, &trained, to_go_on.as_deref(), &curve)?;
    if trained.saved.is_some() {
        note_recorded_answers(&args.output);
        // The trained model exists even if the plot cannot be written.
        drawn.with_context(|| format!("the model was written to `{}`, but not the plot", args.output.display()))?;
    } else {
        drawn?;
    }
    match stop.exit_code() {
        Some(code) if trained.stopped => Err(Interrupted(code).into()),
        _ => Ok(()),
    }
}

/// Checks everything that does not need TensorFlow, which takes a third of a second to open.
fn trainer(args: &TrainArgs, saved_model: &SavedModel, output: &Path) -> anyhow::Result<Trainer> {
    let mut options = TrainOptions::default()
        .signature(&args.signature)
        .evaluate_signature(&args.evaluate_signature)
        .batch_size(args.batch_size)
        .seed(args.seed)
        .shuffle(!args.no_shuffle);
    if let Some(tags) = args.load.tag_list() {
        options = options.tags(tags);
    }
    if let Some(epochs) = args.epochs {
        options = options.epochs(epochs);
    }
    if let Some(steps) = args.checkpoint_every {
        options = options.checkpoint_every(steps);
    }
    // The model first: no data is read for a model that cannot be trained.
    if !args.resume {
        Trainer::check(saved_model, &options)?;
    }
    let data = Dataset::read(&args.data)?;
    let begin = if args.resume { Trainer::resume } else { Trainer::new };
    let mut trainer = begin(saved_model, data, options)?;
    if let Some(path) = &args.validate {
        trainer = trainer.validate_on(Dataset::read(path)?)?;
    }
    let mut save = SaveOptions::default().overwrite(args.overwrite);
    if let Some(list) = &args.load.tags {
        save = save.tags(tags(list));
    }
    Ok(trainer.save_to(output, save)?)
}

/// Notes that recorded answers are copied, and are from before the training.
fn note_recorded_answers(output: &Path) {
    let Ok(model) = SavedModel::open(output) else { return };
    let has_answer = |record: Result<Record, _>| record.is_ok_and(|record| record.has_answer());
    let has_answers = |records: Result<Option<Records>, _>| {
        records.is_ok_and(|records| records.is_some_and(|mut records| records.any(has_answer)))
    };
    let (any, sequence) = (has_answers(Records::open(&model)), has_answers(Records::open_sequence(&model)));
    if any || sequence {
        let in_order = if any { "" } else { " --in-order" };
        // Nothing can be recorded in a pack.
        let (where_to, name) = match model.is_packed() {
            true => (", in a folder to which you export it", "FOLDER".to_owned()),
            false => ("", printable(&output.display().to_string())),
        };
        eprintln!(
            "note: the recorded answers are from before the training; record new ones with `tf-persist verify {name} --record \
             FILE{in_order} --replace`{where_to}"
        );
    }
}

/// Prints where the training stopped, and returns the command that continues, if there is one.
fn print_how_to_continue(args: &TrainArgs, trained: &TrainReport) -> Option<String> {
    let state = &trained.state;
    if trained.saved.is_none() {
        eprintln!("stopped before the first step; nothing was written");
        return None;
    }
    eprintln!(
        "stopped after {}; `{}` is the model as it is now, in epoch {} of {}, {} of {} steps done",
        count(state.steps, "step"),
        printable(&args.output.display().to_string()),
        state.epoch + 1,
        state.epochs,
        state.step,
        state.steps_per_epoch()
    );
    if !is_keras_name(&args.output) {
        let command = command::to_continue(args);
        eprintln!("to continue: {}", printable(&command));
        return Some(command);
    }
    let has_optimizer = match keras_output::check_trainable(args) {
        Ok(has_optimizer) => has_optimizer,
        Err(error) => {
            eprintln!("note: this file cannot be trained on as it is: {}", printable(&format!("{error:#}")));
            return None;
        }
    };
    let command = command::to_train_on(args, state);
    eprintln!("to continue: {}", printable(&command));
    let begins = if state.step > 0 { format!("begins epoch {} again, and ", state.epoch + 1) } else { String::new() };
    let lacks = if has_optimizer { "" } else { " nor the state of the optimizer" };
    eprintln!(
        "note: a Keras file does not hold the place in the training{lacks}: this {begins}has the order of rows of a new \
         training; a folder as --output would continue exactly"
    );
    Some(command)
}
