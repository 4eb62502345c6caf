//! Finds the step of an LSTM layer in the body of a loop.
//!
//! As Keras and this project's converter write it: with `z = x·kernel + hidden·recurrent + bias`, split into `i`, `f`,
//! `g` and `o`, the next carry is `σ(f)·carry + σ(i)·tanh(g)`, and the next hidden state `σ(o)·tanh(carry)`.

use std::ptr;

use tf_persist_proto::tensorflow as pb;

use super::function::{Function, Source};
use crate::dtype::DType;
use crate::graph::attr;

/// A step; the numbers are the indices of loop variables.
pub(super) struct Cell<'f> {
    /// Counts the steps.
    pub(super) time: usize,
    /// The list of the rows of all steps.
    pub(super) input: usize,
    /// Reads the rows of a step.
    pub(super) read: &'f pb::NodeDef,
    pub(super) kernel: usize,
    pub(super) recurrent: usize,
    pub(super) bias: Option<usize>,
    pub(super) hidden: usize,
    pub(super) carry: usize,
    /// What each loop variable becomes.
    pub(super) next: Vec<Next<'f>>,
}

/// What a loop variable becomes in a step.
#[derive(Clone, Copy)]
pub(super) enum Next<'f> {
    /// What it is.
    Same,
    /// One more.
    Counted,
    Hidden,
    Carry,
    /// A list whose first element becomes the hidden state, by this node.
    LastInList(&'f pb::NodeDef),
    /// A list whose element of this step becomes the hidden state.
    EachInList,
}

impl<'f> Cell<'f> {
    pub(super) fn find(body: &Function<'f>) -> Option<Self> {
        let returned = body.returned()?;
        let (hidden, gates) = returned.iter().find_map(|source| {
            let hidden = source.node("Mul")?;
            let gates = Gates::of_hidden(body, hidden)?;
            is(*returned.get(gates.carry)?, gates.next_carry).then_some((hidden, gates))
        })?;
        let terms = Terms::of(body, gates.sum)?;
        let mut cell = Self {
            time: terms.time,
            input: terms.input,
            read: terms.read,
            kernel: terms.kernel,
            recurrent: terms.recurrent,
            bias: terms.bias,
            hidden: terms.hidden,
            carry: gates.carry,
            next: Vec::new(),
        };
        for (index, source) in returned.into_iter().enumerate() {
            cell.next.push(cell.next(body, index, source, (hidden, gates.next_carry))?);
        }
        let constant = [cell.input, cell.kernel, cell.recurrent];
        let stay = constant.into_iter().chain(cell.bias).all(|index| matches!(cell.next.get(index), Some(Next::Same)));
        let move_on = matches!(cell.next.get(cell.time)?, Next::Counted)
            && matches!(cell.next.get(cell.hidden)?, Next::Hidden)
            && matches!(cell.next.get(cell.carry)?, Next::Carry);
        (stay && move_on).then_some(cell)
    }

    /// What the loop variable with this index becomes.
    fn next(
        &self,
        body: &Function<'f>,
        index: usize,
        source: Source<'f>,
        (hidden, carry): (&'f pb::NodeDef, &'f pb::NodeDef),
    ) -> Option<Next<'f>> {
        if source.argument() == Some(index) {
            return Some(Next::Same);
        }
        if is(source, hidden) {
            return Some(Next::Hidden);
        }
        if is(source, carry) {
            return Some(Next::Carry);
        }
        let is_own = |node, at| body.input(node, at).and_then(Source::argument) == Some(index);
        if let Some(list) = source.node("TensorListSetItem") {
            if !is_own(list, 0) || !is(body.input(list, 2)?, hidden) {
                return None;
            }
            let at = body.input(list, 1)?;
            if at.argument() == Some(self.time) {
                return Some(Next::EachInList);
            }
            return (body.scalar(Some(at)) == Some(0)).then_some(Next::LastInList(list));
        }
        let sum = source.node("AddV2").or_else(|| source.node("Add"))?;
        let counts = body.dtype(index)? == DType::Int32
            && (is_own(sum, 0) && body.scalar(body.input(sum, 1)) == Some(1)
                || is_own(sum, 1) && body.scalar(body.input(sum, 0)) == Some(1));
        counts.then_some(Next::Counted)
    }
}

fn is(source: Source<'_>, node: &pb::NodeDef) -> bool {
    matches!(source, Source::Node(found, 0) if ptr::eq(found, node))
}

/// The part of a step behind its products.
#[derive(Clone, Copy)]
struct Gates<'f> {
    /// The node that splits the sum of the products.
    sum: &'f pb::NodeDef,
    carry: usize,
    next_carry: &'f pb::NodeDef,
}

