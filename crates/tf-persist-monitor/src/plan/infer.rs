//! Finds the tensors of a log from its first exchanges.

use std::collections::{BTreeMap, BTreeSet};

use super::extract::row_count;
use super::{Layout, MAX_ELEMENTS, Plan, Side, TensorPlan};
use crate::log::{Column, Elements, Exchange};

/// Integers with more values are numbers.
const MAX_INTEGER_CATEGORIES: usize = 20;

/// What was seen of a tensor.
#[derive(Debug, Default)]
struct Seen {
    elements: Option<usize>,
    differ: bool,
    type_of_elements: Elements,
    /// The values of integers, one more than may be categories.
    integers: BTreeSet<i64>,
}

/// What was seen of all tensors.
type Tensors = BTreeMap<(Side, String), Seen>;

/// What was seen of a log.
#[derive(Debug)]
pub(crate) struct Inference {
    /// Whether the signature says that the first dimension is rows; none if nothing says so.
    is_batched: Option<bool>,
    /// Requests whose inputs share their first dimension, and others. A few of the latter are mistakes of clients.
    sharing: usize,
    others: usize,
    /// With rows in the first dimension.
    batched: Tensors,
    /// With one row a request.
    whole: Tensors,
}

impl Inference {
    /// Begins, with what a signature says of the first dimension.
    pub(crate) fn new(is_batched: Option<bool>) -> Self {
        Self { is_batched, sharing: 0, others: 0, batched: Tensors::new(), whole: Tensors::new() }
    }

    /// Looks at an exchange that was answered.
    pub(crate) fn see(&mut self, exchange: &Exchange) {
        let rows = row_count(exchange, true);
        *(if rows.is_some() { &mut self.sharing } else { &mut self.others }) += 1;
        let all = [(Side::Input, &exchange.inputs), (Side::Output, &exchange.outputs)];
        for (side, columns) in all {
            for column in columns.iter() {
                if let Some(rows) = rows.filter(|rows| column.row_count() == Some(*rows)) {
                    see(&mut self.batched, side, column, rows);
                }
                see(&mut self.whole, side, column, 1);
            }
        }
    }

    fn is_batched(&self) -> bool {
        self.is_batched.unwrap_or(self.others * 10 <= self.sharing)
    }

    /// The plan, and for each tensor that cannot be watched a sentence.
    ///
    /// # Errors
    /// A sentence, if there is nothing to watch.
    pub(crate) fn plan(&self) -> Result<(Plan, Vec<String>), String> {
        let mut notes = Vec::new();
        let mut tensors = Vec::new();
        let is_batched = self.is_batched();
        for ((side, name), seen) in if is_batched { &self.batched } else { &self.whole } {
            let elements = seen.elements.filter(|_| !seen.differ);
            let is_small = elements.is_some_and(|elements| elements <= MAX_ELEMENTS);
            let is_category = match seen.type_of_elements {
                Elements::Texts if !is_small => {
                    notes.push(format!("`{name}` has many texts a row, or a changing number of them, and is left out"));
                    continue;
                }
                Elements::Texts => true,
                Elements::Bools => is_small,
                Elements::Integers => is_small && seen.integers.len() <= MAX_INTEGER_CATEGORIES,
                Elements::Floats | Elements::Unknown => false,
            };
            let layout = if is_small { Layout::Elements } else { Layout::Summary };
            tensors.push(TensorPlan { name: name.clone(), side: *side, elements, layout, is_category });
        }
        Plan::new(is_batched, tensors).map(|plan| (plan, notes))
    }
}

/// Looks at a tensor.
fn see(tensors: &mut Tensors, side: Side, column: &Column, rows: usize) {
    if column.len() == 0 {
        return;
    }
    let seen = tensors.entry((side, column.name.clone())).or_default();
    let elements = column.len() / rows.max(1);
    seen.differ |= *seen.elements.get_or_insert(elements) != elements;
    seen.type_of_elements = match (seen.type_of_elements, column.elements) {
        (Elements::Integers, Elements::Floats) | (Elements::Floats, Elements::Integers) => Elements::Floats,
        (Elements::Unknown, new) => new,
        (old, _) => old,
    };
    if seen.type_of_elements == Elements::Integers && elements <= MAX_ELEMENTS {
        for number in &column.numbers {
            if seen.integers.len() <= MAX_INTEGER_CATEGORIES {
                seen.integers.insert(*number as i64);
            }
        }
    }
}
