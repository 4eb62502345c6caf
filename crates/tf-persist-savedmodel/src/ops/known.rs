//! The ops of TensorFlow, with their attributes and outputs.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The version of TensorFlow whose ops are listed.
pub const OPS_VERSION: &str = "2.21";

/// Every op of that TensorFlow with its attributes, separated by spaces, sorted by name. Made by
/// `python/generate/list_ops.py`.
static KNOWN: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let lines = include_str!("ops_2_21.txt").lines();
    lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect()
});

/// Whether TensorFlow has this op, without any library of custom ops.
#[must_use]
pub fn is_known_op(op: &str) -> bool {
    find(op).is_some()
}

/// Whether an op of that TensorFlow has this attribute; `None` if TensorFlow does not have the op.
pub(crate) fn is_known_attribute(op: &str, attribute: &str) -> Option<bool> {
    find(op).map(|attributes| attributes.split(' ').any(|known| known == attribute))
}

/// The dtypes of the outputs of every op that has some. Made by `python/generate/list_ops.py --outputs`.
static OUTPUTS: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| include_str!("op_outputs_2_21.txt").lines().filter_map(|line| line.split_once(' ')).collect());

/// The dtypes of an op's outputs, in the notation of `python/generate/list_ops.py --outputs`; `None` if it has none or
/// is unknown.
pub(crate) fn outputs(op: &str) -> Option<impl Iterator<Item = &'static str>> {
    OUTPUTS.get(op).map(|outputs| outputs.split(' '))
}

/// The names of the outputs of every op that has some. Made by `python/generate/list_ops.py --names`.
static OUTPUT_NAMES: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    include_str!("op_output_names_2_21.txt").lines().filter_map(|line| line.split_once(' ')).collect()
});

/// The names of an op's outputs, with `*` behind those that are lists; `None` if it has none or is unknown.
#[doc(hidden)]
pub fn output_names(op: &str) -> Option<impl Iterator<Item = &'static str>> {
    OUTPUT_NAMES.get(op).map(|names| names.split(' '))
}

/// Every op of that TensorFlow.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// A fact about an op in TensorFlow's registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It has state or an effect (`OpDef.is_stateful`).
    IsStateful,
    /// It takes a reference to a variable.
    #[cfg(test)]
    TakesReference,
    /// It takes a reference to a text: the handle of a table or a queue.
    #[cfg(test)]
    TakesTextReference,
    /// It takes no reference and returns one, with a dtype from an attribute.
    #[cfg(test)]
    GivesReference,
}

/// The ops for which this is true, sorted. Made by `python/generate/list_ops.py --facts`.
pub(crate) fn facts(fact: Fact) -> impl Iterator<Item = &'static str> {
    let word = match fact {
        Fact::IsStateful => "stateful",
        #[cfg(test)]
        Fact::TakesReference => "takes_reference",
        #[cfg(test)]
        Fact::TakesTextReference => "takes_text_reference",
        #[cfg(test)]
        Fact::GivesReference => "gives_reference",
    };
    let lines = include_str!("op_facts_2_21.txt").lines().filter_map(|line| line.split_once(' '));
    lines.filter(move |(_, facts)| facts.split(' ').any(|fact| fact == word)).map(|(name, _)| name)
}

static STATEFUL: LazyLock<HashSet<&'static str>> = LazyLock::new(|| facts(Fact::IsStateful).collect());

/// Whether an op of that TensorFlow has state or an effect, or takes the handle of something that has.
pub(crate) fn is_stateful(op: &str) -> bool {
    STATEFUL.contains(op)
}

fn find(op: &str) -> Option<&'static str> {
    let index = KNOWN.binary_search_by(|(name, _)| (*name).cmp(op)).ok()?;
    KNOWN.get(index).map(|(_, attributes)| *attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_sorted_and_complete() {
        assert!(KNOWN.is_sorted() && KNOWN.len() > 1700);
        assert!(is_known_op("MatMul") && is_known_op("BoostedTreesBucketize") && is_known_op("_Arg"));
        assert!(!is_known_op("SimpleMLCreateModelResource") && !is_known_op(""));
        assert_eq!(is_known_attribute("MatMul", "transpose_a"), Some(true));
        assert_eq!(is_known_attribute("MatMul", "transpose"), Some(false));
        assert_eq!(is_known_attribute("NoOp", "T"), Some(false));
        assert_eq!(is_known_attribute("SimpleMLCreateModelResource", "T"), None);
    }
}
