//! Ops that call functions with their inputs (`tensorflow/core/ops/{functional_ops,batch_ops,tpu_replication_ops}.cc`).

/// How the inputs of an op become the arguments of the functions that it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallOp {
    /// The attributes that name the functions. All of them get the same arguments.
    pub(crate) attributes: &'static [&'static str],
    /// The input that is the first argument.
    pub(crate) first: usize,
    /// The attributes that list the arguments' dtypes, one after the other.
    pub(crate) types: &'static [&'static str],
    /// Whether each output is the final value of the argument with the same index, as in a loop.
    pub(crate) is_loop: bool,
    /// Whether the arguments are batched from several runs.
    pub(crate) is_batched: bool,
}

const ONE: CallOp = CallOp { attributes: &["f"], first: 0, types: &["Tin"], is_loop: false, is_batched: false };
const IF: CallOp = CallOp { attributes: &["then_branch", "else_branch"], first: 1, ..ONE };
const CASE: CallOp = CallOp { attributes: &["branches"], first: 1, ..ONE };
const WHILE: CallOp = CallOp { attributes: &["cond", "body"], types: &["T"], is_loop: true, ..ONE };
const BATCH: CallOp = CallOp { types: &["Tin", "Tcaptured"], is_batched: true, ..ONE };

/// How an op calls functions; `None` if it calls none, or in another way.
pub(crate) fn call_op(op: &str) -> Option<CallOp> {
    match op {
        "PartitionedCall" | "StatefulPartitionedCall" | "TPUPartitionedCall" => Some(ONE),
        "If" | "StatelessIf" | "_If" => Some(IF),
        "Case" | "StatelessCase" => Some(CASE),
        "While" | "StatelessWhile" | "_While" => Some(WHILE),
        "BatchFunction" => Some(BATCH),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{is_known_attribute, names};

    #[test]
    fn ops_have_these_attributes() {
        let calling: Vec<(&str, CallOp)> = names().filter_map(|op| Some((op, call_op(op)?))).collect();
        assert_eq!(calling.len(), 12);
        for (op, call) in calling {
            for attribute in call.attributes.iter().chain(call.types) {
                assert_eq!(is_known_attribute(op, attribute), Some(true), "{op} {attribute}");
            }
        }
    }
}
