use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::Tensor;
use crate::checkpoint::CheckpointWriter;
use crate::checkpoint::testing::{delimited, number};
use crate::error::{CheckpointError, Error};

/// An object: its name, and the numbers of the objects that it has with their names there; or a variable, by name and
/// key.
enum Object {
    Of(&'static [(&'static str, u64)]),
    Variable(&'static str, &'static str),
}
use Object::{Of, Variable};

fn graph(objects: &[Object]) -> Vec<u8> {
    let mut graph = Vec::new();
    for object in objects {
        let mut node = Vec::new();
        match object {
            Of(children) => {
                for (name, child) in *children {
                    let mut reference = Vec::new();
                    number(&mut reference, 1, *child);
                    delimited(&mut reference, 2, name.as_bytes());
                    delimited(&mut node, 1, &reference);
                }
            }
            Variable(name, key) => {
                let mut saved = Vec::new();
                delimited(&mut saved, 1, b"VARIABLE_VALUE");
                delimited(&mut saved, 2, name.as_bytes());
                delimited(&mut saved, 3, key.as_bytes());
                delimited(&mut node, 2, &saved);
            }
        }
        delimited(&mut graph, 1, &node);
    }
    graph
}

/// A checkpoint of float32 vectors of these lengths, with an object graph if there are objects.
fn checkpoint(variables: &[(&str, usize)], objects: &[Object]) -> (TempDir, CheckpointReader) {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("variables");
    let mut writer = CheckpointWriter::create(&prefix).unwrap();
    for (number, (key, length)) in variables.iter().enumerate() {
        writer.add(key, &Tensor::from_slice(&[*length], &vec![number as f32; *length]).unwrap()).unwrap();
    }
    if !objects.is_empty() {
        writer.add(OBJECT_GRAPH_KEY, &Tensor::from_strings(&[], [graph(objects)]).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    (folder, CheckpointReader::open(prefix).unwrap())
}

type Side<'a> = (&'a [(&'a str, usize)], &'a [Object]);

fn find(model: Side<'_>, other: Side<'_>) -> Result<Vec<(String, String)>> {
    let ((_model_folder, model), (_other_folder, other)) = (checkpoint(model.0, model.1), checkpoint(other.0, other.1));
    let mapping = Mapping::find(&model, &other, &RestoreOptions::default())?;
    Ok(mapping.pairs.into_iter().map(|pair| (pair.key, pair.source)).collect())
}

/// As [`find`], in the object or the scope of a name.
fn find_in(name: &str, model: Side<'_>, other: Side<'_>) -> Result<Vec<(String, String)>> {
    let ((_model_folder, model), (_other_folder, other)) = (checkpoint(model.0, model.1), checkpoint(other.0, other.1));
    let options = RestoreOptions { object: Some(name.to_owned()), ..RestoreOptions::default() };
    let mapping = Mapping::find(&model, &other, &options)?;
    Ok(mapping.pairs.into_iter().map(|pair| (pair.key, pair.source)).collect())
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(key, source)| ((*key).to_owned(), (*source).to_owned())).collect()
}

/// A Keras model exported by `tf-persist-keras-export`: keys of their own, and Keras's names.
const EXPORTED: Side<'static> = (
    &[("o/a_kernel_m", 2), ("w/a", 2), ("w/b", 2)],
    &[
        Of(&[("w", 1), ("o", 2)]),
        Of(&[("a", 3), ("b", 4)]),
        Of(&[("a_kernel_m", 5)]),
        Variable("sequential_1/a/kernel", "w/a"),
        Variable("sequential_1/b/kernel", "w/b"),
        Variable("adam_1/sequential_1_a_kernel_m", "o/a_kernel_m"),
    ],
);

#[test]
fn names_may_be_numbered_otherwise() {
    let trained: Side<'_> = (
        &[("m/0", 2), ("m/1", 2), ("o/0", 2)],
        &[
            Of(&[("m", 1), ("o", 5)]),
            Of(&[("0", 2), ("1", 3)]),
            Variable("sequential/b/kernel", "m/0"),
            Variable("sequential/a/kernel", "m/1"),
            Variable("adam/sequential_a_kernel_m", "o/0"),
            Of(&[("0", 4)]),
        ],
    );
    let expected = pairs(&[("o/a_kernel_m", "o/0"), ("w/a", "m/1"), ("w/b", "m/0")]);
    assert_eq!(find(EXPORTED, trained).unwrap(), expected);
}

