//! What a call of one layer adds to a graph, for tests.

use std::rc::Rc;

use serde_json::{Value, json};
use tf_persist_savedmodel::DType;

use super::{Argument, Arguments, Context, Masked, Shared};
use crate::config::Dialect;
use crate::graph::{Graph, Op, Program, Shape};
use crate::parse::Parser;
use crate::reason::{Reason, Result};

/// The results and nodes of a call.
#[derive(Debug)]
pub(super) struct Emitted {
    /// The shape of each result.
    pub(super) shapes: Vec<String>,
    /// The folder, index, name and shape of each variable.
    pub(super) weights: Vec<String>,
    /// The number of variables that a training step moves without an optimizer.
    pub(super) updates: usize,
    pub(super) has_mask: bool,
    graph: Graph,
}

impl Emitted {
    /// The number of nodes of an op.
    pub(super) fn count(&self, op: &str) -> usize {
        self.graph.with_nodes(|nodes| nodes.iter().filter(|node| node.op_name() == Some(op)).count())
    }
}

/// A call of a layer with a float input, in which -1 stands for an unknown size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) dialect: Dialect,
    pub(super) class: &'a str,
    pub(super) input: &'a [i64],
    pub(super) dtype: DType,
    pub(super) training: bool,
    pub(super) mask: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(class: &'a str, input: &'a [i64]) -> Self {
        Self { dialect: Dialect::Keras3, class, input, dtype: DType::Float32, training: false, mask: false }
    }

    pub(super) fn keras2(self) -> Self {
        Self { dialect: Dialect::Keras2, ..self }
    }

    pub(super) fn training(self) -> Self {
        Self { training: true, ..self }
    }

    pub(super) fn masked(self) -> Self {
        Self { mask: true, ..self }
    }

    /// Calls the layer with this config, to which a name is added.
    pub(super) fn with(self, mut config: Value) -> Result<Emitted> {
        config["name"] = json!("layer");
        config["trainable"] = json!(true);
        let mut parser = Parser::new(self.dialect);
        let layer = parser.layer(&json!({"class_name": self.class, "config": config})).map_err(|reason| {
            parser.findings().first().map_or(reason, |finding| Reason::new(finding.reason.clone()))
        })?;
        let shape = |dims: &[i64]| Shape::new(dims.iter().map(|dim| u64::try_from(*dim).ok()).collect::<Vec<_>>());
        let program: Rc<Program> = Program::new();
        let graph = Graph::new(&program);
        let shared = Shared::default();
        let tensor = graph.argument("x", self.dtype, shape(self.input))?;
        let mask = self.mask.then(|| graph.argument("mask", DType::Bool, shape(&self.input[..2]))).transpose()?;
        let mut cx = Context::new(&graph, self.dialect, &shared).child(&["layers"], "layer");
        cx.training = self.training;
        let input = Argument::Tensor(Masked { tensor, mask });
        let result = layer.call(&cx, Arguments::new(vec![input], Vec::new()))?;
        let tensors = result.tensors();
        let weight = |weight: &super::Weight| {
            let folders = weight.place.folders.iter().filter_map(|names| names.first());
            let folders = folders.cloned().collect::<Vec<_>>().join("/");
            format!("{folders}/{} {} {:?}", weight.index, weight.name, weight.shape)
        };
        let weights = shared.weights.borrow().iter().map(weight).collect();
        let emitted = Emitted {
            shapes: tensors.iter().map(|tensor| tensor.shape.to_string()).collect(),
            weights,
            updates: shared.updates.borrow().len(),
            has_mask: tensors.iter().any(|tensor| tensor.mask.is_some()),
            graph,
        };
        Ok(emitted)
    }

    /// The shape of the only result.
    pub(super) fn shape(self, config: Value) -> String {
        self.with(config).map_or_else(|reason| reason.to_string(), |emitted| emitted.shapes.join(" "))
    }
}

impl crate::graph::Node {
    fn op_name(&self) -> Option<&'static str> {
        match self.op {
            Op::Named(name) => Some(name),
            _ => None,
        }
    }
}
