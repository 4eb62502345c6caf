//! The text report: the verdict as the first word, then one line per difference.

use std::io::Write;

use tf_persist_savedmodel::diff::{Diff, MetaGraphDiff, SignatureDiff, VariableChange, VariableDiff, VariablesDiff};
use tf_persist_savedmodel::printable;

use super::DiffArgs;
use crate::format::{bytes, count, entries};

/// Further lines of one kind are only counted.
const SHOWN: usize = 6;

pub(super) fn write(out: &mut impl Write, diff: &Diff, args: &DiffArgs) -> anyhow::Result<()> {
    let variables = &diff.variables;
    let within = variables.changed.iter().filter(|variable| variable.is_within()).count();
    if diff.is_same() {
        let what = if args.variables { "" } else { "signatures, ops, functions, graph, assets, " };
        write!(out, "same: {what}{}", count((variables.common - variables.tables) as u64, "variable"))?;
        if variables.tables > 0 {
            write!(out, ", {}", count(variables.tables as u64, "table"))?;
        }
        match within {
            0 => writeln!(out)?,
            within => writeln!(out, ", {within} of them not equal, but within {}", args.tolerance)?,
        }
    } else {
        writeln!(out, "different: {}", diff.parts().join(", "))?;
    }
    for (sign, all) in [('-', &diff.removed_tags), ('+', &diff.added_tags)] {
        for tags in all {
            writeln!(out, "{sign} meta graph `{}`", printable(&tags.join(",")))?;
        }
    }
    for meta_graph in &diff.meta_graphs {
        // With several meta graphs, each part names its own.
        let of = match diff.meta_graphs.len() {
            1 => String::new(),
            _ => format!(" of `{}`", printable(&meta_graph.tags.join(","))),
        };
        write_meta_graph(out, meta_graph, &of)?;
    }
    write_variables(out, variables, args)?;
    let assets = &diff.assets;
    let changed = assets
        .changed
        .iter()
        .map(|asset| format!("{} ({} -> {})", printable(&asset.name), bytes(asset.bytes[0]), bytes(asset.bytes[1])));
    lists(out, "assets", "", [shown(&assets.removed), changed.collect(), shown(&assets.added)])?;
    for note in &diff.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(out.flush()?)
}

fn write_meta_graph(out: &mut impl Write, meta_graph: &MetaGraphDiff, of: &str) -> anyhow::Result<()> {
    let only = |added: bool| {
        let chosen = meta_graph.signatures.iter().filter(move |it| it.added == Some(added));
        chosen.map(|it| printable(&it.name)).collect::<Vec<_>>()
    };
    let changed = |it: &SignatureDiff| format!("{}: {}", printable(&it.name), it.changes.join("; "));
    let both = meta_graph.signatures.iter().filter(|it| it.added.is_none());
    lists(out, "signatures", of, [only(false), both.map(changed).collect(), only(true)])?;
    let graph = &meta_graph.graph;
    let op = |it: &tf_persist_savedmodel::diff::OpDiff| {
        format!("{} {} -> {}", printable(&it.op), it.counts[0], it.counts[1])
    };
    lists(out, "ops", of, [Vec::new(), graph.ops.iter().map(op).collect(), Vec::new()])?;
    let functions = &graph.functions;
    lists(out, "functions", of, [&functions.removed, &functions.changed, &functions.added].map(|it| shown(it)))?;
    if functions.callers > 0 && functions.removed.len() + functions.changed.len() + functions.added.len() == 0 {
        writeln!(out, "functions{of}: {} with different callees", count(functions.callers as u64, "function"))?;
    } else if functions.callers > 0 {
        writeln!(out, "  {} with different callees", more(functions.callers, "function"))?;
    }
    let nodes = &graph.nodes;
    lists(out, "graph", of, [&nodes.removed, &nodes.changed, &nodes.added].map(|it| shown(it)))?;
    if nodes.dependent > 0 && nodes.removed.len() + nodes.changed.len() + nodes.added.len() == 0 {
        writeln!(out, "graph{of}: {} with different inputs", count(nodes.dependent as u64, "node"))?;
    } else if nodes.dependent > 0 {
        writeln!(out, "  {} with different inputs", more(nodes.dependent, "node"))?;
    }
    Ok(())
}

/// `1 more node`, `2 more nodes`.
fn more(number: usize, noun: &str) -> String {
    count(number as u64, &format!("more {noun}"))
}

fn write_variables(out: &mut impl Write, variables: &VariablesDiff, args: &DiffArgs) -> anyhow::Result<()> {
    let outside = variables.changed.iter().filter(|variable| !variable.is_within());
    let mut outside: Vec<&VariableDiff> = outside.collect();
    // The largest differences come first.
    let far = |variable: &VariableDiff| match &variable.change {
        VariableChange::Values(comparison) if comparison.not_finite == 0 => comparison.largest_absolute.unwrap_or(0.0),
        _ => f64::INFINITY,
    };
    outside.sort_by(|a, b| far(b).total_cmp(&far(a)));
    let (removed, changed, added) = (variables.removed.len(), outside.len(), variables.added.len());
    if removed + changed + added == 0 {
        return Ok(());
    }
    let within = variables.changed.len() - changed;
    let within = if within > 0 { format!(", {within} more within {}", args.tolerance) } else { String::new() };
    writeln!(out, "variables: {removed} removed, {changed} of {} changed{within}, {added} added", variables.common)?;
    let lines =
        outside.into_iter().map(|variable| format!("{} {}", printable(&variable.name), change(&variable.change)));
    lines_of(out, '-', shown(&variables.removed))?;
    lines_of(out, '~', lines.collect())?;
    lines_of(out, '+', shown(&variables.added))
}

fn change(change: &VariableChange) -> String {
    match change {
        VariableChange::DType(a, b) => format!("{a} -> {b}"),
        VariableChange::Shape(a, b) => format!("shape {a:?} -> {b:?}"),
        VariableChange::Values(comparison) => comparison.to_string(),
        VariableChange::Table(table) => {
            let [before, after] = table.entries;
            let (removed, added) = (table.removed, table.added);
            let values = table.values.as_ref().map(|values| format!("; values of the same keys: {values}"));
            format!(
                "table of {before} -> {}: {removed} removed, {added} added{}",
                entries(after),
                values.unwrap_or_default()
            )
        }
        _ => "differs".to_owned(),
    }
}

/// Writes the removed, changed and added items, if there are any.
fn lists(out: &mut impl Write, what: &str, of: &str, all: [Vec<String>; 3]) -> anyhow::Result<()> {
    let [removed, changed, added] = [0, 1, 2].map(|list: usize| all[list].len());
    if removed + changed + added == 0 {
        return Ok(());
    }
    let number = [(removed, "removed"), (changed, "changed"), (added, "added")];
    let number = number.iter().filter(|(count, _)| *count > 0).map(|(count, verb)| format!("{count} {verb}"));
    writeln!(out, "{what}{of}: {}", number.collect::<Vec<_>>().join(", "))?;
    ['-', '~', '+'].into_iter().zip(all).try_for_each(|(sign, lines)| lines_of(out, sign, lines))
}

fn lines_of(out: &mut impl Write, sign: char, lines: Vec<String>) -> anyhow::Result<()> {
    for line in lines.iter().take(SHOWN) {
        writeln!(out, "  {sign} {line}")?;
    }
    if lines.len() > SHOWN {
        writeln!(out, "  {sign} … {} more; --format json lists all", lines.len() - SHOWN)?;
    }
    Ok(())
}

fn shown(names: &[String]) -> Vec<String> {
    names.iter().map(|name| printable(name)).collect()
}
