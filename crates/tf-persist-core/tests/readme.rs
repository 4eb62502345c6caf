//! The Rust code of the main README and of the crate's README compiles, runs, and is the code below.

use std::env;
use std::process::Command;

/// Set for the process that runs the READMEs' code, in a folder of its own.
const IN_ITS_FOLDER: &str = "TF_PERSIST_TEST_README";

/// The code of the main README.
#[expect(clippy::print_stdout, reason = "the README prints")]
fn main_readme() -> tf_persist_core::Result<()> {
    // The main README begins here.
    use tf_persist_core::{LoadOptions, LoadSavedModel, SaveOptions, SavedModel, Tensor};

    let saved_model = SavedModel::open("models/digits/model")?; // milliseconds, without TensorFlow
    for signature in saved_model.signatures()? {
        println!("{signature}"); // names, dtypes and shapes of inputs and outputs
    }
    let kernel = saved_model.read_variable("weights/dense/kernel")?; // a variable's value, without TensorFlow
    println!("{:?}: {:?}, …", kernel.shape(), &kernel.view::<f32>()?[..3]);

    let model = saved_model.load(LoadOptions::default())?; // opens libtensorflow, restores the variables
    let image = Tensor::from_slice(&[1, 8, 8, 1], &[0.0_f32; 64])?;
    let answer = model.signature("serving_default")?.run([("image", image)])?;
    let probabilities = answer["probabilities"].view::<f32>()?;
    println!("{probabilities:?}");

    model.save("digits-copy", SaveOptions::default())?; // whole, or not at all
    // It ends here.
    assert_eq!(kernel.shape(), [512, 32]);
    assert_eq!(probabilities.len(), 10);
    Ok(())
}

/// The code of the crate's README.
#[expect(clippy::print_stdout, reason = "the README prints")]
fn crate_readme() -> tf_persist_core::Result<()> {
    // The crate's README begins here.
    use tf_persist_core::train::{Dataset, TrainOptions, Trainer};
    use tf_persist_core::{DType, LoadOptions, LoadSavedModel, LoadedModel, SaveOptions, SavedModel, Tensor};

    let text = LoadedModel::load("models/text/model", LoadOptions::default())?;
    let reviews = Tensor::from_strings(&[2], ["a good film", "dull and long"])?; // strings go in …
    let answer = text.signature("serving_default")?.run([("text", reviews)])?;
    for label in answer["label"].strings()?.iter() {
        println!("{}", String::from_utf8_lossy(label)); // … and come out as bytes
    }

    let model = LoadedModel::load("models/digits/model", LoadOptions::default())?;
    let signature = model.signature("serving_default")?; // runs from any number of threads at once
    let image = Tensor::zeros(DType::Float32, &[1, 8, 8, 1])?;
    let answers: Vec<_> = std::thread::scope(|scope| {
        let run = || signature.run([("image", &image)]);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    println!("{} answers", answers.iter().flatten().count());

    let untrained = SavedModel::open("models/digits_trainable/model")?;
    let data = Dataset::read("models/digits_trainable/train.npz")?; // arrays by the names of the inputs
    let trainer = Trainer::new(&untrained, data, TrainOptions::default().epochs(2))?
        .save_to("digits-trained", SaveOptions::default())?;
    let trained = trainer.run(&untrained.load(LoadOptions::default())?, |_| std::ops::ControlFlow::Continue(()))?;
    println!("{} steps", trained.state.steps);
    // It ends here.
    assert_eq!(answers.iter().flatten().count(), 4);
    assert_eq!(answer["label"].strings()?.iter().collect::<Vec<_>>(), [&b"good"[..], b"bad"]);
    Ok(())
}

/// The text without the spaces and line breaks that a formatter may set otherwise.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asserts that the Rust blocks of a section are the code of this file after the comment `begin`.
fn assert_shows(readme: &str, section: &str, begin: &str) {
    let (_, shown) = readme.split_once(section).unwrap();
    let shown = shown.split_once("\n## ").map_or(shown, |(shown, _)| shown);
    let blocks: Vec<&str> = shown.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let (_, code) = include_str!("readme.rs").split_once(&format!("    // {begin} begins here.\n")).unwrap();
    let (code, _) = code.split_once("    // It ends here.\n").unwrap();
    assert!(!blocks.is_empty());
    assert_eq!(words(&blocks.concat()), words(code));
}

#[test]
fn the_readmes_show_this_code() {
    assert_shows(include_str!("../../../README.md"), "\n## From Rust\n", "The main README");
    assert_shows(include_str!("../README.md"), "\n## Strings, threads and training\n", "The crate's README");
}

#[test]
fn the_code_of_the_readmes_runs() {
    if env::var_os(IN_ITS_FOLDER).is_some() {
        main_readme().unwrap();
        return crate_readme().unwrap();
    }
    let root = tf_persist_testing::root();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("models"), folder.path().join("models")).unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", "the_code_of_the_readmes_runs", "--nocapture"]).env(IN_ITS_FOLDER, "1");
    if env::var_os("TF_PERSIST_LIBTENSORFLOW").is_none() {
        again.env("TF_PERSIST_LIBTENSORFLOW", root.join(".venv"));
    }
    let ran = again.current_dir(folder.path()).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{printed}");
    assert!(folder.path().join("digits-trained/saved_model.pb").is_file(), "{printed}");
}