#[test]
fn two_models_that_fit_are_refused() {
    let two: Side<'_> = (
        &[("g/0", 2), ("g/1", 2), ("d/0", 2), ("d/1", 2), ("o", 2)],
        &[
            Of(&[("g", 1), ("d", 2), ("o", 7)]),
            Of(&[("0", 3), ("1", 4)]),
            Of(&[("0", 5), ("1", 6)]),
            Variable("sequential/a/kernel", "g/0"),
            Variable("sequential/b/kernel", "g/1"),
            Variable("sequential_2/a/kernel", "d/0"),
            Variable("sequential_2/b/kernel", "d/1"),
            Variable("adam_1/sequential_1_a_kernel_m", "o"),
        ],
    );
    let error = find(EXPORTED, two).unwrap_err().to_string();
    assert!(error.contains("could be the model's `w/a`: `g/0` and `d/0`"), "{error}");
}

#[test]
fn one_name_for_two_variables_is_refused() {
    let twice: Side<'_> = (&[("x", 2), ("y", 2)], &[Of(&[("x", 1), ("y", 2)]), Variable("w", "x"), Variable("w", "y")]);
    let once: Side<'_> = (&[("z", 2)], &[Of(&[("z", 1)]), Variable("w", "z")]);
    let error = find(once, twice).unwrap_err().to_string();
    assert!(error.contains("could be the model's `z`: `x` and `y`"), "{error}");
    let error = find(twice, once).unwrap_err().to_string();
    assert!(error.contains("its `z` could be the model's `x` or another of the model's variables"), "{error}");
    // A default name does not identify a variable.
    let unnamed: Side<'_> = (&[("z", 2)], &[Of(&[("z", 1)]), Variable("Variable", "z")]);
    let other: Side<'_> = (&[("q", 2)], &[Of(&[("q", 1)]), Variable("Variable", "q")]);
    assert!(matches!(find(unnamed, other), Err(Error::Checkpoint(CheckpointError::Mismatch(_)))));
}

#[test]
fn names_of_tensorflow_1_are_keys() {
    let keys: Side<'_> = (&[("dense/bias", 3), ("dense/kernel", 2)], &[]);
    let objects: Side<'_> = (
        &[("m/b", 3), ("m/k", 2)],
        &[Of(&[("m", 1)]), Of(&[("k", 2), ("b", 3)]), Variable("dense/kernel", "m/k"), Variable("dense/bias", "m/b")],
    );
    assert_eq!(find(keys, objects).unwrap(), pairs(&[("dense/bias", "m/b"), ("dense/kernel", "m/k")]));
    assert_eq!(find(objects, keys).unwrap(), pairs(&[("m/b", "dense/bias"), ("m/k", "dense/kernel")]));
    // Another number at the end is another layer.
    let renamed: Side<'_> = (&[("dense_1/bias", 3), ("dense/kernel", 2)], &[]);
    assert!(matches!(find(renamed, objects), Err(Error::Checkpoint(CheckpointError::Mismatch(_)))));
}

