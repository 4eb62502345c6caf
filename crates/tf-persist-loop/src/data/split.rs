//! Divides rows into those that are trained on and those that are held out.

use sha2::{Digest, Sha256};
use tf_persist_core::train::Dataset;
use tf_persist_core::{DType, Tensor};

use super::Arrays;
use crate::error::{LoopError, Result};

/// The rows to train on, and a share that is held out. Which rows these are depends on their contents alone: a row that
/// is held out once is held out in every attempt, however the data grow, and so are its copies.
pub(crate) fn split(data: &Dataset, share: f64) -> Result<(Arrays, Arrays)> {
    let mut rows = vec![Sha256::new(); data.rows()];
    for (name, tensor) in data.arrays() {
        for (row, hasher) in rows.iter_mut().enumerate() {
            hasher.update(name.as_bytes());
            hash_row(tensor, row, data.rows(), hasher)?;
        }
    }
    let (mut trained, mut held_out) = (Vec::new(), Vec::new());
    for (row, hasher) in rows.into_iter().enumerate() {
        let digest = hasher.finalize();
        let leading = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let is_held_out = (leading as f64) < share * 2_f64.powi(64);
        if is_held_out { &mut held_out } else { &mut trained }.push(row);
    }
    for (rows, what) in [(&trained, "to train on"), (&held_out, "to hold out")] {
        if rows.is_empty() {
            let (source, all) = (data.source(), data.rows());
            return Err(LoopError::Other(format!("`{source}` has too few rows: {all}, and none of them {what}")));
        }
    }
    let take = |rows: &[usize]| -> Result<Arrays> {
        Ok(data.batch(rows)?.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect())
    };
    Ok((take(&trained)?, take(&held_out)?))
}

fn hash_row(tensor: &Tensor, row: usize, rows: usize, hasher: &mut Sha256) -> Result<()> {
    if tensor.dtype() == DType::String {
        let strings = tensor.strings()?;
        let width = strings.len() / rows;
        for index in row * width..(row + 1) * width {
            let text = strings.get(index).unwrap_or_default();
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        return Ok(());
    }
    let bytes = tensor.bytes()?;
    let width = bytes.len() / rows;
    hasher.update(bytes.get(row * width..(row + 1) * width).unwrap_or_default());
    Ok(())
}
