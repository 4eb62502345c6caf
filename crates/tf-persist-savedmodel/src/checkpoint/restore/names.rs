//! Rule 3: matching variables by their names in Python.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Conflict, Keys};
use super::rules::MatchInput;
use super::variables;
use crate::checkpoint::Entry;

/// Keras's `ExportArchive` saves each variable twice: under `variables`, and as a copy under this attribute, the
/// wrapper of Keras 3. Both have the same name and the same value.
const COPIES: &str = "_all_variables/";
const ORIGINALS: &str = "variables/";

/// The most first parts of names that are tried. Names of Keras have one for each model and optimizer.
pub(super) const MAX_TRIES: usize = 1_000_000;

/// TensorFlow 2's name of a variable without a name.
const NO_NAME: &str = "Variable";

/// Keys by name.
pub(super) type Names<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// The names below a first part, without it, and their keys.
type Group<'a> = Vec<(&'a str, &'a [&'a str])>;

/// Variables of the same names. Those that the checkpoint lacks are left out.
pub(super) fn same(input: &MatchInput<'_>) -> Result<Keys, Conflict> {
    let theirs = their_names(input);
    let mut keys = Keys::new();
    for (name, ours) in our_names(input) {
        let Some(candidates) = theirs.get(name) else { continue };
        insert(&mut keys, &ours, candidates)?;
    }
    Ok(keys)
}

/// As [`same`], and variables whose names differ in the number at the end of their first part, a counter of Keras:
/// `sequential_1/dense/kernel`. All variables below a first part belong together.
pub(super) fn renumbered(input: &MatchInput<'_>) -> Result<Keys, Conflict> {
    let (ours, theirs) = (our_names(input), their_names(input));
    let first_parts = |names: &Names<'_>| -> BTreeSet<String> {
        names.keys().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect()
    };
    let (our_heads, their_heads) = (first_parts(&ours), first_parts(&theirs));
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    let mut keys = Keys::new();
    for (name, our_keys) in &ours {
        if let Some(candidates) = theirs.get(name) {
            insert(&mut keys, our_keys, candidates)?;
        } else if let Some((head, rest)) = name.split_once('/').filter(|(head, _)| !their_heads.contains(*head)) {
            groups.entry(head).or_default().push((rest, our_keys));
        }
    }
    if groups.len().saturating_mul(their_heads.len()) > MAX_TRIES {
        return Ok(keys);
    }
    // An optimizer's variables contain the model's name (`adam_1/sequential_1_dense_kernel_momentum`), so they come
    // after it.
    let mut heads: BTreeMap<&str, &str> = BTreeMap::new();
    let mut left: Vec<(&str, Group<'_>)> = groups.into_iter().collect();
    for _ in 0..2 {
        let mut unfit = Vec::new();
        for (head, group) in left {
            // A first part that the model has too, or that is taken, is not this one under another number.
            let free =
                |candidate: &str| !our_heads.contains(candidate) && !heads.values().any(|taken| *taken == candidate);
            let fitting = |candidate: &&String| {
                same_but_number(head, candidate)
                    && free(candidate)
                    && group.iter().all(|(rest, our_keys)| {
                        let found = theirs.get(renamed(candidate, rest, &heads).as_str());
                        found.is_some_and(|found| {
                            our_keys.iter().all(|key| found.iter().all(|their| fits(input, key, their)))
                        })
                    })
            };
            let fitting: Vec<&str> = their_heads.iter().filter(fitting).map(String::as_str).collect();
            match fitting.as_slice() {
                [] => unfit.push((head, group)),
                [candidate] => {
                    for (rest, our_keys) in &group {
                        if let Some(candidates) = theirs.get(renamed(candidate, rest, &heads).as_str()) {
                            insert(&mut keys, our_keys, candidates)?;
                        }
                    }
                    heads.insert(head, candidate);
                }
                several => {
                    let (rest, our_keys) = group[0];
                    let candidates =
                        several.iter().filter_map(|head| theirs.get(renamed(head, rest, &heads).as_str())?.first());
                    let candidates = candidates.map(|key| (*key).to_owned()).collect();
                    return Err(Conflict { key: our_keys[0].to_owned(), candidates });
                }
            }
        }
        left = unfit;
    }
    Ok(keys)
}

