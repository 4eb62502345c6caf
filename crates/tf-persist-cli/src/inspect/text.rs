//! The text report.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use tf_persist_savedmodel::checkpoint::Entry;
use tf_persist_savedmodel::printable;
use tf_persist_savedmodel::saved_model::{FoundBy, FoundFile, FoundVariable, OPS_VERSION, Variables};
use tf_persist_savedmodel::warmup::{FILE, SEQUENCE_FILE};

use super::report::{MetaGraphReport, Report, Selection};
use super::stats;
use crate::format::{self, bytes, count, grouped};

/// The number of variables shown without `--variables`.
const VARIABLES: usize = 20;
/// The number of ops shown without `--ops`.
const OPS: usize = 12;

const TITLE: Style = Style::new().bold();
const NAME: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

pub(super) fn write(out: &mut impl Write, report: &Report<'_>, selection: &Selection<'_>) -> anyhow::Result<()> {
    // Every part begins with an empty line, except for the first.
    let mut text = Vec::new();
    write_parts(&mut text, report, selection)?;
    out.write_all(text.strip_prefix(b"\n").unwrap_or(&text))?;
    Ok(())
}

fn write_parts(out: &mut impl Write, report: &Report<'_>, selection: &Selection<'_>) -> anyhow::Result<()> {
    if selection.everything() {
        let file = report.model.file();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let size = report.model.file_bytes().map(bytes).unwrap_or_default();
        writeln!(out, "{TITLE}{}{TITLE:#}  ({name}, {size})", report.model.path().display())?;
    }
    for meta_graph in &report.meta_graphs {
        write_meta_graph(out, meta_graph, selection)?;
    }
    if selection.variables() {
        write_variables(out, report, selection)?;
    }
    if selection.everything() {
        write_fingerprint(out, report)?;
        write_optimized(out, report)?;
    }
    Ok(())
}

fn write_meta_graph(
    out: &mut impl Write,
    report: &MetaGraphReport<'_>,
    selection: &Selection<'_>,
) -> anyhow::Result<()> {
    let meta_graph = report.meta_graph;
    if selection.everything() {
        let tags = if meta_graph.tags().is_empty() { "(no tags)".into() } else { meta_graph.tags().join(",") };
        let version = match meta_graph.tensorflow_version() {
            "" => "an unknown TensorFlow".to_owned(),
            version => format!("TensorFlow {}", printable(version)),
        };
        writeln!(out, "\n{TITLE}meta graph{TITLE:#} {NAME}{}{NAME:#}  written by {version}", printable(&tags))?;
        writeln!(out, "  training   {}", report.training)?;
    }
    if selection.signatures() {
        for signature in &report.signatures {
            writeln!(out, "\n{TITLE}signature{TITLE:#} {signature}")?;
        }
    }
    if selection.ops() {
        write_ops(out, report, selection)?;
    }
    if selection.everything() {
        write_assets(out, report)?;
        if report.missing.is_empty() {
            writeln!(out, "\n{TITLE}to run it{TITLE:#}  nothing is missing")?;
        } else {
            writeln!(out, "\n{WARNING}to run it{WARNING:#}  missing:")?;
            for missing in &report.missing {
                writeln!(out, "  {}", printable(missing))?;
            }
        }
        write_restored(out, report)?;
    }
    Ok(())
}

/// Lists the variables that loading restores without the graph's saver.
fn write_restored(out: &mut impl Write, report: &MetaGraphReport<'_>) -> anyhow::Result<()> {
    for (by, how) in [(FoundBy::Objects, "the object graph"), (FoundBy::Name, "their names")] {
        let found: Vec<&FoundVariable> = report.restored.iter().filter(|found| found.by == by).collect();
        let Some(first) = found.first() else { continue };
        writeln!(
            out,
            "  loading restores {} that the graph has no saver for, by {how}: {}{}",
            count(found.len() as u64, "variable"),
            printable(&first.variable),
            if found.len() > 1 { ", …" } else { "" }
        )?;
    }
    Ok(())
}

