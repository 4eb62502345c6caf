//! `tf-persist export`.

use std::io::Write;
use std::path::PathBuf;

use anstream::stdout;
use anyhow::Context;
use clap::Args;
use tf_persist_core::{SaveOptions, SavedModel, printable};

use crate::args::{Format, LibraryArgs, tags};
use crate::failure::PRINTING;
use crate::format::{bytes, count};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The folder of a SavedModel
    source: PathBuf,
    /// The folder to write; it must not exist, or be empty
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
        self.rename_signature.iter().fold(options, |options, (old, new)| options.rename_signature(old, new))
    }
}

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let options = args.options();
    options.check_target(&args.target)?;
    let saved = SavedModel::open(&args.source)?.save(&args.target, options)?;
    let target = args.target.display();
    let mut out = stdout();
    if args.format == Format::Json {
        let report = serde_json::json!({
            "path": target.to_string(),
            "meta_graphs": saved.meta_graphs,
            "signatures": saved.signatures,
            "variables": saved.variables,
            "variable_bytes": saved.variable_bytes,
        });
        return writeln!(out, "{report:#}").context(PRINTING);
    }
    let signatures: Vec<String> = saved.signatures.iter().map(|name| format!("`{}`", printable(name))).collect();
    writeln!(
        out,
        "`{target}`: {}, {} ({}), {}",
        count(saved.meta_graphs as u64, "meta graph"),
        count(saved.variables as u64, "variable"),
        bytes(saved.variable_bytes),
        match signatures.as_slice() {
            [] => "no signatures".to_owned(),
            names => format!("{} {}", if names.len() == 1 { "signature" } else { "signatures" }, names.join(", ")),
        }
    )
    .context(PRINTING)
}
