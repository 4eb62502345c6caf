//! Keras files opened in memory give the answers of the Keras that wrote them. `python/checks/check_keras_cases.py`
//! checks exported ones, bit for bit.

use std::env;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tf_persist_core::{LoadOptions, LoadSavedModel, Tensor};
use tf_persist_keras::OpenOptions;
use tf_persist_testing::{in_own_environment, keras_cases};

use crate::compare::{Tolerance, difference};
use crate::recorded::Arrays;

/// The files of a case that hold the model whose answers are recorded. The first one is opened.
const FILES: [&str; 4] = ["model.keras", "model.h5", "after.keras", "model.weights.h5"];

/// The fields of `meta.json` that the test needs.
#[derive(Deserialize)]
struct Meta {
    cases: Vec<Case>,
    tolerance: Tolerance,
    /// `refuse`, where the file must be refused.
    expect: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    /// By position.
    inputs: std::collections::BTreeMap<usize, Value>,
    outputs: std::collections::BTreeMap<usize, Value>,
}

/// The test is of the files with this in their names.
const FILTER: &str = "TF_PERSIST_KERAS_FILTER";

/// With oneDNN, which TensorFlow turns off by default on some processors: a transposed convolution with dilation has no
/// kernel without.
#[test]
fn keras_files_give_recorded_answers() {
    let test = "keras::keras_files_give_recorded_answers";
    in_own_environment(test, &[("TF_ENABLE_ONEDNN_OPTS", "1")], || {
        give_recorded_answers(test, &env::var(FILTER).unwrap_or_default());
    });
}

#[test]
fn convolutions_in_groups_need_no_onednn() {
    let test = "keras::convolutions_in_groups_need_no_onednn";
    in_own_environment(test, &[("TF_ENABLE_ONEDNN_OPTS", "0")], || give_recorded_answers(test, "conv2d_groups"));
}

/// Runs the cases that have `only` in their names.
fn give_recorded_answers(test: &str, only: &str) {
    let Some(folder) = keras_cases(test) else { return };
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.is_dir() && case.to_string_lossy().contains(only));
    cases.sort();
    let (mut files, mut wrong) = (0, Vec::new());
    for case in &cases {
        let meta: Meta = serde_json::from_slice(&fs::read(case.join("meta.json")).unwrap()).unwrap();
        let file = FILES.iter().map(|file| case.join(file)).find(|file| file.exists()).unwrap();
        files += 1;
        if let Err(reason) = check(&file, &meta) {
            wrong.push(format!("{}: {reason}", file.strip_prefix(case.parent().unwrap()).unwrap().display()));
        }
    }
    assert!(files > 0, "no case has `{only}` in its name");
    assert!(wrong.is_empty(), "{} of {files} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// Opens a file, runs its cases and compares.
fn check(file: &Path, meta: &Meta) -> Result<(), String> {
    let mut options = OpenOptions::default();
    if file.ends_with("model.weights.h5") {
        options = options.architecture(file.with_file_name("model.json"));
    }
    let opened = options.open(file);
    if meta.expect.as_deref() == Some("refuse") {
        return opened.map_or(Ok(()), |_| Err("it is not refused".into()));
    }
    let keras = opened.map_err(|error| error.to_string())?;
    let names = keras.input_names();
    let model = keras.to_saved_model().map_err(|error| error.to_string())?;
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
    }
    Ok(())
}