fn write_ops(out: &mut impl Write, report: &MetaGraphReport<'_>, selection: &Selection<'_>) -> anyhow::Result<()> {
    let meta_graph = report.meta_graph;
    writeln!(
        out,
        "\n{TITLE}ops{TITLE:#}  {}, {}, {} in them",
        count(meta_graph.nodes(), "node"),
        count(meta_graph.functions(), "function"),
        count(meta_graph.function_nodes(), "node")
    )?;
    let custom = meta_graph.custom_ops();
    let mut ops: Vec<(&str, u64)> = meta_graph.ops().iter().map(|(op, count)| (op.as_str(), *count)).collect();
    // Custom ones first, then the most used.
    ops.sort_by_key(|(op, count)| (!custom.contains_key(op), std::cmp::Reverse(*count)));
    let shown = if selection.args.ops { ops.len() } else { custom.len() + OPS };
    let width = ops.iter().take(shown).map(|(_, count)| grouped(*count).len()).max().unwrap_or(0);
    for (op, count) in ops.iter().take(shown) {
        let mark = if custom.contains_key(op) {
            format!("  {WARNING}not in TensorFlow {OPS_VERSION}{WARNING:#}")
        } else {
            String::new()
        };
        writeln!(out, "  {:>width$}  {}{mark}", grouped(*count), printable(op))?;
    }
    write_rest(out, ops.len(), shown, "op", "--ops")
}

fn write_assets(out: &mut impl Write, report: &MetaGraphReport<'_>) -> anyhow::Result<()> {
    // An error is listed under what is missing.
    let Ok(assets) = &report.assets else { return Ok(()) };
    let sections: [(&str, &[FoundFile]); 2] = [("assets", &assets.files), ("assets.extra", &assets.extra)];
    for (title, files) in sections.into_iter().filter(|(_, files)| !files.is_empty()) {
        writeln!(out, "\n{TITLE}{title}{TITLE:#}")?;
        for file in files {
            let recorded = match format!("{title}/{}", file.name) {
                name if name == FILE => "  recorded requests, for `verify` and for servers to warm up with",
                name if name == SEQUENCE_FILE => "  requests recorded in order, for `verify`",
                _ => "",
            };
            writeln!(out, "  {}  {}{recorded}", printable(&file.name), bytes(file.bytes))?;
        }
    }
    for name in &assets.escaping {
        writeln!(out, "  {WARNING}outside the folder:{WARNING:#} {}", printable(name))?;
    }
    Ok(())
}

