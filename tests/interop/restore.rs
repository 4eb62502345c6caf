//! A model with the variables of a training checkpoint gives the answers of the training; Python wrote both.

use std::fs;
use std::path::Path;

use tf_persist_core::checkpoint::restore::{Mapping, Matched, RestoreOptions};
use tf_persist_core::checkpoint::{CheckpointReader, copy_checkpoint, find_checkpoint, index_path};
use tf_persist_core::{CheckpointError, DType, ModelError, SaveOptions, SavedModel, Setting};
use tf_persist_testing::{corpus, root};

use crate::python;

/// The expected result of a case.
struct Case {
    name: &'static str,
    /// The path of the checkpoint, below the case's folder.
    given: &'static str,
    options: RestoreOptions,
    matched: Matched,
    /// Prefixes of the keys that keep the model's value.
    kept: &'static [&'static str],
    grown: bool,
    averages: usize,
}

fn objects(model: &str, checkpoint: &str) -> Matched {
    Matched::Objects { model: model.into(), checkpoint: checkpoint.into() }
}

fn options(keep_missing: bool, object: Option<&str>) -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.keep_missing = keep_missing;
    options.object = object.map(Into::into);
    options
}

fn cases() -> Vec<Case> {
    let case = |name, given, matched| {
        let options = options(false, None);
        Case { name, given, options, matched, kept: &[], grown: false, averages: 0 }
    };
    vec![
        case("keys", "checkpoint", Matched::Keys),
        case("objects", "training", objects("", "model")),
        case("root_inside", "checkpoint.index", objects("net", "")),
        Case {
            options: options(false, Some("generator")),
            ..case("two_objects", "checkpoint", objects("", "generator"))
        },
        case("slots", "checkpoint.data-00000-of-00001", objects("", "trainer")),
        Case { options: options(true, None), kept: &["steps/"], ..case("missing", "checkpoint", Matched::Keys) },
        case("keras_saved", "training/checkpoint-1", objects("", "model")),
        // The seed of the dropout, which checkpoints of Keras models never have; the model saves it twice.
        Case {
            options: options(true, None),
            kept: &["_all_variables/", "variables/2/"],
            ..case("keras_archive", "checkpoint", Matched::Names)
        },
        Case {
            options: options(true, None),
            kept: &["metrics/", "seeds/"],
            ..case("keras_script", "training", Matched::Names)
        },
        case("keras_renumbered", "checkpoint", Matched::Names),
        case("session_saver", "training", Matched::Keys),
        case("session_partitioned", "training/model.ckpt-20", Matched::Keys),
        case("session_objects", "checkpoint", Matched::Names),
        grown(case("grown_variable", "checkpoint", objects("", "model"))),
        grown(case("grown_tables", "checkpoint", objects("", "model"))),
        grown(case("session_tables", "training", Matched::Keys)),
        averages(2, case("session_averages", "training", Matched::Keys)),
        averages(2, case("session_averages_in_scope", "training", Matched::Keys)),
        averages(2, case("session_averages_partitioned", "training", Matched::Keys)),
        averages(
            12,
            Case {
                options: options(true, None),
                kept: &["_all_variables/", "variables/2/"],
                ..case("keras_averages", "checkpoint", Matched::Names)
            },
        ),
        case("keras_scope", "checkpoint", Matched::Names),
    ]
}

/// The checkpoint has other shapes than the model, which its graph permits.
fn grown(case: Case) -> Case {
    Case { grown: true, ..case }
}

/// `count` variables take their moving average.
fn averages(count: usize, mut case: Case) -> Case {
    case.options.moving_averages = true;
    Case { averages: count, ..case }
}

fn model(folder: &Path) -> CheckpointReader {
    CheckpointReader::open(folder.join("model/variables/variables")).unwrap()
}

fn checkpoint(path: &Path) -> CheckpointReader {
    CheckpointReader::open(find_checkpoint(path).unwrap()).unwrap()
}

