//! What to say of a checkpoint that is not the model's.

use std::fmt;
use std::path::PathBuf;

use crate::dtype::DType;
use crate::shape::PartialShape;

/// Why a checkpoint cannot be put into a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherCheckpoint {
    /// The prefix of the checkpoint.
    pub checkpoint: PathBuf,
    /// The prefix of the model's variables.
    pub model: PathBuf,
    /// The model's variables that it does not have.
    pub missing: Vec<Named>,
    /// The model's variables that it has with another dtype or shape.
    pub misfits: Vec<Misfit>,
    /// How many of the model's variables it has.
    pub found: usize,
    /// What it has and the model has not; the largest first.
    pub extra: Vec<Named>,
}

/// A variable that one side alone has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Its key in the model, or in the checkpoint.
    pub key: String,
    /// Its name in Python, where that is known.
    pub name: Option<String>,
}

/// A variable with another dtype or shape than the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misfit {
    /// Its key in the model.
    pub key: String,
    /// Its key in the checkpoint.
    pub source: String,
    /// What it is in the model.
    pub expected: (DType, Vec<usize>),
    /// The shape that the model's graph declares, where that leaves sizes open.
    pub declared: Option<PartialShape>,
    /// What it is in the checkpoint.
    pub found: (DType, Vec<usize>),
}

impl OtherCheckpoint {
    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        if self.found == 0 {
            return Some("take a checkpoint of the model that was exported".into());
        }
        if !self.misfits.is_empty() {
            return Some("take a checkpoint of a model whose variables and tables have these dtypes and shapes".into());
        }
        let hint = "take a checkpoint of the model that was exported, or let what is missing keep the model's values; on the command \
                    line with --keep-missing";
        Some(hint.into())
    }
}

/// More than this make a message nobody reads.
const SHOWN: usize = 12;

impl fmt::Display for OtherCheckpoint {
    /// One sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the checkpoint `{}` is not one of this model: ", self.checkpoint.display())?;
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("it lacks {}", list(self.missing.iter().map(Named::to_string))));
        }
        if !self.misfits.is_empty() {
            parts.push(list(self.misfits.iter().map(|misfit| misfit.to_string())));
        }
        if !self.extra.is_empty() {
            parts.push(format!("it has besides {}", list(self.extra.iter().map(Named::to_string))));
        }
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = short(&self.key);
        write!(f, "`{key}`")?;
        match &self.name {
            // `save_counter` need not be told twice; `variables/2` has to.
            Some(name) if !key.ends_with(name.as_str()) => {
                write!(f, " (`{}`)", name.escape_debug())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, source, expected, declared, found } = self;
        write!(f, "`{}` is {}", short(key), expected.0)?;
        match declared {
            Some(declared) => write!(f, "{declared}")?,
            None => write!(f, "{:?}", expected.1)?,
        }
        write!(f, " in the model and {}{:?} in the checkpoint", found.0, found.1)?;
        if key == source { Ok(()) } else { write!(f, ", where it is `{}`", short(source)) }
    }
}

/// A key without what TensorFlow 2 appends to it, as it is shown.
pub(super) fn short(key: &str) -> String {
    key.strip_suffix("/.ATTRIBUTES/VARIABLE_VALUE").unwrap_or(key).escape_debug().to_string()
}

/// "a, b and 3 more".
pub(super) fn list(all: impl ExactSizeIterator<Item = String>) -> String {
    let count = all.len();
    let mut shown: Vec<String> = all.take(SHOWN).collect();
    let last = if count > SHOWN { Some(format!("{} more", count - SHOWN)) } else { shown.pop() };
    match (shown.is_empty(), last) {
        (true, last) => last.unwrap_or_default(),
        (false, Some(last)) => format!("{} and {last}", shown.join(", ")),
        (false, None) => shown.join(", "),
    }
}
