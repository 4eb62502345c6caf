//! Ops that write state which outlives a run
//! (`tensorflow/core/ops/{state_ops,resource_variable_ops,training_ops,lookup_ops,
//! stateful_random_ops,data_flow_ops}.cc`). Repeating a request that reaches one gives another response.

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

/// Prefixes of ops that write: newer ops have similar names.
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
    // Trainers of TensorFlow 1, with variables among their inputs.
    ("NegTrain", State::Variable),
    ("SdcaShrinkL1", State::Variable),
];

/// Ops that write to references. Other ops share these prefixes: `ScatterNd` writes nothing.
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

/// The state that an op writes; `None` if it is not known to write.
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
    fn ops_that_take_a_variable_by_reference_write_or_are_known_to_read() {
        let reads = [
            "DebugGradientRefIdentity",
            // It frees a variable that lasts for one run.
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

    /// An op that writes takes a reference or is stateful in TensorFlow's registry.
    #[test]
    fn ops_that_write_are_stateful() {
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