/// The error for a checkpoint.
fn refusal(folder: &Path, options: &RestoreOptions) -> ModelError {
    Mapping::find(&model(folder), &checkpoint(&folder.join("checkpoint")), options).unwrap_err()
}

fn restore(made: &Path, case: &Case) {
    let folder = made.join(case.name);
    let (model, checkpoint) = (model(&folder), checkpoint(&folder.join(case.given)));
    let restored = folder.join("restored");
    let save = SaveOptions::default().from_checkpoint(folder.join(case.given), case.options.clone());
    let saved = SavedModel::open(folder.join("model")).unwrap().save(&restored, save);
    let mapping = saved.unwrap_or_else(|error| panic!("{}: {error}", case.name)).restored.unwrap();
    // The checkpoints do not have the shapes that the graph declares.
    let alone = Mapping::find(&model, &checkpoint, &case.options);
    assert_eq!(alone.ok().as_ref() == Some(&mapping), !case.grown, "{}", case.name);
    assert_eq!(mapping.averages(), case.averages, "{}: {:?}", case.name, mapping.pairs);
    assert_eq!(mapping.matched, case.matched, "{}", case.name);
    let expected = |key: &&String| case.kept.iter().any(|kept| key.starts_with(kept));
    assert_eq!(mapping.kept.iter().filter(|key| !expected(key)).count(), 0, "{}: kept {:?}", case.name, mapping.kept);
    assert!(mapping.kept.len() < mapping.pairs.len(), "{}: kept {:?}", case.name, mapping.kept);
    assert_eq!(mapping.kept.is_empty(), case.kept.is_empty(), "{}", case.name);

    let described = |reader: &CheckpointReader| -> Vec<_> {
        let entries = reader.index().entries.iter();
        entries.map(|entry| (entry.key.clone(), entry.dtype, entry.shape.clone())).collect()
    };
    let written = CheckpointReader::open(restored.join("variables/variables")).unwrap();
    assert_eq!(described(&written) == described(&model), !case.grown, "{}", case.name);
    for pair in &mapping.pairs {
        let read = |reader: &CheckpointReader, key: &str| match reader.index().get(key).unwrap().dtype {
            DType::String => reader.read(key).unwrap(),
            _ => reader.read_bytes(key).unwrap(),
        };
        let (ours, theirs) = (read(&written, &pair.key), read(&checkpoint, &pair.source));
        assert_eq!(ours, theirs, "{}: {}", case.name, pair.key);
    }
}

#[test]
fn models_take_training_checkpoints() {
    let work = tempfile::tempdir().unwrap();
    let made = work.path().join("cases");
    python::run("models.make_checkpoints", ["make".as_ref(), made.as_os_str()]);

    for case in cases() {
        restore(&made, &case);
    }
    let checked = python::run("models.make_checkpoints", ["check".as_ref(), made.as_os_str()]);
    assert_eq!(checked.lines().count(), cases().len(), "{checked}");

    refused(&made);
}

