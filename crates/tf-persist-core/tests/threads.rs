//! Threads within an op belong to the process: its first session decides how many there are.
//!
//! Needs libtensorflow (`TF_PERSIST_LIBTENSORFLOW`, or the repository's `.venv`); without it, says so and passes. One
//! test alone: no other session may be the first of this process.

use tf_persist_core::runtime::{Runtime, Search};
use tf_persist_core::{LoadOptions, LoadedModel};
use tf_persist_testing::{libtensorflow, model, root, skipped};

#[test]
fn session_with_another_number_of_threads_is_told() {
    let Ok(runtime) = Runtime::open_with(&Search::only(libtensorflow())) else {
        return skipped("session_with_another_number_of_threads_is_told", "there is no libtensorflow");
    };
    let other = |threads: i32| {
        let options = LoadOptions::default().runtime(runtime.clone()).intra_op_threads(threads);
        LoadedModel::load(model("half_plus_two"), options).unwrap().other_intra_op_threads()
    };
    assert_eq!([other(3), other(5), other(3), other(1)], [None, Some(3), None, Some(3)]);
    let docs = std::fs::read_to_string(root().join("docs/serve_performance.md")).unwrap();
    assert!(docs.contains("the first model that it loads sets its size"), "docs/serve_performance.md says so");
}
