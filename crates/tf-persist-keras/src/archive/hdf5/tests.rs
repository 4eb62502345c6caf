//! Files of Keras.

use std::env;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::archive::zip::KerasZip;

/// Every `.h5` and `.keras` file of the folder of cases that the environment names.
fn cases() -> Vec<PathBuf> {
    let Some(folder) = env::var_os("TF_PERSIST_KERAS_CASES") else { return Vec::new() };
    let mut files = Vec::new();
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        if case.is_dir() {
            files.extend(fs::read_dir(case).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "h5" || extension == "keras"));
    files.sort();
    files
}

fn open_case(path: &Path) -> Hdf5 {
    if path.extension().is_some_and(|extension| extension == "h5") {
        return Hdf5::open_file(path).unwrap();
    }
    Hdf5::open(KerasZip::open(path).unwrap().read("model.weights.h5").unwrap(), path).unwrap()
}

fn read_attributes(group: &Group) {
    group.attributes().unwrap();
    for name in group.members().unwrap().groups {
        read_attributes(&group.group(&name).unwrap().unwrap());
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did nothing says so")]
fn every_dataset_of_every_case_is_read() {
    let files = cases();
    if files.is_empty() {
        eprintln!("skipped: TF_PERSIST_KERAS_CASES names no folder of cases");
    }
    for path in files {
        let file = open_case(&path);
        read_attributes(&file.root().unwrap());
        for dataset in file.datasets().unwrap() {
            let tensor = dataset.read().unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dataset.dtype().unwrap(), dataset.shape()));
            dataset.attributes().unwrap();
        }
    }
}
