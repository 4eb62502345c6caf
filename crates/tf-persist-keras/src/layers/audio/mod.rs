//! Spectrograms.

mod mel;
mod stft;

use super::Layer;
use crate::config::Config;
use crate::reason::Result;

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    stft::build(class, config).or_else(|| mel::build(class, config))
}
