//! Loops over the steps of an LSTM layer take many steps at once, by TensorFlow's op for them, `BlockLSTMV2`.
//!
//! The loop stays, and each of its variables has the values that it had, only less often: what is around it need not
//! change. A loop of a known number of steps then becomes [those](super::loops). The op keeps what each step computes,
//! seven times the size of the hidden states, so where only the last of them is needed, it takes a few steps each time.

mod body;
mod cell;
mod function;

use std::collections::{BTreeMap, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use super::effects::{has_control_flow, may_act_or_calls};
use super::scalars::Scalars;
use super::shapes::{Shapes, integers};
use crate::dtype::DType;
use crate::graph::{attr, free_name, tensor_of};
use crate::tensor::{Tensor, proto};
use cell::{Cell, Next};
use function::{Function, Source};

/// Fuses the LSTM layers at the top of a graph. Returns how many. These nodes are asked for by their names.
pub(super) fn fuse(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    // New constants would be outside of a loop of TensorFlow 1.
    if has_control_flow(&graph.node) {
        return 0;
    }
    let made: Vec<(usize, Fused)> = {
        let around = Around::new(graph, asked);
        let nodes = graph.node.iter().enumerate();
        nodes
            .filter_map(|(index, node)| Some((index, Layer::find(node, &around)?.fused(index, node, &around)?)))
            .collect()
    };
    let count = made.len();
    for (index, fused) in made {
        graph.node[index] = fused.node;
        graph.node.extend(fused.beside);
        graph.library.mut_or_insert_default().function.extend(fused.functions);
    }
    count
}

/// What takes the place of a loop.
struct Fused {
    node: pb::NodeDef,
    beside: Vec<pb::NodeDef>,
    functions: [pb::FunctionDef; 2],
}

/// The graph around a loop.
struct Around<'g> {
    functions: HashMap<&'g str, &'g pb::FunctionDef>,
    names: HashSet<&'g str>,
    /// The tensors that nodes take.
    taken: HashSet<&'g str>,
    asked: &'g HashSet<String>,
    shapes: Shapes<'g>,
    scalars: Scalars<'g>,
}

impl<'g> Around<'g> {
    fn new(graph: &'g pb::GraphDef, asked: &'g HashSet<String>) -> Self {
        let functions = graph.library.function.iter();
        Self {
            functions: functions.map(|function| (function.signature.name.as_str(), function)).collect(),
            names: graph.node.iter().map(|node| node.name.as_str()).collect(),
            taken: graph.node.iter().flat_map(|node| node.input.iter().map(|input| tensor_of(input))).collect(),
            asked,
            shapes: Shapes::new(&graph.node, asked),
            scalars: Scalars::new(&graph.node, BTreeMap::new(), asked).without_waiting(),
        }
    }

    fn function(&self, node: &pb::NodeDef, name: &str) -> Option<&'g pb::FunctionDef> {
        let Some(Value::Func(function)) = &node.attr.get(name)?.value else { return None };
        let found = self.functions.get(function.name.as_str()).copied().filter(|_| function.attr.is_empty())?;
        found.node_def.iter().all(|node| !may_act_or_calls(&node.op)).then_some(found)
    }

    /// Behind nodes that pass a tensor on, or turn its first dimension around.
    fn behind<'t>(&self, mut tensor: &'t str) -> &'t str
    where
        'g: 't,
    {
        /// Circles end.
        const MAX_DEPTH: usize = 20;
        for _ in 0..MAX_DEPTH {
            match self.shapes.node(tensor) {
                Some(node) if matches!(node.op.as_str(), "Identity" | "ReverseV2") && !node.input.is_empty() => {
                    tensor = tensor_of(&node.input[0]);
                }
                _ => break,
            }
        }
        tensor
    }

    /// The numbers of a constant.
    fn integers(&self, tensor: &str) -> Option<Vec<i64>> {
        integers(attr::constant(self.shapes.node(tensor)?)?)
    }

    /// Whether a tensor is filled with one value, with a row for each row of the steps in `input`, whose second
    /// dimension they are, and this many columns.
    fn is_filled(&self, state: &str, input: &str, columns: usize) -> Option<bool> {
        let fill = self.shapes.node(self.behind(state)).filter(|node| node.op == "Fill")?;
        let sizes = self.shapes.node(fill.input.first()?).filter(|node| node.op == "Pack")?;
        let [rows, width] = sizes.input.as_slice() else { return None };
        if usize::try_from(self.scalars.value(width)?) != Ok(columns) {
            return Some(false);
        }
        let size = self.shapes.node(self.behind(rows)).filter(|node| node.op == "StridedSlice")?;
        let [shape, begin, end, step] = size.input.as_slice() else { return None };
        let at = self.integers(begin)?;
        let is_one = size.attr.get("shrink_axis_mask").is_some_and(|mask| mask.i() == 1)
            && at.iter().map(|at| at + 1).eq(self.integers(end)?)
            && self.integers(step)? == [1];
        let shape = self.shapes.node(shape).filter(|node| node.op == "Shape")?;
        let (of, input) = (self.behind(tensor_of(shape.input.first()?)), self.behind(input));
        Some(match at.as_slice() {
            [1] => is_one && of == input,
            [0] => {
                let transpose = self.shapes.node(input).filter(|node| node.op == "Transpose")?;
                let swaps = self.integers(transpose.input.get(1)?)? == [1, 0, 2];
                is_one && swaps && of == self.behind(tensor_of(&transpose.input[0]))
            }
            _ => false,
        })
    }
}

