//! Many byte strings in one piece of memory.

/// The elements of a string tensor in row-major order: byte strings, laid end to end.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Strings {
    bytes: Vec<u8>,
    /// The end of each string; it begins at the end of the one before.
    ends: Vec<usize>,
}

impl Strings {
    /// An empty list with capacity.
    #[must_use]
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// `count` empty strings.
    #[must_use]
    pub fn empty(count: usize) -> Self {
        Self { bytes: Vec::new(), ends: vec![0; count] }
    }

    /// Strings that are concatenated in `bytes`, with their ends; the last one ends with `bytes`.
    pub(crate) fn from_parts(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        debug_assert!(ends.is_sorted() && ends.last().copied().unwrap_or(0) == bytes.len());
        Self { bytes, ends }
    }

    /// The concatenated bytes of all strings.
    pub(crate) fn all_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a string.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    /// The number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all strings together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// One string.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..end])
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut all = Self::default();
        for string in strings {
            all.push(string.as_ref());
        }
        all
    }
}
