//! The JSON report of a scan, as docs/cli.md has it.

use serde_json::{Value, json};
use tf_persist_core::scan::{Entrance, Finding, Level, Report};

pub(super) fn report(report: &Report) -> Value {
    json!({
        "path": report.path.display().to_string(),
        "level": report.level().map(Level::name),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "left_out": report.left_out,
    })
}

fn finding(finding: &Finding) -> Value {
    let has = |entrance: &Entrance| finding.reached_from.contains(entrance);
    let signatures: Vec<&str> = finding
        .reached_from
        .iter()
        .filter_map(|entrance| match entrance {
            Entrance::Signature(name) => Some(name.as_str()),
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
            "restore": has(&Entrance::Restore),
            "init": has(&Entrance::Init),
            "save": has(&Entrance::Save),
            "signatures": signatures,
            "more": finding.more_entrances,
        },
        "count": finding.count,
        "tags": finding.tags,
    })
}
