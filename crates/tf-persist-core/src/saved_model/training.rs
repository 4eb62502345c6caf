//! Whether a model can be trained on.

use std::fmt;

use super::meta_graph::MetaGraph;
use super::variables::{Variable, Variables};

/// What a model has that training needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Training {
    /// The signatures that train: those that have `train` in their name.
    pub signatures: Vec<String>,
    /// The number of variables that hold an optimizer's state.
    pub optimizer_variables: usize,
}

/// How far a model can be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrainingKind {
    /// It has a signature that trains: it can be trained wherever it can be run.
    Signature,
    /// It has an optimizer's state, but no signature that trains: Python can take it up again.
    StateOnly,
    /// It has neither.
    InferenceOnly,
}

impl Training {
    pub(super) fn of(meta_graph: &MetaGraph, variables: Option<&Variables>) -> Self {
        let trains = |name: &str| name.to_ascii_lowercase().contains("train");
        let names = meta_graph.signatures().iter().map(|signature| &signature.name);
        let saved = variables.map_or(&[][..], |variables| &variables.all);
        let state = saved.iter().filter(|variable: &&Variable| variable.is_optimizer_state()).count();
        Self { signatures: names.filter(|name| trains(name)).cloned().collect(), optimizer_variables: state }
    }

    /// How far the model can be trained on.
    #[must_use]
    pub fn kind(&self) -> TrainingKind {
        match (self.signatures.is_empty(), self.optimizer_variables) {
            (false, _) => TrainingKind::Signature,
            (true, 1..) => TrainingKind::StateOnly,
            (true, 0) => TrainingKind::InferenceOnly,
        }
    }
}

impl fmt::Display for Training {
    /// One line: what it can be used for, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.optimizer_variables {
            0 => "no optimizer state".to_owned(),
            1 => "1 variable of optimizer state".to_owned(),
            count => format!("{count} variables of optimizer state"),
        };
        match self.kind() {
            TrainingKind::Signature => {
                let names: Vec<String> =
                    self.signatures.iter().map(|name| format!("`{}`", super::signature::printable(name))).collect();
                write!(f, "can be trained on: signature {}, {state}", names.join(", "))
            }
            TrainingKind::StateOnly => write!(f, "can be trained on in Python alone: no train signature, {state}"),
            TrainingKind::InferenceOnly => write!(f, "inference only: no train signature, {state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why() {
        let mut training = Training::default();
        assert_eq!(training.to_string(), "inference only: no train signature, no optimizer state");
        training.optimizer_variables = 4;
        assert_eq!(training.kind(), TrainingKind::StateOnly);
        training.signatures.push("train".into());
        assert_eq!(training.to_string(), "can be trained on: signature `train`, 4 variables of optimizer state");
    }
}