/// The name below another first part. A renamed first part at its beginning is renamed as well.
fn renamed(head: &str, rest: &str, heads: &BTreeMap<&str, &str>) -> String {
    // The longest first: `sequential_1` before `sequential`.
    let inner =
        heads.iter().rev().find_map(|(old, new)| Some(format!("{new}_{}", rest.strip_prefix(old)?.strip_prefix('_')?)));
    format!("{head}/{}", inner.as_deref().unwrap_or(rest))
}

/// Whether two names are equal except for the number that Keras appends.
pub(super) fn same_but_number(a: &str, b: &str) -> bool {
    fn stem(name: &str) -> &str {
        match name.rsplit_once('_') {
            Some((stem, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => stem,
            _ => name,
        }
    }
    stem(a) == stem(b)
}

/// Whether a name was chosen and identifies a variable.
pub(crate) fn tells(name: &str) -> bool {
    !name.is_empty() && name != NO_NAME
}

pub(super) fn fits(input: &MatchInput<'_>, our_key: &str, their_key: &str) -> bool {
    let found = input.wanted.binary_search_by(|entry| entry.key.as_str().cmp(our_key));
    found.is_ok_and(|index| input.fits(input.wanted[index], their_key))
}

/// Pairs every key of the model with the one key of the checkpoint.
pub(super) fn insert(keys: &mut Keys, ours: &[&str], theirs: &[&str]) -> Result<(), Conflict> {
    let conflict = |key: &str, candidates: &[&str]| {
        let candidates = candidates.iter().map(|key| (*key).to_owned()).collect();
        Err(Conflict { key: key.to_owned(), candidates })
    };
    let originals = ours.iter().filter(|key| !key.starts_with(COPIES)).count();
    let copies_only = originals == 1 && ours.iter().all(|key| key.starts_with(COPIES) || key.starts_with(ORIGINALS));
    match (ours, theirs) {
        ([key, ..], several) if several.len() > 1 => conflict(key, several),
        // Two variables of the model have this name.
        ([key, _, ..], one) if !copies_only => conflict(key, one),
        (ours, [one]) => {
            keys.extend(ours.iter().map(|key| ((*key).to_owned(), (*one).to_owned())));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The names of the model's variables. Those without a name are left out.
pub(super) fn our_names<'a>(input: &MatchInput<'a>) -> Names<'a> {
    let mut names = Names::new();
    let wanted: BTreeSet<&str> = input.wanted.iter().map(|entry| entry.key.as_str()).collect();
    match input.our_graph {
        Some(graph) => {
            let saved = graph.tensors_below(0).filter(|saved| wanted.contains(saved.key.as_str()));
            saved
                .filter(|saved| tells(&saved.full_name))
                .for_each(|saved| names.entry(saved.full_name.as_str()).or_default().push(saved.key.as_str()));
        }
        None => wanted.into_iter().for_each(|key| names.entry(key).or_default().push(key)),
    }
    names
}

/// The part of a name that is below a scope.
pub(super) fn below<'a>(name: &'a str, scope: &str) -> Option<&'a str> {
    name.strip_prefix(scope)?.strip_prefix('/')
}

/// The names of the checkpoint's variables, below the scope if there is one. Those without a name are left out.
pub(super) fn their_names<'a>(input: &MatchInput<'a>) -> Names<'a> {
    let mut names = Names::new();
    match input.their_graph {
        Some(graph) => {
            let saved = graph.tensors_below(input.object.unwrap_or(0)).filter(|saved| tells(&saved.full_name));
            saved.for_each(|saved| names.entry(saved.full_name.as_str()).or_default().push(saved.key.as_str()));
        }
        None => {
            let keys = variables(input.checkpoint).map(|entry: &Entry| entry.key.as_str());
            keys.for_each(|key| names.entry(key).or_default().push(key));
        }
    }
    match input.scope {
        Some(scope) => names.into_iter().filter_map(|(name, keys)| Some((below(name, scope)?, keys))).collect(),
        None => names,
    }
}
