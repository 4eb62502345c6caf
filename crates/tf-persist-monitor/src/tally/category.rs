//! Counts of a feature that is a category.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::sketch::Distinct;

/// The categories of a reference that are listed; the others count as one.
pub(crate) const MAX_LISTED: usize = 100;

/// The categories that are kept at a time. Rare ones of a feature with many are counted together.
const MAX_KEPT: usize = 1000;

/// The longest text of a category in bytes. Longer ones are cut.
const MAX_TEXT: usize = 128;

/// Integers from 0 on that are counted without a table of texts.
const SMALL: usize = 64;

/// Counts of categories.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoryTally {
    pub(crate) rows: u64,
    pub(crate) missing: u64,
    pub(crate) absent: u64,
    small: Vec<u64>,
    counts: HashMap<String, u64>,
    /// Those beyond what is kept.
    pooled: u64,
    distinct: Distinct,
}

/// A category as a text: readable, and not too long.
pub(crate) fn key_of(text: &[u8]) -> Cow<'_, str> {
    let cut = text.get(..MAX_TEXT).unwrap_or(text);
    let shown = String::from_utf8_lossy(cut);
    if cut.len() == text.len() { shown } else { Cow::Owned(format!("{}…", shown.trim_end_matches('\u{fffd}'))) }
}

impl CategoryTally {
    pub(crate) fn new() -> Self {
        Self {
            rows: 0,
            missing: 0,
            absent: 0,
            small: vec![0; SMALL],
            counts: HashMap::new(),
            pooled: 0,
            distinct: Distinct::new(),
        }
    }

    /// Checks what was read from a file.
    ///
    /// # Errors
    /// A sentence, if the tables have other sizes than are ever written.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_whole = self.small.len() == SMALL && self.counts.len() <= MAX_KEPT;
        if is_whole { Ok(()) } else { Err("its table of categories has another size".to_owned()) }
    }

    /// Counts a missing value.
    pub(crate) fn add_missing(&mut self) {
        self.rows += 1;
        self.missing += 1;
    }

    /// Counts an integer.
    #[inline]
    pub(crate) fn add_integer(&mut self, value: i64) {
        match usize::try_from(value).ok().and_then(|value| self.small.get_mut(value)) {
            Some(count) => {
                self.rows += 1;
                *count += 1;
            }
            None => self.add_text(value.to_string().as_bytes()),
        }
    }

    /// Counts a text.
    pub(crate) fn add_text(&mut self, text: &[u8]) {
        self.rows += 1;
        self.distinct.add_text(text);
        self.count(&key_of(text), 1);
    }

    fn count(&mut self, key: &str, number: u64) {
        if let Some(count) = self.counts.get_mut(key) {
            *count += number;
        } else if self.counts.len() < MAX_KEPT {
            self.counts.insert(key.to_owned(), number);
        } else {
            self.pooled += number;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.missing += other.missing;
        self.absent += other.absent;
        for (own, other) in self.small.iter_mut().zip(&other.small) {
            *own += other;
        }
        // Frequent categories first, so that rare ones are those that are pooled.
        let mut others: Vec<(&String, &u64)> = other.counts.iter().collect();
        others.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        others.into_iter().for_each(|(key, count)| self.count(key, *count));
        self.pooled += other.pooled;
        self.distinct.merge(&other.distinct);
    }

    /// All categories with their counts, the most frequent first, and those that were counted together.
    pub(crate) fn counts(&self) -> (Vec<(String, u64)>, u64) {
        let small = self.small.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut all: Vec<(String, u64)> = small.map(|(value, count)| (value.to_string(), *count)).collect();
        for (key, count) in &self.counts {
            // A text may be a digit, as an integer is.
            match all.iter_mut().take(SMALL).find(|(small, _)| small == key) {
                Some((_, own)) => *own += count,
                None => all.push((key.clone(), *count)),
            }
        }
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        (all, self.pooled)
    }

    pub(crate) fn distinct(&self) -> u64 {
        let small = self.small.iter().filter(|count| **count > 0).count() as u64;
        small + self.distinct.estimate()
    }
}
