//! The request log: files become exchanges, a request with its answer each, in memory that is used again.

mod examples;
mod files;
mod line;
mod record;
mod source;

pub(crate) use files::{LogFile, find};
pub(crate) use record::{UNWATCHED, put};
pub(crate) use source::{DAMAGED, Piece, Reading, for_each_piece, read_line};

/// A request with its answer. One is filled again and again.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Microseconds since 1970.
    pub(crate) time: Option<i64>,
    /// The header X-Request-Id; empty without one.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) version: Option<i64>,
    pub(crate) signature: String,
    pub(crate) latency_ms: Option<f64>,
    /// The code of a failed request; empty for one that was answered.
    pub(crate) failure: String,
    /// Whether its inputs are serialized examples, as those of a request to classify or regress.
    has_examples: bool,
    /// Whether it is a request for several answers, which are not watched.
    has_several_answers: bool,
    pub(crate) inputs: Columns,
    pub(crate) outputs: Columns,
}

impl Exchange {
    fn clear(&mut self) {
        self.time = None;
        self.id.clear();
        self.model.clear();
        self.version = None;
        self.signature.clear();
        self.latency_ms = None;
        self.failure.clear();
        self.has_examples = false;
        self.has_several_answers = false;
        self.inputs.clear();
        self.outputs.clear();
    }
}

/// Named tensors. Those beyond the length are kept for their memory.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    all: Vec<Column>,
    length: usize,
}

impl Columns {
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// A new, empty tensor.
    pub(crate) fn push(&mut self, name: &str) -> &mut Column {
        if self.length == self.all.len() {
            self.all.push(Column::default());
        }
        self.length += 1;
        let column = &mut self.all[self.length - 1];
        column.clear();
        column.name.push_str(name);
        column
    }

    /// The last tensor.
    fn last_mut(&mut self) -> Option<&mut Column> {
        self.all.get_mut(self.length.checked_sub(1)?)
    }

    /// Takes back the last tensor.
    fn pop(&mut self) {
        self.length = self.length.saturating_sub(1);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.all.iter().take(self.length)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The tensor of this name, which is expected at an index.
    #[inline]
    pub(crate) fn get(&self, expected: usize, name: &str) -> Option<&Column> {
        let at = self.all.get(expected).filter(|column| expected < self.length && column.name == name);
        at.or_else(|| self.iter().find(|column| column.name == name))
    }
}

/// What the elements of a tensor are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    /// Nothing is known, because there are none, or all are absent.
    #[default]
    Unknown,
    Bools,
    Integers,
    Floats,
    Texts,
}

/// A tensor. Numbers of all types are f64, and an absent one is NaN.
#[derive(Debug, Default)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements,
    /// The numbers; for texts, empty.
    pub(crate) numbers: Vec<f64>,
    texts: Vec<u8>,
    /// The end of each text.
    ends: Vec<usize>,
}

impl Column {
    fn clear(&mut self) {
        self.name.clear();
        self.shape.clear();
        self.elements = Elements::Unknown;
        self.numbers.clear();
        self.texts.clear();
        self.ends.clear();
    }

    fn push_text(&mut self, text: &[u8]) {
        self.texts.extend_from_slice(text);
        self.ends.push(self.texts.len());
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len() + self.ends.len()
    }

    /// The text of an element.
    pub(crate) fn text(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.texts.get(start..end)
    }

    /// The elements have one type; integers among floats are floats.
    fn set_elements(&mut self, elements: Elements) -> Result<(), String> {
        use Elements::{Floats, Integers, Unknown};
        self.elements = match (self.elements, elements) {
            (Unknown, new) => new,
            (old, new) if old == new => old,
            (Integers, Floats) | (Floats, Integers) => Floats,
            _ => return Err(format!("`{}` has elements of several types", self.name)),
        };
        Ok(())
    }

    /// The number of rows, where the first dimension is the batch.
    pub(crate) fn row_count(&self) -> Option<usize> {
        self.shape.first().copied()
    }
}
