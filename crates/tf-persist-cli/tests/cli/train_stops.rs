//! Training that is stopped, killed or diverges: the output is a complete model, and continues exactly.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tf_persist_core::Tensor;
use tf_persist_core::tensor::npz;

use crate::export::inspected;
use crate::support::Dir;
use crate::train::{ONE_THREAD, place, same_variables};
use Moment::{Early, Late};

const MODEL: &str = "models/digits_trainable/model";
const DATA: &str = "models/digits_trainable/train.npz";

/// Starts the command, sends a signal after its first checkpoint, and returns the exit code.
const SIGNALLED: &str = r#"place=out/assets.extra/tf-persist-training.json
    before=$(cat $place 2> /dev/null); "$@" & pid=$!
    while [ "$(cat $place 2> /dev/null)" = "$before" ] && kill -0 $pid; do sleep 0.01; done 2> /dev/null
    sleep 0.05; kill -$SIGNAL $pid 2> /dev/null; wait $pid"#;

#[test]
fn a_stopped_training_continues_bit_for_bit() {
    let dir = Dir::new();
    let begin = format!("train {MODEL} --data {DATA} --epochs 4 --seed 3 --validate {DATA} --format json {ONE_THREAD}");
    let through = dir.cmd(&format!("{begin} --output through")).run().ok().json();
    let line = format!("{begin} --output out --checkpoint-every 1");
    let mut ran = dir.bash(SIGNALLED, &line).env("SIGNAL", "INT").run().exits_with(130);
    let mut losses = Vec::new();
    let mut epochs = Vec::new();
    let mut times = 0;
    // Stopped repeatedly, in the middle of epochs, until it is complete.
    loop {
        let report = ran.json();
        losses.extend(report["batches"]["loss"].as_array().unwrap().clone());
        epochs.extend(report["epochs"].as_array().unwrap().clone());
        if report["stopped"] == false {
            break;
        }
        let at = place(&dir, "out");
        ran.check(at["steps"] == losses.len(), "steps are lost, or made twice");
        let command = report["to_go_on"].as_str().unwrap();
        ran.check(ran.err().contains(&format!("to continue: {command}\n")), "the command is missing");
        let command = command.strip_prefix("tf-persist ").unwrap();
        // The command is for a shell; none of its words needs quotes here. It is usually stopped again.
        times += 1;
        let script = if times < 4 { SIGNALLED } else { "exec \"$@\"" };
        let signal = if times % 2 == 0 { "INT" } else { "TERM" };
        ran = dir.bash(script, &format!("{command} --format json")).env("SIGNAL", signal).run();
        if ran.json()["stopped"] == true {
            ran = ran.exits_with(if signal == "INT" { 130 } else { 143 });
        }
    }
    assert!(times > 0);
    assert_eq!(losses, *through["batches"]["loss"].as_array().unwrap());
    same_variables(&dir, "out", "through");
    // The means of an epoch cover all its rows, across stops. A stopped validation is not repeated.
    for (epoch, expected) in epochs.iter().zip(through["epochs"].as_array().unwrap()) {
        assert_eq!(epoch["train"], expected["train"]);
        assert!(epoch["validation"].is_null() || epoch["validation"] == expected["validation"]);
    }
    assert_eq!(epochs.len(), 4);
    assert_eq!(dir.names(""), ["models", "out", "through"]);
}

