//! `tf-persist export`.

use std::io::Write;
use std::path::PathBuf;

use anstream::eprintln;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use tf_persist_core::checkpoint::restore::{Mapping, RestoreOptions};
use tf_persist_core::saved_model::{Variables, name_of};
use tf_persist_core::{SaveOptions, SavedModel, printable, warmup};

use crate::args::{Format, LibraryArgs, tags};
use crate::error::PRINTING;
use crate::format::{self, bytes, count};
use crate::stdout::stdout;

/// How many variables a list names.
const MAX_NAMES: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A SavedModel: its folder, or a .tfpack file
    source: PathBuf,
    /// The folder to write, which must not exist, or be empty; or one file, if it ends in .tfpack
    target: PathBuf,
    /// Replace what stands at the target, in one step, once the new model is whole
    #[arg(long)]
    overwrite: bool,
    /// Write only the meta graph with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// Keep only these signatures; repeatable
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    signatures: Option<Vec<String>>,
    /// Give a signature another name; repeatable
    #[arg(long, value_name = "OLD=NEW", value_parser = renaming)]
    rename_signature: Vec<(String, String)>,
    /// Write only what inference needs: functions, nodes, variables, tables and assets that no kept signature reaches go.
    /// Without --signatures those are kept that neither train nor write variables, and the default one
    #[arg(long)]
    inference_only: bool,
    /// Turn the variables into constants of the graph, which then runs faster; what no kept signature reaches goes
    #[arg(long)]
    frozen: bool,
    /// Take the variables' values from a training checkpoint of Python's: its prefix, or its folder
    #[arg(long, value_name = "PREFIX")]
    from_checkpoint: Option<PathBuf>,
    /// With --from-checkpoint: the object in it that is the model, as `generator` or `gan.generator`
    #[arg(long, value_name = "NAME", requires = "from_checkpoint")]
    checkpoint_object: Option<String>,
    /// With --from-checkpoint: variables that it lacks keep the model's values
    #[arg(long, requires = "from_checkpoint")]
    keep_missing: bool,
    /// With --from-checkpoint: variables that have a moving average in it take that
    #[arg(long, requires = "from_checkpoint")]
    moving_averages: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Taken as `run` takes it, and not needed: nothing is loaded
    #[arg(long, value_name = "FILE.so|PACKAGE")]
    op_library: Vec<PathBuf>,
    #[command(flatten)]
    library: LibraryArgs,
}

fn renaming(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("it is not of the form OLD=NEW"),
    }
}

