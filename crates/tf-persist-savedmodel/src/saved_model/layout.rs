//! The names of the files and folders of a SavedModel (`tensorflow/cc/saved_model/constants.h`).

/// The graph, as a protobuf. TensorFlow prefers it to [`TEXT_GRAPH_FILE`].
pub const GRAPH_FILE: &str = "saved_model.pb";
/// The graph, as text.
pub const TEXT_GRAPH_FILE: &str = "saved_model.pbtxt";
/// The graph in chunks, which is not supported.
pub(crate) const CHUNKED_GRAPH_FILE: &str = "saved_model.cpb";

/// The folder of the variables.
pub const VARIABLES: &str = "variables";
/// The prefix of the checkpoint's files in a model. A checkpoint of the first format is a file of this name.
pub const VARIABLES_PREFIX: &str = "variables/variables";

/// Hashes of the model's parts.
pub const FINGERPRINT: &str = "fingerprint.pb";

/// Files and folders besides graph, variables and fingerprint: assets, files for servers, Keras's metadata, debug
/// information, and the batching file of TensorFlow Serving.
pub(crate) const PARTS: [&str; 5] = ["assets", "assets.extra", "keras_metadata.pb", "debug", "batching_params.pbtxt"];

/// The state of an interrupted training.
pub const STATE_FILE: &str = "assets.extra/tf-persist-training.json";

/// How a model was optimised, and of which one.
pub(crate) const OPTIMIZED_FILE: &str = "assets.extra/tf-persist-optimized.json";

/// The names of all files and folders that belong to a model whose graph is in this file.
pub(crate) fn parts_with(graph: &str) -> Vec<&str> {
    [graph, FINGERPRINT, VARIABLES].into_iter().chain(PARTS).collect()
}
