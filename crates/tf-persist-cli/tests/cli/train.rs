//! `train`: its output, and errors that it reports before TensorFlow is opened.

mod keras;

use std::fs;

use serde_json::{Value, json};
use tf_persist_core::tensor::npz as npz_files;

use crate::command::All;
use crate::support::{Dir, floats, npy, npz};

/// A model that trains, and data for it.
pub(crate) const MODEL: &str = "models/digits_trainable/model";
pub(crate) const DATA: &str = "models/digits_trainable/train.npz";
pub(crate) const VALIDATION: &str = "models/digits_trainable/validate.npz";
const PLACE: &str = "assets.extra/tf-persist-training.json";

/// On one thread the numbers are the same every time.
pub(crate) const ONE_THREAD: &str = "--intra-op-threads 1 --inter-op-threads 1";

/// The file of a published model with its training state.
pub(crate) fn place(dir: &Dir, model: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.path(model).join(PLACE)).unwrap()).unwrap()
}

/// `rows` black images with these labels.
fn images(rows: usize, label: &str, dtype: &str, shape: &str) -> Vec<u8> {
    let width = if dtype == "<f8" { 8 } else { 4 };
    npz(&[
        ("image", npy(dtype, shape, &vec![0; rows * 64 * width])),
        (label, npy("<i8", &format!("({rows},)"), &vec![0; rows * 8])),
    ])
}

#[test]
fn trains_validates_plots_and_reports() {
    let dir = Dir::new();
    let line = format!("train {MODEL} --data {DATA} --validate {VALIDATION} --epochs 3 --output out --plot loss.svg");
    let ran = dir.cmd(&format!("{line} --format json {ONE_THREAD}")).run().ok();
    let report = ran.json();
    let epochs = report["epochs"].as_array().unwrap();
    ran.check(
        epochs.len() == 3 && report["stopped"] == false && report["steps"] == 3 * 43,
        "the wrong number of steps",
    );
    let loss = |epoch: &Value, part: &str| epoch[part]["loss"].as_f64().unwrap();
    ran.check(loss(&epochs[2], "train") < 0.5 * loss(&epochs[0], "train"), "it does not learn");
    ran.check(loss(&epochs[2], "validation") < loss(&epochs[0], "validation"), "it does not learn to generalise");
    let accuracy = epochs[2]["validation"]["accuracy"].as_f64().unwrap();
    ran.check((0.8..1.0).contains(&accuracy), "an odd accuracy");
    for number in 1..=3 {
        ran.check(ran.err().contains(&format!("epoch {number}/3  loss ")), "each epoch has a line");
    }

    // The mean of an epoch weighs the last batch by its three rows.
    let losses: Vec<f64> =
        report["batches"]["loss"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 3 * 43);
    let sum: f64 = losses[..42].iter().sum::<f64>() * 32.0 + losses[42] * 3.0;
    assert!((sum / 1347.0 - loss(&epochs[0], "train")).abs() < 1e-12);

    // The evaluation of the trained model gives the numbers of the last epoch, in batches as in one.
    let args = format!("run out --signature evaluate --inputs {VALIDATION} --format json");
    let evaluated = dir.cmd(&args).run().ok().json();
    let whole = evaluated["outputs"]["loss"].as_f64().unwrap();
    assert!((whole - loss(&epochs[2], "validation")).abs() < 1e-5, "{whole}");

    let svg = fs::read_to_string(dir.path("loss.svg")).unwrap();
    for text in ["<svg", "step", "loss", "training, each step", "mean of the epoch", "validation", "</svg>"] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(dir.names(""), ["loss.svg", "models", "out"], "nothing else is left");

    let at = place(&dir, "out");
    assert_eq!((&at["epoch"], &at["step"], &at["steps"]), (&json!(3), &json!(0), &json!(3 * 43)));
    assert_eq!(report["place"]["data"], at["data"]);

    // The same again is the same, and another seed is not.
    let again = dir.cmd(&format!("train {MODEL} --data {DATA} --output again {ONE_THREAD} --format json")).run().ok();
    let other = format!("train {MODEL} --data {DATA} --output other {ONE_THREAD} --format json --seed 1");
    let other = dir.cmd(&other).run().ok().json();
    assert_eq!(again.json()["batches"]["loss"], json!(losses[..43]));
    assert_ne!(other["batches"]["loss"], json!(losses[..43]));
}

