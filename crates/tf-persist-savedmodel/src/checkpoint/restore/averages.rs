//! Moving averages of variables, which training checkpoints have beside the variables.
//!
//! Sources: `tensorflow/python/training/moving_averages.py` and `slot_creator.py` for the names,
//! `keras/src/optimizers/base_optimizer.py` for the lists.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Conflict, ObjectGraph};
use super::names;
use super::rules::MatchInput;

/// The suffix that `tf.train.ExponentialMovingAverage` appends to a variable's name by default.
const SUFFIX: &str = "/ExponentialMovingAverage";

/// Lists of a Keras 3 optimizer, in the same order: the averages and their variables.
const KERAS_LISTS: (&str, &str) = ("_model_variables_moving_average", "_trainable_variables");

/// The names of averages that optimizers keep as slots of the variables.
const SLOT_NAMES: [&str; 2] = ["ExponentialMovingAverage", "average"];

/// The averages of a checkpoint, by the keys of their variables.
pub(super) struct Averages(BTreeMap<String, BTreeSet<String>>);

impl Averages {
    pub(super) fn find(input: &MatchInput<'_>) -> Self {
        let mut all = Self(BTreeMap::new());
        if let Some(graph) = input.their_graph {
            all.add_objects(graph);
        }
        all.add_names(input);
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of the average of the variable with this key.
    ///
    /// # Errors
    /// If there are several.
    pub(super) fn get(&self, key: &str) -> Result<Option<&str>, Conflict> {
        let Some(found) = self.0.get(key) else { return Ok(None) };
        let mut keys = found.iter();
        match (keys.next(), keys.next()) {
            (Some(_), Some(_)) => Err(Conflict { key: key.to_owned(), candidates: found.iter().cloned().collect() }),
            (only, _) => Ok(only.map(String::as_str)),
        }
    }

    fn insert(&mut self, variable: &str, average: &str) {
        if variable != average {
            self.0.entry(variable.to_owned()).or_default().insert(average.to_owned());
        }
    }

    /// Adds the averages that an optimizer lists or keeps as slots.
    fn add_objects(&mut self, graph: &ObjectGraph) {
        for node in graph.nodes() {
            if let (Some(averages), Some(variables)) = (node.child(KERAS_LISTS.0), node.child(KERAS_LISTS.1)) {
                let (averages, variables) = (graph.node(averages), graph.node(variables));
                for (name, average) in &averages.children {
                    let variable = variables.child(name).and_then(|variable| graph.node(variable).value());
                    if let (Some(variable), Some(average)) = (variable, graph.node(*average).value()) {
                        self.insert(&variable.key, &average.key);
                    }
                }
            }
            for (original, name, slot) in &node.slots {
                let (variable, average) = (graph.node(*original).value(), graph.node(*slot).value());
                if let (Some(variable), Some(average)) = (variable, average)
                    && SLOT_NAMES.contains(&name.as_str())
                {
                    self.insert(&variable.key, &average.key);
                }
            }
        }
    }

    /// Adds averages whose names are the variable's with a suffix. The scope in which the averages were created
    /// precedes the name.
    fn add_names(&mut self, input: &MatchInput<'_>) {
        let names = names::their_names(input);
        for (name, averages) in &names {
            let Some(variable) = averaged(name) else { continue };
            // The longest name that matches: the rest in front of it is a scope.
            let starts = std::iter::once(0).chain(variable.match_indices('/').map(|(slash, _)| slash + 1));
            let Some(variables) = starts.filter_map(|start| names.get(&variable[start..])).next() else { continue };
            for (variable, average) in variables.iter().flat_map(|key| averages.iter().map(move |it| (key, it))) {
                self.insert(variable, average);
            }
        }
    }
}

/// The name in front of an average's suffix. TensorFlow numbers a suffix that exists: `…/ExponentialMovingAverage_1`.
fn averaged(name: &str) -> Option<&str> {
    let (variable, rest) = name.rsplit_once(SUFFIX)?;
    let is_numbered = || rest.strip_prefix('_').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    (rest.is_empty() || is_numbered()).then_some(variable)
}
