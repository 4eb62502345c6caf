//! How many outputs nodes have.

use tf_persist_proto::tensorflow as pb;

use crate::graph::attr;
use crate::ops::{is_known_op, output_names, outputs};

/// The number of a node's outputs; `None` if its op is not known.
pub(super) fn count(node: &pb::NodeDef) -> Option<usize> {
    match outputs(&node.op) {
        Some(mut dtypes) => dtypes.try_fold(0_usize, |sum, dtype| sum.checked_add(count_of(node, dtype)?)),
        None => is_known_op(&node.op).then_some(0),
    }
}

/// The number of a node's outputs before the one with this name.
pub(super) fn before(node: &pb::NodeDef, output: &str) -> Option<usize> {
    let mut sum = 0_usize;
    for (name, dtype) in output_names(&node.op)?.zip(outputs(&node.op)?) {
        if name.trim_end_matches('*') == output {
            return Some(sum);
        }
        sum = sum.checked_add(count_of(node, dtype)?)?;
    }
    None
}

/// The number of outputs with one name, of their dtype in the notation of [`outputs`].
fn count_of(node: &pb::NodeDef, dtype: &str) -> Option<usize> {
    if let Some(list) = dtype.strip_prefix('[') {
        Some(attr::list_of_types(node, list.strip_suffix(']')?).len())
    } else if let Some((_, number)) = dtype.split_once('*') {
        usize::try_from(node.attr.get(number)?.i()).ok()
    } else {
        Some(1)
    }
}
