//! `train` of Keras files, and to Keras files. `make.py` made the models here, with what Keras's own `fit` makes of
//! them.

use std::fs;

use serde_json::{Value, json};
use tf_persist_core::Tensor;
use tf_persist_core::tensor::npz;
use tf_persist_testing::root;

use crate::command::Ran;
use crate::support::Dir;
use crate::train::{DATA, MODEL, ONE_THREAD, VALIDATION};

/// A compiled Keras file for the same data as `MODEL`.
const KERAS: &str = "models/digits_keras/digits.keras";

/// The epochs and batches of `make.py`.
const FIT: &str = "--epochs 3 --batch-size 16 --no-shuffle";

/// Copies a file that `make.py` made, and its data.
fn copy_made(dir: &Dir, name: &str, data: &str) {
    let folder = root().join("crates/tf-persist-cli/tests/cli/train");
    for file in [format!("{name}.keras"), format!("{data}.npz")] {
        fs::copy(folder.join(&file), dir.path(&file)).unwrap();
    }
}

/// The arrays that `make.py` recorded of Keras's `fit`.
fn fitted(name: &str) -> Vec<(String, Tensor)> {
    npz::read_file(root().join(format!("crates/tf-persist-cli/tests/cli/train/{name}.fit.npz"))).unwrap()
}

fn array(arrays: &[(String, Tensor)], name: &str) -> Tensor {
    arrays.iter().find(|(known, _)| known == name).unwrap().1.clone()
}

