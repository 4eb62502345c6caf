//! Rule 3 for names of one checkpoint with a scope in front that those of the other lack.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Conflict, Keys};
use super::names::{MAX_TRIES, fits, insert, our_names, same_but_number, their_names};
use super::rules::MatchInput;

/// The scope of the names of one checkpoint, such as `sequential`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope<'a> {
    /// Of the model's names.
    Ours(&'a str),
    /// Of the checkpoint's.
    Theirs(&'a str),
}

impl Scope<'_> {
    /// The checkpoint's name of a variable of the model.
    fn name(self, ours: &str) -> Option<String> {
        match self {
            Self::Ours(scope) => ours.strip_prefix(scope)?.strip_prefix('/').map(str::to_owned),
            Self::Theirs(scope) => Some(format!("{scope}/{ours}")),
        }
    }

    /// The same for the last part of the name of an optimizer's variable, which contains the name of another variable:
    /// `sequential_dense_kernel_momentum`.
    fn inner(self, ours: &str) -> Option<String> {
        match self {
            Self::Ours(scope) => ours.strip_prefix(&flat(scope))?.strip_prefix('_').map(str::to_owned),
            Self::Theirs(scope) => Some(format!("{}_{ours}", flat(scope))),
        }
    }
}

/// The form of a name inside another in Keras.
fn flat(name: &str) -> String {
    name.replace('/', "_")
}

/// Variables of the same names, except for one scope in front of all names of one checkpoint. The scope that finds the
/// most variables counts; if several find as many, none does.
pub(super) fn scoped(input: &MatchInput<'_>) -> Result<Keys, Conflict> {
    let (ours, theirs) = (our_names(input), their_names(input));
    let mut same = Keys::new();
    for (name, our_keys) in &ours {
        if let Some(candidates) = theirs.get(name) {
            insert(&mut same, our_keys, candidates)?;
        }
    }
    let is_left = |name: &str| !theirs.contains_key(name);
    let is_free = |name: &str| theirs.contains_key(name) && !ours.contains_key(name);
    let mut scopes: BTreeSet<Scope<'_>> = BTreeSet::new();
    for name in ours.keys().filter(|name| is_left(name)) {
        let slashes = name.match_indices('/').filter(|(slash, _)| is_free(&name[slash + 1..]));
        scopes.extend(slashes.map(|(slash, _)| Scope::Ours(&name[..slash])));
    }
    for name in theirs.keys().filter(|name| is_free(name)) {
        let ours = |name: &str| ours.contains_key(name) && is_left(name);
        let slashes = name.match_indices('/').filter(|(slash, _)| ours(&name[slash + 1..]));
        scopes.extend(slashes.map(|(slash, _)| Scope::Theirs(&name[..slash])));
    }
    if scopes.len().saturating_mul(ours.len()) > MAX_TRIES {
        return Ok(same);
    }
    let their_heads: BTreeSet<&str> = theirs.keys().filter_map(|name| Some(name.split_once('/')?.0)).collect();
    let find = |scope: Scope<'_>, name: &str| -> Option<&Vec<&str>> {
        let free = |name: &str| theirs.get(name).filter(|_| is_free(name));
        if let Some(found) = scope.name(name).and_then(|name| free(&name)) {
            return Some(found);
        }
        let (head, rest) = name.split_once('/')?;
        let rest = scope.inner(rest)?;
        // The optimizer's own name may have another number.
        let heads = their_heads.iter().filter(|other| same_but_number(head, other));
        let mut found = heads.filter_map(|head| free(&format!("{head}/{rest}")));
        found.next().filter(|_| found.next().is_none())
    };
    // By the number of variables that match.
    let mut ranked: BTreeMap<usize, Vec<Keys>> = BTreeMap::new();
    let mut conflict = None;
    for scope in scopes {
        let (mut keys, mut count, mut twice) = (Keys::new(), 0, None);
        for (name, our_keys) in ours.iter().filter(|(name, _)| is_left(name)) {
            let Some(found) = find(scope, name) else { continue };
            count += usize::from(our_keys.iter().all(|ours| found.iter().all(|theirs| fits(input, ours, theirs))));
            twice = twice.or(insert(&mut keys, our_keys, found).err());
        }
        match twice {
            Some(twice) => conflict = conflict.or(Some(twice)),
            None => ranked.entry(count).or_default().push(keys),
        }
    }
    let Some((_, best)) = ranked.pop_last() else { return conflict.map_or(Ok(same), Err) };
    let mut best = best.into_iter();
    let first = best.next().unwrap_or_default();
    for other in best {
        if let Some((key, source)) = first.iter().find(|(key, source)| other.get(*key) != Some(source)) {
            let candidates = [Some(source), other.get(key)].into_iter().flatten().cloned().collect();
            return Err(Conflict { key: key.clone(), candidates });
        }
    }
    same.extend(first);
    Ok(same)
}