#[test]
fn the_text_report_names_the_output() {
    let dir = Dir::new();
    let line = format!("train {MODEL} --data {VALIDATION} --batch-size 100 --no-shuffle --output some/where/out");
    let ran = dir.cmd(&line).run().ok();
    let ran = ran.prints("`some/where/out`: 1 epoch, 23 variables (16.6 kB); 5 steps in ").prints("\nloss ");
    ran.check(!ran.out().contains("epoch 1/1"), "progress belongs on standard error");
    assert_eq!(place(&dir, "some/where/out")["shuffle"], false);
    // A new training may start from the output of another one, with other data.
    dir.cmd(&format!("train some/where/out --data {DATA} --output some/where/out --overwrite")).run().ok();
    assert_eq!(place(&dir, "some/where/out")["steps"], 43);
    assert_eq!(dir.names("some/where"), ["out"]);
}

#[test]
fn untrainable_models_are_refused_with_the_reason() {
    let dir = Dir::new();
    let train = |model: &str, options: &str| {
        dir.cmd(&format!("train models/{model}/model --data {DATA} --output out {options}")).without_tensorflow().run()
    };
    let ran =
        train("digits", "").fails().says("cannot be trained on: inference only: no train signature, no optimizer");
    ran.hints("tf-persist-keras-export");
    train("tf1_graph", "").fails().says("it has no train signature; its optimizer's state (2 variables)");
    let ran = train("digits_trainable", "--signature step").fails();
    ran.says("has no signature `step`; it has `evaluate`, `serving_default` and `train`");
    // A signature without a loss, and inputs without rows.
    let ran = train("digits_trainable", "--signature serving_default").fails();
    ran.says("`y` unknown");
    dir.write("x.npz", npz(&[("image", npy("<f4", "(2, 8, 8, 1)", &floats(&[0.0; 128])))]));
    let line = format!("train {MODEL} --signature serving_default --data x.npz --output out");
    let ran = dir.cmd(&line).without_tensorflow().run().fails();
    ran.says("signature `serving_default` has no output `loss`, nor a single float that could be it");
    // A signature that evaluates cannot train, and one that trains cannot evaluate.
    let ran = train("digits_trainable", "--signature evaluate").fails();
    ran.says("signature `evaluate` evaluates and does not train").hints("train by `train`");
    let validating = |name: &str| format!("--validate {VALIDATION} --evaluate-signature {name}");
    let ran = train("digits_trainable", &validating("train")).fails();
    ran.says("signature `train` trains: it would train on the validation data").hints("--evaluate-signature");
    let images = npz_files::read_file(dir.path(DATA)).unwrap();
    let images: Vec<_> = images.iter().filter(|(name, _)| name == "image").map(|(n, t)| (n.as_str(), t)).collect();
    npz_files::write("x.npz", fs::File::create(dir.path("x.npz")).unwrap(), images).unwrap();
    let line =
        format!("train {MODEL} --data {DATA} --validate x.npz --evaluate-signature serving_default --output out");
    let ran = dir.cmd(&line).without_tensorflow().run().fails();
    ran.says("`serving_default` has no output that is a single float").hints("--evaluate-signature");
    dir.cmd(&format!("export {MODEL} twice --rename-signature evaluate=evaluate_in_training")).run().ok();
    let rest = validating("evaluate_in_training");
    let ran = dir.cmd(&format!("train twice --data {DATA} --output out {rest}")).without_tensorflow().run().fails();
    ran.says("`evaluate_in_training` trains, by its name");
    dir.cmd(&format!("export {MODEL} other --rename-signature evaluate=measure")).run().ok();
    let line = format!("train other --data {DATA} --output out --signature measure");
    // Its metrics are variables that it writes, so that is not what tells it; being named the measure is.
    let line = format!("{line} --validate {VALIDATION} --evaluate-signature measure");
    let ran = dir.cmd(&line).without_tensorflow().run().fails();
    ran.says("signature `measure` evaluates and does not train");
    dir.cmd(&format!("train none --data {DATA} --output out"))
        .without_tensorflow()
        .run()
        .fails()
        .says("`none` is not a");
    assert_eq!(dir.names(""), ["models", "other", "twice", "x.npz"]);
}

