//! The rules by which variables are found, and which of them holds.

use std::collections::{BTreeMap, BTreeSet};

use super::averages::Averages;
use super::graph::{Conflict, Keys, ObjectGraph, TABLE_ENDS, walk};
use super::{Matched, Pair, RestoreOptions, names, scopes, variables};
use crate::checkpoint::{CheckpointReader, Entry};
use crate::error::{
    CheckpointError, CheckpointMismatch, CheckpointVariable, Error, Hint, Result, VariableMismatch, list, short,
};
use crate::shape::PartialShape;

/// The shape that the model's graph declares for the variable with a key; `None` if that is not known.
pub(crate) type DeclaredShape<'a> = &'a dyn Fn(&str) -> Option<PartialShape>;

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
    /// The scope that the names of the checkpoint's variables are looked up in: names outside of it are left out.
    pub(super) scope: Option<&'a str>,
    pub(super) declared: DeclaredShape<'a>,
}

/// What a rule found.
struct Candidate {
    matched: Matched,
    keys: Keys,
    mismatches: Vec<VariableMismatch>,
}

impl Sides<'_> {
    /// Whether a variable of the checkpoint could stand for one of the model.
    pub(super) fn fits(&self, ours: &Entry, their_key: &str) -> bool {
        self.checkpoint.index().get(their_key).is_some_and(|theirs| self.takes(ours, theirs))
    }

    /// A model whose graph declares no size for a dimension takes any, whichever it was saved with.
    fn takes(&self, ours: &Entry, theirs: &Entry) -> bool {
        let declared = || (self.declared)(&ours.key).is_some_and(|declared| declared.accepts(&theirs.shape));
        theirs.dtype == ours.dtype && (theirs.shape == ours.shape || declared())
    }

    fn misfit(&self, ours: &Entry, theirs: &Entry) -> VariableMismatch {
        let of = |entry: &Entry| (entry.dtype, entry.shape.clone());
        let is_open = |shape: &PartialShape| shape.sizes().is_none_or(|sizes| sizes.contains(&None));
        VariableMismatch {
            key: ours.key.clone(),
            source: theirs.key.clone(),
            expected: of(ours),
            declared: (self.declared)(&ours.key).filter(is_open),
            found: of(theirs),
        }
    }

    /// Leaves what both sides have, and compares it.
    fn judge(&self, matched: Matched, found: Keys) -> Candidate {
        let theirs = |key: &str| self.checkpoint.index().get(found.get(key)?);
        let mut keys = Keys::new();
        let mut mismatches = Vec::new();
        for ours in self.wanted {
            let Some(entry) = theirs(&ours.key) else { continue };
            let mut fits = self.takes(ours, entry);
            // Keys and values of a table go together, as many of each.
            if let Some(other) = self.other_half(&ours.key) {
                let Some(half) = theirs(&other) else { continue };
                fits &= half.shape.first() == entry.shape.first();
            }
            if !fits {
                mismatches.push(self.misfit(ours, entry));
            }
            keys.insert(ours.key.clone(), entry.key.clone());
        }
        Candidate { matched, keys, mismatches }
    }

    /// The key of a table's values for that of its keys, and the other way round; `None` of what belongs to no table.
    fn other_half(&self, key: &str) -> Option<String> {
        let [keys, values] = TABLE_ENDS;
        let other = match (key.strip_suffix(keys), key.strip_suffix(values)) {
            (Some(table), _) => format!("{table}{values}"),
            (None, Some(table)) => format!("{table}{keys}"),
            (None, None) => return None,
        };
        let wanted = |key: &str| self.wanted.binary_search_by(|entry| entry.key.as_str().cmp(key)).ok();
        let (ours, half) = (self.wanted[wanted(key)?], self.wanted[wanted(&other)?]);
        (ours.shape.first() == half.shape.first()).then_some(other)
    }

    fn is_complete(&self, candidate: &Candidate) -> bool {
        candidate.mismatches.is_empty() && candidate.keys.len() == self.wanted.len()
    }

    /// The scopes in front of the names of several variables that may be the one with a key; `None` unless each has one.
    fn scopes(&self, key: &str, candidates: &[&str]) -> Option<Vec<String>> {
        let names = |graph: Option<&ObjectGraph>, key: &str| match graph {
            Some(graph) => graph.names_below(0).get(key).map(|name| (*name).to_owned()),
            None => Some(key.to_owned()),
        };
        let ours = names(self.our_graph, key)?;
        let scope = |key: &&str| {
            let name = names(self.their_graph, key)?;
            let scope = name.strip_suffix(&ours)?.strip_suffix('/')?;
            Some(scope.escape_debug().to_string())
        };
        candidates.iter().map(scope).collect()
    }

    fn ambiguous(&self, ours: &str, candidates: &[&str]) -> Error {
        let shown = list(candidates.iter().map(|key| format!("`{}`", short(key))));
        let key = short(ours);
        let reason = match candidates {
            [_] => format!(
                "its {shown} could be the model's `{key}` or another of the model's variables that has the same name"
            ),
            _ => format!("several of its variables could be the model's `{key}`: {shown}"),
        };
        let text = match self.scopes(ours, candidates).as_deref() {
            Some([scope, other, ..]) => {
                format!("name the scope of its names that is the model, such as `{scope}` or `{other}`")
            }
            _ => "name the object of the checkpoint that is the model, such as `generator`".to_owned(),
        };
        let hint = Hint::new(text).set("object");
        let hint = (candidates.len() > 1).then_some(hint);
        Error::Unsupported { path: self.checkpoint.index().prefix.clone(), reason, hint }
    }
}

