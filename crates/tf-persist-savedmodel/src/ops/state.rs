//! Ops that write state which outlives a run (`tensorflow/core/ops/{state_ops,resource_variable_ops,training_ops,lookup_ops,
//! stateful_random_ops,data_flow_ops}.cc`). A request that reaches one is answered otherwise when it is sent again.

/// The state that an op writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Variables and accumulators of gradients.
    Variable,
    /// Tables.
    Table,
    /// Generators of random numbers.
    Generator,
}

/// Ops that write, by how their names begin: ops that were added later are named alike.
const PREFIXES: [(&str, State); 24] = [
    ("Accumulator", State::Variable),
    ("Apply", State::Variable),
    ("Assign", State::Variable),
    ("CountUpTo", State::Variable),
    ("LookupTableImport", State::Table),
    ("LookupTableInsert", State::Table),
    ("LookupTableRemove", State::Table),
    ("ResourceAccumulator", State::Variable),
    ("ResourceApply", State::Variable),
    ("ResourceCountUpTo", State::Variable),
    ("ResourceScatter", State::Variable),
    ("ResourceSparseApply", State::Variable),
    ("ResourceStridedSliceAssign", State::Variable),
    ("RngReadAndSkip", State::Generator),
    ("RngSkip", State::Generator),
    ("SparseAccumulator", State::Variable),
    ("SparseApply", State::Variable),
    ("StatefulRandomBinomial", State::Generator),
    ("StatefulStandardNormal", State::Generator),
    ("StatefulTruncatedNormal", State::Generator),
    ("StatefulUniform", State::Generator),
    ("StridedSliceAssign", State::Variable),
    // Trainers of TensorFlow 1, each with variables among its inputs.
    ("NegTrain", State::Variable),
    ("SdcaShrinkL1", State::Variable),
];

/// Ops that write to references. Others have names that begin like these: `ScatterNd` writes nothing.
const SCATTERING: [&str; 12] = [
    "ScatterAdd",
    "ScatterDiv",
    "ScatterMax",
    "ScatterMin",
    "ScatterMul",
    "ScatterNdAdd",
    "ScatterNdMax",
    "ScatterNdMin",
    "ScatterNdSub",
    "ScatterNdUpdate",
    "ScatterSub",
    "ScatterUpdate",
];

/// The state that an op writes; `None` if it writes none that is known.
pub(crate) fn state_written(op: &str) -> Option<State> {
    if SCATTERING.contains(&op) {
        return Some(State::Variable);
    }
    PREFIXES.iter().find(|(prefix, _)| op.starts_with(prefix)).map(|(_, state)| *state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::known::{Fact, facts, names};

    #[test]
    fn every_op_that_takes_a_variable_by_reference_writes_or_is_known_to_read() {
        let reads = [
            "DebugGradientRefIdentity",
            // What it frees lasts for a run.
            "DestroyTemporaryVariable",
            "IsVariableInitialized",
            "RefEnter",
            "RefExit",
            "RefIdentity",
            "RefMerge",
            "RefNextIteration",
            "RefSelect",
            "RefSwitch",
        ];
        let others: Vec<&str> = facts(Fact::TakesReference).filter(|op| state_written(op).is_none()).collect();
        assert_eq!(others, reads);
    }

    /// An op that writes takes a reference, or TensorFlow says that it has state.
    #[test]
    fn ops_that_write_have_state() {
        let has_state: Vec<&str> =
            facts(Fact::IsStateful).chain(facts(Fact::TakesReference)).chain(facts(Fact::TakesTextReference)).collect();
        let writing: Vec<&str> = names().filter(|op| state_written(op).is_some()).collect();
        assert!(writing.len() > 100);
        assert_eq!(writing.iter().filter(|op| !has_state.contains(op)).collect::<Vec<_>>(), [&""; 0]);
        for prefix in PREFIXES.iter().map(|(prefix, _)| prefix).chain(&SCATTERING) {
            assert!(writing.iter().any(|op| op.starts_with(prefix)), "{prefix}");
        }
    }
}