/// As a Keras model calls its variables, and as the same model that was loaded from a file calls them.
#[test]
fn names_may_have_a_scope_in_front() {
    let inside: Side<'_> = (
        &[("o", 2), ("w/a", 2), ("w/b", 2)],
        &[
            Of(&[("w", 1), ("o", 4)]),
            Of(&[("a", 2), ("b", 3)]),
            Variable("sequential/a/kernel", "w/a"),
            Variable("sequential/b/kernel", "w/b"),
            Variable("adam/sequential_a_kernel_m", "o"),
        ],
    );
    let outside: Side<'_> = (
        &[("m/0", 2), ("m/1", 2), ("n", 2)],
        &[
            Of(&[("m", 1), ("n", 4)]),
            Of(&[("0", 2), ("1", 3)]),
            Variable("b/kernel", "m/0"),
            Variable("a/kernel", "m/1"),
            Variable("adam_1/a_kernel_m", "n"),
        ],
    );
    assert_eq!(find(inside, outside).unwrap(), pairs(&[("o", "n"), ("w/a", "m/1"), ("w/b", "m/0")]));
    assert_eq!(find(outside, inside).unwrap(), pairs(&[("m/0", "w/b"), ("m/1", "w/a"), ("n", "o")]));
    // Two scopes that fit.
    let one: Side<'_> = (&[("dense/kernel", 2)], &[]);
    let two: Side<'_> = (&[("x/dense/kernel", 2), ("y/dense/kernel", 2)], &[]);
    let error = find(one, two).unwrap_err().to_string();
    assert!(error.contains("could be the model's `dense/kernel`: `x/dense/kernel` and `y/dense/kernel`"), "{error}");
    let hint = find(one, two).unwrap_err().hint().unwrap();
    assert!(hint.text().contains("scope of its names that is the model, such as `x` or `y`"), "{hint}");
    for name in ["x", "x/"] {
        assert_eq!(find_in(name, one, two).unwrap(), pairs(&[("dense/kernel", "x/dense/kernel")]));
    }
    let error = find_in("z", one, two).unwrap_err().to_string();
    let says = "no object graph and no scope `z`; the names of its variables begin with `x` and `y`";
    assert!(error.contains(says), "{error}");
    // Names of objects.
    let objects: Side<'_> = (
        &[("m/0", 2), ("m/1", 2)],
        &[
            Of(&[("m", 1)]),
            Of(&[("0", 2), ("1", 3)]),
            Variable("x/dense/kernel", "m/0"),
            Variable("y/dense/kernel", "m/1"),
        ],
    );
    assert_eq!(find_in("y", one, objects).unwrap(), pairs(&[("dense/kernel", "m/1")]));
    let error = find_in("z", one, objects).unwrap_err().to_string();
    assert!(error.contains("no scope `z`; at its root are `m`, and the names of its variables begin with"), "{error}");
    // One that fits all, and one that fits some.
    let both: Side<'_> = (&[("bias", 1), ("dense/kernel", 2)], &[]);
    let more: Side<'_> = (&[("x/bias", 1), ("x/dense/kernel", 2), ("y/dense/kernel", 2)], &[]);
    assert_eq!(find(both, more).unwrap(), pairs(&[("bias", "x/bias"), ("dense/kernel", "x/dense/kernel")]));
    // Another layer is not a scope.
    let other: Side<'_> = (&[("conv/kernel", 2)], &[]);
    assert!(matches!(find(one, other), Err(Error::Checkpoint(CheckpointError::Mismatch(_)))));
}

#[test]
fn what_a_checkpoint_has_is_told_by_its_names() {
    let keys: Side<'_> = (&[("v/0", 3)], &[Of(&[("v", 1)]), Of(&[("0", 2)]), Variable("scale/w", "v/0")]);
    let other: Side<'_> = (&[("m/1", 2)], &[Of(&[("m", 1)]), Of(&[("1", 2)]), Variable("dense/kernel", "m/1")]);
    let error = find(keys, other).unwrap_err().to_string();
    assert!(error.ends_with("it lacks `v/0` (`scale/w`); it has besides `m/1` (`dense/kernel`)"), "{error}");
}