#[test]
fn wrong_data_is_refused_by_name() {
    let dir = Dir::new();
    let good = "(4, 8, 8, 1)";
    let four = npy("<i8", "(4,)", &[0; 32]);
    let image = npy("<f4", good, &[0; 4 * 64 * 4]);
    dir.write("names.npz", images(4, "label", "<f4", good));
    dir.write("float64.npz", images(4, "y", "<f8", good));
    dir.write("flat.npz", images(4, "y", "<f4", "(4, 64)"));
    dir.write("lengths.npz", npz(&[("image", image.clone()), ("y", npy("<i8", "(3,)", &[0; 24]))]));
    dir.write("empty.npz", images(0, "y", "<f4", "(0, 8, 8, 1)"));
    dir.write("nothing.npz", npz(&[]));
    dir.write("scalar.npz", npz(&[("image", image.clone()), ("y", npy("<i8", "()", &[0; 8]))]));
    dir.write("more.npz", npz(&[("image", image), ("y", four.clone()), ("z", four)]));
    dir.write("text.npz", "no archive");
    fs::create_dir(dir.path("folder.npz")).unwrap();
    let reasons = [
        (
            "names",
            "`y` missing, `label` unknown: it has `image`, `label`, and signature `S` takes `image`, `y`",
            "np.savez",
        ),
        ("float64", "array `image` is float64, and signature `S` takes float32", "image.astype(\"float32\")"),
        ("flat", "array `image` is [4, 64], and signature `S` takes [-1, 8, 8, 1]", "image.reshape(-1, 8, 8, 1)"),
        ("lengths", "array `y` has 3 rows, and `image` has 4", ""),
        ("empty", "array `image` has no rows", ""),
        ("folder", "it is a folder, not an .npz file", ""),
        ("nothing", "it has no arrays", ""),
        ("scalar", "array `y` is a scalar without rows", ""),
        ("more", "`z` unknown", "np.savez"),
        ("text", "it is not a .npz archive", ""),
        ("missing", "cannot open `missing.npz`", ""),
    ];
    let before = dir.listing();
    for (file, reason, hint) in reasons {
        let run = |line: String| dir.cmd(&line).without_tensorflow().run().fails();
        let train = run(format!("train {MODEL} --data {file}.npz --output out"));
        let validate = run(format!("train {MODEL} --data {DATA} --validate {file}.npz --output out"));
        let all =
            All(vec![train.says(reason.replace("`S`", "`train`")), validate.says(reason.replace("`S`", "`evaluate`"))]);
        let all = all.say(format!("{file}.npz"));
        if !hint.is_empty() {
            all.hint(hint);
        }
    }
    assert_eq!(dir.listing(), before);
}

#[test]
fn an_unwritable_output_is_refused_before_training() {
    let dir = Dir::new();
    dir.copy_model("half_plus_two", "model");
    dir.write("thesis/chapter.txt", "…");
    dir.write("file", "");
    let before = dir.listing();
    let train = |rest: &str| dir.cmd(&format!("train {MODEL} --data {DATA} {rest}")).without_tensorflow().run();
    train("--output model").fails().says("`model` exists already").hints("--overwrite");
    train("--output thesis --overwrite").fails().says("it is not a model, so it is not overwritten");
    train("--output file --overwrite").fails().says("`file`");
    train("--output file/out").fails().says("file");
    train("--output /sys/out").fails().says("/sys");
    train("--output out --plot none/loss.svg").fails().says("cannot write `none/loss.svg`: No such file or directory");
    train("--output same.svg --plot ./same.svg").misused().says("--plot and --output are both");
    train("--output out --plot loss.svg/").misused();
    train("--output out --plot loss.png").misused();
    // A full disk is found out by a rehearsal, with TensorFlow, before the first step.
    let full = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
    let ran = dir.bash(full, &format!("train {MODEL} --data {DATA} --output out")).run().fails().says("File too large");
    ran.check(!ran.err().contains("epoch 1"), "it trained all the same");
    // Nor is a model written into itself.
    dir.copy_model("digits_trainable", "source");
    dir.cmd(&format!("train source --data {DATA} --output source/out")).run().fails().says("it is inside the model");
    fs::remove_dir_all(dir.path("source")).unwrap();
    assert_eq!(dir.listing(), before);
}

