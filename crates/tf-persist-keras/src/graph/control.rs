//! Loops and branches.

use tf_persist_savedmodel::DType;

use super::{Attr, Graph, Node, Op, Shape, TensorRef};
use crate::reason::{Result, refuse};

/// The variables of a loop that count its steps.
const COUNTERS: usize = 2;

/// The attribute with the index of the first list of values that a loop keeps.
const KEPT: &str = "_kept_values";

/// How many steps may run at the same time; the number of Keras.
const PARALLEL_ITERATIONS: i64 = 32;

impl Graph {
    /// A loop: as long as `condition` of the loop's variables holds, `body` gives their next values. `invariants` are
    /// the shapes of the variables, where they change from step to step.
    ///
    /// Both closures get the inner graph, and may use tensors of this one.
    ///
    /// Two variables come first, a counter and its limit (-1 for none), because the gradient of a loop in Python needs
    /// them (`tensorflow/python/ops/while_v2.py`).
    pub(crate) fn while_loop(
        &self,
        name: &str,
        initial: &[TensorRef],
        invariants: Option<&[Shape]>,
        condition: impl FnOnce(&Self, &[TensorRef]) -> Result<TensorRef>,
        body: impl FnOnce(&Self, &[TensorRef]) -> Result<Vec<TensorRef>>,
    ) -> Result<Vec<TensorRef>> {
        self.loop_of(name, initial, invariants, false, condition, body)
    }

    /// The same loop. With `keep`, it also gives a list of the values of each variable that is no list, from which
    /// [`Loop`] reads them in reverse, to compute gradients.
    pub(crate) fn loop_of(
        &self,
        name: &str,
        initial: &[TensorRef],
        invariants: Option<&[Shape]>,
        keep: bool,
        condition: impl FnOnce(&Self, &[TensorRef]) -> Result<TensorRef>,
        body: impl FnOnce(&Self, &[TensorRef]) -> Result<Vec<TensorRef>>,
    ) -> Result<Vec<TensorRef>> {
        let given = COUNTERS + initial.len();
        let mut shapes: Vec<Shape> = match invariants {
            Some(shapes) => [Shape::scalar(), Shape::scalar()].iter().chain(shapes).cloned().collect(),
            None => [Shape::scalar(), Shape::scalar()]
                .into_iter()
                .chain(initial.iter().map(|it| it.shape.clone()))
                .collect(),
        };
        let counters = [self.scalar_i32(0)?, self.scalar_i32(-1)?];
        let mut initial = [&counters, initial].concat();
        let kept: Vec<usize> =
            (COUNTERS..given).filter(|index| keep && initial[*index].dtype != DType::Variant).collect();
        for index in &kept {
            initial.push(self.list_empty(initial[*index].dtype, &shapes[*index])?);
            shapes.push(Shape::scalar());
        }
        let initial = &initial[..];
        let inner = |graph: &Self| -> Result<Vec<TensorRef>> {
            let variables = initial.iter().zip(&shapes);
            variables.map(|(tensor, shape)| graph.argument("loop_variable", tensor.dtype, shape.clone())).collect()
        };
        let body_graph = Self::new(&self.program);
        let variables = inner(&body_graph)?;
        let mut next = vec![body_graph.add_v2(&variables[0], &body_graph.scalar_i32(1)?)?, variables[1].clone()];
        next.extend(body(&body_graph, &variables[COUNTERS..given])?);
        for (list, index) in variables[given..].iter().zip(&kept) {
            next.push(body_graph.list_push(list, &variables[*index])?);
        }
        if next.len() != initial.len() || next.iter().zip(initial).any(|(next, first)| next.dtype != first.dtype) {
            refuse!("a step of the loop `{name}` does not give what the next one takes");
        }
        let condition_graph = Self::new(&self.program);
        let variables = inner(&condition_graph)?;
        let holds = condition(&condition_graph, &variables[COUNTERS..given])?;

        // Both functions take the same arguments: the variables, then what the body uses, then what the condition does.
        body_graph.pass_handles();
        condition_graph.pass_handles();
        let first = initial.len();
        let (for_body, for_condition) = (body_graph.passed(self, first)?, condition_graph.passed(self, first)?);
        for tensor in &for_condition {
            body_graph.argument("captured", tensor.dtype, tensor.shape.clone())?;
        }
        condition_graph.insert_arguments(first, &for_body)?;
        next.extend(body_graph.arguments().into_iter().skip(first));
        let passed: Vec<TensorRef> = initial.iter().cloned().chain(for_body).chain(for_condition).collect();
        let outputs = passed
            .iter()
            .enumerate()
            .map(|(index, tensor)| (tensor.dtype, shapes.get(index).cloned().unwrap_or_else(|| tensor.shape.clone())));
        let outputs: Vec<_> = outputs.collect();
        let next = next.iter().map(|tensor| body_graph.here(tensor)).collect::<Result<Vec<_>>>()?;
        let holds = condition_graph.here(&holds)?;
        let mut attrs = vec![
            ("T", Attr::Types(passed.iter().map(|tensor| tensor.dtype).collect())),
            ("cond", Attr::Function(self.program.add_function(&format!("{name}_cond"), condition_graph, vec![holds]))),
            ("body", Attr::Function(self.program.add_function(&format!("{name}_body"), body_graph, next))),
            ("output_shapes", Attr::Shapes(outputs.iter().map(|(_, shape)| shape.clone()).collect())),
            // As in Python, so that Grappler optimizes the same graph, and gives the same bits.
            ("_lower_using_switch_merge", Attr::Bool(true)),
            ("parallel_iterations", Attr::Int(PARALLEL_ITERATIONS)),
        ];
        if keep {
            attrs.push((KEPT, Attr::Int(given as i64)));
        }
        let mut outputs = self.add_many("While", &passed.iter().collect::<Vec<_>>(), attrs, outputs)?;
        outputs.truncate(given);
        outputs.drain(..COUNTERS);
        Ok(outputs)
    }

