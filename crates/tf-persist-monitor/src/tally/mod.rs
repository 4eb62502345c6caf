//! Counts of one feature, which add up.

mod category;
mod edges;
mod number;

use serde::{Deserialize, Serialize};

pub(crate) use category::{CategoryTally, MAX_LISTED, key_of};
pub(crate) use edges::Edges;
pub(crate) use number::{NumberTally, Range};

/// Counts of a feature.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tally {
    Number(Box<NumberTally>),
    Category(Box<CategoryTally>),
}

impl Tally {
    /// Rows in which the feature was there or missing.
    pub(crate) fn rows(&self) -> u64 {
        match self {
            Self::Number(tally) => tally.rows,
            Self::Category(tally) => tally.rows,
        }
    }

    /// Rows in which it was NaN or null.
    pub(crate) fn missing(&self) -> u64 {
        match self {
            Self::Number(tally) => tally.missing,
            Self::Category(tally) => tally.missing,
        }
    }

    /// Adds the counts of another, of the same feature.
    pub(crate) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(own), Self::Number(other)) => own.merge(other),
            (Self::Category(own), Self::Category(other)) => own.merge(other),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