#[test]
fn an_invalid_resume_is_refused() {
    let dir = Dir::new();
    dir.cmd(&format!("train {MODEL} --data {DATA} --output out --epochs 2 {ONE_THREAD}")).run().ok();
    let before = dir.listing();
    let resume = |model: &str, data: &str, rest: &str| {
        dir.cmd(&format!("train {model} --resume --data {data} --output next {rest}"))
            .without_tensorflow()
            .run()
            .fails()
    };
    let ran = resume(MODEL, DATA, "").says("cannot be resumed: it has no `assets.extra/tf-persist-training.json`");
    ran.hints("without --resume");
    resume("out", DATA, "").says("2 of 2 epochs are done").hints("--epochs");
    resume("out", DATA, "--epochs 1").says("2 of 1 epochs are done");
    let ran = resume("out", VALIDATION, "--epochs 3").says("was trained on other data than those of");
    ran.hints("give the data that it was trained on");
    // One pixel is another training.
    let mut arrays = npz_files::read_file(dir.path(DATA)).unwrap();
    arrays[0].1.view_mut::<f32>().unwrap()[12_345] += 0.5;
    let file = fs::File::create(dir.path("pixel.npz")).unwrap();
    npz_files::write("pixel.npz", file, arrays.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    resume("out", "pixel.npz", "--epochs 3").says("was trained on other data than those of");
    fs::remove_file(dir.path("pixel.npz")).unwrap();
    // Variables that another program put there.
    let variables = dir.path("out/variables/variables.index");
    let index = fs::read(&variables).unwrap();
    fs::copy(dir.path(MODEL).join("variables/variables.index"), &variables).unwrap();
    resume("out", DATA, "--epochs 3").says("its variables are not those");
    fs::write(&variables, index).unwrap();
    // Damaged places.
    let path = dir.path("out").join(PLACE);
    let whole = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"step\": 0", "\"step\": 43"),
        ("\"batch_size\": 32", "\"batch_size\": 0"),
        ("{", ""),
        ("\"rows\": 1347", "\"rows\": 1346"),
    ] {
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        resume("out", DATA, "--epochs 3").says("tf-persist-training.json").says("is damaged");
    }
    fs::write(&path, whole.replace("\"format\": 1", "\"format\": 2")).unwrap();
    resume("out", DATA, "--epochs 3").says("it is of form 2").hints("a later");
    fs::write(&path, &whole).unwrap();
    assert_eq!(dir.listing(), before);

    // What export writes can be resumed as well.
    dir.cmd("export out copy").run().ok();
    let ran = dir.cmd(&format!("train copy --resume --data {DATA} --output next --epochs 3 {ONE_THREAD}")).run().ok();
    ran.check(ran.err().contains("continuing in epoch 3 of 3, 0 of 43 steps done"), "the position is missing");
    dir.cmd(&format!("train {MODEL} --data {DATA} --output through --epochs 3 {ONE_THREAD}")).run().ok();
    same_variables(&dir, "next", "through");
}

/// The variables are the same, bit for bit.
#[track_caller]
pub(crate) fn same_variables(dir: &Dir, one: &str, other: &str) {
    for file in ["variables/variables.index", "variables/variables.data-00000-of-00001"] {
        let bytes = |model: &str| fs::read(dir.path(model).join(file)).unwrap();
        assert!(bytes(one) == bytes(other), "{file} of {one} and {other} differ");
    }
}
