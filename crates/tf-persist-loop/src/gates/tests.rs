//! Gates that need no TensorFlow.

use tf_persist_core::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_core::{ModelError, SaveOptions, Tensor, VariableSource};
use tf_persist_testing::model;

use super::*;

/// The variables of a model, one of which has an infinity.
struct Broken {
    values: CheckpointReader,
    key: String,
}

impl VariableSource for Broken {
    fn has_values(&self) -> bool {
        true
    }

    fn write_checkpoint(&self, prefix: &Path) -> Result<(), ModelError> {
        let mut writer = CheckpointWriter::create(prefix)?;
        for entry in &self.values.index().entries {
            if entry.key == self.key {
                let mut numbers = vec![0.5_f32; entry.shape.iter().product()];
                *numbers.last_mut().unwrap() = f32::INFINITY;
                writer.add(&entry.key, &Tensor::from_slice(&entry.shape, &numbers)?)?;
            } else {
                writer.add_from(&entry.key, &self.values, &entry.key)?;
            }
        }
        writer.finish().map(drop)
    }
}

#[test]
fn a_variable_that_is_not_finite_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let digits = SavedModel::open(model("digits")).unwrap();
    assert_eq!(not_finite(&digits).unwrap(), None);
    let variables = digits.variables().unwrap();
    let dense = variables.all.iter().find(|variable| variable.name.contains("dense")).unwrap();
    let values = CheckpointReader::new(variables.index.clone().unwrap());
    let broken = Broken { values, key: dense.entry.key.clone() };
    let target = folder.path().join("model");
    digits.save_values(digits.meta_graph(None).unwrap(), &broken, &target, &SaveOptions::default()).unwrap();
    assert_eq!(not_finite(&SavedModel::open(&target).unwrap()).unwrap(), Some(dense.name.clone()));
}

#[test]
fn a_model_may_do_no_more_than_the_one_before() {
    let open = |name: &str| SavedModel::open(model(name)).unwrap();
    let refused = |old: &str, new: &str| {
        let mut verdict = Verdict::default();
        scan(&open(old), &open(new), &mut verdict).unwrap();
        verdict.failures.pop()
    };
    assert_eq!(refused("digits", "digits_trainable"), None);
    assert_eq!(refused("digits", "text"), None, "a vocabulary of its own is expected");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("model");
    tf_persist_testing::copy_folder(&model("digits"), &copy);
    std::os::unix::fs::symlink("/etc/hostname", copy.join("link")).unwrap();
    let mut verdict = Verdict::default();
    scan(&open("digits"), &SavedModel::open(&copy).unwrap(), &mut verdict).unwrap();
    let found = verdict.failures.pop().unwrap();
    assert!(found.starts_with("it may do what the version in production may not: "), "{found}");
    scan(&SavedModel::open(&copy).unwrap(), &SavedModel::open(&copy).unwrap(), &mut verdict).unwrap();
    assert!(verdict.failures.is_empty());
}

#[test]
fn any_output_that_is_not_finite_is_found() {
    let of = |numbers: &[f32]| score::not_finite("odds", &Tensor::from_slice(&[2, 2], numbers).unwrap(), 2);
    assert_eq!(of(&[0.0, 1.0, 2.0, 3.0]), None);
    let found = of(&[0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]).unwrap();
    assert_eq!(found, "it answers 2 of 2 held-out rows with a NaN or an infinity in `odds`");
    assert_eq!(score::not_finite("class", &Tensor::from_slice(&[2], &[1_i64, 2]).unwrap(), 2), None);
}
