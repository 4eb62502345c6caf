//! Changed bytes of zip and HDF5 files.

use tf_persist_keras::fuzzing;

use crate::measure::{Watch, convert, measured};
use crate::mutate::change_bytes;
use crate::random::Random;
use crate::{rounds, samples};

/// Reads changed files, and lists those that were not read as they should be.
fn check(kind: &str, originals: &[Vec<u8>], read: impl Fn(Vec<u8>) -> crate::measure::Outcome) {
    let watch = Watch::new();
    let mut wrong = Vec::new();
    let (mut count, mut failed) = (0, 0);
    for seed in rounds(10_000) {
        let mut random = Random::new(seed);
        let original = random.pick(originals).clone();
        let other = random.pick(originals).clone();
        let bytes = change_bytes(&mut random, original, &other);
        watch.begin(format!("{kind} {seed}"));
        count += 1;
        match read(bytes) {
            Ok(error) => failed += usize::from(error.is_some()),
            Err(problem) => wrong.push(format!("{kind} {seed}: {problem}")),
        }
    }
    println!("{kind}: {failed} of {count} changed files are refused");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn changed_archives() {
    check("zip", &samples::archives(), |bytes| {
        measured(|| fuzzing::read_zip(bytes.clone()))?;
        convert(bytes)
    });
}

/// Archives whose checksums are right, so that the weights in them are read.
#[test]
fn changed_weights() {
    check("hdf5", &samples::weights(), |bytes| {
        measured(|| fuzzing::read_hdf5(bytes.clone()))?;
        convert(samples::with_weights(&bytes))
    });
}

#[test]
fn changed_whole_models() {
    check("h5", &samples::h5_files(), |bytes| {
        measured(|| fuzzing::read_hdf5(bytes.clone()))?;
        convert(bytes)
    });
}