impl<'f> Gates<'f> {
    fn of_hidden(body: &Function<'f>, hidden: &'f pb::NodeDef) -> Option<Self> {
        in_either_order(body, hidden, |gate, squashed| {
            let sum = gate_of(body, gate, "Sigmoid", 3)?;
            let next_carry = body.input(squashed.node("Tanh")?, 0)?;
            let next_carry = next_carry.node("AddV2").or_else(|| next_carry.node("Add"))?;
            let carry = in_either_order(body, next_carry, |kept, added| {
                let kept = in_either_order(body, kept.node("Mul")?, |gate, carry| {
                    ptr::eq(gate_of(body, gate, "Sigmoid", 1)?, sum).then_some(carry.argument()?)
                })?;
                in_either_order(body, added.node("Mul")?, |gate, value| {
                    let gates = [gate_of(body, gate, "Sigmoid", 0)?, gate_of(body, value, "Tanh", 2)?];
                    gates.iter().all(|split| ptr::eq(*split, sum)).then_some(kept)
                })
            })?;
            Some(Self { sum, carry, next_carry })
        })
    }
}

/// The node that splits what a gate is made of, if it takes the part with this index.
fn gate_of<'f>(body: &Function<'f>, gate: Source<'f>, op: &str, part: usize) -> Option<&'f pb::NodeDef> {
    match body.input(gate.node(op)?, 0)? {
        Source::Node(split, index) if split.op == "Split" && index == part => Some(split),
        _ => None,
    }
}

/// What is found with the two inputs of a node in one order or the other.
fn in_either_order<'f, T>(
    body: &Function<'f>,
    node: &'f pb::NodeDef,
    find: impl Fn(Source<'f>, Source<'f>) -> Option<T>,
) -> Option<T> {
    let (first, second) = (body.input(node, 0)?, body.input(node, 1)?);
    find(first, second).or_else(|| find(second, first))
}

/// The sum that is split into the gates.
struct Terms<'f> {
    time: usize,
    input: usize,
    read: &'f pb::NodeDef,
    hidden: usize,
    kernel: usize,
    recurrent: usize,
    bias: Option<usize>,
}

impl<'f> Terms<'f> {
    /// The terms of what this node splits into four by its columns.
    fn of(body: &Function<'f>, split: &'f pb::NodeDef) -> Option<Self> {
        let axis = body.scalar(body.input(split, 0))?;
        if split.attr.get("num_split")?.i() != 4 || ![1, -1].contains(&axis) {
            return None;
        }
        let (mut from_input, mut from_hidden, mut bias) = (None, None, None);
        let mut todo = vec![body.input(split, 1)?];
        // Two products, a bias, and two sums at most.
        for _ in 0..5 {
            let Some(term) = todo.pop() else { break };
            match term {
                Source::Argument(index) => {
                    if bias.replace(index).is_some() {
                        return None;
                    }
                }
                Source::Node(node, _) if matches!(node.op.as_str(), "AddV2" | "Add" | "BiasAdd") => {
                    todo.extend([body.input(node, 0)?, body.input(node, 1)?]);
                }
                Source::Node(node, _) => {
                    let (left, weights) = product(body, node)?;
                    let twice = match left {
                        Source::Argument(hidden) => from_hidden.replace((hidden, weights)).is_some(),
                        Source::Node(read, _) if read.op == "TensorListGetItem" => {
                            let row = (read, body.input(read, 0)?.argument()?, body.input(read, 1)?.argument()?);
                            from_input.replace((row, weights)).is_some()
                        }
                        Source::Node(..) => true,
                    };
                    if twice {
                        return None;
                    }
                }
            }
        }
        let (((read, input, time), kernel), (hidden, recurrent)) = (from_input?, from_hidden?);
        todo.is_empty().then_some(Self { time, input, read, hidden, kernel, recurrent, bias })
    }
}

/// What a product of 32-bit floats multiplies, and the loop variable by which.
fn product<'f>(body: &Function<'f>, node: &'f pb::NodeDef) -> Option<(Source<'f>, usize)> {
    let is_set = |name: &str| node.attr.get(name).is_some_and(pb::AttrValue::b);
    let is_plain = node.op == "MatMul" && !is_set("transpose_a") && !is_set("transpose_b");
    if !is_plain || attr::type_of(node, "T") != Some(DType::Float32) {
        return None;
    }
    Some((body.input(node, 0)?, body.input(node, 1)?.argument()?))
}