/// What a counter stays below.
#[derive(Clone, Copy)]
enum Limit {
    /// The loop variable with this index.
    Variable(usize),
    Number(i32),
}

/// A loop over the steps of an LSTM layer.
struct Layer<'g> {
    condition: Function<'g>,
    body: Function<'g>,
    cell: Cell<'g>,
    /// What the loop compares: it goes on while each counter is below its limit.
    bounds: Vec<(usize, Limit)>,
    /// The rows of all steps: a tensor of three dimensions, of which the first are the steps.
    input: &'g str,
    columns: usize,
    units: usize,
    /// Whether a list has the hidden states of all steps.
    keeps_each: bool,
}

impl<'g> Layer<'g> {
    fn find(node: &'g pb::NodeDef, around: &Around<'g>) -> Option<Self> {
        if !matches!(node.op.as_str(), "While" | "StatelessWhile") || around.asked.contains(&node.name) {
            return None;
        }
        let condition = Function::new(around.function(node, "cond")?);
        let body = Function::new(around.function(node, "body")?);
        let cell = Cell::find(&body)?;
        let bounds = bounds(&condition, &body, &cell)?;
        // These variables get other values.
        let output = |index: usize| if index == 0 { node.name.clone() } else { format!("{}:{index}", node.name) };
        if [cell.input, cell.kernel].iter().any(|index| around.taken.contains(output(*index).as_str())) {
            return None;
        }
        let value = |index: usize| node.input.get(index).map(String::as_str);
        let list = around.shapes.node(value(cell.input)?).filter(|node| node.op == "TensorListFromTensor")?;
        let input = tensor_of(list.input.first()?);
        let [columns, width] = around.shapes.of_constant(value(cell.kernel)?)?.try_into().ok()?;
        let units = width / 4;
        let fits = width == 4 * units
            && units > 0
            && columns > 0
            && around.shapes.of_constant(value(cell.recurrent)?)? == [units, width]
            && cell
                .bias
                .is_none_or(|bias| value(bias).and_then(|it| around.shapes.of_constant(it)) == Some(vec![width]));
        let states = [value(cell.hidden)?, value(cell.carry)?];
        let filled = states.iter().all(|state| around.is_filled(state, input, units) == Some(true));
        let lists = cell.next.iter().enumerate().filter(|(_, next)| matches!(next, Next::EachInList));
        let mut lists = lists.map(|(list, _)| list).peekable();
        let keeps_each = lists.peek().is_some();
        let all_at_once = lists.all(|list| has_one_for_each_step(node, around, list, &bounds, cell.time) == Some(true));
        (fits && filled && all_at_once).then_some(Self {
            condition,
            body,
            cell,
            bounds,
            input,
            columns,
            units,
            keeps_each,
        })
    }