/// A model's variables, and those of the checkpoint that stand for them.
pub(super) fn find(
    model: &CheckpointReader,
    checkpoint: &CheckpointReader,
    wanted: &[&Entry],
    options: &RestoreOptions,
    declared: DeclaredShape<'_>,
) -> Result<(Vec<Pair>, Matched)> {
    let (our_graph, their_graph) = (ObjectGraph::of(model)?, ObjectGraph::of(checkpoint)?);
    let (ours, theirs) = (our_graph.as_ref(), their_graph.as_ref());
    let mut sides =
        Sides { wanted, checkpoint, our_graph: ours, their_graph: theirs, object: None, scope: None, declared };
    match options.object.as_deref().map(|name| find_part(&sides, name)).transpose()? {
        Some(Part::Object(object)) => sides.object = Some(object),
        Some(Part::Scope(scope)) => sides.scope = Some(scope),
        None => {}
    }

    let mut candidates = Vec::new();
    let mut conflict = None;
    if options.object.is_none() {
        let same = wanted.iter().map(|entry| (entry.key.clone(), entry.key.clone()));
        candidates.push(sides.judge(Matched::Keys, same.collect()));
    }
    if let (Some(ours), Some(theirs)) = (&our_graph, &their_graph)
        && sides.scope.is_none()
        && !candidates.iter().any(|it| sides.is_complete(it))
    {
        objects(&sides, ours, theirs, options, &mut candidates, &mut conflict)?;
    }
    if !candidates.iter().any(|it| sides.is_complete(it)) {
        for rule in [names::same, names::renumbered, scopes::scoped] {
            match rule(&sides) {
                Ok(keys) => candidates.push(sides.judge(Matched::Names, keys)),
                Err(two) => conflict = conflict.or(Some(two)),
            }
            if candidates.iter().any(|it| sides.is_complete(it)) {
                break;
            }
        }
    }
    let (keys, matched) = choose(&sides, candidates, conflict, model, options)?;
    Ok((pairs(&sides, keys, options)?, matched))
}

/// Each variable with what stands for it, which is its moving average where that is asked for and there is one.
fn pairs(sides: &Sides<'_>, keys: Keys, options: &RestoreOptions) -> Result<Vec<Pair>> {
    let averages = options.moving_averages.then(|| Averages::of(sides));
    let path = || sides.checkpoint.index().prefix.clone();
    let unsupported = |reason: String| {
        let hint = Hint::new("take the variables' own values").unset("moving_averages");
        Error::Unsupported { path: path(), reason, hint: Some(hint) }
    };
    let mut pairs = Vec::new();
    for (key, source) in keys {
        let average = averages.as_ref().map_or(Ok(None), |averages| averages.get(&source));
        let average = average.map_err(|Conflict { key, candidates }| {
            let shown = list(candidates.iter().map(|key| format!("`{}`", short(key))));
            unsupported(format!("several of its variables are moving averages of `{}`: {shown}", short(&key)))
        })?;
        let Some(average) = average.map(str::to_owned) else {
            pairs.push(Pair { key, source, is_average: false });
            continue;
        };
        let entries = (sides.wanted.iter().find(|entry| entry.key == key), sides.checkpoint.index().get(&average));
        if let (Some(ours), Some(theirs)) = entries
            && !sides.takes(ours, theirs)
        {
            return Err(unsupported(format!("its moving average cannot be taken: {}", sides.misfit(ours, theirs))));
        }
        pairs.push(Pair { key, source: average, is_average: true });
    }
    if let Some(averages) = averages.filter(|_| pairs.iter().all(|pair| !pair.is_average)) {
        return Err(unsupported(match averages.is_empty() {
            true => "it has no moving averages".into(),
            false => "it has no moving average of any of the model's variables".into(),
        }));
    }
    Ok(pairs)
}

