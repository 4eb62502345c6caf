//! Finds the loops that are LSTM layers.

use tf_persist_proto::tensorflow as pb;

use super::around::{Around, allows_rows};
use super::cell::{Cell, Next};
use super::function::{Function, Source};
use crate::dtype::DType;
use crate::graph::{attr, is_control, tensor_of};

/// What a counter stays below.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// The loop variable with this index.
    Variable(usize),
    Number(i32),
}

/// A list of the hidden states of all steps.
pub(super) struct Kept {
    pub(super) variable: usize,
    /// The nodes that stack it, by their indices. Nothing else takes it.
    pub(super) stacks: Vec<usize>,
}

/// A loop over the steps of an LSTM layer.
pub(super) struct Layer<'g> {
    pub(super) condition: Function<'g>,
    pub(super) body: Function<'g>,
    pub(super) cell: Cell<'g>,
    /// What the loop compares: it goes on while each counter is below its limit.
    pub(super) bounds: Vec<(usize, Limit)>,
    /// The rows of all steps: a tensor whose first dimension are the steps.
    pub(super) input: &'g str,
    columns: usize,
    pub(super) units: usize,
    pub(super) kept: Vec<Kept>,
}

impl<'g> Layer<'g> {
    pub(super) fn find(node: &'g pb::NodeDef, around: &Around<'g>) -> Option<Self> {
        let is_loop = matches!(node.op.as_str(), "While" | "StatelessWhile");
        // XLA has no kernel for the op.
        let is_compiled = node.attr.keys().any(|name| name.starts_with("_Xla") || name.starts_with("_xla"));
        if !is_loop || is_compiled || around.asked.contains(&node.name) {
            return None;
        }
        let condition = Function::new(around.function(node, "cond")?);
        let body = Function::new(around.function(node, "body")?);
        let cell = Cell::find(&body)?;
        let bounds = bounds(&condition, &body, &cell)?;
        // These variables get other values.
        let changed = [cell.input, cell.kernel];
        let is_seen = |index: &usize| condition.takes(*index) || !around.consumers(node, *index).is_empty();
        let starts = bounds.iter().map(|(counter, _)| *counter).chain([cell.time]);
        let mut starts = starts.map(|counter| around.scalars.value(node.input.get(counter)?));
        // What is left to the limit is then a number.
        if changed.iter().any(is_seen) || !starts.all(|start| start.is_some_and(|start| start >= 0)) {
            return None;
        }
        let (columns, units) = sizes(node, &cell, around)?;
        let input = input(node, &cell, around, columns)?;
        let states = [cell.hidden, cell.carry];
        let filled = states.iter().all(|state| around.is_filled(&node.input[*state], input, units));
        let reads_all = allows_rows(body.constant(body.input(cell.read, 2))?, columns);
        if !filled || !reads_all {
            return None;
        }
        let mut layer = Self { condition, body, cell, bounds, input, columns, units, kept: Vec::new() };
        let lists = layer.cell.next.iter().enumerate().filter(|(_, next)| matches!(next, Next::EachInList));
        layer.kept = lists.map(|(list, _)| layer.kept(node, list, around)).collect::<Option<_>>()?;
        Some(layer)
    }

    /// Whether the rows get a column of zeros: with an odd number of rows and of columns, the op is slow, and each run
    /// logs so.
    pub(super) fn pads(&self) -> bool {
        !self.columns.is_multiple_of(2)
    }

