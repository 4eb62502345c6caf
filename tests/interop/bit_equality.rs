//! With the same inputs, libtensorflow and session options, answers have the same bits as in Python's session.

use std::path::Path;

use tf_persist_core::tensor::{npy, npz};
use tf_persist_testing::{corpus, root};

use crate::python;
use crate::recorded::{Recorded, models};

#[test]
fn answers_equal_pythons_bit_for_bit() {
    bit_equal(&models(), &root().join("models"));
}

#[test]
fn answers_of_real_models_equal_pythons_bit_for_bit() {
    let Some(corpus) = corpus("answers_of_real_models_equal_pythons_bit_for_bit") else { return };
    let dev = corpus.join("dev");
    let plain: Vec<_> =
        Recorded::all(&dev).into_iter().filter(|recorded| recorded.meta.custom_op_libs.is_empty()).collect();
    bit_equal(&plain, &dev);
}

/// Runs every case in Python on this machine, and compares the bytes of each output.
fn bit_equal(all: &[Recorded], folder: &Path) {
    let work = tempfile::tempdir().unwrap();
    let pair = |recorded: &Recorded| format!("{}={}", recorded.model.display(), folder.join(&recorded.name).display());
    let mut args = vec!["--out".to_owned(), work.path().display().to_string()];
    args.extend(all.iter().map(pair));
    python::run("checks.record_answers", args);
    for recorded in all {
        let answers = npz::read_file(work.path().join(format!("{}.npz", recorded.name))).unwrap();
        for (index, outputs) in recorded.run(&recorded.model).into_iter().enumerate() {
            for (name, ours) in outputs {
                // Strings are stored in three arrays; the recorded answers are already compared byte for byte.
                let wanted = format!("c{index}.out.{name}");
                let Some((_, python)) = answers.iter().find(|(name, _)| *name == wanted) else {
                    assert!(ours.strings().is_ok(), "{}: Python gave no `{wanted}`", recorded.name);
                    continue;
                };
                let python = npy::into_dtype(python.clone(), ours.dtype()).unwrap();
                assert!(ours == python, "{}, `{wanted}`: {ours:?} is not {python:?}", recorded.name);
            }
        }
    }
}
