//! Sets the learning rate of a model, where it is a variable.

use std::path::Path;

use tf_persist_core::checkpoint::{CheckpointReader, CheckpointWriter, Entry};
use tf_persist_core::saved_model::name_of;
use tf_persist_core::{DType, ModelError, SaveOptions, SavedModel, Tensor, VariableSource};

use crate::error::{LoopError, Result};

/// The end of the name of the variable, as Keras names it.
const NAME: &str = "learning_rate";

/// The variables of a model, with another learning rate.
struct Rated {
    values: CheckpointReader,
    keys: Vec<String>,
    rate: Tensor,
}

impl VariableSource for Rated {
    fn has_values(&self) -> bool {
        true
    }

    fn write_checkpoint(&self, prefix: &Path) -> Result<(), ModelError> {
        let mut writer = CheckpointWriter::create(prefix)?;
        for entry in &self.values.index().entries {
            match self.keys.contains(&entry.key) {
                true => writer.add(&entry.key, &self.rate)?,
                false => writer.add_once_from(&entry.key, &self.values, &entry.key)?,
            }
        }
        writer.finish().map(drop)
    }
}

/// Writes a copy of a model whose learning rate is this one.
pub(super) fn set(model: &SavedModel, learning_rate: f64, target: &Path) -> Result<()> {
    let path = model.path().display();
    let Some(index) = model.variables()?.index.clone() else {
        return Err(LoopError::Other(format!("`{path}` has no variables, so its learning rate cannot be set")));
    };
    let is_it = |entry: &&Entry| {
        let is_named = name_of(&entry.key).rsplit('/').next() == Some(NAME);
        is_named && entry.shape.is_empty() && entry.dtype.is_float()
    };
    let found: Vec<&Entry> = index.entries.iter().filter(is_it).collect();
    let rate = match found.first().map(|entry| entry.dtype) {
        None => {
            return Err(LoopError::Other(format!(
                "`{path}` has no variable `{NAME}`: its learning rate is part of its graph, for example a schedule, and \
                 cannot be set"
            )));
        }
        Some(DType::Float32) => Tensor::scalar(learning_rate as f32)?,
        Some(DType::Float64) => Tensor::scalar(learning_rate)?,
        Some(dtype) => {
            return Err(LoopError::Other(format!("the learning rate of `{path}` is a {dtype}, which cannot be set")));
        }
    };
    let keys = found.into_iter().map(|entry| entry.key.clone()).collect();
    let rated = Rated { values: CheckpointReader::new(index), keys, rate };
    model.save_values(model.meta_graph(None)?, &rated, target, &SaveOptions::default())?;
    Ok(())
}
