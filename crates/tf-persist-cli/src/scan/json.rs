//! The JSON report, which docs/cli.md documents.

use serde_json::{Value, json};
use tf_persist_savedmodel::scan::{EntryPoint, Finding, Level, Report};

pub(super) fn report(report: &Report) -> Value {
    json!({
        "path": report.path.display().to_string(),
        "level": report.level().map(Level::name),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "left_out": report.left_out,
    })
}

fn finding(finding: &Finding) -> Value {
    let has = |entry_point: &EntryPoint| finding.reached_from.contains(entry_point);
    let signatures: Vec<&str> = finding
        .reached_from
        .iter()
        .filter_map(|entry_point| match entry_point {
            EntryPoint::Signature(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    json!({
        "level": finding.level.name(),
        "kind": finding.kind.name(),
        "op": finding.op,
        "what": finding.what,
        "path": finding.path,
        "node": finding.node,
        "functions": finding.functions,
        "reached_from": {
            "restore": has(&EntryPoint::Restore),
            "init": has(&EntryPoint::Init),
            "save": has(&EntryPoint::Save),
            "signatures": signatures,
            "more": finding.more_entry_points,
        },
        "count": finding.count,
        "tags": finding.tags,
    })
}
