//! Ops that a model uses and TensorFlow does not have.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Hint, printable};
use crate::ops::OpPackage;

/// So many ops are named in a message; a damaged or hostile model may have any number.
const SHOWN: usize = 10;
/// Longer names are cut in a message.
const MAX_NAME: usize = 100;

/// An op that a model uses and TensorFlow does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingOp {
    /// Its name.
    pub name: String,
    /// How many nodes use it, in the graph and in its functions.
    pub count: u64,
    /// The package that usually has it, where that is known.
    pub package: Option<OpPackage>,
    /// The TensorFlow that has it, where that is known.
    pub tensorflow: Option<&'static str>,
    /// Where it is used; of the first 1,000 missing ops.
    pub used: OpUse,
}

/// A model that cannot be loaded because TensorFlow does not have its ops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingOps {
    pub(crate) path: PathBuf,
    /// The TensorFlow that does not have them.
    pub(crate) version: String,
    pub(crate) ops: Vec<MissingOp>,
}

/// Where an op is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpUse {
    /// The first node that uses it.
    pub node: String,
    /// The function that has this node; `None` for the graph itself.
    pub function: Option<String>,
    /// The signatures that reach one of its nodes, sorted.
    pub signatures: Vec<String>,
    /// Whether it runs when the model is loaded: an init op or the restoring of variables reaches it.
    pub at_load: bool,
    /// Whether TensorFlow ever gets to it. It does not if only functions that nothing calls have the op: such a model
    /// loads and runs without it. True as well where the graph is too large to tell.
    pub reached: bool,
}

impl MissingOps {
    /// The model.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the TensorFlow that does not have them.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The ops, sorted by name.
    #[must_use]
    pub fn ops(&self) -> &[MissingOp] {
        &self.ops
    }

    /// Where each of the first ten is used, a sentence an op.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        self.ops.iter().take(SHOWN).map(ToString::to_string).collect()
    }

    /// What would help: the packages that have the ops, or another TensorFlow.
    #[must_use]
    pub fn hint(&self) -> Hint {
        let packages: BTreeSet<OpPackage> = self.ops.iter().filter_map(|op| op.package).collect();
        let newer = self.ops.iter().find_map(|op| op.tensorflow);
        let unknown = self.ops.iter().any(|op| op.package.is_none() && op.tensorflow.is_none());
        let (mut ways, mut libraries) = (Vec::new(), Vec::new());
        for package in packages {
            let name = package.name;
            let note = package.note.map(|note| format!(" ({note})")).unwrap_or_default();
            if package.is_tensorflow() {
                ways.push(format!("use `{name}`{note}"));
            } else {
                ways.push(format!("`pip install {name}`{note} and load its op library"));
                libraries.push(name);
            }
        }
        if let Some(version) = newer {
            ways.push(format!("use TensorFlow {version}, which has what is missing here"));
        }
        if unknown {
            ways.push("load the library that has them".into());
        }
        let hint = libraries.iter().fold(Hint::new(ways.join("; ")), |hint, name| hint.set_to("op_library", *name));
        if unknown { hint.set_to("op_library", "FILE.so") } else { hint }
    }
}

/// A name in a message, cut where it is too long.
fn short(name: &str) -> String {
    let cut: String = name.chars().take(MAX_NAME).collect();
    format!("`{}{}`", printable(&cut), if cut.len() < name.len() { "…" } else { "" })
}

impl fmt::Display for MissingOp {
    /// The op, how often and where it is used: "`Op` (2 nodes, such as `n` in function `f`, of signature `s`)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}",
            short(&self.name),
            if self.count == 1 { "1 node".into() } else { format!("{} nodes", self.count) }
        )?;
        if !self.used.node.is_empty() {
            write!(f, ", {}{}", if self.count == 1 { "" } else { "such as " }, short(&self.used.node))?;
        }
        if let Some(function) = &self.used.function {
            write!(f, " in function {}", short(function))?;
        }
        match self.used.signatures.as_slice() {
            [] if self.used.at_load => write!(f, ", when it is loaded")?,
            [] => {}
            [one] => write!(f, ", of signature {}", short(one))?,
            [one, rest @ ..] => write!(f, ", of signature {} and {} more", short(one), rest.len())?,
        }
        write!(f, ")")
    }
}

impl fmt::Display for MissingOps {
    /// The names of the ops; of a single one also where it is used. [`MissingOps::places`] has that of all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` uses ", self.path.display())?;
        if let [op] = self.ops.as_slice() {
            return write!(f, "an op that TensorFlow {} does not have: {op}", self.version);
        }
        let names: Vec<String> = self.ops.iter().take(SHOWN).map(|op| short(&op.name)).collect();
        write!(f, "{} ops that TensorFlow {} does not have: {}", self.ops.len(), self.version, names.join(", "))?;
        match self.ops.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl std::error::Error for MissingOps {}
