//! The rules by which variables are found, and which of them holds.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Misfit, Missing, OtherCheckpoint, list, short};
use super::graph::{Conflict, Keys, ObjectGraph, walk};
use super::{Matched, RestoreOptions, names, variables};
use crate::checkpoint::{CheckpointReader, Entry};
use crate::error::{Error, Result};

/// How many objects a root may have that are tried one by one. Checkpoints have a handful: model, optimizer, counter.
const MAX_OBJECTS: usize = 256;

/// The two checkpoints.
pub(super) struct Sides<'a> {
    pub(super) wanted: &'a [&'a Entry],
    pub(super) checkpoint: &'a CheckpointReader,
    pub(super) our_graph: Option<&'a ObjectGraph>,
    pub(super) their_graph: Option<&'a ObjectGraph>,
    /// The object of the checkpoint that nothing is looked at outside of.
    pub(super) object: Option<usize>,
}

/// What a rule found.
struct Candidate {
    matched: Matched,
    keys: Keys,
    misfits: Vec<Misfit>,
}

impl Sides<'_> {
    /// Whether a variable of the checkpoint could stand for one of the model.
    pub(super) fn fits(&self, ours: &Entry, their_key: &str) -> bool {
        let theirs = self.checkpoint.index().get(their_key);
        theirs.is_some_and(|theirs| theirs.dtype == ours.dtype && theirs.shape == ours.shape)
    }

    /// Leaves what both sides have, and compares it.
    fn judge(&self, matched: Matched, mut found: Keys) -> Candidate {
        let mut keys = Keys::new();
        let mut misfits = Vec::new();
        for ours in self.wanted {
            let Some((key, source)) = found.remove_entry(&ours.key) else { continue };
            let Some(theirs) = self.checkpoint.index().get(&source) else { continue };
            if ours.dtype != theirs.dtype || ours.shape != theirs.shape {
                let of = |entry: &Entry| (entry.dtype, entry.shape.clone());
                misfits.push(Misfit {
                    key: key.clone(),
                    source: source.clone(),
                    expected: of(ours),
                    found: of(theirs),
                });
            }
            keys.insert(key, source);
        }
        Candidate { matched, keys, misfits }
    }

    fn is_complete(&self, candidate: &Candidate) -> bool {
        candidate.misfits.is_empty() && candidate.keys.len() == self.wanted.len()
    }

    fn ambiguous(&self, key: &str, candidates: &[&str]) -> Error {
        let shown = list(candidates.iter().map(|key| format!("`{}`", short(key))));
        let key = short(key);
        let reason = match candidates {
            [_] => format!(
                "its {shown} could be the model's `{key}` or another of the model's variables that has the same name"
            ),
            _ => format!("several of its variables could be the model's `{key}`: {shown}"),
        };
        let hint = "say which object of the checkpoint is the model, such as `generator`; on the command line with \
                    --checkpoint-object NAME";
        let hint = (candidates.len() > 1).then(|| hint.into());
        Error::Unsupported { path: self.checkpoint.index().prefix.clone(), reason, hint }
    }
}

/// The keys of a model's variables, and those of the checkpoint that stand for them.
pub(super) fn find(
    model: &CheckpointReader,
    checkpoint: &CheckpointReader,
    wanted: &[&Entry],
    options: &RestoreOptions,
) -> Result<(Keys, Matched)> {
    let (our_graph, their_graph) = (ObjectGraph::of(model)?, ObjectGraph::of(checkpoint)?);
    let object = options.object.as_deref().map(|way| find_object(checkpoint, their_graph.as_ref(), way)).transpose()?;
    let sides = Sides { wanted, checkpoint, our_graph: our_graph.as_ref(), their_graph: their_graph.as_ref(), object };

    let mut candidates = Vec::new();
    let mut conflict = None;
    if object.is_none() {
        let same = wanted.iter().map(|entry| (entry.key.clone(), entry.key.clone()));
        candidates.push(sides.judge(Matched::Keys, same.collect()));
    }
    if let (Some(ours), Some(theirs)) = (&our_graph, &their_graph)
        && !candidates.iter().any(|it| sides.is_complete(it))
    {
        objects(&sides, ours, theirs, options, &mut candidates, &mut conflict)?;
    }
    if !candidates.iter().any(|it| sides.is_complete(it)) {
        for found in [names::same(&sides), names::renumbered(&sides)] {
            match found {
                Ok(keys) => candidates.push(sides.judge(Matched::Names, keys)),
                Err(two) => conflict = conflict.or(Some(two)),
            }
        }
    }
    choose(&sides, candidates, conflict, model, options)
}

