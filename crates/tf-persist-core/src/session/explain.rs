//! Hints for common errors of TensorFlow.

use std::path::Path;

use tf_persist_savedmodel::internals::runs_python;
use tf_persist_savedmodel::saved_model::MetaGraph;
use tf_persist_savedmodel::saved_model::last_tensorflow_with_kernel;

use crate::error::{Error, Hint};
use crate::runtime::Runtime;

/// Parts of messages about graphs that a newer TensorFlow wrote.
const OF_NEWER: [&str; 4] =
    ["NodeDef mentions attr", "invalid DataType enum", "GraphDef min consumer version", "GraphDef disallows consumer"];

/// Adds a hint to an error of loading.
pub(super) fn refusal(error: Error, path: &Path, meta_graph: &MetaGraph, runtime: &Runtime) -> Error {
    add_hint(error, |message| {
        let is_pattern = path.as_os_str().as_encoded_bytes().iter().any(|it| b"*?[\\".contains(it));
        if OF_NEWER.iter().any(|part| message.contains(part)) {
            let writer = match meta_graph.tensorflow_version() {
                "" => "an unknown TensorFlow".to_owned(),
                version => format!("TensorFlow {version}"),
            };
            let this = runtime.version();
            let hint = format!(
                "the model was written by {writer}, and this is {this}: use a libtensorflow of its version or later"
            );
            Some(hint.into())
        } else if message.contains("matching files") && is_pattern {
            Some("TensorFlow takes `*`, `?`, `[` and `\\` in a path for a pattern: rename the folder".into())
        } else if message.contains("fed more than once") {
            let hint =
                "the model lists an asset twice for this tensor, which Python lets pass: export it anew from there";
            Some(hint.into())
        } else if message.contains("Cannot assign a device for operation") {
            let hint = "the graph was pinned to machines of a cluster that it was trained on: export it anew, in Python with \
                        `clear_devices=True`";
            Some(hint.into())
        } else {
            of_kernels(message)
        }
    })
}

/// Adds a hint to an error of a run. Ops in functions, and empty tables, are first met in a run.
pub(super) fn failed_run(error: Error) -> Error {
    add_hint(error, |message| {
        of_kernels(message)
            .or_else(|| of_state(message))
            .or_else(|| of_examples(message))
            .or_else(|| of_onednn(message))
    })
}

/// A hint for a `tf.Example` that lacks a feature (`tensorflow/core/util/example_proto_fast_parsing.cc`).
fn of_examples(message: &str) -> Option<Hint> {
    let (before, _) = message.split_once(") is required but could not be found")?;
    let (feature, dtype) = before.rsplit_once("eature: ")?.1.rsplit_once(" (data type: ")?;
    let feature = feature.escape_debug();
    Some(format!("give every example the feature `{feature}`, of {dtype}: the graph has no default for it").into())
}

/// A hint for what TensorFlow computes by oneDNN alone, which it uses by default only on some processors
/// (`tensorflow/core/kernels/conv_ops_fused_impl.h`, `conv_grad_input_ops.h`).
fn of_onednn(message: &str) -> Option<Hint> {
    let messages = ["Fused conv implementation does not support", "Current CPU implementations do not yet support"];
    let lacks = messages.iter().any(|part| message.contains(part));
    lacks.then(|| {
        "set TF_ENABLE_ONEDNN_OPTS=1 in the environment: TensorFlow has no kernel for it without oneDNN".into()
    })
}

/// A hint for variables and tables without a value.
fn of_state(message: &str) -> Option<Hint> {
    let variable = ["Attempting to use uninitialized value", "Could not find variable", "is uninitialized"];
    if variable.iter().any(|part| message.contains(part)) {
        Some("the model was saved without a value for this variable, unless another signature gives it one".into())
    } else if message.contains("Table not initialized") {
        Some("nothing in the model fills this table: export it anew, with an init op".into())
    } else {
        None
    }
}

fn add_hint(error: Error, hint: impl FnOnce(&str) -> Option<Hint>) -> Error {
    let Error::TensorFlow { action, code, message, hint: None } = error else { return error };
    let hint = hint(&message);
    Error::TensorFlow { action, code, message, hint }
}

/// A hint for ops with no kernel, or with two.
fn of_kernels(message: &str) -> Option<Hint> {
    let op = || message.split_once("Op '")?.1.split('\'').next();
    if message.contains("No OpKernel was registered") {
        let op = op()?;
        if runs_python(op) {
            return Some("the model calls Python functions of the program that made it (`tf.py_function`), which no SavedModel holds: \
                         export it without them".into());
        }
        let hint = match last_tensorflow_with_kernel(op) {
            Some(version) => format!(
                "TensorFlow {version} was the last that could run `{op}`: export the model anew, or use a libtensorflow of that version"
            ),
            None => format!(
                "this TensorFlow knows `{op}` but cannot run it here: export the model anew, or use an older libtensorflow or one \
                 for the device that it was made for"
            ),
        };
        Some(hint.into())
    } else if message.contains("Multiple OpKernel registrations match") {
        Some("two op libraries with the same ops are loaded in this process: start it with one of them".into())
    } else if message.contains("Op type not registered") {
        Some(Hint::new("load the library that has the op, by its file or its package").set_to("op_library", "FILE.so"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_onednn_hint_at_it() {
        let message = "Fused conv implementation does not support grouped convolutions for now";
        assert!(of_onednn(message).unwrap().text().contains("TF_ENABLE_ONEDNN_OPTS=1"));
        let message = "Current CPU implementations do not yet support dilation rates larger than 1.";
        assert!(of_onednn(message).is_some());
        assert!(of_onednn("Incompatible shapes").is_none());
    }

    #[test]
    fn missing_kernel_hints_at_the_last_tensorflow_that_had_it() {
        let of =
            |op: &str| of_kernels(&format!("No OpKernel was registered to support Op '{op}' used by {{{{node x}}}}"));
        assert!(
            of("BoostedTreesPredict")
                .unwrap()
                .text()
                .contains("TensorFlow 2.8 was the last that could run `BoostedTreesPredict`")
        );
        assert!(of("TPUOrdinalSelector").unwrap().text().contains("knows `TPUOrdinalSelector` but cannot run it here"));
        assert!(of("EagerPyFunc").unwrap().text().contains("Python functions of the program that made it"));
        assert_eq!(of_kernels("No OpKernel was registered, says another"), None);
        assert!(
            of_kernels("Multiple OpKernel registrations match NodeDef").unwrap().text().contains("two op libraries")
        );
        assert_eq!(of_kernels("anything else"), None);
        let missing = "Name: <unknown>, Feature: a b (data type: int64) is required but could not be found.";
        assert_eq!(
            of_examples(missing).unwrap().text(),
            "give every example the feature `a b`, of int64: the graph has no default for it"
        );
        assert_eq!(of_examples("anything else"), None);
        assert!(of_state("Attempting to use uninitialized value w").unwrap().text().contains("without a value"));
        assert!(of_state("Table not initialized.").unwrap().text().contains("fills this table"));
        assert_eq!(of_state("anything else"), None);
    }
}
