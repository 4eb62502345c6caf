//! Whether a model can be trained further.

use crate::error::printable;
use std::fmt;

use super::meta_graph::MetaGraph;
use super::signature::SignatureDef;
use super::variables::{Variable, Variables};

/// The parts of a model that training needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Training {
    /// The signatures that train: those with `train` in their name that write variables and return a loss.
    pub signatures: Vec<String>,
    /// The signatures with `train` in their name that do not train, each with the reason.
    pub others: Vec<(String, &'static str)>,
    /// The number of variables that hold an optimizer's state.
    pub optimizer_variables: usize,
}

/// How a model can be trained further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrainingKind {
    /// It has a signature that trains, so it can be trained wherever it can run.
    Signature,
    /// It has an optimizer's state, but no signature that trains: Python can continue.
    StateOnly,
    /// It has neither.
    InferenceOnly,
}

/// The most signatures whose graph is read.
const SHOWN: usize = 5;

/// Whether a signature has `train` in its name.
pub(crate) fn is_called_after_training(name: &str) -> bool {
    name.to_ascii_lowercase().contains("train")
}

impl Training {
    /// `writes` returns whether a signature writes variables.
    pub(super) fn new(
        meta_graph: &MetaGraph,
        variables: Option<&Variables>,
        writes: impl Fn(&SignatureDef) -> bool,
    ) -> Self {
        let saved = variables.map_or(&[][..], |variables| &variables.all);
        let state = saved.iter().filter(|variable: &&Variable| variable.is_optimizer_state()).count();
        let mut training = Self { optimizer_variables: state, ..Self::default() };
        for signature in meta_graph.signatures().iter().filter(|signature| is_called_after_training(&signature.name)) {
            let name = signature.name.clone();
            if !signature.outputs.iter().any(|(_, info)| info.is_one_float()) {
                training.others.push((name, "gives no loss"));
            } else if !writes(signature) {
                training.others.push((name, "writes no variable"));
            } else {
                training.signatures.push(name);
            }
        }
        training
    }

    /// How the model can be trained further.
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
    /// One line: its use, and the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.optimizer_variables {
            0 => "no optimizer state".to_owned(),
            1 => "1 variable of optimizer state".to_owned(),
            count => format!("{count} variables of optimizer state"),
        };
        let others = self.others.iter().take(SHOWN);
        let others: Vec<String> =
            others.map(|(name, reason)| format!("signature `{}` {reason}", printable(name))).collect();
        let none = if others.is_empty() { "no train signature".to_owned() } else { others.join(", ") };
        match self.kind() {
            TrainingKind::Signature => {
                let names: Vec<String> = self.signatures.iter().map(|name| format!("`{}`", printable(name))).collect();
                write!(f, "can be trained on: signature {}, {state}", names.join(", "))
            }
            TrainingKind::StateOnly => write!(f, "can be trained on in Python alone: {none}, {state}"),
            TrainingKind::InferenceOnly => write!(f, "inference only: {none}, {state}"),
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
        training.others.push(("trainable".into(), "writes no variable"));
        let text = "can be trained on in Python alone: signature `trainable` writes no variable, 4 variables of optimizer state";
        assert_eq!(training.to_string(), text);
        training.signatures.push("train".into());
        assert_eq!(training.to_string(), "can be trained on: signature `train`, 4 variables of optimizer state");
    }
}