    /// A list of all hidden states, if it has no room for more, and is only stacked.
    fn kept(&self, node: &'g pb::NodeDef, variable: usize, around: &Around<'g>) -> Option<Kept> {
        let reserve = around.shapes.node(&node.input[variable]).filter(|node| node.op == "TensorListReserve")?;
        if self.condition.takes(variable)
            || reserve.input.iter().any(|input| is_control(input))
            || !allows_rows(around.element_shape(reserve, 0)?, self.units)
        {
            return None;
        }
        let length = around.behind(tensor_of(reserve.input.get(1)?));
        let number = around.scalars.value(length);
        let is_length = |limit: &Limit| match limit {
            Limit::Number(limit) => number == Some((*limit).into()),
            Limit::Variable(limit) => {
                let limit = around.behind(tensor_of(&node.input[*limit]));
                limit == length || number.is_some_and(|number| around.scalars.value(limit) == Some(number))
            }
        };
        let is_first = |counter: &usize| around.scalars.value(&node.input[*counter]) == Some(0);
        let fits = is_first(&self.cell.time)
            && self.bounds.iter().all(|(counter, limit)| is_first(counter) && is_length(limit));
        let stacks = around.consumers(node, variable).to_vec();
        let stacks_all = |stack: &usize| {
            let stack = &around.nodes[*stack];
            let wanted = stack.attr.get("num_elements").map_or(-1, pb::AttrValue::i);
            stack.op == "TensorListStack"
                && (wanted == -1 || Some(wanted) == number)
                && around.element_shape(stack, 1).is_some_and(|shape| allows_rows(shape, self.units))
        };
        (fits && stacks.iter().all(stacks_all)).then_some(Kept { variable, stacks })
    }
}

/// The columns of a row, and the units of the layer.
fn sizes(node: &pb::NodeDef, cell: &Cell<'_>, around: &Around<'_>) -> Option<(usize, usize)> {
    let shape = |index: usize| around.shapes.of_constant(node.input.get(index)?);
    let [columns, width] = shape(cell.kernel)?.try_into().ok()?;
    let units = width / 4;
    // With an odd number of rows and of units, the op is slow, and each run logs so.
    let fits = width == 4 * units && units > 0 && units.is_multiple_of(2) && columns > 0;
    let fits = fits && shape(cell.recurrent)? == [units, width];
    let has_bias = |bias| shape(bias).is_some_and(|shape| shape == [width]);
    (fits && cell.bias.is_none_or(has_bias)).then_some((columns, units))
}

/// The tensor that the list of rows is made of, if that refuses nothing that the op would not.
fn input<'g>(node: &'g pb::NodeDef, cell: &Cell<'_>, around: &Around<'g>, columns: usize) -> Option<&'g str> {
    let list = around.shapes.node(node.input.get(cell.input)?).filter(|node| node.op == "TensorListFromTensor")?;
    let input = tensor_of(list.input.first()?);
    let is_plain = !list.input.iter().any(|input| is_control(input))
        && attr::type_of(list, "element_dtype") == Some(DType::Float32)
        && allows_rows(around.element_shape(list, 1)?, columns);
    // A column is added before the loop, which refuses other tensors than those of three dimensions even if there is no
    // step.
    (is_plain && (columns.is_multiple_of(2) || around.before_swap(input).is_some())).then_some(input)
}

/// The counters of a loop and what each stays below.
fn bounds(condition: &Function<'_>, body: &Function<'_>, cell: &Cell<'_>) -> Option<Vec<(usize, Limit)>> {
    /// More than any loop has.
    const MAX_BOUNDS: usize = 8;
    let [source] = condition.returned()?.try_into().ok()?;
    let mut bounds = Vec::new();
    let mut todo: Vec<Source<'_>> = vec![source];
    while let Some(source) = todo.pop() {
        if let Some(both) = source.node("LogicalAnd") {
            todo.extend([condition.input(both, 0)?, condition.input(both, 1)?]);
            continue;
        }
        let less = source.node("Less")?;
        let counter = condition.input(less, 0)?.argument()?;
        let limit = match condition.input(less, 1)? {
            Source::Argument(limit) => {
                let stays = matches!(cell.next.get(limit)?, Next::Same) && body.dtype(limit)? == DType::Int32;
                stays.then_some(Limit::Variable(limit))?
            }
            constant => Limit::Number(i32::try_from(condition.scalar(Some(constant))?).ok()?),
        };
        if !matches!(cell.next.get(counter)?, Next::Counted) || bounds.len() == MAX_BOUNDS {
            return None;
        }
        bounds.push((counter, limit));
    }
    (!bounds.is_empty()).then_some(bounds)
}
