//! Variables without a value.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Hint, printable};

/// More variables than this are not named in a message.
const SHOWN: usize = 10;

/// A variable without a value that a signature reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingVariable {
    /// The name of its node.
    pub variable: String,
    /// The signatures that read it, sorted.
    pub signatures: Vec<String>,
    /// Whether the model has a checkpoint at all.
    pub has_checkpoint: bool,
}

/// A model that cannot be loaded because variables have no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingVariables {
    pub(crate) path: PathBuf,
    pub(crate) variables: Vec<MissingVariable>,
}

impl MissingVariable {
    /// Why it has no value.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if self.has_checkpoint {
            "its checkpoint has no value for it, and neither the init op nor a signature gives it one"
        } else {
            "the model has no checkpoint, and neither the init op nor a signature gives it one"
        }
    }
}

impl fmt::Display for MissingVariable {
    /// The variable, and the signatures that read it: "`w`, of signature `s`".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", printable(&self.variable))?;
        match self.signatures.as_slice() {
            [] => Ok(()),
            [one] => write!(f, ", of signature `{}`", printable(one)),
            [one, rest @ ..] => write!(f, ", of signature `{}` and {} more", printable(one), rest.len()),
        }
    }
}

impl MissingVariables {
    /// The model.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What would help.
    #[must_use]
    pub fn hint(&self) -> Hint {
        if self.variables.iter().all(|variable| variable.has_checkpoint) {
            "export the model again, with these variables initialised and saved".into()
        } else {
            "copy the folder `variables` along with `saved_model.pb`, or export the model again, with its variables"
                .into()
        }
    }

    /// The variables, sorted by name.
    #[must_use]
    pub fn variables(&self) -> &[MissingVariable] {
        &self.variables
    }
}

impl fmt::Display for MissingVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.variables.iter().take(SHOWN).map(ToString::to_string).collect();
        let what = if self.variables.len() == 1 { "a variable without a value" } else { "variables without a value" };
        write!(f, "`{}` has {what}: {}", self.path.display(), names.join("; "))?;
        match self.variables.len().saturating_sub(SHOWN) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        let reason = self.variables.first().map_or("", MissingVariable::reason);
        write!(f, " ({reason})")
    }
}

impl std::error::Error for MissingVariables {}
