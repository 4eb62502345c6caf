//! The rules that match variables, and the choice between them.

use std::collections::{BTreeMap, BTreeSet};

use super::averages::Averages;
use super::graph::{Conflict, Keys, ObjectGraph, TABLE_ENDS, walk};
use super::{Matched, Pair, RestoreOptions, names, scopes, variables};
use crate::checkpoint::{CheckpointReader, Entry};
use crate::error::{
    CheckpointError, CheckpointMismatch, CheckpointVariable, Error, Hint, Result, VariableMismatch, list, short,
};
use crate::shape::PartialShape;

/// The shape that the model's graph declares for the variable with a key; `None` if it is unknown.
pub(crate) type DeclaredShape<'a> = &'a dyn Fn(&str) -> Option<PartialShape>;

/// The most objects of a root that are tried one by one. Checkpoints have a handful: model, optimizer, counter.
const MAX_OBJECTS: usize = 256;

/// The two checkpoints, and the part of the checkpoint to match.
pub(super) struct MatchInput<'a> {
    pub(super) wanted: &'a [&'a Entry],
    pub(super) checkpoint: &'a CheckpointReader,
    pub(super) our_graph: Option<&'a ObjectGraph>,
    pub(super) their_graph: Option<&'a ObjectGraph>,
    /// The object of the checkpoint that is the model; everything outside of it is ignored.
    pub(super) object: Option<usize>,
    /// The scope of the names of the checkpoint's variables; names outside of it are ignored.
    pub(super) scope: Option<&'a str>,
    pub(super) declared: DeclaredShape<'a>,
}

/// The result of a rule.
struct Candidate {
    matched: Matched,
    keys: Keys,
    mismatches: Vec<VariableMismatch>,
}

