//! Says in an optimised model how it was optimised.

use std::fs;

use super::staging::Staging;
use crate::error::{Error, Result};
use crate::rewrite::Simplified;
use crate::saved_model::layout::OPTIMIZED_FILE;
use crate::saved_model::{Optimized, SavedModel};

/// Writes the file that says so.
pub(super) fn write(source: &SavedModel, simplified: &Simplified, staging: &Staging) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(&Optimized::of(source, &simplified.changes())?)
        .map_err(|error| Error::data(OPTIMIZED_FILE, error.to_string()))?;
    text.push(b'\n');
    let path = staging.path().join(OPTIMIZED_FILE);
    let writing = || Error::io("write", staging.shown(OPTIMIZED_FILE));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(writing())?;
    }
    fs::write(path, text).map_err(writing())
}
