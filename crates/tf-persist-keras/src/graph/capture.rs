//! Tensors of outer graphs in inner ones.

use super::{Graph, Op, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    /// The tensor in this graph: itself, or the argument that stands for a tensor of an outer graph.
    pub(super) fn here(&self, tensor: &TensorRef) -> Result<TensorRef> {
        if tensor.graph == self.number {
            return Ok(tensor.clone());
        }
        let known =
            self.inner.borrow().captures.iter().find(|(outer, _)| outer.is(tensor)).map(|(_, here)| here.clone());
        if let Some(here) = known {
            return Ok(here);
        }
        let here = self.argument("captured", tensor.dtype, tensor.shape.clone())?;
        self.inner.borrow_mut().captures.push((tensor.clone(), here.clone()));
        Ok(here)
    }

    /// Turns the handles of an inner function into arguments, because its caller passes them.
    pub(super) fn pass_handles(&self) {
        let mut inner = self.inner.borrow_mut();
        let mut handles: Vec<_> = inner.handles.drain().collect();
        handles.sort_unstable_by_key(|(resource, _)| *resource);
        for (resource, handle) in handles {
            let index = inner.arguments.len();
            inner.nodes[handle.node].op = Op::Argument(index);
            inner.arguments.push(handle.clone());
            inner.passed.push((handle.node, resource));
        }
    }

    /// What a caller passes for the arguments from `first` on: tensors of outer graphs and handles.
    pub(super) fn passed(&self, caller: &Graph, first: usize) -> Result<Vec<TensorRef>> {
        let (arguments, captures, handles) = {
            let inner = self.inner.borrow();
            (inner.arguments.len(), inner.captures.clone(), inner.passed.clone())
        };
        (first..arguments)
            .map(|index| {
                let argument = self.inner.borrow().arguments[index].clone();
                if let Some((_, resource)) = handles.iter().find(|(node, _)| *node == argument.node) {
                    return caller.handle(*resource);
                }
                match captures.iter().find(|(_, here)| here.is(&argument)) {
                    Some((outer, _)) => caller.here(outer),
                    None => refuse!("an inner function has an argument that nothing passes"),
                }
            })
            .collect()
    }

    /// Inserts arguments of these types before the one with this index. Nothing uses them.
    pub(super) fn insert_arguments(&self, first: usize, types: &[TensorRef]) -> Result<()> {
        let before = self.inner.borrow().arguments.len();
        for tensor in types {
            self.argument("unused", tensor.dtype, tensor.shape.clone())?;
        }
        let mut inner = self.inner.borrow_mut();
        inner.arguments[first..].rotate_left(before - first);
        for index in first..inner.arguments.len() {
            let node = inner.arguments[index].node;
            inner.nodes[node].op = Op::Argument(index);
        }
        Ok(())
    }
}