    /// The nodes and functions that take the place of a loop.
    fn fused(&self, index: usize, node: &pb::NodeDef, around: &Around<'_>) -> Option<Fused> {
        let beside = self.beside(node)?;
        if beside.iter().any(|made| around.names.contains(made.name.as_str())) {
            return None;
        }
        // Two loops may have the same body.
        let free = |function: &Function<'_>| {
            free_name(&format!("{}_lstm_{index}", function.definition.signature.name), |name| {
                around.functions.contains_key(name)
            })
        };
        let names = [&self.condition, &self.body].map(free);
        let mut fused = node.clone();
        let named = |name: &str| {
            let value = Value::Func(pb::NameAttrList { name: name.to_owned(), ..Default::default() });
            pb::AttrValue { value: Some(value), ..Default::default() }
        };
        fused.attr.insert("cond".into(), named(&names[0]));
        fused.attr.insert("body".into(), named(&names[1]));
        let mut types = attr::list_of_types(node, "T");
        *types.get_mut(self.cell.input)? = attr::proto_dtype(DType::Float32);
        fused.attr.insert("T".into(), attr::dtypes(types));
        for name in ["output_shapes", "_output_shapes"] {
            let Some(Value::List(list)) = fused.attr.get_mut(name).and_then(|attr| attr.value.as_mut()) else {
                continue;
            };
            for index in [self.cell.input, self.cell.kernel] {
                if let Some(shape) = list.shape.get_mut(index) {
                    *shape = pb::TensorShapeProto { unknown_rank: true, ..Default::default() };
                }
            }
        }
        fused.input[self.cell.input] =
            if self.pads() { format!("{}/lstm_input", node.name) } else { self.input.into() };
        fused.input[self.cell.kernel] = format!("{}/lstm_weights", node.name);
        let [condition, body] = names;
        Some(Fused { node: fused, beside, functions: [self.condition(condition), body::body(self, body)?] })
    }

    /// Whether the rows get a column of zeros: the op is slow with odd numbers of columns, and warns of it in each run.
    fn pads(&self) -> bool {
        self.columns % 2 == 1
    }

    /// The condition, for a loop whose list is a tensor.
    fn condition(&self, name: String) -> pb::FunctionDef {
        let mut condition = self.condition.definition.clone();
        let signature = condition.signature.mut_or_insert_default();
        signature.name = name;
        signature.input_arg[self.cell.input].type_ = attr::proto_dtype(DType::Float32);
        condition.arg_attr.clear();
        condition
    }

    /// The nodes beside the loop: the weights of rows and hidden states in one matrix, and the rows with an even number
    /// of columns.
    fn beside(&self, node: &pb::NodeDef) -> Option<Vec<pb::NodeDef>> {
        let name = |what: &str| format!("{}/lstm_{what}", node.name);
        let float = || ("T", attr::dtype(DType::Float32));
        let mut nodes = vec![attr::const_node(&name("axis"), proto::to_proto(&Tensor::scalar(0_i32).ok()?))];
        let mut parts = vec![node.input[self.cell.kernel].clone()];
        if self.pads() {
            let (zeros, row) = (vec![0_f32; 4 * self.units], [1, 4 * self.units]);
            nodes.push(attr::const_node(&name("no_weights"), proto::to_proto(&Tensor::from_slice(&row, &zeros).ok()?)));
            let paddings = Tensor::from_slice(&[3, 2], &[0_i32, 0, 0, 0, 0, 1]).ok()?;
            nodes.push(attr::const_node(&name("paddings"), proto::to_proto(&paddings)));
            let types = [float(), ("Tpaddings", attr::dtype(DType::Int32))];
            nodes.push(attr::node(name("input"), "Pad", &[self.input, &name("paddings")], types));
            parts.push(name("no_weights"));
        }
        parts.extend([node.input[self.cell.recurrent].clone(), name("axis")]);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let number = i64::try_from(parts.len() - 1).ok()?;
        let types = [float(), ("N", attr::integer(number)), ("Tidx", attr::dtype(DType::Int32))];
        nodes.push(attr::node(name("weights"), "ConcatV2", &parts, types));
        nodes.iter_mut().for_each(|made| made.device.clone_from(&node.device));
        Some(nodes)
    }
}

/// The counters of a loop and what each stays below.
fn bounds(condition: &Function<'_>, body: &Function<'_>, cell: &Cell<'_>) -> Option<Vec<(usize, Limit)>> {
    /// Loops have two at most.
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

/// Whether a list was made with as many elements as the loop has steps, of which the first has the number 0.
fn has_one_for_each_step(
    node: &pb::NodeDef,
    around: &Around<'_>,
    list: usize,
    bounds: &[(usize, Limit)],
    time: usize,
) -> Option<bool> {
    let reserve = around.shapes.node(node.input.get(list)?).filter(|node| node.op == "TensorListReserve")?;
    let length = around.behind(tensor_of(reserve.input.get(1)?));
    let number = around.scalars.value(length);
    let is_length = |limit: &Limit| match limit {
        Limit::Number(limit) => number == Some((*limit).into()),
        Limit::Variable(limit) => {
            let limit = around.behind(tensor_of(&node.input[*limit]));
            limit == length || number.is_some_and(|number| around.scalars.value(limit) == Some(number))
        }
    };
    let starts_at_zero = |index: &usize| around.scalars.value(&node.input[*index]) == Some(0);
    Some(starts_at_zero(&time) && bounds.iter().all(|(counter, limit)| starts_at_zero(counter) && is_length(limit)))
}
