//! Ops that hold a variable (`tensorflow/core/ops/{state_ops,resource_variable_ops}.cc`).

/// How an op gives access to its variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandleKind {
    /// A handle, read by ops of its own: TensorFlow 2, and `use_resource` in TensorFlow 1.
    Resource,
    /// A reference to its memory, read by any op that takes a value: TensorFlow 1.
    Reference,
}

impl HandleKind {
    /// The op that assigns a value to such a variable.
    #[doc(hidden)]
    pub fn assign_op(self) -> &'static str {
        match self {
            Self::Resource => "AssignVariableOp",
            Self::Reference => "Assign",
        }
    }
}

/// The kind of an op that holds a variable which a checkpoint restores; `None` for all others.
///
/// TensorFlow 2.21 has no `AutoReloadVariable`, but recognizes it as a variable
/// (`tensorflow/core/grappler/op_types.cc`).
pub fn variable_kind(op: &str) -> Option<HandleKind> {
    match op {
        "VarHandleOp" => Some(HandleKind::Resource),
        "AutoReloadVariable" | "Variable" | "VariableV2" => Some(HandleKind::Reference),
        _ => None,
    }
}

/// Whether an op returns a reference to memory that other ops write to in place: a variable of TensorFlow 1 or a
/// temporary one.
pub fn gives_reference(op: &str) -> bool {
    op == "TemporaryVariable" || variable_kind(op) == Some(HandleKind::Reference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::known::{Fact, facts};

    /// References with a dtype of their own: those to queues and tables are texts.
    #[test]
    fn ops_that_return_references_are_known() {
        let of_tensorflow: Vec<&str> = facts(Fact::GivesReference).collect();
        assert_eq!(of_tensorflow, ["TemporaryVariable", "Variable", "VariableV2"]);
        assert!(of_tensorflow.into_iter().all(gives_reference));
        assert!(!gives_reference("VarHandleOp"));
    }

    #[test]
    fn variables_are_stateful() {
        let stateful: Vec<&str> = facts(Fact::IsStateful).filter(|op| variable_kind(op).is_some()).collect();
        assert_eq!(stateful, ["VarHandleOp", "Variable", "VariableV2"]);
    }
}