/// Checkpoints that must be refused, with their errors.
fn refused(cases: &Path) {
    let mut averages = options(false, None);
    averages.moving_averages = true;
    let text = refusal(&cases.join("keys"), &averages).to_string();
    assert!(text.ends_with("it has no moving averages"), "{text}");
    let shapes = refusal(&cases.join("grown_variable"), &options(false, None)).to_string();
    assert!(shapes.contains("is float32[2, 2] in the model and float32[5, 2] in the checkpoint"), "{shapes}");

    let none = RestoreOptions::default();
    let ModelError::Checkpoint(CheckpointError::Mismatch(other)) = refusal(&cases.join("shapes"), &none) else {
        panic!("shapes")
    };
    assert!(other.missing.is_empty());
    let text = other.to_string();
    for part in [
        "`layers/0` is float32[4, 3] in the model and float32[4, 5] in the checkpoint",
        "`steps` is int64[] in the model and float32[] in the checkpoint",
        "it has besides `more`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // A variable of another shape is not reported as missing.
    assert!(matches!(
        refusal(&cases.join("shapes"), &options(true, None)),
        ModelError::Checkpoint(CheckpointError::Mismatch(_))
    ));

    let error = refusal(&cases.join("missing"), &none);
    assert!(error.to_string().ends_with("is not one of this model: it lacks `steps`"), "{error}");
    assert!(error.hint().unwrap().settings() == [Setting::Set("keep_missing")]);

    let error = refusal(&cases.join("two_objects"), &none);
    let text = error.to_string();
    assert!(
        text.contains("could be the model's `layers/0`: `discriminator/layers/0` and `generator/layers/0`"),
        "{text}"
    );
    assert!(error.hint().unwrap().settings() == [Setting::Set("object")]);
    let text = refusal(&cases.join("two_objects"), &options(false, Some("critic"))).to_string();
    assert!(
        text.contains("no object and no scope `critic`; at its root are `discriminator` and `generator`"),
        "{text}"
    );

    let folder = cases.join("keras_script");
    let error = Mapping::find(&model(&folder), &checkpoint(&folder.join("training")), &none).unwrap_err();
    let ModelError::Checkpoint(CheckpointError::Mismatch(other)) = error else { panic!("{error}") };
    assert!(other.missing.iter().all(|it| it.key.starts_with("metrics/") || it.key.starts_with("seeds/")), "{other}");

    let folder = cases.join("keras_archive");
    let text = refusal(&folder, &none).to_string();
    assert!(text.contains("`variables/2` (`seed_generator"), "{text}");

    let error = find_checkpoint(cases.join("keras_saved/x.weights.h5")).unwrap_err();
    assert!(
        error.to_string().contains("Keras's own format")
            && error.hint().unwrap().text().contains("tf.train.Checkpoint")
    );

    // A checkpoint of an unrelated model, with and without `keep_missing`.
    let (ours, theirs) = (model(&cases.join("session_saver")), checkpoint(&cases.join("keys/checkpoint")));
    for keep_missing in [false, true] {
        let error = Mapping::find(&ours, &theirs, &options(keep_missing, None)).unwrap_err().to_string();
        assert!(error.contains("it lacks `layer/kernel` and `bias`; it has besides `layers/0`"), "{error}");
    }
    let error = Mapping::find(&ours, &ours, &options(false, Some("model"))).unwrap_err().to_string();
    assert!(error.contains("it has no object graph and no scope `model`"), "{error}");
}

/// The variables of all models, of TensorFlow 1.0 to 2.21, can be restored into the same model unchanged.
#[test]
fn models_take_their_own_variables() {
    let work = tempfile::tempdir().unwrap();
    let mut folders = vec![root().join("models")];
    folders.extend(corpus("models_take_their_own_variables").map(|corpus| corpus.join("dev")));
    let mut count = 0;
    for folder in folders {
        for entry in fs::read_dir(folder).unwrap() {
            let prefix = entry.unwrap().path().join("model/variables/variables");
            if !index_path(&prefix).exists() {
                continue;
            }
            let model = CheckpointReader::open(&prefix).unwrap();
            let mapping = Mapping::find(&model, &model, &RestoreOptions::default()).unwrap();
            assert!(mapping.pairs.iter().all(|pair| pair.key == pair.source), "{}", prefix.display());
            assert!(mapping.kept.is_empty() && mapping.unused.is_empty(), "{}", prefix.display());
            let copied = copy_checkpoint(&prefix, work.path().join(format!("{count}/variables"))).unwrap();
            assert_eq!(copied.entries, model.index().entries, "{}", prefix.display());
            mapping.write(&model, &model, work.path().join(format!("{count}/written"))).unwrap();
            count += 1;
        }
    }
    assert!(count >= 5, "{count}");
}
