//! Differences between exports of Python, and between models and our exports.

use std::path::Path;

use tf_persist_core::diff::{Diff, DiffOptions, MetaGraphDiff, VariableChange, diff};
use tf_persist_core::{LoadOptions, LoadSavedModel, SaveOptions, SavedModel};
use tf_persist_testing::corpus;

use crate::python;
use crate::recorded::{Recorded, models};

fn compare(a: &Path, b: &Path) -> Diff {
    let open = |path: &Path| SavedModel::open(path).unwrap_or_else(|error| panic!("{error}"));
    diff(&open(a), &open(b), &DiffOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn exports_of_python_differ_only_in_the_change() {
    let work = tempfile::tempdir().unwrap();
    python::run("models.make_diff_pairs", [work.path()]);
    let with = |a: &str, b: &str| compare(&work.path().join(a), &work.path().join(b));
    for again in ["again", "process"] {
        let diff = with("first", again);
        assert!(diff.is_same(), "{again}: {diff:?}");
    }
    let trained = with("first", "trained");
    assert_eq!(trained.parts(), ["variables"], "{trained:?}");
    let step = trained.variables.changed.iter().find(|variable| variable.name == "step").unwrap();
    assert!(matches!(&step.change, VariableChange::Values(values) if values.largest_absolute == Some(3.0)), "{step:?}");

    let constant = with("first", "constant");
    assert_eq!(constant.parts(), ["functions", "graph"]);
    let functions = &constant.meta_graphs[0].graph.functions;
    assert!(functions.changed.iter().all(|name| name.contains("while_cond_false")), "{functions:?}");
    assert!(functions.callers > 0 && functions.added.is_empty() && functions.removed.is_empty(), "{functions:?}");
    assert_eq!(with("first", "swapped").parts(), ["functions", "graph"]);
    assert_eq!(with("first", "tables").parts(), ["graph"]);

    // `--inference-only` removes parts, and leaves the rest unchanged.
    let exported = work.path().join("exported");
    let saved_model = SavedModel::open(work.path().join("first")).unwrap();
    saved_model.save(&exported, SaveOptions::default().inference_only(true)).unwrap();
    let inference = with("first", "exported");
    assert_eq!(inference.parts(), ["signatures", "ops", "functions", "graph", "variables"], "{inference:?}");
    let MetaGraphDiff { signatures, graph, .. } = &inference.meta_graphs[0];
    assert!(
        matches!(&signatures[..], [train] if train.name == "train" && train.added == Some(false)),
        "{signatures:?}"
    );
    assert!(graph.functions.added.is_empty() && graph.functions.removed.iter().any(|name| name.contains("train")));
    assert!(inference.variables.added.is_empty() && inference.variables.changed.is_empty());
    // The training step, and the weights, which the module tracks twice.
    assert!(inference.variables.removed.contains(&"step".to_owned()), "{:?}", inference.variables);

    assert!(with("v1_first", "v1_again").is_same());
    let v1 = with("v1_first", "v1_loop");
    assert_eq!(
        (v1.parts(), &v1.meta_graphs[0].graph.nodes.changed[..]),
        (vec!["graph"], &["while/add_1/y (Const)".into()][..])
    );
}

#[test]
fn our_models_equal_their_exports() {
    exports(&models());
}

#[test]
fn real_models_equal_their_exports() {
    let Some(corpus) = corpus("real_models_equal_their_exports") else { return };
    let dev = Recorded::all(&corpus.join("dev"));
    exports(&dev.into_iter().filter(|recorded| recorded.meta.custom_op_libs.is_empty()).collect::<Vec<_>>());
}

/// Its init op draws new values for two variables at every load.
const REINITIALISED: &str = "tf112_half_plus_two_mkl_conv";

/// Compares each model with itself and with its export, whose variables TensorFlow wrote again.
fn exports(all: &[Recorded]) {
    let work = tempfile::tempdir().unwrap();
    for recorded in all {
        let itself = compare(&recorded.model, &recorded.model);
        assert!(itself.is_same(), "{}: {itself:?}", recorded.name);
        let exported = work.path().join(&recorded.name);
        let saved_model = SavedModel::open(&recorded.model).unwrap();
        let model = saved_model.load(LoadOptions::default().tags(&recorded.meta.tags)).unwrap();
        model.save(&exported, SaveOptions::default()).unwrap();
        let diff = compare(&recorded.model, &exported);
        if recorded.name == REINITIALISED {
            assert_eq!(diff.parts(), ["variables"], "{diff:?}");
        } else {
            assert!(diff.is_same(), "{}: {diff:?}", recorded.name);
        }
    }
}
