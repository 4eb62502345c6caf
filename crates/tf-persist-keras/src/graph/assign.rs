//! Assignments to variables, in order with the other nodes that use the variables.

use super::{Attr, Graph, Inner, Node, Op, Program, Resource, Shape, TensorRef};
use crate::reason::{Result, refuse};

/// The nodes of a graph that use one variable or table.
#[derive(Default)]
pub(super) struct Uses {
    /// Those since the last assignment.
    since: Vec<usize>,
    /// The first assignment and the last one.
    assigned: Option<(usize, usize)>,
}

impl Graph {
    /// Assigns a value to a variable, after everything in this graph that used the variable before, and before
    /// everything that uses it later.
    pub(crate) fn assign(&self, variable: Resource, value: &TensorRef) -> Result<()> {
        self.assignment("AssignVariableOp", variable, value)
    }

    /// Adds a value to a variable, in the order of [`Graph::assign`].
    pub(crate) fn assign_add(&self, variable: Resource, value: &TensorRef) -> Result<()> {
        self.assignment("AssignAddVariableOp", variable, value)
    }

    /// Subtracts a value from a variable, in the order of [`Graph::assign`].
    pub(crate) fn assign_sub(&self, variable: Resource, value: &TensorRef) -> Result<()> {
        self.assignment("AssignSubVariableOp", variable, value)
    }

    /// Adds rows to a variable, subtracts them or replaces them (`ResourceScatterAdd` and so on), in the order of
    /// [`Graph::assign`].
    pub(crate) fn scatter(
        &self,
        op: &'static str,
        variable: Resource,
        ids: &TensorRef,
        rows: &TensorRef,
    ) -> Result<()> {
        let handle = self.handle(variable)?;
        let attrs = vec![("dtype", rows.dtype.into()), ("Tindices", ids.dtype.into())];
        self.add_many(op, &[&handle, ids, rows], attrs, Vec::new())?;
        Ok(())
    }

    fn assignment(&self, op: &'static str, variable: Resource, value: &TensorRef) -> Result<()> {
        let Resource::Variable(index) = variable else { refuse!("a table cannot be assigned to") };
        {
            let variables = self.program.variables.borrow();
            let Some(variable) = variables.get(index) else { refuse!("there is no variable {index}") };
            let shape = Shape::of_sizes(&variable.shape);
            if variable.dtype != value.dtype || shape.merge(&value.shape).is_err() {
                refuse!(
                    "the variable `{}` is {}{shape}, and cannot hold a value of {}{}",
                    variable.name,
                    variable.dtype,
                    value.dtype,
                    value.shape
                );
            }
        }
        let handle = self.handle(variable)?;
        self.add_many(op, &[&handle, value], vec![("dtype", value.dtype.into())], Vec::new())?;
        Ok(())
    }
}

impl Program {
    /// Whether a node does something besides computing its outputs, such as assigning to a variable.
    pub(crate) fn has_effects(&self, node: &Node) -> bool {
        let has_outputs = !node.outputs.is_empty();
        let calls = node.attrs.iter().any(|(_, attr)| match attr {
            Attr::Function(name) => self.with_effects.borrow().contains(name),
            _ => false,
        });
        calls || matches!(node.op, Op::Named(op) if !has_outputs && op != "NoOp")
    }
}

impl Inner {
    /// Orders a new node after the assignments to the variables that it uses, or, if it has effects itself, after all
    /// their uses.
    pub(super) fn order(&mut self, node: usize, has_effects: bool) {
        let mut before = Vec::new();
        for input in &self.nodes[node].inputs {
            let Op::Handle(resource) = self.nodes[input.node].op else { continue };
            let uses = self.uses.entry(resource).or_default();
            before.extend(uses.assigned.map(|(_, last)| last));
            if has_effects {
                before.append(&mut uses.since);
                uses.assigned = Some((uses.assigned.map_or(node, |(first, _)| first), node));
            } else if uses.since.last() != Some(&node) {
                uses.since.push(node);
            }
        }
        before.sort_unstable();
        before.dedup();
        before.retain(|other| *other != node);
        self.nodes[node].control.extend(before);
    }

    /// Moves a read before the first assignment to its variable.
    pub(super) fn read_first(&mut self, read: usize, variable: Resource) {
        if let Some((first, _)) = self.uses.get(&variable).and_then(|uses| uses.assigned) {
            self.nodes[read].control.clear();
            self.nodes[first].control.push(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use tf_persist_savedmodel::DType;

    use super::super::Variable;
    use super::*;

    fn control(graph: &Graph) -> Vec<(String, Vec<usize>)> {
        graph.nodes().into_iter().filter(|node| node.op != Op::Named("Const")).map(|it| (it.name, it.control)).collect()
    }

    #[test]
    fn assignments_run_between_earlier_and_later_reads() {
        let program = Program::new();
        let variable = Variable { name: "v".into(), dtype: DType::Float32, shape: vec![], trainable: true };
        let (v, w) = (program.add_variable(variable.clone()), program.add_variable(variable));
        let graph = Graph::new(&program);
        let one = graph.scalar(1.0, DType::Float32).unwrap();
        graph.read(v).unwrap();
        graph.assign(v, &one).unwrap();
        graph.assign_add(v, &one).unwrap();
        graph.read_again(v).unwrap();
        graph.assign_sub(w, &one).unwrap();
        graph.read(w).unwrap();
        let name = |name: &str, control: &[usize]| (name.to_owned(), control.to_vec());
        assert_eq!(
            control(&graph),
            [
                name("handle", &[]),
                name("ReadVariableOp", &[]),
                name("AssignVariableOp", &[2]),
                name("AssignAddVariableOp", &[3]),
                name("ReadVariableOp_1", &[4]),
                name("handle_1", &[]),
                name("AssignSubVariableOp", &[8]),
                name("ReadVariableOp_2", &[]),
            ]
        );
    }

    #[test]
    fn loops_that_assign_are_assignments() {
        let program = Program::new();
        let variable = Variable { name: "v".into(), dtype: DType::Int32, shape: vec![], trainable: false };
        let v = program.add_variable(variable);
        let graph = Graph::new(&program);
        let (zero, ten) = (graph.scalar_i32(0).unwrap(), graph.scalar_i32(10).unwrap());
        let run = |assigns: bool| {
            graph.while_loop(
                "loop",
                std::slice::from_ref(&zero),
                None,
                |inner, step| inner.less(&step[0], &ten),
                |inner, step| {
                    let next = inner.add_v2(&step[0], &inner.read(v)?)?;
                    if assigns {
                        inner.assign(v, &next)?;
                    }
                    Ok(vec![next])
                },
            )
        };
        run(false).unwrap();
        run(false).unwrap();
        run(true).unwrap();
        let read = graph.read_again(v).unwrap();
        let loops: Vec<Node> = graph.nodes().into_iter().filter(|node| node.op == Op::Named("While")).collect();
        assert_eq!([0, 1].map(|index| loops[index].control.len()), [0, 0]);
        assert_eq!(loops[2].control.len(), 2);
        assert_eq!(graph.nodes()[read.node].control.len(), 1);
    }

    #[test]
    fn values_must_fit() {
        let program = Program::new();
        let variable = Variable { name: "v".into(), dtype: DType::Float32, shape: vec![2], trainable: true };
        let v = program.add_variable(variable);
        let graph = Graph::new(&program);
        let error = graph.assign(v, &graph.scalar_i32(0).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "the variable `v` is float32[2], and cannot hold a value of int32[]");
    }
}
