//! The JSON report, which docs/cli.md documents.

use std::io::Write;

use serde_json::{Map, Value, json};
use tf_persist_savedmodel::diff::{Diff, MetaGraphDiff, VariableChange, VariableDiff};

use crate::comparison;

pub(super) fn write(out: &mut impl Write, diff: &Diff) -> anyhow::Result<()> {
    let meta_graphs: Vec<Value> = diff.meta_graphs.iter().map(meta_graph).collect();
    let (variables, assets) = (&diff.variables, &diff.assets);
    let report = json!({
        "verdict": if diff.is_same() { "same" } else { "different" },
        "parts": diff.parts(),
        "tags": { "added": diff.added_tags, "removed": diff.removed_tags },
        "meta_graphs": meta_graphs,
        "variables": {
            "common": variables.common,
            "tables": variables.tables,
            "added": variables.added,
            "removed": variables.removed,
            "changed": variables.changed.iter().map(variable).collect::<Vec<_>>(),
        },
        "assets": {
            "common": assets.common,
            "added": assets.added,
            "removed": assets.removed,
            "changed": assets.changed.iter().map(|it| json!({ "name": it.name, "bytes": it.bytes })).collect::<Vec<_>>(),
        },
        "notes": diff.notes,
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    Ok(writeln!(out)?)
}

fn meta_graph(diff: &MetaGraphDiff) -> Value {
    let names = |added: bool| {
        let chosen = diff.signatures.iter().filter(move |it| it.added == Some(added));
        chosen.map(|it| it.name.as_str()).collect::<Vec<_>>()
    };
    let changed = diff.signatures.iter().filter(|it| it.added.is_none());
    let changed: Map<String, Value> = changed.map(|it| (it.name.clone(), json!(it.changes))).collect();
    let ops: Map<String, Value> = diff.graph.ops.iter().map(|it| (it.op.clone(), json!(it.counts))).collect();
    let (functions, nodes) = (&diff.graph.functions, &diff.graph.nodes);
    json!({
        "tags": diff.tags,
        "signatures": { "added": names(true), "removed": names(false), "changed": changed },
        "ops": ops,
        "functions": {
            "common": functions.common,
            "added": functions.added,
            "removed": functions.removed,
            "changed": functions.changed,
            "callers": functions.callers,
        },
        "graph": {
            "added": nodes.added,
            "removed": nodes.removed,
            "changed": nodes.changed,
            "dependent": nodes.dependent,
        },
    })
}

fn variable(diff: &VariableDiff) -> Value {
    let mut report = json!({ "name": diff.name, "key": diff.key, "within_tolerance": diff.is_within() });
    match &diff.change {
        VariableChange::DType(a, b) => report["dtype"] = json!([a.to_string(), b.to_string()]),
        VariableChange::Shape(a, b) => report["shape"] = json!([a, b]),
        VariableChange::Values(comparison) => report["values"] = comparison::json(comparison),
        VariableChange::Table(table) => {
            report["table"] = json!({
                "entries": table.entries,
                "added": table.added,
                "removed": table.removed,
                "values": table.values.as_ref().map(comparison::json),
            });
        }
        _ => {}
    }
    report
}