impl MatchInput<'_> {
    /// Whether a variable of the checkpoint fits one of the model.
    pub(super) fn fits(&self, ours: &Entry, their_key: &str) -> bool {
        self.checkpoint.index().get(their_key).is_some_and(|theirs| self.takes(ours, theirs))
    }

    /// A dimension without a declared size accepts any size, whatever it was when the model was saved.
    fn takes(&self, ours: &Entry, theirs: &Entry) -> bool {
        let declared = || (self.declared)(&ours.key).is_some_and(|declared| declared.accepts(&theirs.shape));
        theirs.dtype == ours.dtype && (theirs.shape == ours.shape || declared())
    }

    fn mismatch(&self, ours: &Entry, theirs: &Entry) -> VariableMismatch {
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

    /// Keeps the keys that both checkpoints have, and compares their entries.
    fn candidate(&self, matched: Matched, found: Keys) -> Candidate {
        let theirs = |key: &str| self.checkpoint.index().get(found.get(key)?);
        let mut keys = Keys::new();
        let mut mismatches = Vec::new();
        for ours in self.wanted {
            let Some(entry) = theirs(&ours.key) else { continue };
            let mut fits = self.takes(ours, entry);
            // A table has as many keys as values.
            if let Some(other) = self.other_half(&ours.key) {
                let Some(half) = theirs(&other) else { continue };
                fits &= half.shape.first() == entry.shape.first();
            }
            if !fits {
                mismatches.push(self.mismatch(ours, entry));
            }
            keys.insert(ours.key.clone(), entry.key.clone());
        }
        Candidate { matched, keys, mismatches }
    }

    /// The key of a table's values for the key of its keys, and the other way round; `None` for other tensors.
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

    /// The scopes of the names of several candidates for a variable; `None` unless each has one.
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

/// Matches a model's variables with those of the checkpoint.
pub(super) fn find(
    model: &CheckpointReader,
    checkpoint: &CheckpointReader,
    wanted: &[&Entry],
    options: &RestoreOptions,
    declared: DeclaredShape<'_>,
) -> Result<(Vec<Pair>, Matched)> {
    let (our_graph, their_graph) = (ObjectGraph::read(model)?, ObjectGraph::read(checkpoint)?);
    let (ours, theirs) = (our_graph.as_ref(), their_graph.as_ref());
    let mut input =
        MatchInput { wanted, checkpoint, our_graph: ours, their_graph: theirs, object: None, scope: None, declared };
    match options.object.as_deref().map(|name| find_part(&input, name)).transpose()? {
        Some(Part::Object(object)) => input.object = Some(object),
        Some(Part::Scope(scope)) => input.scope = Some(scope),
        None => {}
    }

    let mut candidates = Vec::new();
    let mut conflict = None;
    if options.object.is_none() {
        let same = wanted.iter().map(|entry| (entry.key.clone(), entry.key.clone()));
        candidates.push(input.candidate(Matched::Keys, same.collect()));
    }
    if let (Some(ours), Some(theirs)) = (&our_graph, &their_graph)
        && input.scope.is_none()
        && !candidates.iter().any(|it| input.is_complete(it))
    {
        objects(&input, ours, theirs, options, &mut candidates, &mut conflict)?;
    }
    if !candidates.iter().any(|it| input.is_complete(it)) {
        for rule in [names::same, names::renumbered, scopes::scoped] {
            match rule(&input) {
                Ok(keys) => candidates.push(input.candidate(Matched::Names, keys)),
                Err(two) => conflict = conflict.or(Some(two)),
            }
            if candidates.iter().any(|it| input.is_complete(it)) {
                break;
            }
        }
    }
    let (keys, matched) = choose(&input, candidates, conflict, model, options)?;
    Ok((pairs(&input, keys, options)?, matched))
}

/// Each variable with its counterpart: its moving average, if the options ask for averages and there is one.
fn pairs(input: &MatchInput<'_>, keys: Keys, options: &RestoreOptions) -> Result<Vec<Pair>> {
    let averages = options.moving_averages.then(|| Averages::find(input));
    let path = || input.checkpoint.index().prefix.clone();
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
        let entries = (input.wanted.iter().find(|entry| entry.key == key), input.checkpoint.index().get(&average));
        if let (Some(ours), Some(theirs)) = entries
            && !input.takes(ours, theirs)
        {
            return Err(unsupported(format!("its moving average cannot be taken: {}", input.mismatch(ours, theirs))));
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
    /// The beginning of the names of its variables.
    Scope(&'a str),
}

/// Finds the part that the user named: an object, or else a scope of names.
fn find_part<'a>(input: &MatchInput<'_>, name: &'a str) -> Result<Part<'a>> {
    if let Some(object) = input.their_graph.and_then(|graph| graph.find(name)) {
        return Ok(Part::Object(object));
    }
    let names = names::their_names(input);
    let scope = name.trim_end_matches('/');
    if names.keys().any(|name| names::below(name, scope).is_some()) {
        return Ok(Part::Scope(scope));
    }
    let mut has = Vec::new();
    let quoted = |names: BTreeSet<&str>| list(names.into_iter().map(|name| format!("`{}`", name.escape_debug())));
    if let Some(graph) = input.their_graph {
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
    let what = if input.their_graph.is_some() { "no object and no scope" } else { "no object graph and no scope" };
    let reason = format!("it has {what} `{}`; {}", name.escape_debug(), has.join(", and "));
    Err(Error::Unsupported { path: input.checkpoint.index().prefix.clone(), reason, hint: None })
}

/// Rule 2: pairs of objects to start from. The roots come first; of the others, all that match completely must agree.
fn objects(
    input: &MatchInput<'_>,
    ours: &ObjectGraph,
    theirs: &ObjectGraph,
    options: &RestoreOptions,
    candidates: &mut Vec<Candidate>,
    conflict: &mut Option<Conflict>,
) -> Result<()> {
    let mut walked = |start, model: &str, checkpoint: &str| match walk(ours, theirs, start) {
        Ok(keys) => {
            let matched = Matched::Objects { model: model.to_owned(), checkpoint: checkpoint.to_owned() };
            Some(input.candidate(matched, keys))
        }
        Err(two) => {
            conflict.get_or_insert(two);
            None
        }
    };
    let object = input.object.unwrap_or(0);
    candidates.extend(walked((0, object), "", options.object.as_deref().unwrap_or_default()));
    if candidates.iter().any(|it| input.is_complete(it)) {
        return Ok(());
    }
    // The objects at a root that are not variables.
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
        Err(Error::Unsupported { path: input.checkpoint.index().prefix.clone(), reason, hint: None })
    };
    let mut others: Vec<Candidate> = Vec::new();
    if input.object.is_none() {
        others.extend(children(theirs, 0)?.iter().filter_map(|(number, name)| walked((0, *number), "", name)));
    }
    others.extend(children(ours, 0)?.iter().filter_map(|(number, name)| walked((*number, object), name, "")));
    candidates.extend(others);
    Ok(())
}

/// The first rule that finds every variable; else the rule that finds the most, if variables may be missing.
fn choose(
    input: &MatchInput<'_>,
    candidates: Vec<Candidate>,
    conflict: Option<Conflict>,
    model: &CheckpointReader,
    options: &RestoreOptions,
) -> Result<(Keys, Matched)> {
    let complete = candidates.iter().any(|it| input.is_complete(it));
    // By the number of matches. If there are too few, by those of another shape, which explain more than missing ones.
    let rank = |it: &Candidate| {
        let fit = it.keys.len() - it.mismatches.len();
        let found = if options.keep_missing && fit > 0 { usize::MAX - it.mismatches.len() } else { it.keys.len() };
        (fit, found)
    };
    let most = candidates.iter().map(rank).max().unwrap_or_default();
    let best = |it: &&Candidate| if complete { input.is_complete(it) } else { rank(it) == most };
    let mut ranked = candidates.iter().filter(best);
    let nothing = Candidate { matched: Matched::Names, keys: Keys::new(), mismatches: Vec::new() };
    let first = ranked.next().unwrap_or(&nothing);
    // The roots come first. Other objects that match must agree with each other.
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
    // An ambiguous match may be the reason why a variable was not found.
    let used: BTreeSet<&String> = first.keys.values().collect();
    let open = |it: &Conflict| !first.keys.contains_key(&it.key) && !it.candidates.iter().any(|key| used.contains(key));
    if let Some(Conflict { key, candidates }) = conflict.filter(|it| first.mismatches.is_empty() && open(it)) {
        return Err(input.ambiguous(&key, &candidates.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    if !complete
        && (!options.keep_missing
            || !first.mismatches.is_empty()
            || first.keys.is_empty()
            || only_scalars(input, &first.keys))
    {
        return Err(other(input, model, first, options));
    }
    for second in ranked {
        if let Some((key, source)) = first.keys.iter().find(|(key, source)| second.keys.get(*key) != Some(source)) {
            let candidates = [Some(source), second.keys.get(key)].into_iter().flatten();
            return Err(input.ambiguous(key, &candidates.map(String::as_str).collect::<Vec<_>>()));
        }
    }
    Ok((first.keys.clone(), first.matched.clone()))
}

/// Whether only scalars were found, though the model has more: counters and rates are the same in every model.
fn only_scalars(input: &MatchInput<'_>, found: &BTreeMap<String, String>) -> bool {
    let mut arrays = input.wanted.iter().filter(|entry| !entry.shape.is_empty()).peekable();
    arrays.peek().is_some() && !arrays.any(|entry| found.contains_key(&entry.key))
}

/// The error for a checkpoint of another model, by the rule that found the most.
fn other(input: &MatchInput<'_>, model: &CheckpointReader, found: &Candidate, options: &RestoreOptions) -> Error {
    let keys = &found.keys;
    let of_ours = input.our_graph.map(|graph| graph.names_below(0)).unwrap_or_default();
    let of_theirs = input.their_graph.map(|graph| graph.names_below(0)).unwrap_or_default();
    // The largest first: only a few are shown, and weights say more than counters.
    let mut missing: Vec<_> = input.wanted.iter().copied().filter(|entry| !keys.contains_key(&entry.key)).collect();
    missing.sort_by_key(|entry| std::cmp::Reverse(entry.shape.iter().product::<usize>()));
    let has_arrays = missing.iter().any(|entry| !entry.shape.is_empty());
    let named = |entry: &Entry, names: &BTreeMap<&str, &str>| {
        let name = names.get(entry.key.as_str()).filter(|name| names::tells(name));
        CheckpointVariable { key: entry.key.clone(), name: name.map(|name| (*name).to_owned()) }
    };
    // Missing variables are allowed, unless all are missing.
    let missing = if options.keep_missing && !keys.is_empty() && !(has_arrays && only_scalars(input, keys)) {
        Vec::new()
    } else {
        missing.into_iter().map(|entry| named(entry, &of_ours)).collect()
    };
    let used: BTreeSet<&String> = keys.values().collect();
    let mut extra: Vec<_> = variables(input.checkpoint).filter(|entry| !used.contains(&entry.key)).collect();
    extra.sort_by_key(|entry| std::cmp::Reverse(entry.shape.iter().product::<usize>()));
    Error::Checkpoint(CheckpointError::Mismatch(Box::new(CheckpointMismatch {
        checkpoint: input.checkpoint.index().prefix.clone(),
        model: model.index().prefix.clone(),
        missing,
        mismatches: found.mismatches.clone(),
        found: keys.len() - found.mismatches.len(),
        extra: extra.into_iter().map(|entry| named(entry, &of_theirs)).collect(),
    })))
}
