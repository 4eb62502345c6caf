//! The JSON reports, which docs/store.md documents.

use serde_json::{Map, Value, json};
use tf_persist_store::{Folder, ModelOverview, Version};

use super::text::{foreign, published};

pub(super) fn overview(model: &ModelOverview) -> Value {
    let labels: Map<String, Value> = model.labels.iter().map(|(label, to)| (label.to_string(), json!(to))).collect();
    let missing = model.folders.iter().filter_map(|folder| match folder {
        Folder::Missing(number) => Some(*number),
        _ => None,
    });
    json!({
        "model": model.name.as_str(),
        "versions": published(model).collect::<Vec<_>>(),
        "latest": model.latest(),
        "labels": labels,
        "foreign": foreign(model).collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
        "changes": model.changes,
    })
}

pub(super) fn versions(model: &ModelOverview, versions: &[Version]) -> Value {
    let mut report = overview(model);
    let one = |version: &Version| {
        let manifest = version.manifest();
        let labels = model.labels.iter().filter(|(_, to)| *to == version.number()).map(|(label, _)| label.as_str());
        json!({
            "version": version.number(),
            "manifest": version.digest(),
            "bytes": manifest.bytes(),
            "published_at": manifest.published_at,
            "published_by": manifest.published_by,
            "labels": labels.collect::<Vec<_>>(),
            "note": manifest.note,
            "metadata": manifest.metadata,
        })
    };
    report["versions"] = versions.iter().map(one).collect();
    report
}

pub(super) fn version(version: &Version, labels: &[String]) -> anyhow::Result<Value> {
    let path = version.path().display().to_string();
    Ok(json!({
        "path": path,
        "manifest_sha256": version.digest(),
        "labels": labels,
        "manifest": serde_json::to_value(version.manifest())?,
    }))
}
