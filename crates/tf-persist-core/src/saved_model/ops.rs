//! The operations of a graph, counted, and which of them TensorFlow does not have.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// The TensorFlow that the list of its operations was taken from.
pub const OPS_VERSION: &str = "2.21";

/// Every operation of that TensorFlow with its attributes, parted by spaces, sorted by name. `python/generate/list_ops.py` makes the list.
static KNOWN: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let lines = include_str!("ops_2_21.txt").lines();
    lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect()
});

/// How many different operations a graph may use. TensorFlow has 1,800; a hostile file could name one a node.
const MAX_OPS: usize = 1 << 16;

/// Whether TensorFlow has this operation by itself, without any library of custom ones.
#[must_use]
pub fn is_known_op(op: &str) -> bool {
    find(op).is_some()
}

/// Whether an operation of that TensorFlow has this attribute; `None` if it does not have the operation.
pub(super) fn is_known_attribute(op: &str, attribute: &str) -> Option<bool> {
    find(op).map(|attributes| attributes.split(' ').any(|known| known == attribute))
}

fn find(op: &str) -> Option<&'static str> {
    let index = KNOWN.binary_search_by(|(name, _)| (*name).cmp(op)).ok()?;
    KNOWN.get(index).map(|(_, attributes)| *attributes)
}

/// Ops that run Python code: their kernels are in Python's TensorFlow, and their code is in the process that made the graph.
pub(crate) const PYTHON_OPS: [&str; 3] = ["EagerPyFunc", "PyFunc", "PyFuncStateless"];

/// Counts operations while a graph is read.
#[derive(Default)]
pub(super) struct Counter<'a> {
    counts: HashMap<&'a str, u64>,
    functions: Vec<&'a str>,
}

impl<'a> Counter<'a> {
    /// Counts a node.
    pub(super) fn node(&mut self, op: &'a str) -> Result<(), String> {
        *self.counts.entry(op).or_default() += 1;
        if self.counts.len() > MAX_OPS {
            return Err(format!("its graph names more than {MAX_OPS} different operations"));
        }
        Ok(())
    }

    /// Notes a function of the graph's library.
    pub(super) fn function(&mut self, name: &'a str) {
        self.functions.push(name);
    }

    /// Operations by count, and functions that nodes call as if they were operations, by count.
    pub(super) fn finish(mut self) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
        // A function is called by nodes of its name, which may come before it.
        let calls = self.functions.iter().filter_map(|name| self.counts.remove_entry(name));
        let owned = |(name, count): (&str, u64)| (name.to_owned(), count);
        let calls = calls.map(owned).collect();
        (self.counts.into_iter().map(owned).collect(), calls)
    }
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

    #[test]
    fn a_function_is_no_op() {
        let mut counter = Counter::default();
        counter.function("f");
        ["f", "Add", "f"].iter().for_each(|op| counter.node(op).unwrap());
        let (ops, calls) = counter.finish();
        assert_eq!(ops, BTreeMap::from([("Add".to_owned(), 1)]));
        assert_eq!(calls, BTreeMap::from([("f".to_owned(), 2)]));
    }

    #[test]
    fn refuses_more_ops_than_there_can_be() {
        let names: Vec<String> = (0..=MAX_OPS).map(|number| format!("op{number}")).collect();
        let mut counter = Counter::default();
        assert!(names.iter().try_for_each(|name| counter.node(name)).is_err());
    }
}
