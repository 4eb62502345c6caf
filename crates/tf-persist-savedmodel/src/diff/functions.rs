//! Compares functions by their contents.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::canonical::{Hash, Parts, own, whole};
use super::graph::FunctionsDiff;
use crate::graph::view::{ArgumentView, IndexedFunction, IndexedGraph, NodeView, source};

/// A function's name without the numbers of an export: `__inference_train_123` is `__inference_train`.
pub(super) fn base(mut name: &str) -> &str {
    loop {
        let end = name.trim_end_matches(|it: char| it.is_ascii_digit());
        match end.strip_suffix('_') {
            Some(rest) if end.len() < name.len() && !rest.is_empty() => name = rest,
            _ => return name,
        }
    }
}

/// The hash of each function by name: of its contents and the contents of the functions that it calls. In a recursion,
/// a function whose hash is not known yet counts by its name without numbers.
pub(super) fn contents<'a>(graph: &IndexedGraph<'a>) -> HashMap<&'a str, Hash> {
    let indices: HashMap<&str, usize> =
        graph.functions.iter().enumerate().map(|(index, function)| (function.name, index)).collect();
    let mut waiting = vec![0; graph.functions.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); graph.functions.len()];
    for (index, function) in graph.functions.iter().enumerate() {
        let called: HashSet<usize> = called(function).filter_map(|name| indices.get(name).copied()).collect();
        waiting[index] = called.len();
        called.into_iter().for_each(|other| users[other].push(index));
    }
    let mut hashes: HashMap<&str, Hash> = HashMap::new();
    let mut ready: Vec<usize> = (0..waiting.len()).filter(|index| waiting[*index] == 0).collect();
    let hash = |index: usize, hashes: &HashMap<&str, Hash>| {
        hash(&graph.functions[index], &|name| {
            let known = hashes.get(name).map(|hash| hash.to_vec());
            known.or_else(|| indices.contains_key(name).then(|| base(name).into()))
        })
    };
    while let Some(index) = ready.pop() {
        hashes.insert(graph.functions[index].name, hash(index, &hashes));
        for user in &users[index] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    let left: Vec<_> = (0..waiting.len())
        .filter(|index| waiting[*index] > 0)
        .map(|index| (graph.functions[index].name, hash(index, &hashes)))
        .collect();
    hashes.extend(left);
    hashes
}

/// The functions that a function calls.
fn called<'a>(function: &IndexedFunction<'a>) -> impl Iterator<Item = &'a str> {
    function.nodes.iter().flat_map(NodeView::calls)
}

/// The hash of a function's contents. Its name and the names of its nodes and arguments do not count.
fn hash(function: &IndexedFunction<'_>, known: &super::canonical::Known<'_>) -> Hash {
    let own: Vec<Hash> = function.nodes.iter().map(|node| own(node, known)).collect();
    let argument = |argument: &ArgumentView<'_>| {
        Parts::new("argument")
            .and(&argument.dtype.to_le_bytes())
            .and(argument.type_attr.as_bytes())
            .and(argument.number_attr.as_bytes())
            .and(argument.type_list_attr.as_bytes())
            .and(&[argument.is_ref.into()])
    };
    let mut given = HashMap::new();
    let mut parts = Parts::new("function");
    for (index, input) in function.inputs.iter().enumerate() {
        let hash = argument(input).and(&index.to_le_bytes()).hash();
        parts = parts.and(&hash);
        given.insert(input.name, hash);
    }
    let nodes = whole(&function.nodes, &own, &given);
    let by_name: HashMap<&str, Hash> = function.nodes.iter().map(|node| node.name).zip(nodes.iter().copied()).collect();
    let find = |name: &str| given.get(name).or_else(|| by_name.get(name)).copied().unwrap_or_default();
    for output in &function.outputs {
        let (name, tensor) = source(function.returns.get(output.name).copied().unwrap_or_default());
        let hash = argument(output).and(&find(name)).and(tensor.unwrap_or_default().as_bytes()).hash();
        parts = parts.and(&hash);
    }
    let control = function.control_returns.iter().map(|name| find(name)).collect();
    // Nodes without consumers may have effects.
    parts.and_all(control).and_all(nodes).hash()
}

