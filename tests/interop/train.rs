//! The trainer as a library: its events, how it stops, and its output.

use std::ops::ControlFlow;
use std::path::PathBuf;

use tf_persist_core::train::{Dataset, Event, TrainOptions, TrainReport, Trainer, TrainingState};
use tf_persist_core::{ErrorKind, LoadOptions, LoadSavedModel, LoadedModel, ModelErrorKind, SaveOptions, SavedModel};
use tf_persist_testing::root;

fn folder() -> PathBuf {
    root().join("models/digits_trainable")
}

fn data(name: &str) -> Dataset {
    Dataset::read(folder().join(name)).unwrap()
}

/// One thread, for reproducible numbers.
fn load(saved_model: &SavedModel) -> LoadedModel {
    saved_model.load(LoadOptions::default().intra_op_threads(1).inter_op_threads(1)).unwrap()
}

/// Trains two epochs with batches of 100; returns the losses and the report.
fn train(stop: impl Fn(&Event) -> bool, validates: bool) -> (Vec<f64>, TrainReport, Vec<String>) {
    let saved_model = SavedModel::open(folder().join("model")).unwrap();
    let mut trainer =
        Trainer::new(&saved_model, data("train.npz"), TrainOptions::default().batch_size(100).epochs(2)).unwrap();
    if validates {
        trainer = trainer.validate_on(data("validate.npz")).unwrap();
    }
    let (mut losses, mut events) = (Vec::new(), Vec::new());
    let trained = trainer.run(&load(&saved_model), |event| {
        let name = match &event {
            Event::Step(step) => {
                losses.push(step.loss);
                assert_eq!(step.values.len(), 2, "loss and accuracy");
                assert_eq!(step.steps, losses.len() as u64);
                assert_eq!(step.rows, if step.step == 14 { 47 } else { 100 });
                format!("{}.{}", step.epoch, step.step)
            }
            Event::Begun(state) => format!("begun at {}", state.steps),
            Event::Validating { rows, all } => format!("validated {rows}/{all}"),
            Event::Epoch(epoch) => format!("epoch {}", epoch.epoch),
            Event::Saved(_) => "saved".into(),
            other => format!("{other:?}"),
        };
        events.push(name);
        if stop(&event) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (losses, trained.unwrap(), events)
}

#[test]
fn an_observer_gets_all_events_and_can_stop_anywhere() {
    let (losses, trained, events) = train(|_| false, true);
    let validated =
        ["validated 100/450", "validated 200/450", "validated 300/450", "validated 400/450", "validated 450/450"];
    let mut expected = vec!["begun at 0".to_owned()];
    for epoch in 1..=2 {
        expected.extend((1..=14).map(|step| format!("{epoch}.{step}")));
        expected.extend(validated.map(String::from));
        expected.push(format!("epoch {epoch}"));
    }
    assert_eq!(events, expected);
    assert_eq!((trained.stopped, trained.steps, trained.rows, trained.epochs.len()), (false, 28, 2 * 1347, 2));
    assert!(trained.saved.is_none(), "no target was set");
    assert_eq!(trained.epochs[0].validation.as_ref().unwrap()[0].0, "loss");

    // Validation changes nothing.
    let (unvalidated, _, _) = train(|_| false, false);
    assert_eq!(losses, unvalidated);

    let (none, trained, events) = train(|event| matches!(event, Event::Begun(_)), true);
    assert_eq!((none.len(), trained.stopped, events.len()), (0, true, 1));
    let (some, trained, _) = train(|event| matches!(event, Event::Step(step) if step.steps == 5), true);
    assert_eq!((&some[..], trained.stopped, trained.state.step), (&losses[..5], true, 5));
    let (epoch, trained, _) = train(|event| matches!(event, Event::Validating { .. }), true);
    assert_eq!((epoch.len(), trained.stopped), (14, true));
    assert_eq!((trained.state.epoch, trained.state.step), (1, 0));
    assert_eq!(trained.epochs[0].validation, None, "half a validation is none");
    // Stopping at the last step has no effect.
    let (all, trained, _) = train(|event| matches!(event, Event::Step(step) if step.steps == 28), true);
    assert_eq!((all, trained.stopped), (losses, false));
}

#[test]
fn a_checkpoint_is_a_model_with_its_training_state() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let saved_model = SavedModel::open(folder().join("model")).unwrap();
    assert_eq!(TrainingState::from_saved_model(&saved_model).unwrap(), None);
    let options = TrainOptions::default().batch_size(500).seed(9).checkpoint_every(2.try_into().unwrap());
    let trainer = Trainer::new(&saved_model, data("train.npz"), options.clone()).unwrap();
    let trainer = trainer.save_to(&out, SaveOptions::default()).unwrap();
    let mut states = Vec::new();
    let model = load(&saved_model);
    let trained = trainer.run(&model, |event| {
        if let Event::Saved(state) = event {
            assert_eq!(
                TrainingState::from_saved_model(&SavedModel::open(&out).unwrap()).unwrap().as_ref(),
                Some(state),
                "the exists when the event reported"
            );
            states.push((state.epoch, state.step, state.steps));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(states, [(0, 2, 2), (1, 0, 3)]);
    assert_eq!(trained.unwrap().saved.unwrap().variables, 23);
    // The trained model gives the same answers as the saved one.
    let image = data("validate.npz").arrays().find(|(name, _)| *name == "image").unwrap().1.clone();
    let answer = |model: &LoadedModel| model.signature("serving_default").unwrap().run([("image", &image)]).unwrap();
    let saved = load(&SavedModel::open(&out).unwrap());
    assert_eq!(answer(&model)["probabilities"], answer(&saved)["probabilities"]);
    // It may replace its own output from now on, but not that of another training.
    let trainer = Trainer::new(&saved_model, data("train.npz"), options).unwrap();
    let error = trainer.save_to(&out, SaveOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Model(ModelErrorKind::Exists));
}
