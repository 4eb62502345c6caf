//! The variables that the collections of a meta graph define.

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::meta_graph::collection_def::Kind;

/// Collections of `VariableDef`s (`tf.compat.v1.GraphKeys`).
pub(crate) const VARIABLE_COLLECTIONS: [&str; 7] = [
    "variables",
    "trainable_variables",
    "local_variables",
    "model_variables",
    "moving_average_variables",
    "metric_variables",
    "global_step",
];

/// The variables that the collections define.
pub(crate) fn variable_definitions(definition: &pb::MetaGraphDef) -> Vec<pb::VariableDef> {
    VARIABLE_COLLECTIONS.iter().flat_map(|name| variables(definition, name)).collect()
}

fn variables(definition: &pb::MetaGraphDef, collection: &str) -> Vec<pb::VariableDef> {
    match definition.collection_def.get(collection).and_then(|collection| collection.kind.as_ref()) {
        Some(Kind::BytesList(list)) => {
            list.value.iter().filter_map(|bytes| tf_persist_proto::parse(bytes).ok()).collect()
        }
        _ => Vec::new(),
    }
}