/// If nothing fits, a variable with another shape is more informative than a missing one.
#[test]
fn other_shapes_are_told_before_what_is_missing() {
    let model: Side<'_> = (&[("e", 2)], &[Of(&[("e", 1)]), Variable("Variable", "e")]);
    let other: Side<'_> = (&[("model/e", 5)], &[Of(&[("model", 1)]), Of(&[("e", 2)]), Variable("Variable", "model/e")]);
    let error = find(model, other).unwrap_err().to_string();
    let told = "`e` is float32[2] in the model and float32[5] in the checkpoint, where it is `model/e`";
    assert!(error.ends_with(told), "{error}");
    // A graph that leaves the size open takes it.
    let ((_a, model), (_b, other)) = (checkpoint(model.0, model.1), checkpoint(other.0, other.1));
    let open = |_: &str| Some(crate::shape::PartialShape::new(vec![None]));
    let mapping = Mapping::find_with(&model, &other, &RestoreOptions::default(), &open).unwrap();
    assert_eq!(mapping.pairs[0].source, "model/e");
    let closed = |_: &str| Some(crate::shape::PartialShape::new(vec![Some(2), None]));
    let error = Mapping::find_with(&model, &other, &RestoreOptions::default(), &closed).unwrap_err().to_string();
    assert!(error.contains("`e` is float32[2, -1] in the model and float32[5] in the checkpoint"), "{error}");
}

/// The object graph names a table; the index, its keys and its values.
#[test]
fn tables_are_found_as_objects() {
    let model: Side<'_> = (&[("t-keys", 2), ("t-values", 2)], &[Of(&[("t", 1)]), Variable("", "t")]);
    let other: Side<'_> =
        (&[("m/t-keys", 2), ("m/t-values", 2)], &[Of(&[("m", 1)]), Of(&[("t", 2)]), Variable("", "m/t")]);
    assert_eq!(find(model, other).unwrap(), pairs(&[("t-keys", "m/t-keys"), ("t-values", "m/t-values")]));
    // As many values as keys, whatever is declared.
    let uneven: Side<'_> =
        (&[("m/t-keys", 2), ("m/t-values", 3)], &[Of(&[("m", 1)]), Of(&[("t", 2)]), Variable("", "m/t")]);
    let ((_a, model), (_b, uneven)) = (checkpoint(model.0, model.1), checkpoint(uneven.0, uneven.1));
    let open = |_: &str| Some(crate::shape::PartialShape::unknown());
    assert!(Mapping::find_with(&model, &uneven, &RestoreOptions::default(), &open).is_err());
}

#[test]
fn moving_averages_are_taken_or_refused_by_name() {
    let averaged = |model: &[(&str, usize)], other: &[(&str, usize)]| {
        let ((_a, model), (_b, other)) = (checkpoint(model, &[]), checkpoint(other, &[]));
        let options = RestoreOptions { moving_averages: true, ..RestoreOptions::default() };
        let mapping = Mapping::find(&model, &other, &options)?;
        assert_eq!(mapping.averages(), mapping.pairs.iter().filter(|pair| pair.source.contains("Average")).count());
        Ok::<_, Error>(mapping.pairs.into_iter().map(|pair| (pair.key, pair.source)).collect::<Vec<_>>())
    };
    let model = [("a/w", 2), ("b", 1), ("w", 2)];
    // `w` has none, though the name of another's ends as its own would.
    let found = averaged(
        &model,
        &[("a/w", 2), ("a/w/ExponentialMovingAverage", 2), ("b", 1), ("s/b/ExponentialMovingAverage_1", 1), ("w", 2)],
    );
    let expected =
        pairs(&[("a/w", "a/w/ExponentialMovingAverage"), ("b", "s/b/ExponentialMovingAverage_1"), ("w", "w")]);
    assert_eq!(found.unwrap(), expected);
    let twice = [("b", 1), ("b/ExponentialMovingAverage", 1), ("b/ExponentialMovingAverage_1", 1)];
    let error = averaged(&[("b", 1)], &twice).unwrap_err().to_string();
    assert!(
        error.ends_with("moving averages of `b`: `b/ExponentialMovingAverage` and `b/ExponentialMovingAverage_1`"),
        "{error}"
    );
    let error = averaged(&[("b", 1)], &[("b", 1), ("c", 1), ("c/ExponentialMovingAverage", 1)]).unwrap_err();
    assert!(error.to_string().ends_with("it has no moving average of any of the model's variables"), "{error}");
    let error = averaged(&[("b", 1)], &[("b", 1), ("b/ExponentialMovingAverage", 3)]).unwrap_err().to_string();
    assert!(
        error.contains("its moving average cannot be taken: `b` is float32[1] in the model and float32[3]"),
        "{error}"
    );
    assert!(averaged(&[("b", 1)], &[("b", 1)]).unwrap_err().to_string().ends_with("it has no moving averages"));
}

