//! The ops of a graph, counted.

use std::collections::{BTreeMap, HashMap};

/// How many different operations a graph may use. TensorFlow has 1,800; a hostile file could name one a node.
const MAX_OPS: usize = 1 << 16;

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
