//! Layers that turn texts and categories into numbers, and numbers into categories.

mod categories;
mod crossing;
mod discretization;
mod encoding;
mod hashing;
mod lookup;
mod normalization;
mod text;
mod vocabulary;

pub(crate) use discretization::learned as learned_boundaries;

use super::{Layer, finished};
use crate::config::Config;
use crate::reason::Result;

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "StringLookup" => finished(lookup::Lookup::strings(config), config),
        "IntegerLookup" => finished(lookup::Lookup::integers(config), config),
        "TextVectorization" => finished(text::TextVectorization::new(config), config),
        "Hashing" => finished(hashing::Hashing::new(config), config),
        "HashedCrossing" => finished(crossing::HashedCrossing::new(config), config),
        "Discretization" => finished(discretization::Discretization::new(config), config),
        "CategoryEncoding" => finished(categories::CategoryEncoding::new(config), config),
        "Normalization" => finished(normalization::Normalization::new(config), config),
        _ => return None,
    })
}
