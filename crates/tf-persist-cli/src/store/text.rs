//! The text reports.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tf_persist_savedmodel::printable;
use tf_persist_store::{Folder, ModelOverview, TensorSummary, Version};

use crate::format::{bytes, count};

/// The numbers of published versions that are there.
pub(super) fn published(model: &ModelOverview) -> impl Iterator<Item = u64> {
    model.folders.iter().filter_map(|folder| match folder {
        Folder::Published(number) => Some(*number),
        _ => None,
    })
}

/// The folders that look like versions and were not published.
pub(super) fn foreign(model: &ModelOverview) -> impl Iterator<Item = &str> {
    model.folders.iter().filter_map(|folder| match folder {
        Folder::Foreign(name) => Some(name.as_str()),
        _ => None,
    })
}

fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A line for each model.
pub(super) fn models(out: &mut impl Write, models: &[ModelOverview]) -> anyhow::Result<()> {
    if models.is_empty() {
        writeln!(out, "no models")?;
    }
    let width = models.iter().map(|model| model.name.as_str().len()).max().unwrap_or(0);
    for model in models {
        let versions = count(published(model).count() as u64, "version");
        let latest = model.latest().map_or(String::new(), |latest| format!(", latest {latest}"));
        let labels: Vec<String> = model.labels.iter().map(|(label, to)| format!("{label} {to}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("; {}", labels.join(", ")) };
        let foreign = match foreign(model).count() {
            0 => String::new(),
            number => format!("; {} not published", count(number as u64, "folder")),
        };
        writeln!(out, "{:width$}  {versions}{latest}{labels}{foreign}", model.name.as_str())?;
    }
    Ok(out.flush()?)
}

/// A line for each version of a model.
pub(super) fn versions(out: &mut impl Write, model: &ModelOverview, versions: &[Version]) -> anyhow::Result<()> {
    if model.folders.is_empty() {
        writeln!(out, "no versions")?;
    }
    let mut known = versions.iter();
    let width = model.folders.iter().map(|folder| name(folder).len()).max().unwrap_or(0);
    for folder in &model.folders {
        let text = match folder {
            Folder::Published(number) => {
                let Some(version) = known.by_ref().find(|version| version.number() == *number) else { continue };
                let manifest = version.manifest();
                let of = |(label, to): &(tf_persist_store::Label, u64)| (to == number).then(|| label.to_string());
                let labels: Vec<String> = model.labels.iter().filter_map(of).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("  [{}]", labels.join(", ")) };
                let note = manifest.note.as_deref().map_or(String::new(), |note| format!("  {}", printable(note)));
                format!("{}  {:>8}{labels}{note}", time(manifest.published_at), bytes(manifest.bytes()))
            }
            Folder::Foreign(name) => match name.trim_start_matches('0') {
                number if number == name || number.is_empty() => {
                    "not published: the store has no manifest of it".to_owned()
                }
                number => {
                    format!("not published, and {number} for TensorFlow Serving: a version is named without zeros")
                }
            },
            _ => "lost: the store has its manifest, and its folder is gone".to_owned(),
        };
        writeln!(out, "{:>width$}  {text}", name(folder))?;
    }
    Ok(out.flush()?)
}

fn name(folder: &Folder) -> String {
    match folder {
        Folder::Published(number) | Folder::Missing(number) => number.to_string(),
        Folder::Foreign(name) => name.clone(),
        _ => String::new(),
    }
}

/// Everything about a version.
pub(super) fn version(out: &mut impl Write, version: &Version, labels: &[String]) -> anyhow::Result<()> {
    let manifest = version.manifest();
    let labels = if labels.is_empty() { String::new() } else { format!("  [{}]", labels.join(", ")) };
    writeln!(out, "{}@{}{labels}", version.model(), version.number())?;
    writeln!(out, "  path       {}", version.path().display())?;
    writeln!(out, "  manifest   sha256 {}", version.digest())?;
    let by = printable(&manifest.published_by);
    writeln!(out, "  published  {} by {by}", time(manifest.published_at))?;
    if !manifest.source.is_empty() {
        writeln!(out, "  source     {}", printable(&manifest.source))?;
    }
    if let Some(parent) = manifest.parent {
        writeln!(out, "  parent     {parent}")?;
    }
    writeln!(out, "  tensorflow {}", printable(&manifest.tensorflow_version))?;
    if let Some(note) = &manifest.note {
        writeln!(out, "  note       {}", printable(note))?;
    }
    if !manifest.metadata.is_empty() {
        writeln!(out, "\nmetadata")?;
    }
    for (name, value) in &manifest.metadata {
        writeln!(out, "  {}  {}", printable(name), printable(&value.to_string()))?;
    }
    writeln!(out, "\nsignatures")?;
    for signature in &manifest.signatures {
        let of = |all: &[TensorSummary]| {
            let one = |it: &TensorSummary| format!("{}: {}{}", printable(&it.name), it.dtype, it.shape);
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        writeln!(out, "  {}({}) -> ({})", printable(&signature.name), of(&signature.inputs), of(&signature.outputs))?;
    }
    writeln!(out, "\nfiles  {}, {}", count(manifest.files.len() as u64, "file"), bytes(manifest.bytes()))?;
    for file in &manifest.files {
        writeln!(out, "  {:>9}  {:.12}  {}", bytes(file.size), file.sha256, printable(&file.name))?;
    }
    Ok(out.flush()?)
}

/// Whether a version is what was published.
pub(super) fn verified(out: &mut impl Write, version: &Version, signed: &str, faults: &[String]) -> anyhow::Result<()> {
    let manifest = version.manifest();
    let name = format!("{}@{}", version.model(), version.number());
    if faults.is_empty() {
        let files = count(manifest.files.len() as u64, "file");
        writeln!(out, "{name}: as published{signed}, {files}, {}", bytes(manifest.bytes()))?;
        return Ok(());
    }
    writeln!(out, "{name}: not as it should be")?;
    Ok(faults.iter().try_for_each(|fault| writeln!(out, "  {fault}"))?)
}
