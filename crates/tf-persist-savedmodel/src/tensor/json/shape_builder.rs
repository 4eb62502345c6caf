//! The shape of nested lists, taken from the first of them and compared with all others.

use crate::shape::MAX_RANK;

/// The lists that are open, and the shape as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct ShapeBuilder {
    /// The size of each dimension; `None` while the first list of that depth is open.
    sizes: Vec<Option<usize>>,
    /// Set by the first element, or the first empty list.
    rank: Option<usize>,
    /// For each open list, the number of complete values.
    counts: Vec<usize>,
}

impl ShapeBuilder {
    /// The number of open lists.
    pub(super) fn depth(&self) -> usize {
        self.counts.len()
    }

    /// The shape, once a value has been decoded.
    pub(super) fn shape(&self) -> impl Iterator<Item = usize> {
        self.sizes.iter().map(|size| size.unwrap_or(0))
    }

    /// The position of decoding, such as `[2][0]`. Empty for a value outside of all lists.
    pub(super) fn path(&self) -> String {
        self.counts.iter().map(|count| format!("[{count}]")).collect()
    }

    /// Closes all lists, and keeps the shape.
    pub(super) fn restart(&mut self) {
        self.counts.clear();
    }

    /// A list begins.
    pub(super) fn open(&mut self) -> Result<(), String> {
        let depth = self.depth();
        if self.rank.is_some_and(|rank| depth >= rank) {
            return Err("a list where the values before it have none".into());
        }
        if depth >= MAX_RANK {
            return Err(format!("lists are nested deeper than TensorFlow's limit of {MAX_RANK} dimensions"));
        }
        if depth == self.sizes.len() {
            self.sizes.push(None);
        }
        self.counts.push(0);
        Ok(())
    }

    /// An element begins: it must be as deep as the first one.
    pub(super) fn element(&mut self) -> Result<(), String> {
        let depth = self.depth();
        let rank = *self.rank.get_or_insert(depth);
        if depth < rank { Err("a single value where the values before it are lists".into()) } else { Ok(()) }
    }

    /// The number of further values that the innermost open list may have.
    pub(super) fn remaining(&self) -> usize {
        let size = self.depth().checked_sub(1).and_then(|level| self.sizes[level]);
        size.map_or(usize::MAX, |size| size.saturating_sub(self.counts.last().copied().unwrap_or(0)))
    }

    /// Counts complete values of the innermost open list.
    pub(super) fn count(&mut self, values: usize) {
        if let Some(count) = self.counts.last_mut() {
            *count += values;
        }
    }

    /// Refuses another value in the innermost open list if it is full.
    pub(super) fn check_not_full(&self) -> Result<(), String> {
        if self.remaining() > 0 {
            return Ok(());
        }
        Err(format!("a value too many: the lists before this one have {}", self.counts.last().unwrap_or(&0)))
    }

    /// The innermost open list ends.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let (Some(count), level) = (self.counts.pop(), self.counts.len()) else { return Ok(()) };
        // An empty list is the innermost: the shape of its elements is unknown.
        if count == 0 && self.rank.is_none() {
            self.rank = Some(level + 1);
        }
        match self.sizes[level] {
            None => self.sizes[level] = Some(count),
            Some(size) if size == count => {}
            Some(size) => return Err(format!("a list of {count}, where the lists before it have {size}")),
        }
        Ok(())
    }
}