#[test]
fn settings_of_layers_are_no_variables() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, settings: &str| {
        let mut writer = CheckpointWriter::create(folder.path().join(name)).unwrap();
        writer.add("w", &Tensor::from_strings(&[1], [name]).unwrap()).unwrap();
        if !settings.is_empty() {
            let key = format!("layer/{}", SETTINGS.trim_start_matches('/'));
            writer.add(&key, &Tensor::from_strings(&[], [settings]).unwrap()).unwrap();
        }
        CheckpointReader::new(writer.finish().unwrap())
    };
    let (model, other) = (write("model", "the model's"), write("other", ""));
    let mapping = Mapping::find(&model, &other, &RestoreOptions::default()).unwrap();
    assert_eq!((mapping.pairs.len(), mapping.kept.len(), mapping.unused.len()), (1, 0, 0));
    let written = mapping.write(&model, &other, folder.path().join("new")).unwrap();
    let written = CheckpointReader::new(written);
    assert_eq!(written.read("w").unwrap(), other.read("w").unwrap());
    let settings = &written.index().entries[0].key;
    assert_eq!(written.read(settings).unwrap(), model.read(settings).unwrap());
}

#[test]
fn an_object_graph_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, graph: &Tensor| {
        let mut writer = CheckpointWriter::create(folder.path().join(name)).unwrap();
        writer.add(OBJECT_GRAPH_KEY, graph).unwrap();
        CheckpointReader::new(writer.finish().unwrap())
    };
    let number = write("number", &Tensor::scalar(1.0_f32).unwrap());
    let text = write("text", &Tensor::from_strings(&[], ["\u{1}\u{2}"]).unwrap());
    for damaged in [&number, &text] {
        let error = Mapping::find(damaged, damaged, &RestoreOptions::default()).unwrap_err();
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("its object graph: "), "{error}");
    }
}

#[test]
fn too_many_objects_are_not_tried() {
    let many: Vec<(&str, u64)> = vec![("a", 1); 300];
    // One object each, so that they count.
    let mut message = Vec::new();
    let mut root = Vec::new();
    for child in 1..=many.len() as u64 {
        let mut reference = Vec::new();
        number(&mut reference, 1, child);
        delimited(&mut reference, 2, format!("child{child}").as_bytes());
        delimited(&mut root, 1, &reference);
    }
    delimited(&mut message, 1, &root);
    many.iter().for_each(|_| delimited(&mut message, 1, &[]));
    let folder = tempfile::tempdir().unwrap();
    let mut writer = CheckpointWriter::create(folder.path().join("many")).unwrap();
    writer.add(OBJECT_GRAPH_KEY, &Tensor::from_strings(&[], [message]).unwrap()).unwrap();
    let many = CheckpointReader::new(writer.finish().unwrap());
    let (_folder, model) = checkpoint(&[("w", 1)], &[Of(&[("w", 1)]), Variable("w", "w")]);
    let error = Mapping::find(&model, &many, &RestoreOptions::default()).unwrap_err().to_string();
    assert!(error.contains("300 objects are at the root"), "{error}");
    let options = RestoreOptions { object: Some("child7".into()), ..RestoreOptions::default() };
    assert!(matches!(Mapping::find(&model, &many, &options), Err(Error::Checkpoint(CheckpointError::Mismatch(_)))));
}

#[test]
fn lists_in_messages_stay_short() {
    let missing: Vec<_> = (0..1000).map(|number| CheckpointVariable { key: number.to_string(), name: None }).collect();
    let other = CheckpointMismatch {
        checkpoint: Path::new("c").into(),
        model: Path::new("m").into(),
        missing,
        mismatches: Vec::new(),
        found: 0,
        extra: Vec::new(),
    };
    assert!(other.to_string().ends_with("`10`, `11` and 988 more"), "{other}");
}
