//! The ops of TensorFlow, with their attributes and outputs.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The TensorFlow that the list of its operations was taken from.
pub const OPS_VERSION: &str = "2.21";

/// Every operation of that TensorFlow with its attributes, parted by spaces, sorted by name. `python/generate/list_ops.py` makes the list.
static KNOWN: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let lines = include_str!("ops_2_21.txt").lines();
    lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect()
});

/// Whether TensorFlow has this operation by itself, without any library of custom ones.
#[must_use]
pub fn is_known_op(op: &str) -> bool {
    find(op).is_some()
}

/// Whether an operation of that TensorFlow has this attribute; `None` if it does not have the operation.
pub(crate) fn is_known_attribute(op: &str, attribute: &str) -> Option<bool> {
    find(op).map(|attributes| attributes.split(' ').any(|known| known == attribute))
}

/// The outputs of every op of that TensorFlow that has some: what `python/generate/list_ops.py --outputs` says of their dtypes.
static OUTPUTS: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| include_str!("op_outputs_2_21.txt").lines().filter_map(|line| line.split_once(' ')).collect());

/// The dtypes of an op's outputs as `python/generate/list_ops.py --outputs` writes them; `None` if it has none or is not known.
pub(crate) fn outputs(op: &str) -> Option<impl Iterator<Item = &'static str>> {
    OUTPUTS.get(op).map(|outputs| outputs.split(' '))
}

/// Every op of that TensorFlow.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// What TensorFlow's registry says of an op.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It has state or an effect (`OpDef.is_stateful`).
    IsStateful,
    /// It takes a reference to a variable.
    TakesReference,
    /// It takes a reference to a text: the handle of a table, a queue and the like.
    TakesTextReference,
    /// It takes no reference and gives one whose dtype is an attribute.
    GivesReference,
}

/// The ops of which this is true, sorted. `python/generate/list_ops.py --facts` makes the list.
#[cfg(test)]
pub(crate) fn facts(fact: Fact) -> impl Iterator<Item = &'static str> {
    let word = match fact {
        Fact::IsStateful => "stateful",
        Fact::TakesReference => "takes_reference",
        Fact::TakesTextReference => "takes_text_reference",
        Fact::GivesReference => "gives_reference",
    };
    let lines = include_str!("op_facts_2_21.txt").lines().filter_map(|line| line.split_once(' '));
    lines.filter(move |(_, facts)| facts.split(' ').any(|fact| fact == word)).map(|(name, _)| name)
}

fn find(op: &str) -> Option<&'static str> {
    let index = KNOWN.binary_search_by(|(name, _)| (*name).cmp(op)).ok()?;
    KNOWN.get(index).map(|(_, attributes)| *attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(KNOWN.is_sorted() && KNOWN.len() > 1700);
        assert!(is_known_op("MatMul") && is_known_op("BoostedTreesBucketize") && is_known_op("_Arg"));
        assert!(!is_known_op("SimpleMLCreateModelResource") && !is_known_op(""));
        assert_eq!(is_known_attribute("MatMul", "transpose_a"), Some(true));
        assert_eq!(is_known_attribute("MatMul", "transpose"), Some(false));
        assert_eq!(is_known_attribute("NoOp", "T"), Some(false));
        assert_eq!(is_known_attribute("SimpleMLCreateModelResource", "T"), None);
    }
}
