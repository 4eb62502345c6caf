//! Rows of features out of an exchange.

use super::{Layout, PROJECTIONS, Plan, Side, TensorPlan};
use crate::log::{Column, Exchange};

/// The value of a feature in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'e> {
    /// The tensor is not there, or has another number of elements.
    Absent,
    /// A number; NaN counts as missing.
    Number(f64),
    /// A category that is an integer.
    Integer(i64),
    /// A category that is a text.
    Text(&'e [u8]),
}

/// The number of rows: the first dimension, which all inputs share, or those of the outputs where there are no inputs.
/// `None` if they do not.
pub(crate) fn row_count(exchange: &Exchange, is_batched: bool) -> Option<usize> {
    if !is_batched {
        return Some(1);
    }
    let columns = if exchange.inputs.is_empty() { &exchange.outputs } else { &exchange.inputs };
    let mut all = columns.iter().map(Column::row_count);
    let first = all.next()??;
    all.all(|rows| rows == Some(first)).then_some(first)
}

/// The tensors of one exchange, each where its plan is.
#[derive(Debug)]
pub(crate) struct Views<'e> {
    rows: usize,
    views: Vec<View<'e>>,
}

#[derive(Debug, Clone, Copy)]
enum View<'e> {
    /// It is not there.
    Absent,
    /// It has another number of elements or of rows, or another type.
    Differs,
    /// The tensor, and the elements of a row.
    Found(&'e Column, usize),
}

impl<'e> Views<'e> {
    /// Finds the tensors of a plan; `None` if the inputs do not share their rows.
    pub(crate) fn new(plan: &Plan, exchange: &'e Exchange) -> Option<Self> {
        let rows = row_count(exchange, plan.is_batched)?;
        let mut at = [0, 0];
        let view = |tensor: &TensorPlan| {
            let (columns, expected) = match tensor.side {
                Side::Input => (&exchange.inputs, &mut at[0]),
                Side::Output => (&exchange.outputs, &mut at[1]),
            };
            let found = columns.get(*expected, &tensor.name);
            *expected += 1;
            let Some(column) = found else { return View::Absent };
            if plan.is_batched && column.row_count() != Some(rows) {
                return View::Differs;
            }
            let elements = column.len() / rows.max(1);
            let is_text = column.numbers.is_empty();
            let fits = tensor.elements.is_none_or(|expected| expected == elements) && (!is_text || tensor.is_category);
            if fits { View::Found(column, elements) } else { View::Differs }
        };
        let views = plan.tensors.iter().map(view).collect();
        Some(Self { rows, views })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The tensors that do not look as planned, by their index.
    pub(crate) fn differing(&self) -> impl Iterator<Item = usize> {
        self.views.iter().enumerate().filter(|(_, view)| matches!(view, View::Differs)).map(|(index, _)| index)
    }

    /// The features of a row, in the order of the plan.
    #[inline]
    pub(crate) fn row(&self, plan: &Plan, row: usize, cells: &mut Vec<Cell<'e>>) {
        cells.clear();
        for (tensor, view) in plan.tensors.iter().zip(&self.views) {
            let before = cells.len();
            if let View::Found(column, elements) = *view {
                tensor_row(tensor, column, row * elements, elements, cells);
            }
            let count = feature_count(tensor);
            cells.resize(before + count, Cell::Absent);
        }
    }
}

fn feature_count(tensor: &TensorPlan) -> usize {
    let base = match (tensor.layout, tensor.elements) {
        (Layout::Elements, elements) => elements.unwrap_or(0),
        (Layout::Summary, None) => 5,
        (Layout::Summary, Some(_)) => 4 + PROJECTIONS,
    };
    if tensor.is_vector_output() { base + 2 } else { base }
}

#[inline]
fn tensor_row<'e>(tensor: &TensorPlan, column: &'e Column, start: usize, elements: usize, cells: &mut Vec<Cell<'e>>) {
    let numbers = column.numbers.get(start..start + elements);
    match (tensor.layout, numbers) {
        (Layout::Elements, Some(numbers)) if tensor.is_category => {
            cells.extend(numbers.iter().map(|number| match *number {
                number if number.is_nan() => Cell::Number(number),
                number => Cell::Integer(number as i64),
            }));
        }
        (Layout::Elements, Some(numbers)) => cells.extend(numbers.iter().map(|number| Cell::Number(*number))),
        (Layout::Elements, None) => {
            let texts = (start..start + elements).map(|index| column.text(index));
            cells.extend(texts.map(|text| text.map_or(Cell::Absent, Cell::Text)));
        }
        (Layout::Summary, numbers) => summary(numbers.unwrap_or_default(), tensor.elements.is_some(), cells),
    }
    if tensor.is_vector_output()
        && let Some(numbers) = numbers
    {
        let best = argmax(numbers);
        cells.push(best.map_or(Cell::Absent, |(index, _)| Cell::Integer(index as i64)));
        cells.push(Cell::Number(best.map_or(f64::NAN, |(_, value)| value)));
    }
}

/// The first of the largest numbers, with its index; `None` if one is NaN, as then none is the largest.
pub(crate) fn argmax(numbers: &[f64]) -> Option<(usize, f64)> {
    let mut best: Option<(usize, f64)> = None;
    for (index, number) in numbers.iter().enumerate() {
        if number.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, value)| *number > value) {
            best = Some((index, *number));
        }
    }
    best
}

/// Mean, deviation, minimum and maximum, and projections or the length.
fn summary(numbers: &[f64], is_projected: bool, cells: &mut Vec<Cell<'_>>) {
    let count = numbers.len() as f64;
    let (mut sum, mut least, mut most) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
    for number in numbers {
        sum += number;
        least = least.min(*number);
        most = most.max(*number);
    }
    let mean = sum / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    // `min` and `max` leave out NaN, and the mean does not.
    let of = |value: f64| Cell::Number(if mean.is_nan() { f64::NAN } else { value });
    cells.extend([of(mean), of((squares / count).sqrt()), of(least), of(most)]);
    if !is_projected {
        cells.push(Cell::Number(count));
        return;
    }
    let mut sums = [0.0; PROJECTIONS];
    for (index, number) in numbers.iter().enumerate() {
        let signs = signs(index as u64);
        for (bit, sum) in sums.iter_mut().enumerate() {
            *sum += if signs >> bit & 1 == 0 { *number } else { -number };
        }
    }
    // The deviation of a projection is then that of an element, however many there are.
    cells.extend(sums.map(|sum| of(sum / count.sqrt())));
}

/// Fixed random directions: a bit for the sign of each projection at an element (SplitMix64).
fn signs(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
