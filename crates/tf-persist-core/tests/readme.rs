//! The Rust that the README shows: it compiles, it runs, and it is what stands there.

use std::env;
use std::path::Path;
use std::process::Command;

/// Set for the process that runs the README's code, in a folder of its own.
const IN_ITS_FOLDER: &str = "TF_PERSIST_TEST_README";

#[expect(clippy::print_stdout, reason = "the README prints")]
fn readme() -> tf_persist_core::Result<()> {
    // The README begins here.
    use tf_persist_core::train::{Dataset, TrainOptions, Trainer};
    use tf_persist_core::{DType, LoadOptions, LoadedModel, SaveOptions, SavedModel, Tensor};

    let artefact = SavedModel::open("models/digits/model")?; // milliseconds, without TensorFlow
    for signature in artefact.signatures()? {
        println!("{signature}"); // names, dtypes and shapes of inputs and outputs
    }
    let kernel = artefact.read_variable("weights/dense/kernel")?; // a variable's value, without TensorFlow
    println!("{:?}: {:?}, …", kernel.shape(), &kernel.view::<f32>()?[..3]);

    let model = artefact.load(LoadOptions::default())?; // opens libtensorflow, restores the variables
    let image = Tensor::from_slice(&[1, 8, 8, 1], &[0.0_f32; 64])?;
    let answer = model.signature("serving_default")?.run([("image", image)])?;
    let probabilities = answer["probabilities"].view::<f32>()?;
    println!("{probabilities:?}");

    model.save("digits-copy", SaveOptions::default())?; // whole, or not at all
    artefact.save("digits.tfpack", SaveOptions::default().frozen(true))?; // without TensorFlow

    let text = LoadedModel::load("models/text/model", LoadOptions::default())?;
    let reviews = Tensor::from_strings(&[2], ["a good film", "dull and long"])?; // strings go in …
    let answer = text.signature("serving_default")?.run([("text", reviews)])?;
    for label in answer["label"].strings()?.iter() {
        println!("{}", String::from_utf8_lossy(label)); // … and come out as bytes
    }

    let signature = model.signature("serving_default")?; // runs from any number of threads at once
    let image = Tensor::zeros(DType::Float32, &[1, 8, 8, 1])?;
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || signature.run([("image", &image)]);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    println!("{} answers", answers.iter().flatten().count());

    let untrained = SavedModel::open("models/digits_trainable/model")?;
    let data = Dataset::read("models/digits_trainable/train.npz")?; // arrays by the names of the inputs
    let trainer = Trainer::new(&untrained, data, TrainOptions::default().epochs(2))?
        .save_to("digits-trained", SaveOptions::default())?;
    let trained = trainer.run(&untrained.load(LoadOptions::default())?, |_| std::ops::ControlFlow::Continue(()))?;
    println!("{} steps", trained.place.steps);
    // The README ends here.
    assert_eq!(kernel.shape(), [512, 32]);
    assert_eq!((probabilities.len(), answers.iter().flatten().count()), (10, 4));
    assert_eq!(answer["label"].strings()?.iter().collect::<Vec<_>>(), [&b"good"[..], b"bad"]);
    Ok(())
}

/// The text without the spaces and line breaks that a formatter may set otherwise.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_shows_this_code() {
    let (_, shown) = include_str!("../../../README.md").split_once("\n## From Rust\n").unwrap();
    let (shown, _) = shown.split_once("\n## ").unwrap();
    let blocks: Vec<&str> = shown.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let (_, code) = include_str!("readme.rs").split_once("    // The README begins here.\n").unwrap();
    let (code, _) = code.split_once("    // The README ends here.\n").unwrap();
    assert!(!blocks.is_empty());
    assert_eq!(words(&blocks.concat()), words(code));
}

#[test]
fn the_code_of_the_readme_runs() {
    if env::var_os(IN_ITS_FOLDER).is_some() {
        return readme().unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("models"), folder.path().join("models")).unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", "the_code_of_the_readme_runs", "--nocapture"]).env(IN_ITS_FOLDER, "1");
    if env::var_os("TF_PERSIST_LIBTENSORFLOW").is_none() {
        again.env("TF_PERSIST_LIBTENSORFLOW", root.join(".venv"));
    }
    let ran = again.current_dir(folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    assert!(folder.path().join("digits-trained/saved_model.pb").is_file(), "{said}");
}
