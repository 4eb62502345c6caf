//! Keras files give the answers of the Keras that wrote them, without Python.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tf_persist_core::{LoadOptions, LoadSavedModel, Tensor};
use tf_persist_keras::OpenOptions;
use tf_persist_testing::keras_cases;

use crate::compare::{Tolerance, difference};
use crate::recorded::Arrays;

/// The files of a case that hold the model whose answers are recorded.
const FILES: [&str; 4] = ["model.keras", "model.h5", "after.keras", "model.weights.h5"];

/// The share of the answers that must be bit for bit those of Python's own export. docs/keras.md names the others.
const BIT_EQUAL: f64 = 0.95;

/// The fields of `meta.json` that the test needs.
#[derive(Deserialize)]
struct Meta {
    cases: Vec<Case>,
    tolerance: Tolerance,
    /// What Keras says of its own files.
    #[serde(default)]
    status: std::collections::BTreeMap<String, Value>,
    /// `refuse`, where the file must be refused.
    expect: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    /// By position.
    inputs: std::collections::BTreeMap<usize, Value>,
    outputs: std::collections::BTreeMap<usize, Value>,
    /// Of Python's export, run in a session.
    export_outputs: Option<std::collections::BTreeMap<usize, Value>>,
}

/// How many answers were compared with those of Python's export.
#[derive(Default)]
struct Counts {
    files: usize,
    compared: usize,
    bit_equal: usize,
}

#[test]
#[expect(clippy::print_stdout, reason = "how many answers are equal bit for bit")]
fn keras_files_give_recorded_answers() {
    let Some(folder) = keras_cases("keras_files_give_recorded_answers") else { return };
    let only = std::env::var("TF_PERSIST_KERAS_FILTER").unwrap_or_default();
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.is_dir() && case.to_string_lossy().contains(&only));
    cases.sort();
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    for case in &cases {
        let meta: Meta = serde_json::from_slice(&fs::read(case.join("meta.json")).unwrap()).unwrap();
        for file in FILES.iter().map(|file| case.join(file)).filter(|file| file.exists()) {
            counts.files += 1;
            if let Err(reason) = check(&file, &meta, &mut counts) {
                wrong.push(format!("{}: {reason}", file.strip_prefix(case.parent().unwrap()).unwrap().display()));
            }
        }
    }
    let share = counts.bit_equal as f64 / counts.compared.max(1) as f64;
    println!(
        "{} Keras files: {} of {} answers are bit for bit those of Python's export ({:.1} %)",
        counts.files,
        counts.bit_equal,
        counts.compared,
        100.0 * share
    );
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), counts.files, wrong.join("\n"));
    assert!(share >= BIT_EQUAL, "{share}");
}

/// Whether Keras cannot read its own file.
fn cannot_be_read(status: &Value) -> bool {
    status.as_str().is_some_and(|status| status.starts_with("keras cannot read it"))
}

/// Converts a file, runs its cases and compares.
#[expect(clippy::print_stdout, reason = "which answers are not equal bit for bit")]
fn check(file: &Path, meta: &Meta, counts: &mut Counts) -> Result<(), String> {
    let mut options = OpenOptions::default();
    if file.ends_with("model.weights.h5") {
        options = options.architecture(file.with_file_name("model.json"));
    }
    let opened = options.open(file);
    if meta.expect.as_deref() == Some("refuse") {
        return opened.map_or(Ok(()), |_| Err("it is not refused".into()));
    }
    let converted = opened.and_then(|keras| Ok((keras.input_names(), keras.to_saved_model()?)));
    let file_name = file.file_name().unwrap().to_str().unwrap();
    let (names, model) = match converted {
        // A vocabulary that was learned is lost in such a file, which Keras itself cannot run.
        Err(error)
            if error.to_string().contains("an `.h5` file does not keep it")
                && meta.status.get(file_name).is_some_and(cannot_be_read) =>
        {
            return Ok(());
        }
        converted => converted.map_err(|error| error.to_string())?,
    };
    let model = model.load(LoadOptions::default()).map_err(|error| format!("{error}: {:?}", error.detail()))?;
    let signature = model.signature("serving_default").map_err(|error| error.to_string())?;
    let arrays = Arrays::read(file.parent().unwrap());
    for (number, case) in meta.cases.iter().enumerate() {
        let inputs: Vec<Tensor> = case.inputs.values().map(|entry| arrays.dense(entry)).collect();
        let fresh = signature.run(names.iter().map(String::as_str).zip(&inputs)).map_err(|error| error.to_string())?;
        let mut fresh: Vec<(String, Tensor)> =
            fresh.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        fresh.sort_by_key(|(name, _)| (name.len(), name.clone()));
        if fresh.len() != case.outputs.len() {
            return Err(format!("{} outputs, and {} are recorded", fresh.len(), case.outputs.len()));
        }
        for ((name, tensor), entry) in fresh.iter().zip(case.outputs.values()) {
            difference(tensor, &arrays.dense(entry), meta.tolerance)
                .map_err(|reason| format!("case {number}, `{name}`: {reason}"))?;
        }
        if let Some(exported) = &case.export_outputs {
            let exported: Vec<Tensor> = exported.values().map(|entry| arrays.dense(entry)).collect();
            let is_equal = fresh.iter().map(|(_, tensor)| tensor).eq(&exported);
            counts.compared += 1;
            counts.bit_equal += usize::from(is_equal);
            if !is_equal {
                println!("not bit for bit: {}, case {number}", file.display());
            }
        }
    }
    Ok(())
}