/// The functions that nodes reach, also through other functions.
pub(super) fn reached<'a>(graph: &IndexedGraph<'a>, from: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    let functions: HashMap<&str, &IndexedFunction<'a>> =
        graph.functions.iter().map(|function| (function.name, function)).collect();
    let mut reached = HashSet::new();
    let mut todo: Vec<&IndexedFunction<'a>> = from.filter_map(|name| functions.get(name).copied()).collect();
    while let Some(function) = todo.pop() {
        if reached.insert(function.name) {
            todo.extend(called(function).filter_map(|name| functions.get(name).copied()));
        }
    }
    reached
}

/// Compares the functions of two graphs, given their contents and the functions that do not count.
pub(super) fn diff(
    [a, b]: [&IndexedGraph<'_>; 2],
    hashes: [&HashMap<&str, Hash>; 2],
    left_out: [&HashSet<&str>; 2],
) -> FunctionsDiff {
    let mut pool: HashMap<Hash, usize> = HashMap::new();
    let (mut only_a, mut only_b) = (Vec::new(), Vec::new());
    let counted = |graph: usize| {
        let functions = &[a, b][graph].functions;
        functions.iter().filter(move |function| !left_out[graph].contains(function.name))
    };
    let hash = |graph: usize, name: &str| hashes[graph].get(name).copied().unwrap_or_default();
    counted(1).for_each(|function| *pool.entry(hash(1, function.name)).or_default() += 1);
    let mut common = 0;
    for function in counted(0) {
        match pool.get_mut(&hash(0, function.name)).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                common += 1;
            }
            None => only_a.push(function),
        }
    }
    for function in counted(1) {
        if let Some(left) = pool.get_mut(&hash(1, function.name)).filter(|left| **left > 0) {
            *left -= 1;
            only_b.push(function);
        }
    }
    let mut all = FunctionsDiff { common, ..FunctionsDiff::default() };
    // Functions with one name are the same function, which changed, or which calls one that changed.
    let mut by_base: BTreeMap<&str, [Vec<&IndexedFunction<'_>>; 2]> = BTreeMap::new();
    only_a.into_iter().for_each(|function| by_base.entry(base(function.name)).or_default()[0].push(function));
    only_b.into_iter().for_each(|function| by_base.entry(base(function.name)).or_default()[1].push(function));
    for [of_a, of_b] in by_base.into_values() {
        let shallow = |graph: usize, functions: Vec<&'_ IndexedFunction<'_>>| -> Vec<(Hash, String)> {
            let known = |name: &str| hashes[graph].contains_key(name).then(|| base(name).into());
            functions.iter().map(|function| (self::hash(function, &known), function.name.to_owned())).collect()
        };
        let (mut of_a, mut of_b) = (shallow(0, of_a), shallow(1, of_b));
        let mut alike: HashMap<Hash, usize> = HashMap::new();
        of_b.iter().for_each(|(hash, _)| *alike.entry(*hash).or_default() += 1);
        let mut taken: HashMap<Hash, usize> = HashMap::new();
        of_a.retain(|(hash, _)| {
            let left = alike.get_mut(hash).filter(|left| **left > 0);
            let found = left.is_some();
            if let Some(left) = left {
                *left -= 1;
                *taken.entry(*hash).or_default() += 1;
                all.callers += 1;
            }
            !found
        });
        of_b.retain(|(hash, _)| match taken.get_mut(hash).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                false
            }
            None => true,
        });
        let pairs = of_a.len().min(of_b.len());
        all.removed.extend(of_a.split_off(pairs).into_iter().map(|(_, name)| name));
        all.added.extend(of_b.split_off(pairs).into_iter().map(|(_, name)| name));
        all.changed.extend(of_a.into_iter().map(|(_, name)| name));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn names_lose_their_numbers() {
        assert_eq!(base("__inference_train_123"), "__inference_train");
        assert_eq!(base("while_body_12_34_rewritten"), "while_body_12_34_rewritten");
        assert_eq!(base("while_body_12_34"), "while_body");
        assert_eq!(base("conv2d"), "conv2d");
        assert_eq!(base("_1"), "_1");
        assert_eq!(base("12"), "12");
    }
}
