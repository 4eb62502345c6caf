//! Trains a model.

use std::ops::ControlFlow;
use std::path::Path;

use anstream::eprintln;
use anyhow::Context;
use tf_persist_core::train::{Dataset, TrainOptions, Trained, Trainer};
use tf_persist_core::warmup::{Record, Records};
use tf_persist_core::{LoadSavedModel, SaveOptions, SavedModel, printable};

use super::args::TrainArgs;
use super::curve::Curve;
#[cfg(feature = "plot")]
use super::plot;
use super::progress::Progress;
use super::{command, report};
use crate::common_args::{Format, tags};
use crate::error::Interrupted;
use crate::format::count;
use crate::signals::Stop;

/// Steps of training are mostly small graphs of many ops: run in the calling thread, they need not be handed from thread to
/// thread. What is large in them is still spread over all cores, within each op.
const INTRA_OP_THREADS: i32 = 0;
const INTER_OP_THREADS: i32 = -1;

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    #[cfg(feature = "plot")]
    let plot = args.plot.as_deref().map(|path| plot::Target::of(path, &args.output)).transpose()?;
    let artefact = SavedModel::open(&args.path)?;
    let trainer = trainer(args, &artefact)?;
    // Signals are caught once there is something that could be lost.
    let stop = Stop::on_signals(|_| ())?;
    let model = artefact.load(args.load.options_or(INTRA_OP_THREADS, INTER_OP_THREADS)?)?;
    // Every step is kept only for those who ask for it.
    let mut curve = Curve::new(args.draws() || args.format == Format::Json);
    let mut progress = Progress::new(trainer.place());
    let trained = trainer.run(&model, |event| {
        curve.add(&event);
        progress.tell(&event);
        if stop.exit_code().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.end();
    // What came to a bad end is worth looking at, too; but the end is what is told.
    #[cfg(feature = "plot")]
    let drawn = plot.map_or(Ok(()), |plot| plot.draw(&curve));
    #[cfg(not(feature = "plot"))]
    let drawn = anyhow::Ok(());
    let trained = trained?;
    if trained.stopped {
        say_how_to_go_on(args, &trained);
    }
    report::print(args, &trained, &curve)?;
    if trained.saved.is_some() {
        note_recorded_answers(&args.output);
        // Hours of training are not lost with a picture of them.
        drawn.with_context(|| format!("the model is at `{}`, and only the plot is missing", args.output.display()))?;
    } else {
        drawn?;
    }
    match stop.exit_code() {
        Some(code) if trained.stopped => Err(Interrupted(code).into()),
        _ => Ok(()),
    }
}

/// Everything that can be checked without TensorFlow, which takes a third of a second to open.
fn trainer(args: &TrainArgs, artefact: &SavedModel) -> anyhow::Result<Trainer> {
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
    // The model is looked at first: data for a model that cannot be trained need not be read.
    if !args.resume {
        Trainer::check(artefact, &options)?;
    }
    let data = Dataset::read(&args.data)?;
    let begin = if args.resume { Trainer::resume } else { Trainer::new };
    let mut trainer = begin(artefact, data, options)?;
    if let Some(path) = &args.validate {
        trainer = trainer.validate_on(Dataset::read(path)?)?;
    }
    let mut save = SaveOptions::default().overwrite(args.overwrite);
    if let Some(list) = &args.load.tags {
        save = save.tags(tags(list));
    }
    Ok(trainer.save_to(&args.output, save)?)
}

/// Answers that were recorded before the training are carried along, and are hardly those of now.
fn note_recorded_answers(output: &Path) {
    let Ok(model) = SavedModel::open(output) else { return };
    let has_answer = |record: Result<Record, _>| record.is_ok_and(|record| record.has_answer());
    let has_answers = |records: Result<Option<Records>, _>| {
        records.is_ok_and(|records| records.is_some_and(|mut records| records.any(has_answer)))
    };
    let (any, sequence) = (has_answers(Records::of(&model)), has_answers(Records::of_sequence(&model)));
    if any || sequence {
        let in_order = if any { "" } else { " --in-order" };
        // A pack takes no records.
        let (where_to, name) = match model.is_packed() {
            true => (", in a folder that it is exported to", "FOLDER".to_owned()),
            false => ("", printable(&output.display().to_string())),
        };
        eprintln!(
            "note: its recorded answers are of before the training: `tf-persist verify {name} --record FILE{in_order} --replace` \
             records new ones{where_to}"
        );
    }
}

fn say_how_to_go_on(args: &TrainArgs, trained: &Trained) {
    let place = &trained.place;
    if trained.saved.is_none() {
        eprintln!("stopped before the first step; nothing was written");
        return;
    }
    eprintln!(
        "stopped after {}; `{}` is the model as it is now, in epoch {} of {}, {} of {} steps done",
        count(place.steps, "step"),
        printable(&args.output.display().to_string()),
        place.epoch + 1,
        place.epochs,
        place.step,
        place.steps_per_epoch()
    );
    eprintln!("to go on: {}", printable(&command::to_go_on(args)));
}
