//! `tf-persist train`.

mod args;
mod command;
mod curve;
mod plot;
mod progress;
mod report;
mod signals;

use std::ops::ControlFlow;

use anstream::eprintln;
use tf_persist_core::train::{Dataset, TrainOptions, Trained, Trainer};
use tf_persist_core::{SaveOptions, SavedModel, printable};

pub(crate) use args::TrainArgs;

use crate::args::{Format, tags};
use crate::failure::Stopped;
use crate::format::count;
use curve::Curve;
use progress::Progress;
use signals::Stop;

/// Steps of training are mostly small graphs of many ops: run in the calling thread, they need not be handed from thread to
/// thread. What is large in them is still spread over all cores, within each op.
const INTRA_OP_THREADS: i32 = 0;
const INTER_OP_THREADS: i32 = -1;

pub(crate) fn train(args: &TrainArgs) -> anyhow::Result<()> {
    let plot = args.plot.as_deref().map(plot::Target::of).transpose()?;
    let artefact = SavedModel::open(&args.path)?;
    let trainer = trainer(args, &artefact)?;
    // Signals are caught once there is something that could be lost.
    let stop = Stop::on_signals()?;
    let model = artefact.load(args.load.options_or(INTRA_OP_THREADS, INTER_OP_THREADS)?)?;
    // Every step is kept only for those who ask for it.
    let mut curve = Curve::new(args.plot.is_some() || args.format == Format::Json);
    let mut progress = Progress::new(trainer.place());
    let trained = trainer.run(&model, |event| {
        curve.add(&event);
        progress.tell(&event);
        if stop.asked().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.end();
    // What came to a bad end is worth looking at, too; but the end is what is told.
    let drawn = plot.map_or(Ok(()), |plot| plot.draw(&curve));
    let trained = trained?;
    drawn?;
    if trained.stopped {
        say_how_to_go_on(args, &trained);
    }
    report::print(args, &trained, &curve)?;
    match stop.asked() {
        Some(code) if trained.stopped => Err(Stopped(code).into()),
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