fn find_object(checkpoint: &CheckpointReader, graph: Option<&ObjectGraph>, way: &str) -> Result<usize> {
    let path = || checkpoint.index().prefix.clone();
    let Some(graph) = graph else {
        let reason = format!("it has no object graph, and so no object `{way}`: it is a checkpoint of TensorFlow 1");
        return Err(Error::Unsupported { path: path(), reason, hint: None });
    };
    graph.find(way).ok_or_else(|| {
        let names = graph.node(0).children.iter().map(|(name, _)| format!("`{}`", name.escape_debug()));
        let names: Vec<String> = names.collect();
        let reason = format!("it has no object `{way}`; at its root are {}", list(names.into_iter()));
        Error::Unsupported { path: path(), reason, hint: None }
    })
}

/// Rule 2: pairs of objects to begin from. Both roots go first; of the others, those that fit wholly must agree.
fn objects(
    sides: &Sides<'_>,
    ours: &ObjectGraph,
    theirs: &ObjectGraph,
    options: &RestoreOptions,
    candidates: &mut Vec<Candidate>,
    conflict: &mut Option<Conflict>,
) -> Result<()> {
    let mut walked = |start, model: &str, checkpoint: &str| match walk(ours, theirs, start) {
        Ok(keys) => {
            let matched = Matched::Objects { model: model.to_owned(), checkpoint: checkpoint.to_owned() };
            Some(sides.judge(matched, keys))
        }
        Err(two) => {
            conflict.get_or_insert(two);
            None
        }
    };
    let object = sides.object.unwrap_or(0);
    candidates.extend(walked((0, object), "", options.object.as_deref().unwrap_or_default()));
    if candidates.iter().any(|it| sides.is_complete(it)) {
        return Ok(());
    }
    // The objects at a root that are no variables themselves.
    let children = |graph: &ObjectGraph, root: usize| -> Result<BTreeMap<usize, String>> {
        let all = graph.node(root).children.iter();
        let all: BTreeMap<usize, String> = all
            .filter(|(_, number)| *number != root && graph.node(*number).tensors.is_empty())
            .map(|(name, number)| (*number, name.clone()))
            .collect();
        if all.len() <= MAX_OBJECTS {
            return Ok(all);
        }
        let reason =
            format!("{} objects are at the root of an object graph, more than can be tried one by one", all.len());
        Err(Error::Unsupported { path: sides.checkpoint.index().prefix.clone(), reason, hint: None })
    };
    let mut others: Vec<Candidate> = Vec::new();
    if sides.object.is_none() {
        others.extend(children(theirs, 0)?.iter().filter_map(|(number, name)| walked((0, *number), "", name)));
    }
    others.extend(children(ours, 0)?.iter().filter_map(|(number, name)| walked((*number, object), name, "")));
    candidates.extend(others);
    Ok(())
}

