//! `tf-persist export`.

use std::io::Write;

use anstream::stdout;
use anyhow::Context;
use tf_persist_core::pack::is_pack_path;
use tf_persist_core::{SaveOptions, SavedModel};

use crate::args::ExportArgs;
use crate::failure::PRINTING;
use crate::format::{bytes, count};

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let options = SaveOptions::default().overwrite(args.overwrite).only_loaded(args.load.tags.is_some());
    let artefact = SavedModel::open(&args.source)?;
    options.check_target(&args.target)?;
    let saved = if args.load.tags.is_none() && is_pack_path(&args.target) {
        artefact.pack(&args.target, options)?
    } else if args.load.tags.is_none() && artefact.is_packed() {
        artefact.unpack(&args.target, options)?
    } else {
        artefact.load(args.load.options()?)?.save(&args.target, options)?
    };
    writeln!(
        stdout(),
        "`{}`: {}, {} ({})",
        args.target.display(),
        count(saved.meta_graphs as u64, "meta graph"),
        count(saved.variables as u64, "variable"),
        bytes(saved.variable_bytes)
    )
    .context(PRINTING)
}
