//! Threads within an op belong to the process: its first session decides how many there are.
//!
//! Needs libtensorflow (`TF_PERSIST_LIBTENSORFLOW`, or the repository's `.venv`); without it, says so and passes. One test alone: no
//! other session may be the first of this process.

use std::env;
use std::path::{Path, PathBuf};

use tf_persist_core::runtime::{Runtime, Search};
use tf_persist_core::{LoadOptions, LoadedModel};

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn a_session_that_asks_for_another_number_is_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = env::var_os("TF_PERSIST_LIBTENSORFLOW").map_or_else(|| root.join(".venv"), PathBuf::from);
    let Ok(runtime) = Runtime::open_with(&Search::only(library)) else {
        println!("SKIPPED: there is no libtensorflow");
        return;
    };
    let other = |threads: i32| {
        let options = LoadOptions::default().runtime(runtime.clone()).intra_op_threads(threads);
        LoadedModel::load(root.join("models/half_plus_two/model"), options).unwrap().other_intra_op_threads()
    };
    assert_eq!([other(3), other(5), other(3), other(1)], [None, Some(3), None, Some(3)]);
    let docs = std::fs::read_to_string(root.join("docs/serve.md")).unwrap();
    assert!(docs.contains("the first model that it loads decides how many there are"), "docs/serve.md says so");
}