/// The first rule by which all is found; else the one by which most is, if what is missing may be.
fn choose(
    sides: &Sides<'_>,
    candidates: Vec<Candidate>,
    conflict: Option<Conflict>,
    model: &CheckpointReader,
    options: &RestoreOptions,
) -> Result<(Keys, Matched)> {
    let most = candidates.iter().map(|it| it.keys.len() - it.misfits.len()).max().unwrap_or(0);
    let complete = candidates.iter().any(|it| sides.is_complete(it));
    let best = |it: &&Candidate| {
        if complete { sides.is_complete(it) } else { it.keys.len() - it.misfits.len() == most }
    };
    let mut ranked = candidates.iter().filter(best);
    let nothing = Candidate { matched: Matched::Names, keys: Keys::new(), misfits: Vec::new() };
    let first = ranked.next().unwrap_or(&nothing);
    // Both roots have the first word; what was tried besides has to agree with what else fits.
    let sure = match &first.matched {
        Matched::Keys => true,
        Matched::Objects { model, checkpoint } => {
            model.is_empty() && *checkpoint == options.object.as_deref().unwrap_or_default()
        }
        Matched::Names => false,
    };
    if complete && sure {
        return Ok((first.keys.clone(), first.matched.clone()));
    }
    // What fits twice may be what keeps a variable from being found.
    let used: BTreeSet<&String> = first.keys.values().collect();
    let open = |it: &Conflict| !first.keys.contains_key(&it.key) && !it.candidates.iter().any(|key| used.contains(key));
    if let Some(Conflict { key, candidates }) = conflict.filter(|it| first.misfits.is_empty() && open(it)) {
        return Err(sides.ambiguous(&key, &candidates.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    if !complete
        && (!options.keep_missing
            || !first.misfits.is_empty()
            || first.keys.is_empty()
            || only_scalars(sides, &first.keys))
    {
        return Err(other(sides, model, first, options));
    }
    for second in ranked {
        if let Some((key, source)) = first.keys.iter().find(|(key, source)| second.keys.get(*key) != Some(source)) {
            let candidates = [Some(source), second.keys.get(key)].into_iter().flatten();
            return Err(sides.ambiguous(key, &candidates.map(String::as_str).collect::<Vec<_>>()));
        }
    }
    Ok((first.keys.clone(), first.matched.clone()))
}

/// Whether nothing was found but scalars, though the model has more: counters and rates are the same in every model.
fn only_scalars(sides: &Sides<'_>, found: &BTreeMap<String, String>) -> bool {
    let mut arrays = sides.wanted.iter().filter(|entry| !entry.shape.is_empty()).peekable();
    arrays.peek().is_some() && !arrays.any(|entry| found.contains_key(&entry.key))
}

/// What to say of a checkpoint of another model, by the rule that found the most.
fn other(sides: &Sides<'_>, model: &CheckpointReader, found: &Candidate, options: &RestoreOptions) -> Error {
    let keys = &found.keys;
    let all: BTreeMap<&str, &str> = match sides.our_graph {
        Some(graph) => graph.tensors_below(0).map(|saved| (saved.key.as_str(), saved.full_name.as_str())).collect(),
        None => BTreeMap::new(),
    };
    let name = |key: &str| all.get(key).filter(|name| names::tells(name)).map(|name| (*name).to_owned());
    // The largest first: a few of them are shown, and weights tell more than counters.
    let mut missing: Vec<_> = sides.wanted.iter().filter(|entry| !keys.contains_key(&entry.key)).collect();
    missing.sort_by_key(|entry| std::cmp::Reverse(entry.shape.iter().product::<usize>()));
    let has_arrays = missing.iter().any(|entry| !entry.shape.is_empty());
    let missing = missing.into_iter().map(|entry| Missing { key: entry.key.clone(), name: name(&entry.key) });
    // What may be missing is not to be complained of; but nothing at all that is there is.
    let missing = if options.keep_missing && !keys.is_empty() && !(has_arrays && only_scalars(sides, keys)) {
        Vec::new()
    } else {
        missing.collect()
    };
    let used: BTreeSet<&String> = keys.values().collect();
    let extra = variables(sides.checkpoint).filter(|entry| !used.contains(&entry.key)).map(|entry| entry.key.clone());
    Error::OtherCheckpoint(Box::new(OtherCheckpoint {
        checkpoint: sides.checkpoint.index().prefix.clone(),
        model: model.index().prefix.clone(),
        missing,
        misfits: found.misfits.clone(),
        found: keys.len() - found.misfits.len(),
        extra: extra.collect(),
    }))
}
