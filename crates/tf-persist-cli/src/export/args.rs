//! The arguments of `tf-persist export`.

use std::path::PathBuf;

use clap::Args;
use tf_persist_savedmodel::SaveOptions;
use tf_persist_savedmodel::checkpoint::restore::RestoreOptions;

use crate::common_args::{Format, LibraryArgs, asserts, tags};
use crate::keras_args::KerasArgs;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A model: the folder of a SavedModel, a .tfpack file, or a Keras file (.keras, .h5)
    pub(crate) source: PathBuf,
    /// The folder to write, which must not exist or be empty; or a file that ends in .tfpack, .keras or .h5
    pub(super) target: PathBuf,
    /// Replace the model at the target, in one step, when the new one is complete
    #[arg(long)]
    pub(super) overwrite: bool,
    /// A Keras file of the same model, to write a SavedModel as a Keras file if it does not tell of which one it is
    #[cfg(feature = "keras")]
    #[arg(long, value_name = "FILE.keras", help_heading = "Keras files")]
    pub(super) like: Option<PathBuf>,
    /// The Keras that is to read the Keras file: a model of Keras 2 is converted to Keras 3. By default, an .h5 file of
    /// Keras 2 becomes a .keras file of Keras 3, and other files stay those of the Keras that wrote them
    #[cfg(feature = "keras")]
    #[arg(long, value_name = "VERSION", value_parser = ["2", "3"], help_heading = "Keras files")]
    pub(super) keras_version: Option<String>,
    /// Write only the meta graph with these tags (comma list; "" is the empty set)
    #[arg(long, value_name = "TAGS")]
    pub(super) tags: Option<String>,
    /// Keep only these signatures; repeatable
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) signatures: Option<Vec<String>>,
    /// Rename a signature; repeatable
    #[arg(long, value_name = "OLD=NEW", value_parser = renaming)]
    pub(super) rename_signature: Vec<(String, String)>,
    /// Write only what inference needs: remove functions, nodes, variables, tables and assets that no kept signature
    /// reaches. Without --signatures, keep the default signature and those that neither train nor write variables
    #[arg(long)]
    pub(super) inference_only: bool,
    /// Turn the variables into constants, so that the graph runs faster, and remove what no kept signature reaches
    #[arg(long)]
    pub(super) frozen: bool,
    /// Write what the fast path makes of the model when it is loaded, so that the next load is quick: the variables
    /// become constants, and all signatures with outputs are kept
    #[arg(long)]
    pub(super) optimized: bool,
    /// With --optimized: drop the assertions; an input that they would have refused then gets an answer, which may mean
    /// nothing
    #[arg(long, requires = "optimized")]
    pub(super) drop_asserts: bool,
    /// Write equal tensors of the checkpoint as often as they are there; by default, those that are stored twice, as
    /// Keras's `model.export` stores every weight, are written once
    #[arg(long)]
    pub(super) plain: bool,
    /// Take the variables' values from a training checkpoint written by Python: its prefix or its folder
    #[arg(long, value_name = "PREFIX")]
    pub(super) from_checkpoint: Option<PathBuf>,
    /// With --from-checkpoint: the object or scope in it that is the model, such as `generator` or `gan.generator`
    #[arg(long, value_name = "NAME", requires = "from_checkpoint")]
    pub(super) checkpoint_object: Option<String>,
    /// With --from-checkpoint: keep the model's values of variables that it lacks
    #[arg(long, requires = "from_checkpoint")]
    pub(super) keep_missing: bool,
    /// With --from-checkpoint: take the moving averages of variables that have one
    #[arg(long, requires = "from_checkpoint")]
    pub(super) moving_averages: bool,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Accepted as in `run`, without effect: nothing is loaded
    #[arg(long, value_name = "FILE.so|PACKAGE")]
    pub(super) op_library: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) library: LibraryArgs,
    #[command(flatten)]
    pub(super) keras: KerasArgs,
}

fn renaming(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("expected OLD=NEW"),
    }
}

impl ExportArgs {
    /// Whether the SavedModel of a Keras file is to be changed on the way.
    #[cfg(feature = "keras")]
    pub(super) fn is_rewritten(&self) -> bool {
        self.frozen
            || self.optimized
            || self.tags.is_some()
            || self.signatures.is_some()
            || self.from_checkpoint.is_some()
            || !self.rename_signature.is_empty()
    }

    pub(super) fn options(&self) -> SaveOptions {
        let mut options = SaveOptions::default().overwrite(self.overwrite);
        options =
            options.inference_only(self.inference_only).frozen(self.frozen).optimized(self.optimized).plain(self.plain);
        options = options.asserts(asserts(self.drop_asserts));
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