fn write_variables(out: &mut impl Write, report: &Report<'_>, selection: &Selection<'_>) -> anyhow::Result<()> {
    let variables = match &report.variables {
        Ok(variables) => variables,
        Err(error) => {
            writeln!(out, "\n{WARNING}variables{WARNING:#}  {}", printable(&error.to_string()))?;
            return Ok(());
        }
    };
    let shards = u64::from(variables.num_shards());
    writeln!(
        out,
        "\n{TITLE}variables{TITLE:#}  {}, {}, {}",
        counted(variables),
        bytes(variables.total_bytes),
        count(shards, "shard")
    )?;
    let shown = if selection.each_variable() { variables.all.len() } else { VARIABLES };
    let rows: Vec<[String; 4]> = variables
        .all
        .iter()
        .take(shown)
        .map(|variable| {
            let entry = &variable.entry;
            [printable(&variable.name), entry.dtype.to_string(), format!("{:?}", entry.shape), bytes(entry.bytes())]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, dtypes, shapes, sizes) = (width(0), width(1), width(2), width(3));
    for (number, [name, dtype, shape, size]) in rows.iter().enumerate() {
        write!(out, "  {name:names$}  {dtype:dtypes$}  {shape:shapes$}  {size:>sizes$}")?;
        if let Some(read) = report.stats.as_ref().and_then(|all| all.get(number)) {
            let (figures, warning) = stats::text(read);
            if !figures.is_empty() {
                write!(out, "  {figures}")?;
            }
            if !warning.is_empty() {
                write!(out, "  {WARNING}{}{WARNING:#}", printable(&warning))?;
            }
        }
        writeln!(out)?;
    }
    write_rest(out, variables.all.len(), shown, "variable", "--variables")?;
    write_tables(out, report, variables, shown)
}

/// `5 variables`, or `1 variable, 2 tables`.
fn counted(variables: &Variables) -> String {
    let all = count(variables.all.len() as u64, "variable");
    match variables.tables.len() as u64 {
        0 => all,
        tables => format!("{all}, {}", count(tables, "table")),
    }
}

/// Writes a line for each table: the dtypes of keys and values, and the number of entries.
fn write_tables(out: &mut impl Write, report: &Report<'_>, variables: &Variables, limit: usize) -> anyhow::Result<()> {
    let shown = limit.min(variables.tables.len()).max(VARIABLES.min(variables.tables.len()));
    let shape = |entry: &Entry| match entry.shape.get(1..).unwrap_or_default() {
        [] | [1] => entry.dtype.to_string(),
        rest => format!("{}{rest:?}", entry.dtype),
    };
    for (number, table) in variables.tables.iter().take(shown).enumerate() {
        let kind = format!("table of {} -> {}", shape(&table.keys), shape(&table.values));
        let entries = match report.entries.get(number).copied().flatten() {
            Some(entries) => format::entries(entries),
            None => count(table.rows() as u64, "bucket"),
        };
        write!(out, "  {}  {kind}  {entries}  {}", printable(&table.name), bytes(table.bytes()))?;
        match report.table_stats.as_ref().and_then(|all| all.get(number)) {
            Some(Ok([keys, values])) => {
                for (what, stats) in [("keys", keys), ("values", values)].into_iter().filter(|(_, it)| it.is_some()) {
                    let (figures, warning) = stats::text(&Ok(*stats));
                    // An empty table has neither.
                    if figures.is_empty() && warning.is_empty() {
                        continue;
                    }
                    write!(out, "  {what}")?;
                    if !figures.is_empty() {
                        write!(out, " {figures}")?;
                    }
                    if !warning.is_empty() {
                        write!(out, "  {WARNING}{}{WARNING:#}", printable(&warning))?;
                    }
                }
            }
            Some(Err(error)) => write!(out, "  {WARNING}{}{WARNING:#}", printable(&error.to_string()))?,
            None => {}
        }
        writeln!(out)?;
    }
    write_rest(out, variables.tables.len(), shown, "table", "--variables")
}

fn write_rest(out: &mut impl Write, all: usize, shown: usize, noun: &str, option: &str) -> anyhow::Result<()> {
    if all > shown {
        writeln!(out, "  … {} more; {option} shows all", count((all - shown) as u64, noun))?;
    }
    Ok(())
}

fn write_fingerprint(out: &mut impl Write, report: &Report<'_>) -> anyhow::Result<()> {
    match &report.fingerprint {
        Ok(None) => writeln!(
            out,
            "\n{TITLE}fingerprint{TITLE:#}  none (only `tf.saved_model.save` of TensorFlow 2.11 and later writes one)"
        )?,
        Err(error) => writeln!(out, "\n{WARNING}fingerprint{WARNING:#}  {}", printable(&error.to_string()))?,
        Ok(Some(fingerprint)) => {
            let variables = match fingerprint.checkpoint.name() {
                "matches" => "it matches the variables",
                "differs" => "it does not match the variables",
                _ => "it does not cover variables",
            };
            writeln!(out, "\n{TITLE}fingerprint{TITLE:#}  {}; {variables}", fingerprint.saved_model_checksum)?;
        }
    }
    Ok(())
}

/// How the model was optimised, and of which model it was made.
fn write_optimized(out: &mut impl Write, report: &Report<'_>) -> std::io::Result<()> {
    match &report.optimized {
        Ok(None) => Ok(()),
        Err(error) => writeln!(out, "\n{WARNING}optimised{WARNING:#}  {}", printable(&error.to_string())),
        Ok(Some(optimized)) => {
            let from = match &optimized.from.saved_model_checksum {
                Some(checksum) => format!("the model with the fingerprint {checksum}"),
                None => format!("the model whose graph has the SHA-256 {}", optimized.from.graph_sha256),
            };
            let what = format!("{}; from {from}, by {}", optimized.changes.join(", "), optimized.by);
            writeln!(out, "\n{TITLE}optimised{TITLE:#}  {}", printable(&what))
        }
    }
}
