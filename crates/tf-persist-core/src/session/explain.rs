//! What to do about the refusals of TensorFlow that people meet.

use std::path::Path;

use crate::error::Error;
use crate::runtime::Runtime;
use crate::saved_model::{MetaGraph, last_tensorflow_with_kernel};

/// Adds what to do to a refusal to load a model.
pub(super) fn refusal(error: Error, path: &Path, meta_graph: &MetaGraph, runtime: &Runtime) -> Error {
    add_hint(error, |message| {
        let is_pattern = path.as_os_str().as_encoded_bytes().iter().any(|it| b"*?[\\".contains(it));
        if message.contains("NodeDef mentions attr") || message.contains("invalid DataType enum") {
            let writer = match meta_graph.tensorflow_version() {
                "" => "an unknown TensorFlow".to_owned(),
                version => format!("TensorFlow {version}"),
            };
            let this = runtime.version();
            Some(format!(
                "the model was written by {writer}, and this is {this}: use a libtensorflow of its version or later"
            ))
        } else if message.contains("matching files") && is_pattern {
            Some("TensorFlow takes `*`, `?`, `[` and `\\` in a path for a pattern: rename the folder".to_owned())
        } else {
            of_kernels(message)
        }
    })
}

/// Adds what to do to a refusal to run: ops in functions are looked up no earlier.
pub(super) fn failed_run(error: Error) -> Error {
    add_hint(error, of_kernels)
}

fn add_hint(error: Error, hint: impl FnOnce(&str) -> Option<String>) -> Error {
    let Error::TensorFlow { action, code, message, hint: None } = error else { return error };
    let hint = hint(&message);
    Error::TensorFlow { action, code, message, hint }
}

/// Ops that run Python code: their kernels are in Python's TensorFlow, and their code in the process that made the graph.
const PYTHON_OPS: [&str; 3] = ["EagerPyFunc", "PyFunc", "PyFuncStateless"];

/// What to do where an op has no kernel, or two.
fn of_kernels(message: &str) -> Option<String> {
    let op = || message.split_once("Op '")?.1.split('\'').next();
    if message.contains("No OpKernel was registered") {
        let op = op()?;
        if PYTHON_OPS.contains(&op) {
            return Some("the model calls Python functions of the program that made it (`tf.py_function`), which no SavedModel holds: \
                         export it without them".into());
        }
        Some(match last_tensorflow_with_kernel(op) {
            Some(version) => format!(
                "TensorFlow {version} was the last that could run `{op}`: export the model anew, or use a libtensorflow of that version"
            ),
            None => format!(
                "this TensorFlow knows `{op}` but cannot run it here: export the model anew, or use an older libtensorflow or one \
                 for the device that it was made for"
            ),
        })
    } else if message.contains("Multiple OpKernel registrations match") {
        Some("two op libraries with the same ops are loaded in this process: start it with one of them".into())
    } else if message.contains("Op type not registered") {
        Some("load the library that has the op with --op-library FILE.so or --op-library PACKAGE".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_gone_leads_to_the_last_tensorflow_that_had_it() {
        let of =
            |op: &str| of_kernels(&format!("No OpKernel was registered to support Op '{op}' used by {{{{node x}}}}"));
        assert!(
            of("BoostedTreesPredict")
                .unwrap()
                .contains("TensorFlow 2.8 was the last that could run `BoostedTreesPredict`")
        );
        assert!(of("TPUOrdinalSelector").unwrap().contains("knows `TPUOrdinalSelector` but cannot run it here"));
        assert!(of("EagerPyFunc").unwrap().contains("Python functions of the program that made it"));
        assert_eq!(of_kernels("No OpKernel was registered, says another"), None);
        assert!(of_kernels("Multiple OpKernel registrations match NodeDef").unwrap().contains("two op libraries"));
        assert_eq!(of_kernels("anything else"), None);
    }
}