/// The part of a checkpoint that is the model.
enum Part<'a> {
    Object(usize),
    /// What the names of its variables begin with.
    Scope(&'a str),
}

/// Finds the part that a user named: an object, or else a scope of names.
fn find_part<'a>(sides: &Sides<'_>, name: &'a str) -> Result<Part<'a>> {
    if let Some(object) = sides.their_graph.and_then(|graph| graph.find(name)) {
        return Ok(Part::Object(object));
    }
    let names = names::their_names(sides);
    let scope = name.trim_end_matches('/');
    if names.keys().any(|name| names::below(name, scope).is_some()) {
        return Ok(Part::Scope(scope));
    }
    let mut has = Vec::new();
    let quoted = |names: BTreeSet<&str>| list(names.into_iter().map(|name| format!("`{}`", name.escape_debug())));
    if let Some(graph) = sides.their_graph {
        let objects: BTreeSet<&str> = graph.node(0).children.iter().map(|(name, _)| name.as_str()).collect();
        has.push(format!("at its root are {}", quoted(objects)));
    }
    let scopes: BTreeSet<&str> = names.keys().filter_map(|name| Some(name.split_once('/')?.0)).collect();
    if !scopes.is_empty() {
        has.push(format!("the names of its variables begin with {}", quoted(scopes)));
    }
    if has.is_empty() {
        has.push("the names of its variables have no scopes".to_owned());
    }
    let what = if sides.their_graph.is_some() { "no object and no scope" } else { "no object graph and no scope" };
    let reason = format!("it has {what} `{}`; {}", name.escape_debug(), has.join(", and "));
    Err(Error::Unsupported { path: sides.checkpoint.index().prefix.clone(), reason, hint: None })
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
    let complete = candidates.iter().any(|it| sides.is_complete(it));
    // By what fits. Where that is nothing, or not enough, by what was found in another shape, which tells more than that it is missing.
    let rank = |it: &Candidate| {
        let fit = it.keys.len() - it.mismatches.len();
        let found = if options.keep_missing && fit > 0 { usize::MAX - it.mismatches.len() } else { it.keys.len() };
        (fit, found)
    };
    let most = candidates.iter().map(rank).max().unwrap_or_default();
    let best = |it: &&Candidate| if complete { sides.is_complete(it) } else { rank(it) == most };
    let mut ranked = candidates.iter().filter(best);
    let nothing = Candidate { matched: Matched::Names, keys: Keys::new(), mismatches: Vec::new() };
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
    if let Some(Conflict { key, candidates }) = conflict.filter(|it| first.mismatches.is_empty() && open(it)) {
        return Err(sides.ambiguous(&key, &candidates.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    if !complete
        && (!options.keep_missing
            || !first.mismatches.is_empty()
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
    let of_ours = sides.our_graph.map(|graph| graph.names_below(0)).unwrap_or_default();
    let of_theirs = sides.their_graph.map(|graph| graph.names_below(0)).unwrap_or_default();
    // The largest first: a few of them are shown, and weights tell more than counters.
    let mut missing: Vec<_> = sides.wanted.iter().copied().filter(|entry| !keys.contains_key(&entry.key)).collect();
    missing.sort_by_key(|entry| std::cmp::Reverse(entry.shape.iter().product::<usize>()));
    let has_arrays = missing.iter().any(|entry| !entry.shape.is_empty());
    let named = |entry: &Entry, names: &BTreeMap<&str, &str>| {
        let name = names.get(entry.key.as_str()).filter(|name| names::tells(name));
        CheckpointVariable { key: entry.key.clone(), name: name.map(|name| (*name).to_owned()) }
    };
    // What may be missing is not to be complained of; but nothing at all that is there is.
    let missing = if options.keep_missing && !keys.is_empty() && !(has_arrays && only_scalars(sides, keys)) {
        Vec::new()
    } else {
        missing.into_iter().map(|entry| named(entry, &of_ours)).collect()
    };
    let used: BTreeSet<&String> = keys.values().collect();
    let mut extra: Vec<_> = variables(sides.checkpoint).filter(|entry| !used.contains(&entry.key)).collect();
    extra.sort_by_key(|entry| std::cmp::Reverse(entry.shape.iter().product::<usize>()));
    Error::Checkpoint(CheckpointError::Mismatch(Box::new(CheckpointMismatch {
        checkpoint: sides.checkpoint.index().prefix.clone(),
        model: model.index().prefix.clone(),
        missing,
        mismatches: found.mismatches.clone(),
        found: keys.len() - found.mismatches.len(),
        extra: extra.into_iter().map(|entry| named(entry, &of_theirs)).collect(),
    })))
}
