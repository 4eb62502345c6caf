//! Opens every SavedModel of the corpus, and compares the result with that of Python TensorFlow (`meta.json`).
//!
//! Needs `TF_PERSIST_CORPUS`, the folder with `dev/` and `negative/`; without it, says so and passes. TensorFlow is not
//! needed.

#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tf_persist_savedmodel::checkpoint::{CheckpointReader, CheckpointWriter, Entry, index_path, shard_path};
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel, SignatureDef, TensorInfo, parse_tensor_name};
use tf_persist_savedmodel::{DType, Error, SavedModelError};
use tf_persist_testing::corpus;

/// The cases of a part of the corpus that have a SavedModel: name, folder, `meta.json`.
fn cases(part: &Path) -> Vec<(String, PathBuf, Value)> {
    let mut cases: Vec<_> = fs::read_dir(part)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|case| case.join("model").is_dir())
        .map(|case| {
            let meta = serde_json::from_slice(&fs::read(case.join("meta.json")).unwrap()).unwrap();
            (case.file_name().unwrap().to_string_lossy().into_owned(), case.join("model"), meta)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!cases.is_empty(), "no models in {}", part.display());
    cases
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `[dtype, shape, tensor name]`, as in `meta.json`.
fn described(info: &TensorInfo) -> Value {
    let shape = match info.shape.sizes() {
        None => Value::from("unknown"),
        Some(sizes) => sizes.iter().map(|size| size.map_or(-1, u64::cast_signed)).collect::<Vec<i64>>().into(),
    };
    Value::Array(vec![info.dtype.name().into(), shape, info.tensor_names()[0].into()])
}

fn compare_signature(what: &str, signature: &SignatureDef, expected: &Value) {
    assert_eq!(signature.method_name, expected["method"].as_str().unwrap(), "{what}");
    for (side, infos) in [("inputs", &signature.inputs), ("outputs", &signature.outputs)] {
        let ours: BTreeMap<_, _> = infos.iter().map(|(name, info)| (name.as_str(), described(info))).collect();
        let theirs: BTreeMap<_, _> =
            expected[side].as_object().unwrap().iter().map(|(name, info)| (name.as_str(), info.clone())).collect();
        assert_eq!(ours, theirs, "{what}: {side}");
        for (_, info) in infos {
            info.tensor_names().into_iter().for_each(|name| assert!(parse_tensor_name(name).is_ok(), "{what}: {name}"));
        }
    }
    let defaults: Vec<_> = signature.defaults.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(defaults, texts(&expected["defaults"]), "{what}");
}

fn compare_meta_graph(what: &str, graph: &MetaGraph, expected: &Value) {
    assert_eq!(graph.tags(), texts(&expected["tags"]), "{what}");
    assert_eq!(graph.tensorflow_version(), expected["tf"], "{what}");
    assert_eq!(graph.git_version(), expected["git"], "{what}");
    assert_eq!(graph.nodes(), expected["nodes"], "{what}");
    assert_eq!(graph.functions(), expected["functions"], "{what}");
    assert_eq!(graph.producer(), expected["producer"], "{what}");
    assert_eq!(graph.object_graph_nodes().unwrap_or_default(), expected["object_graph"], "{what}");
    assert_eq!(graph.saver().map_or(0, |saver| saver.version), expected["saver"], "{what}");
    for collection in texts(&expected["init"]) {
        assert!(graph.collections().iter().any(|name| name == collection), "{what}: {collection}");
    }
    let assets = texts(&expected["assets"]);
    if !assets.is_empty() {
        assert_eq!(graph.assets().iter().map(|asset| &asset.filename).collect::<Vec<_>>(), assets, "{what}");
    }
    // What Python lists among the signatures and is an operation is an init op to us.
    let signatures = expected["signatures"].as_object().unwrap();
    let (operations, signatures): (Vec<_>, Vec<_>) = signatures.iter().partition(|(name, _)| name.starts_with("__"));
    assert_eq!(graph.signatures().len(), signatures.len(), "{what}");
    for (name, signature) in signatures {
        compare_signature(&format!("{what}: {name}"), graph.signature(name).unwrap(), signature);
    }
    for (name, operation) in operations {
        assert_eq!(graph.init_op().unwrap().source.name(), name, "{what}");
        assert_eq!(graph.init_op().unwrap().operation, operation["outputs"][name][2], "{what}");
    }
}

#[test]
fn every_model_is_what_python_says() {
    let Some(corpus) = corpus("every_model_is_what_python_says") else { return };
    for (what, folder, meta) in cases(&corpus.join("dev")) {
        let model = SavedModel::open(&folder).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = meta["meta_graphs"].as_array().unwrap();
        assert_eq!(model.meta_graphs().len(), expected.len(), "{what}");
        for (graph, expected) in model.meta_graphs().iter().zip(expected) {
            compare_meta_graph(&what, graph, expected);
            model.check(graph).unwrap_or_else(|error| panic!("{what}: {error}"));
            let assets = model.assets(graph).unwrap();
            assert!(assets.missing.is_empty() && assets.escaping.is_empty(), "{what}: {assets:?}");
            let needs_library = !texts(&meta["custom_op_libs"]).is_empty();
            assert_eq!(needs_library, !graph.custom_ops().is_empty(), "{what}: {:?}", graph.custom_ops());
        }
        let tags: Vec<String> = texts(&meta["tags"]).into_iter().map(str::to_owned).collect();
        model.meta_graph(Some(&tags)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let variables = model.variables().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(variables.index.is_some(), folder.join("variables/variables.index").exists(), "{what}");
        if let Some(fingerprint) = model.fingerprint().unwrap() {
            assert_eq!(fingerprint.checkpoint.name(), "matches", "{what}");
        }
    }
}

/// The bytes of all shards are those of the tensors in the index: nothing is counted twice, nothing left out.
#[test]
fn every_byte_of_the_shards_is_accounted_for() {
    let Some(corpus) = corpus("every_byte_of_the_shards_is_accounted_for") else { return };
    for part in ["dev", "negative"] {
        for (what, folder, _) in cases(&corpus.join(part)) {
            let Ok(model) = SavedModel::open(&folder) else { continue };
            let Some(index) = &model.variables().unwrap_or_else(|error| panic!("{what}: {error}")).index else {
                continue;
            };
            let shards = fs::read_dir(folder.join("variables")).unwrap().map(|entry| entry.unwrap());
            let shards = shards.filter(|entry| entry.file_name().to_string_lossy().contains(".data-"));
            let on_disk: u64 = shards.map(|entry| entry.metadata().unwrap().len()).sum();
            assert_eq!(index.total_bytes(), on_disk, "{what}");
        }
    }
}

#[test]
fn models_that_fail_are_told_apart() {
    let Some(corpus) = corpus("models_that_fail_are_told_apart") else { return };
    let path = |name: &str| corpus.join("negative").join(name).join("model");

    let error = SavedModel::open(path("session_bundle_pre_savedmodel")).unwrap_err();
    assert!(
        matches!(&error, Error::SavedModel(SavedModelError::NotASavedModel { reason, .. }) if reason.contains("SessionBundle")),
        "{error}"
    );

    let model = SavedModel::open(path("estimator_tf113_no_variables_dir")).unwrap();
    let error = model.check(model.meta_graph(None).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`variables/variables.index` is missing"), "{error}");

    let model = SavedModel::open(path("wrong_tags")).unwrap();
    let error = model.meta_graph(Some(&["serve".to_owned()])).unwrap_err();
    assert!(error.to_string().contains("it has `transform`"), "{error}");
    assert_eq!(model.meta_graph(None).unwrap().tags(), ["transform"]);

    let model = SavedModel::open(path("tfdf_without_library")).unwrap();
    let custom = model.meta_graph(None).unwrap().custom_ops();
    assert!(custom.keys().all(|op| op.starts_with("SimpleML")) && !custom.is_empty(), "{custom:?}");
    assert!(model.signature("serving_default").is_ok());

    // TensorFlow still defines the op whose kernel is gone: nothing but a load can tell.
    let model = SavedModel::open(path("taxi_estimator_removed_kernel")).unwrap();
    let graph = model.meta_graph(None).unwrap();
    assert!(graph.ops().contains_key("BoostedTreesBucketize") && graph.custom_ops().is_empty());
    model.check(graph).unwrap();
}

/// Every tensor of every checkpoint has the checksum that TensorFlow gave it.
#[test]
fn every_variable_reads_with_a_right_checksum() {
    let Some(corpus) = corpus("every_variable_reads_with_a_right_checksum") else { return };
    let mut bytes = 0;
    for (what, folder, _) in cases(&corpus.join("dev")) {
        let model = SavedModel::open(&folder).unwrap();
        let Some(index) = model.variables().unwrap().index.clone() else { continue };
        let reader = CheckpointReader::new(index);
        for entry in &reader.index().entries {
            let read = match entry.dtype {
                DType::Other(_) => reader.read_bytes(&entry.key),
                _ => reader.read(&entry.key),
            };
            let tensor = read.unwrap_or_else(|error| panic!("{what}: {error}"));
            bytes += entry.bytes();
            assert_eq!(tensor.len(), entry.shape.iter().product::<usize>(), "{what}: {}", entry.key);
        }
    }
    assert!(bytes > 0);
}

/// What TensorFlow wrote in one shard, we write again byte for byte.
#[test]
fn checkpoints_are_written_as_tensorflow_writes_them() {
    let Some(corpus) = corpus("checkpoints_are_written_as_tensorflow_writes_them") else { return };
    let (mut same, mut compressed) = (0, Vec::new());
    for (what, folder, _) in cases(&corpus.join("dev")) {
        let model = SavedModel::open(&folder).unwrap();
        let Some(index) = model.variables().unwrap().index.clone() else { continue };
        let plain = |entry: &Entry| !entry.is_partitioned() && entry.dtype.is_supported();
        if index.num_shards != 1 || !index.entries.iter().all(plain) {
            continue;
        }
        let mut entries: Vec<&Entry> = index.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.parts[0].offset, entry.bytes()));
        let reader = CheckpointReader::new(index.clone());
        let work = tempfile::tempdir().unwrap();
        let prefix = work.path().join("variables");
        let mut writer = CheckpointWriter::create(&prefix).unwrap();
        for entry in entries {
            writer.add(&entry.key, &reader.read(&entry.key).unwrap()).unwrap();
        }
        assert_eq!(writer.finish().unwrap().entries, index.entries, "{what}");
        let equal = |a: PathBuf, b: PathBuf| fs::read(a).unwrap() == fs::read(b).unwrap();
        assert!(equal(shard_path(&prefix, 0, 1), shard_path(&index.prefix, 0, 1)), "{what}");
        if equal(index_path(&prefix), index_path(&index.prefix)) {
            same += 1;
        } else {
            // Some builds of TensorFlow compress the index.
            let length = |path: PathBuf| fs::metadata(path).unwrap().len();
            assert!(length(index_path(&prefix)) > length(index_path(&index.prefix)), "{what}");
            compressed.push(what);
        }
    }
    eprintln!("{same} indices are the same; compressed: {compressed:?}");
    assert!(same > 0);
}