/// The largest difference between what a model says of the data and what Keras's own did after `fit`.
fn difference(dir: &Dir, model: &str, name: &str) -> f32 {
    let x = array(&npz::read_file(dir.path(format!("{name}.npz"))).unwrap(), "x");
    npz::write("x.npz", fs::File::create(dir.path("x.npz")).unwrap(), [("x", &x)]).unwrap();
    dir.cmd(&format!("run {model} --inputs x.npz --output y.npz")).run().ok();
    let (found, expected) = (npz::read_file(dir.path("y.npz")).unwrap(), array(&fitted(name), "prediction"));
    let (found, expected) = (found[0].1.view::<f32>().unwrap().to_vec(), expected.view::<f32>().unwrap().to_vec());
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_keras_file_that_could_not_be_written_is_refused_before_training() {
    let dir = Dir::new();
    fs::create_dir(dir.path("folder.keras")).unwrap();
    dir.write("there.keras", "mine");
    let before = dir.listing();
    let train = |model: &str, rest: &str| {
        dir.cmd(&format!("train {model} --data {DATA} --output {rest}")).without_tensorflow().run()
    };
    for name in ["lost.keras", "lost.h5"] {
        let ran = train(MODEL, name).fails();
        let ran = ran.says(format!("`{MODEL}` cannot be written to `{name}` when it is trained"));
        let ran = ran.says("it did not come from a Keras file").hints("give a folder with --output");
        ran.check(!ran.err().contains(".tmp-"), "it names a hidden folder");
    }
    train(KERAS, "there.keras").fails().says("`there.keras` exists already").hints("--overwrite");
    train(KERAS, "folder.keras --overwrite").fails().says("`folder.keras` is a folder");
    train(KERAS, "out.keras --resume").misused().says("without --resume");
    train(KERAS, "none/out.keras").fails().says("cannot create a folder beside `none/out.keras`");
    assert_eq!(dir.listing(), before);
}

/// The data, with a pixel of row 100 that is not a number.
fn with_nan(dir: &Dir) {
    let mut arrays = npz::read_file(dir.path(DATA)).unwrap();
    let (_, images) = arrays.iter_mut().find(|(name, _)| name == "image").unwrap();
    images.view_mut::<f32>().unwrap()[100 * 64 + 27] = f32::NAN;
    let file = fs::File::create(dir.path("nan.npz")).unwrap();
    npz::write("nan.npz", file, arrays.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
}

#[test]
fn a_loss_that_is_no_number_leaves_the_keras_file_of_the_last_checkpoint() {
    let dir = Dir::new();
    with_nan(&dir);
    for name in ["out.keras", "out.h5"] {
        let line = format!("train {KERAS} --data nan.npz --no-shuffle --output {name} --checkpoint-every 2");
        let ran = dir.cmd(&line).run().fails().says("the loss is NaN after step 4 of epoch 1");
        let ran = ran.hints(format!("`{name}` is the model after step 2"));
        ran.check(!ran.err().contains(".tmp-"), "it names a hidden folder");
        dir.cmd(&format!("inspect {name}")).without_tensorflow().run().ok().prints("optimizer Adam");
        // It is whole: it can be trained on.
        dir.cmd(&format!("train {name} --data {VALIDATION} --output {name} --overwrite")).run().ok();
    }
    // Without a checkpoint there is nothing, or what was there before.
    let line = format!("train {KERAS} --data nan.npz --no-shuffle --output");
    dir.cmd(&format!("{line} none.keras")).run().fails().hints("nothing was published");
    let before = fs::read(dir.path("out.keras")).unwrap();
    let ran = dir.cmd(&format!("{line} out.keras --overwrite")).run().fails();
    ran.hints("nothing was published; `out.keras` is as it was");
    assert_eq!(fs::read(dir.path("out.keras")).unwrap(), before);
    assert_eq!(dir.names(""), ["models", "nan.npz", "out.h5", "out.keras"]);
}

/// Starts the command, and sends it a signal once there is a file of this name.
const SIGNALLED: &str = r#""$@" & pid=$!
    while ! [ -e "$NAME" ] && kill -0 $pid; do sleep 0.01; done
    kill -$SIGNAL $pid; wait $pid"#;

fn signalled(dir: &Dir, line: &str, name: &str, signal: &str) -> Ran {
    dir.bash(SIGNALLED, line).arg(format!("--output={name}")).env("NAME", name).env("SIGNAL", signal).run()
}

#[test]
fn the_printed_command_trains_a_stopped_keras_file_on() {
    let dir = Dir::new();
    let name = "./-c d.keras";
    let line = format!("train {KERAS} --data {DATA} --validate {VALIDATION} --epochs 20 --seed 3 --batch-size 64");
    let line = format!("{line} --checkpoint-every 20 --format json {ONE_THREAD}");
    let ran = signalled(&dir, &line, &name[2..], "INT").exits_with(130);
    let report = ran.json();
    let place = &report["place"];
    let left = 20 - place["epoch"].as_u64().unwrap();
    let command = report["to_go_on"].as_str().unwrap();
    ran.check(ran.err().contains(&format!("to continue: {command}\n")), "the command is missing");
    ran.check(ran.err().contains("note: a Keras file does not hold the place in the training:"), "what is lost");
    let expected = format!(
        "tf-persist train '{name}' --data {DATA} --validate {VALIDATION} --output '{name}' --checkpoint-every 20 --epochs \
         {left} --batch-size 64 --seed 3 {ONE_THREAD} --overwrite"
    );
    assert_eq!(command, expected);
    let before = fs::read(dir.path(name)).unwrap();
    let script = r#"eval "\"$1\" ${COMMAND#tf-persist } --format json""#;
    let again = dir.bash(script, "").env("COMMAND", command).run().ok().json();
    assert_eq!((&again["stopped"], &again["epochs"].as_array().unwrap().len()), (&json!(false), &(left as usize)));
    // It began with the weights of before, not with those of the original.
    let first = |report: &Value| report["epochs"][0]["train"]["loss"].as_f64().unwrap();
    let begun = dir.cmd(&format!("train {KERAS} --data {DATA} --output begun {ONE_THREAD} --format json")).run().ok();
    assert!(first(&again) < first(&begun.json()), "{again}");
    assert_ne!(fs::read(dir.path(name)).unwrap(), before);
    assert_eq!(dir.names(""), ["-c d.keras", "begun", "models"]);
}

#[test]
fn a_killed_training_leaves_the_keras_file_of_its_last_checkpoint() {
    let dir = Dir::new();
    let line = format!("train {KERAS} --data {DATA} --epochs 100000 --checkpoint-every 5");
    for name in ["out.keras", "out.h5"] {
        signalled(&dir, &line, name, "KILL").exits_with(137);
        dir.cmd(&format!("inspect {name}")).without_tensorflow().run().ok().prints("optimizer Adam");
        let ran = dir.cmd(&format!("train {name} --data {DATA} --output {name} --overwrite")).run().ok();
        ran.prints(format!("`{name}`: 1 epoch"));
    }
    assert_eq!(dir.names(""), ["models", "out.h5", "out.keras"]);
}

#[test]
fn a_keras_file_written_by_others_stays() {
    let dir = Dir::new();
    let script = r#""$@" & pid=$!
        while ! [ -e out.keras ] && kill -0 $pid; do sleep 0.01; done
        while kill -0 $pid; do echo mine > others; mv others out.keras; sleep 0.005; done 2> /dev/null
        wait $pid"#;
    let line = format!("train {KERAS} --data {DATA} --epochs 100000 --output out.keras --checkpoint-every 1");
    let ran = dir.bash(script, &line).run().fails();
    ran.says("`out.keras` is no longer what this training wrote").hints("its own output");
    assert_eq!(fs::read_to_string(dir.path("out.keras")).unwrap(), "mine\n");
    assert_eq!(dir.names(""), ["models", "out.keras"]);
}

#[test]
fn averages_of_weights_replace_them_at_the_end_as_in_keras() {
    let dir = Dir::new();
    copy_made(&dir, "ema", "ema");
    let train = |rest: &str| dir.cmd(&format!("train ema.keras --data ema.npz {FIT} {ONE_THREAD} {rest}")).run().ok();
    train("--output out.keras");
    assert!(difference(&dir, "out.keras", "ema") < 1e-5);
    // A SavedModel has a signature for it, which is not one for inference.
    let ran = dir.cmd("export ema.keras ema").run().ok();
    ran.prints("signatures `evaluate`, `finalize`, `serving_default`, `train`");
    dir.cmd(&format!("train ema --data ema.npz {FIT} {ONE_THREAD} --output out")).run().ok();
    assert!(difference(&dir, "out", "ema") < 1e-5);
    let ran = dir.cmd("export out inference --inference-only").run().ok();
    ran.check(!ran.out().contains("finalize"), "it writes variables");
}

#[test]
fn numbers_of_an_epoch_are_exact_or_marked() {
    let dir = Dir::new();
    copy_made(&dir, "ema", "ema");
    let line = format!("train ema.keras --data ema.npz --validate ema.npz {FIT} {ONE_THREAD} --output");
    let ran = dir.cmd(&format!("{line} one")).run().ok();
    let shown = ran.out().lines().last().unwrap().to_owned();
    ran.check(shown.matches("(mean of batches)").count() == 2, "training and validation have one each");
    ran.check(ran.err().contains(" (mean of batches), root_mean_squared_error "), "each epoch says so");
    let report = dir.cmd(&format!("{line} two --format json")).run().ok().json();
    assert_eq!(report["means_of_batches"], json!(["r2_score"]));
    let last = &report["epochs"][2]["train"];
    for name in ["loss", "root_mean_squared_error"] {
        let expected = array(&fitted("ema"), name).view::<f64>().unwrap()[0];
        assert!((last[name].as_f64().unwrap() - expected).abs() < 1e-5, "{name}: {last}, not {expected}");
    }
}

#[test]
fn mixed_float16_is_trained_with_the_scale_that_keras_puts_around_its_optimizer() {
    let dir = Dir::new();
    copy_made(&dir, "mixed", "mixed");
    dir.cmd(&format!("train mixed.keras --data mixed.npz {FIT} {ONE_THREAD} --output out.keras")).run().ok();
    assert!(difference(&dir, "out.keras", "mixed") < 1e-3);
    dir.cmd(&format!("train out.keras --data mixed.npz {FIT} {ONE_THREAD} --output on.keras")).run().ok();
    // Keras has trained this one.
    copy_made(&dir, "mixed.fit", "mixed");
    dir.cmd(&format!("train mixed.fit.keras --data mixed.npz {FIT} {ONE_THREAD} --output more.keras")).run().ok();
}