    /// Runs `then` if the condition, a bool scalar, holds, else `otherwise`: for their assignments to variables.
    ///
    /// Both closures get the inner graph, and may use tensors of this one.
    pub(crate) fn conditional(
        &self,
        name: &str,
        condition: &TensorRef,
        then: impl FnOnce(&Self) -> Result<()>,
        otherwise: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let (then_graph, else_graph) = (Self::new(&self.program), Self::new(&self.program));
        then(&then_graph)?;
        otherwise(&else_graph)?;
        then_graph.pass_handles();
        else_graph.pass_handles();
        // Both functions take the same arguments: what the first uses, then what the second does.
        let (for_then, for_else) = (then_graph.passed(self, 0)?, else_graph.passed(self, 0)?);
        for tensor in &for_else {
            then_graph.argument("unused", tensor.dtype, tensor.shape.clone())?;
        }
        else_graph.insert_arguments(0, &for_then)?;
        let passed: Vec<TensorRef> = for_then.into_iter().chain(for_else).collect();
        let then_name = self.program.add_function(&format!("{name}_then"), then_graph, Vec::new());
        let else_name = self.program.add_function(&format!("{name}_else"), else_graph, Vec::new());
        let attrs = vec![
            ("Tcond", condition.dtype.into()),
            ("Tin", Attr::Types(passed.iter().map(|tensor| tensor.dtype).collect())),
            ("Tout", Attr::Types(Vec::new())),
            ("then_branch", Attr::Function(then_name)),
            ("else_branch", Attr::Function(else_name)),
            ("output_shapes", Attr::Shapes(Vec::new())),
            ("_lower_using_switch_merge", Attr::Bool(true)),
        ];
        let inputs: Vec<&TensorRef> = [condition].into_iter().chain(&passed).collect();
        self.add_many("If", &inputs, attrs, Vec::new())?;
        Ok(())
    }
}

/// A loop that keeps the values of its variables.
#[derive(Debug)]
pub(crate) struct Loop {
    body: String,
    /// The number of variables, counters and lists of kept values among them.
    pub(crate) variables: usize,
    /// The variables whose values are kept, and the lists.
    pub(crate) kept: Vec<(usize, usize)>,
}

impl Loop {
    /// The loop of a node. None if it does not keep values.
    pub(crate) fn of(node: &Node) -> Option<Self> {
        let attr = |name: &str| node.attrs.iter().find(|(key, _)| *key == name).map(|(_, attr)| attr);
        let (Some(Attr::Int(given)), Some(Attr::Function(body))) = (attr(KEPT), attr("body")) else { return None };
        let given = usize::try_from(*given).ok()?;
        let values =
            (COUNTERS..given).filter(|index| node.inputs.get(*index).is_some_and(|it| it.dtype != DType::Variant));
        let kept: Vec<(usize, usize)> = values.zip(given..).collect();
        Some(Self { body: body.clone(), variables: given + kept.len(), kept })
    }

    /// The variables that the loop was given: neither counters nor lists of kept values.
    pub(crate) fn given(&self) -> std::ops::Range<usize> {
        COUNTERS..self.variables - self.kept.len()
    }

    /// Adds the nodes of one step, without those that keep values: the next values of some variables. `arguments` are
    /// the variables before the step, and what the loop uses.
    pub(crate) fn step(&self, g: &Graph, arguments: &[TensorRef], wanted: &[usize]) -> Result<Vec<TensorRef>> {
        let (nodes, outputs) = {
            let library = g.program.library.borrow();
            let Some(function) = library.iter().find(|function| function.name == self.body) else {
                refuse!("there is no function `{}`", self.body)
            };
            (function.graph.nodes(), function.outputs.clone())
        };
        let mut needed = vec![false; nodes.len()];
        let outputs: Vec<&TensorRef> = wanted.iter().filter_map(|index| outputs.get(*index)).collect();
        for output in &outputs {
            needed[output.node] = true;
        }
        for (index, node) in nodes.iter().enumerate().rev() {
            if needed[index] {
                node.inputs.iter().for_each(|input| needed[input.node] = true);
            }
        }
        let mut made: Vec<Vec<TensorRef>> = Vec::with_capacity(nodes.len());
        for node in &nodes {
            made.push(match node.op {
                Op::Argument(index) => arguments.get(index).cloned().into_iter().collect(),
                Op::Named(op) if needed[made.len()] => {
                    let inputs = node.inputs.iter().map(|input| value(&made, input)).collect::<Result<Vec<_>>>()?;
                    let inputs: Vec<&TensorRef> = inputs.iter().collect();
                    g.add_many(op, &inputs, node.attrs.clone(), node.outputs.clone())?
                }
                Op::Named(_) | Op::Handle(_) => Vec::new(),
            });
        }
        outputs.into_iter().map(|output| value(&made, output)).collect()
    }
}

/// An output of a copied node.
fn value(made: &[Vec<TensorRef>], tensor: &TensorRef) -> Result<TensorRef> {
    match made.get(tensor.node).and_then(|outputs| outputs.get(tensor.output)) {
        Some(value) => Ok(value.clone()),
        None => refuse!("a node of a loop uses what is not in it"),
    }
}