impl ExportArgs {
    fn options(&self) -> SaveOptions {
        let mut options = SaveOptions::default().overwrite(self.overwrite);
        options = options.inference_only(self.inference_only).frozen(self.frozen);
        if let Some(list) = &self.tags {
            options = options.tags(tags(list));
        }
        if let Some(names) = &self.signatures {
            options = options.signatures(names);
        }
        if let Some(path) = &self.from_checkpoint {
            let mut how = RestoreOptions::default();
            how.keep_missing = self.keep_missing;
            how.object.clone_from(&self.checkpoint_object);
            how.moving_averages = self.moving_averages;
            options = options.from_checkpoint(path, how);
        }
        self.rename_signature.iter().fold(options, |options, (old, new)| options.rename_signature(old, new))
    }
}

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let options = args.options();
    options.check_target(&args.target)?;
    let source = SavedModel::open(&args.source)?;
    let saved = source.save(&args.target, options)?;
    if let Some(note) = &saved.note {
        eprintln!("note: {}", printable(note));
    }
    let recorded = |model: &SavedModel| -> tf_persist_core::Result<bool> {
        Ok(warmup::Records::of(model)?.is_some() || warmup::Records::of_sequence(model)?.is_some())
    };
    if args.from_checkpoint.is_some() && recorded(&SavedModel::open(&args.target)?)? {
        eprintln!(
            "note: its recorded answers are those of other variables: `tf-persist verify {} --record FILE --replace` records new ones",
            printable(&args.target.display().to_string())
        );
    }
    let target = args.target.display();
    let mut out = stdout();
    if args.format == Format::Json {
        let restored = saved.restored.as_ref().map(|mapping| {
            json!({
                "from_checkpoint": mapping.pairs.len(), "kept": mapping.kept, "unused": mapping.unused,
                "moving_averages": args.moving_averages.then(|| mapping.averages()),
            })
        });
        let report = json!({
            "path": target.to_string(),
            "meta_graphs": saved.meta_graphs,
            "signatures": saved.signatures,
            "variables": saved.variables,
            "tables": saved.tables.iter().map(|(name, entries)| json!({ "name": name, "entries": entries })).collect::<Vec<_>>(),
            "variable_bytes": saved.variable_bytes,
            "restored": restored,
        });
        return writeln!(out, "{report:#}").context(PRINTING);
    }
    let signatures: Vec<String> = saved.signatures.iter().map(|name| format!("`{}`", printable(name))).collect();
    writeln!(
        out,
        "`{target}`: {}, {}{} ({}), {}",
        count(saved.meta_graphs as u64, "meta graph"),
        count(saved.variables as u64, "variable"),
        tables(&saved.tables),
        bytes(saved.variable_bytes),
        match signatures.as_slice() {
            [] => "no signatures".to_owned(),
            names => format!("{} {}", if names.len() == 1 { "signature" } else { "signatures" }, names.join(", ")),
        }
    )
    .context(PRINTING)?;
    saved.restored.as_ref().map_or(Ok(()), |mapping| {
        write_restored(&mut out, mapping, source.variables()?, args.moving_averages).context(PRINTING)
    })
}

/// `, 2 tables with 5 entries`.
fn tables(tables: &[(String, Option<usize>)]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let entries: Option<usize> = tables.iter().map(|(_, entries)| *entries).sum();
    let entries = entries.map(|entries| format!(" with {}", format::entries(entries)));
    format!(", {}{}", count(tables.len() as u64, "table"), entries.unwrap_or_default())
}

/// What came from the checkpoint, and what did not.
fn write_restored(out: &mut impl Write, mapping: &Mapping, model: &Variables, averages: bool) -> std::io::Result<()> {
    let names = |keys: Vec<&str>| {
        let name = |key| model.table_of(key).map_or_else(|| name_of(key), |table| table.name.as_str());
        let mut keys: Vec<&str> = keys.into_iter().map(name).collect();
        // Keys and values of a table are one.
        keys.dedup();
        let shown: Vec<String> = keys.iter().take(MAX_NAMES).map(|key| format!("`{}`", printable(key))).collect();
        let more = keys.len().saturating_sub(MAX_NAMES);
        if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
    };
    let all = |keys: &'_ [String]| names(keys.iter().map(String::as_str).collect());
    let tables =
        mapping.pairs.iter().filter(|pair| model.tables.iter().any(|table| table.keys.key == pair.key)).count();
    let variables = mapping.pairs.iter().filter(|pair| model.table_of(&pair.key).is_none()).count();
    let tables = if tables > 0 { format!(", {}", count(tables as u64, "table")) } else { String::new() };
    writeln!(out, "from the checkpoint: {}{tables}", count(variables as u64, "variable"))?;
    if averages {
        writeln!(out, "moving averages: of {}", count(mapping.averages() as u64, "variable"))?;
        let without = mapping
            .pairs
            .iter()
            .filter(|pair| !pair.is_average && model.table_of(&pair.key).is_none())
            .map(|pair| pair.key.as_str());
        let without: Vec<&str> = without.collect();
        if !without.is_empty() {
            writeln!(out, "without a moving average, so with their own values: {}", names(without))?;
        }
    }
    if !mapping.kept.is_empty() {
        writeln!(out, "kept as they were: {}", all(&mapping.kept))?;
    }
    if !mapping.unused.is_empty() {
        writeln!(out, "not used of the checkpoint: {}", all(&mapping.unused))?;
    }
    Ok(())
}