#[test]
fn simultaneous_signals_count_once_and_save() {
    let dir = Dir::new();
    // Slow steps: all rows many times, in one batch.
    let arrays: Vec<_> =
        npz::read_file(dir.path(DATA)).unwrap().into_iter().map(|(name, it)| (name, repeated(&it))).collect();
    let file = fs::File::create(dir.path("many.npz")).unwrap();
    npz::write("many.npz", file, arrays.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    let line =
        format!("train {MODEL} --data many.npz --batch-size 1000000 --epochs 1000 --output out --checkpoint-every 1");
    for (first, second) in [("INT", "INT"), ("TERM", "TERM"), ("TERM", "INT")] {
        let script = r#""$@" & pid=$!
            while ! [ -e out ] && kill -0 $pid; do sleep 0.01; done
            sleep 0.1; kill -$FIRST $pid; kill -$SECOND $pid; wait $pid"#;
        let ran = dir.bash(script, &line).env("FIRST", first).env("SECOND", second).run();
        ran.check(ran.err().contains("to continue: "), "it should have saved, and printed how to continue");
        // The operating system decides which of two signals is handled first.
        let codes = [first, second].map(|signal| Some(if signal == "INT" { 130 } else { 143 }));
        ran.check(codes.contains(&ran.status.code()), "it should end with the code of a signal");
        inspected(&dir, "out");
        assert!(place(&dir, "out")["steps"].as_u64().unwrap() >= 1);
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// An array's rows, repeated forty times.
fn repeated(array: &Tensor) -> Tensor {
    const TIMES: usize = 40;
    let mut shape = array.shape().to_vec();
    shape[0] *= TIMES;
    Tensor::from_bytes(array.dtype(), &shape, &array.bytes().unwrap().repeat(TIMES)).unwrap()
}

#[test]
fn a_signal_before_the_first_step_leaves_nothing() {
    let dir = Dir::new();
    // Signals are caught from about the time on when the hidden folder of the dry run is there.
    let script = r#""$@" & pid=$!
        while [ -z "$(ls -A | grep '^\.out')" ] && kill -0 $pid; do sleep 0.001; done
        kill -TERM $pid; wait $pid"#;
    let ran = dir.bash(script, &format!("train {MODEL} --data {DATA} --output out")).run();
    if ran.err().contains("stopped before the first step") {
        ran.exits_with(143).prints("nothing was trained");
        assert_eq!(dir.names(""), ["models"]);
    } else if ran.err().is_empty() {
        // It was not caught yet. The first folder is there for a moment, to see that one can be made; a process that
        // ends in this moment leaves it, empty, and the next one removes it.
        ran.exits_with(143);
        let left = dir.names("").into_iter().filter(|name| name != "models").collect::<Vec<_>>();
        assert!(left.iter().all(|name| name.starts_with(".out.tmp-") && dir.names(name).is_empty()), "{left:?}");
    } else {
        // On a busy machine, some steps were completed.
        ran.check(dir.path("out").exists(), "it should have saved");
    }
}

/// The data, with one pixel of a row changed.
fn with_pixel(dir: &Dir, name: &str, row: usize, pixel: f32) {
    let mut arrays = npz::read_file(dir.path(DATA)).unwrap();
    let (_, images) = arrays.iter_mut().find(|(name, _)| name == "image").unwrap();
    images.view_mut::<f32>().unwrap()[row * 64 + 27] = pixel;
    let file = fs::File::create(dir.path(name)).unwrap();
    npz::write(name, file, arrays.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
}

#[test]
fn a_nan_loss_stops_and_the_last_good_checkpoint_stays() {
    let dir = Dir::new();
    with_pixel(&dir, "nan.npz", 100, f32::NAN);
    let line = format!("train {MODEL} --data nan.npz --no-shuffle --output out --checkpoint-every 2 --plot loss.svg");
    let ran = dir.cmd(&line).run().fails();
    let ran = ran.says("the loss is NaN after step 4 of epoch 1, which is step 4 in all");
    let ran = ran.hints("row 100 of array `image` of `nan.npz` is not finite; `out` is the model after step 2");
    ran.check(ran.out().is_empty(), "there is nothing to report");
    assert_eq!(place(&dir, "out")["steps"], 2);
    let stats = dir.cmd("inspect out --stats").without_tensorflow().run().ok();
    stats.check(!stats.out().contains("NaN"), "the state is bad");
    assert!(fs::read_to_string(dir.path("loss.svg")).unwrap().contains("</svg>"), "the way to it is drawn");
    // There was no checkpoint before it.
    let ran = dir.cmd(&format!("train {MODEL} --data nan.npz --no-shuffle --output none")).run().fails();
    ran.hints("nothing was published");
    assert!(!dir.path("none").exists());
    // Its square overflows float32: the loss stays finite, a moving variance does not.
    with_pixel(&dir, "huge.npz", 40, 1e25);
    let ran = dir.cmd(&format!("train {MODEL} --data huge.npz --no-shuffle --output huge --checkpoint-every 1")).run();
    let ran = ran.fails().says("variable `weights/norm/moving_variance` is not finite after step 2 of epoch 1");
    ran.hints("`huge` is the model after step 1");
    assert_eq!(place(&dir, "huge")["steps"], 1);
    assert_eq!(dir.names(""), ["huge", "huge.npz", "loss.svg", "models", "nan.npz", "out"]);
}

#[test]
fn a_batch_that_tensorflow_refuses_is_named() {
    let dir = Dir::new();
    let mut arrays = npz::read_file(dir.path(DATA)).unwrap();
    let (_, labels) = arrays.iter_mut().find(|(name, _)| name == "y").unwrap();
    labels.view_mut::<i64>().unwrap()[70] = 10;
    let file = fs::File::create(dir.path("ten.npz")).unwrap();
    npz::write("ten.npz", file, arrays.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    let line = format!("train {MODEL} --data ten.npz --no-shuffle --output out --checkpoint-every 1");
    let ran = dir.cmd(&line).run().fails().says("TensorFlow could not run signature `train`");
    let ran = ran.hints(
        "it was step 3 of epoch 1; row 70 of array `y` of `ten.npz` has the 10; `out` is the model after step 2",
    );
    ran.check(ran.err().matches("indices[6] = 10 is not in [0, 10)").count() == 1, "it should be said once");
    assert_eq!(steps(&dir), Some(2));
    // The training before the validation is kept, also in the last epoch.
    let line = format!("train {MODEL} --data {DATA} --validate ten.npz --output last");
    let ran = dir.cmd(&line).run().fails().says("TensorFlow could not run signature `evaluate`");
    ran.hints(
        "the validation after epoch 1; row 70 of array `y` of `ten.npz` has the 10; `last` is the model after step 43",
    );
    assert_eq!(place(&dir, "last")["epoch"], 1);
    // Nothing is new, and the output is complete.
    let before = dir.listing();
    let line = "train last --data ten.npz --output last --overwrite --no-shuffle";
    dir.cmd(line).run().fails().hints("nothing was published; `last` is as it was");
    assert_eq!(dir.listing(), before);
}

#[test]
fn the_end_of_an_epoch_is_published_by_default() {
    let dir = Dir::new();
    dir.copy_model("digits_trainable", "model");
    // A failed plot does not remove the model.
    let killed = r#""$@" & pid=$!
        while ! [ -e out ] && kill -0 $pid; do sleep 0.01; done
        kill -KILL $pid; wait $pid"#;
    dir.bash(killed, &format!("train model --data {DATA} --epochs 100000 --output out")).run().exits_with(137);
    assert_eq!(inspected(&dir, "out")["fingerprint"]["checkpoint"], "matches");
    assert!(place(&dir, "out")["epoch"].as_u64().unwrap() >= 1);
    assert_eq!(place(&dir, "out")["step"], 0);
    fs::remove_dir_all(dir.path("out")).unwrap();
    // A pack is replaced by the next checkpoint, like a folder.
    let ran =
        dir.cmd(&format!("train model --data {DATA} --epochs 2 --output m.tfpack --checkpoint-every 20")).run().ok();
    ran.prints("`m.tfpack`: 2 epochs").prints("rows/s\n");
    dir.cmd("export m.tfpack unpacked").run().ok();
    assert_eq!(place(&dir, "unpacked")["steps"], 86);
}

#[test]
fn a_failed_plot_loses_nothing_else() {
    let dir = Dir::new();
    dir.copy_model("digits_trainable", "model");
    let images = npz::read_file(dir.path(DATA)).unwrap().into_iter().find(|(name, _)| name == "image").unwrap().1;
    let one = Tensor::from_bytes(images.dtype(), &[1, 8, 8, 1], &images.bytes().unwrap()[..256]).unwrap();
    npz::write("one.npz", fs::File::create(dir.path("one.npz")).unwrap(), [("image", &one)]).unwrap();
    dir.cmd("verify model --record one.npz").run().ok();
    fs::create_dir(dir.path("plots")).unwrap();
    let script = r#""$@" & pid=$!
        while ! [ -e out ] && kill -0 $pid; do sleep 0.01; done
        rm -r plots; wait $pid"#;
    let line = format!("train model --data {DATA} --epochs 30 --output out --plot plots/loss.svg");
    let ran = dir.bash(script, &line).run().fails().prints("`out`: 30 epochs");
    let ran = ran.says("the model was written to `out`, but not the plot: cannot write `plots/loss.svg`: No such file");
    // The recorded answers are from the untrained model.
    let note = "note: the recorded answers are from before the training; record new ones with `tf-persist verify out --record FILE --replace`";
    ran.check(ran.err().contains(note), "the note is missing");
    assert_eq!(place(&dir, "out")["epoch"], 30);
    dir.cmd("verify out --record one.npz --replace").run().ok();
    dir.cmd("verify out").run().ok();
}

#[test]
fn an_output_taken_by_others_stops_at_the_next_epoch() {
    let dir = Dir::new();
    // The hidden folder of the dry run shows that the output was free before.
    let script = r#""$@" & pid=$!
        while ! compgen -G '.out*' > /dev/null && kill -0 $pid; do sleep 0.001; done
        mkdir out; echo mine > out/file; wait $pid"#;
    // Epochs of many steps, so that the shell is done before the second one ends.
    let line = format!(
        "train {MODEL} --data {DATA} --batch-size 1 --epochs 100000 --output out --checkpoint-every 1000000000"
    );
    let ran = dir.bash(script, &line).run().fails().says("`out` exists already and is not empty");
    ran.check(!ran.err().contains("epoch 3/"), "it went on");
    assert_eq!(fs::read_to_string(dir.path("out/file")).unwrap(), "mine\n");
    assert_eq!(dir.names(""), ["models", "out"]);
}

#[test]
fn an_output_written_by_others_stays() {
    let dir = Dir::new();
    let script = r#""$@" & pid=$!
        while ! [ -e out ] && kill -0 $pid; do sleep 0.01; done
        while kill -0 $pid; do echo '"mine"' > out/assets.extra/tf-persist-training.json; sleep 0.002; done 2> /dev/null
        wait $pid"#;
    let line = format!("train {MODEL} --data {DATA} --epochs 100000 --output out --checkpoint-every 1");
    let ran = dir.bash(script, &line).run().fails();
    ran.says("it is no longer what this training published").hints("its own output");
    assert_eq!(fs::read_to_string(dir.path("out/assets.extra/tf-persist-training.json")).unwrap(), "\"mine\"\n");
    assert_eq!(dir.names(""), ["models", "out"]);
}

/// When to kill a process.
#[derive(Clone, Copy)]
enum Moment {
    /// Milliseconds after the hidden folder of the dry run appears.
    Early(u64),
    /// Milliseconds after the first checkpoint.
    Late(u64),
}

/// The number of training steps of the model at `out`, if there is one.
fn steps(dir: &Dir) -> Option<u64> {
    let path = dir.path("out/assets.extra/tf-persist-training.json");
    serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok()?["steps"].as_u64()
}

fn killed(dir: &Dir, line: &str, moment: Moment) {
    let (before, left) = (steps(dir), hidden(dir));
    let mut child = dir.cmd(line).start();
    let reached = || match moment {
        Moment::Early(_) => hidden(dir) != left,
        Moment::Late(_) => steps(dir) != before,
    };
    while !reached() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_micros(200));
    }
    let (Moment::Early(milliseconds) | Moment::Late(milliseconds)) = moment;
    thread::sleep(Duration::from_millis(milliseconds));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn hidden(dir: &Dir) -> Vec<String> {
    dir.names("").into_iter().filter(|name| name.starts_with('.')).collect()
}

/// Checks that only the hidden folder of the last killed process is left.
#[track_caller]
fn only_the_last_hidden_folder_is_beside(dir: &Dir, expected: &[&str]) {
    let names = dir.names("");
    let (hidden, others): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.starts_with('.'));
    assert_eq!(others, expected);
    assert!(hidden.len() <= 1 && hidden.iter().all(|name| name.starts_with(".out.tmp-")), "{hidden:?}");
}

#[test]
fn a_killed_training_leaves_a_complete_model_or_none_and_continues() {
    let dir = Dir::new();
    let begin = format!("train {MODEL} --data {DATA} --epochs 6 {ONE_THREAD}");
    dir.cmd(&format!("{begin} --output through")).run().ok();
    let moments = [Early(0), Early(15), Late(0), Late(7), Early(5), Late(13), Late(31), Early(40), Late(50), Late(101)];
    for moment in moments {
        // Each training continues from the output of the one before.
        let before = steps(&dir);
        let line = match before {
            Some(_) => format!("train out --resume --data {DATA} --output out --overwrite {ONE_THREAD}"),
            None => format!("{begin} --output out"),
        };
        killed(&dir, &format!("{line} --checkpoint-every 1"), moment);
        if dir.path("out").exists() {
            let report = inspected(&dir, "out");
            assert_eq!(report["fingerprint"]["checkpoint"], "matches");
            assert_eq!(report["variables"]["count"], 23);
            assert!(steps(&dir).unwrap() >= before.unwrap_or(1));
            only_the_last_hidden_folder_is_beside(&dir, &["models", "out", "through"]);
        } else {
            assert_eq!(before, None);
            only_the_last_hidden_folder_is_beside(&dir, &["models", "through"]);
        }
    }
    let at = place(&dir, "out");
    assert!(at["steps"].as_u64().unwrap() > 1 && at["epoch"] != 6, "it should have been killed on the way: {at}");
    dir.cmd(&format!("train out --resume --data {DATA} --output out --overwrite {ONE_THREAD}")).run().ok();
    same_variables(&dir, "out", "through");
    assert!(hidden(&dir).is_empty(), "{:?}", hidden(&dir));
}

#[test]
fn an_overwritten_model_stays_complete_until_the_first_checkpoint() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "out");
    let old = fs::read(dir.path("out/saved_model.pb")).unwrap();
    let line = format!("train {MODEL} --data {DATA} --epochs 100 --output out --overwrite --checkpoint-every 1");
    for moment in [Early(0), Early(20), Late(0), Late(20), Late(45)] {
        killed(&dir, &line, moment);
        if fs::read(dir.path("out/saved_model.pb")).unwrap() == old {
            let ran = dir.cmd("run out --input x=[1,2] --format json").run().ok();
            ran.check(ran.out().contains("[2.5, 3.0]"), "another answer");
        } else {
            assert_eq!(inspected(&dir, "out")["fingerprint"]["checkpoint"], "matches");
            assert!(place(&dir, "out")["steps"].as_u64().unwrap() > 0);
            fs::remove_dir_all(dir.path("out")).unwrap();
            dir.copy_model("half_plus_two", "out");
        }
        only_the_last_hidden_folder_is_beside(&dir, &["models", "out"]);
    }
}
