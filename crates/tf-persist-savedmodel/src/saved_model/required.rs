//! The inputs that a run needs because the graph cannot compute them.

use std::collections::{HashMap, HashSet};

use crate::dtype::DType;
use crate::error::{Error, Result, SignatureError, TensorError};
use crate::graph::view::{GraphView, NodeView};
use crate::saved_model::{MetaGraph, SavedModel, SignatureDef, TensorKind, parse_tensor_name};
use crate::tensor::Tensor;

/// An output of an op.
type Port = (String, u32);

/// An input or output tensor of a signature, and its port in the graph; `None` if its name is invalid.
#[derive(Debug)]
struct End {
    /// The key of the input or output that it is a part of.
    key: String,
    name: String,
    port: Option<Port>,
}

/// The inputs and outputs of a signature.
#[derive(Debug)]
pub struct Ends {
    inputs: Vec<End>,
    outputs: Vec<End>,
}

impl Ends {
    #[doc(hidden)]
    pub fn new(signature: &SignatureDef) -> Self {
        let ends = |infos: &[(String, crate::TensorInfo)]| {
            let parts = infos.iter().flat_map(|(key, info)| info.parts(key).into_iter().map(move |part| (key, part)));
            let end = |(key, part): (&String, crate::saved_model::NamedTensor<'_>)| {
                let port = parse_tensor_name(part.tensor).ok().map(|(op, index)| (op.to_owned(), index));
                End { key: key.clone(), name: part.name, port }
            };
            parts.map(end).collect()
        };
        Self { inputs: ends(&signature.inputs), outputs: ends(&signature.outputs) }
    }

    /// The inputs that are missing to compute these outputs; all outputs if none are named.
    ///
    /// A placeholder is needed if the outputs depend on it, and always if all outputs are computed, unless an inner
    /// tensor of the graph is fed in its place. The graph computes an input that is not a placeholder, unless that
    /// needs a placeholder that is not an input. The parts of a sparse or composite input must be fed together.
    #[doc(hidden)]
    pub fn missing(&self, graph: &[u8], given: &[bool], wanted: Option<&[usize]>) -> Vec<String> {
        self.missing_in(&Nodes::new(graph), given, wanted)
    }

    /// The outputs, up to a few, that can be computed with the inputs that are given.
    fn computable(&self, graph: &[u8], given: &[bool]) -> Vec<String> {
        const MAX_TRIES: usize = 16;
        let nodes = Nodes::new(graph);
        let mut keys: Vec<&String> = self.outputs.iter().map(|end| &end.key).collect();
        keys.dedup();
        let is_computable = |key: &&&String| {
            let indices: Vec<usize> =
                (0..self.outputs.len()).filter(|index| self.outputs[*index].key == ***key).collect();
            self.missing_in(&nodes, given, Some(&indices)).is_empty()
        };
        keys.iter().take(MAX_TRIES).filter(is_computable).map(|key| (*key).clone()).collect()
    }

    fn missing_in(&self, nodes: &Nodes<'_>, given: &[bool], wanted: Option<&[usize]>) -> Vec<String> {
        let is_placeholder = |end: &End| end.port.as_ref().is_some_and(|(op, _)| nodes.is_placeholder(op));
        let inputs = || self.inputs.iter().zip(given);
        let fed: HashSet<(&str, u32)> =
            inputs().filter(|(_, given)| **given).filter_map(|(end, _)| end.port()).collect();
        let absent: HashMap<(&str, u32), usize> = (0..self.inputs.len())
            .filter(|index| !given[*index])
            .filter_map(|index| Some((self.inputs[index].port()?, index)))
            .filter(|(port, _)| !fed.contains(port))
            .collect();
        let outputs = self.outputs.iter().enumerate();
        let outputs = outputs.filter(|(index, _)| wanted.is_none_or(|wanted| wanted.contains(index)));
        let outputs = outputs.filter_map(|(_, end)| end.port()).filter(|port| !fed.contains(port));
        let mut missing = nodes.missing(outputs.collect(), &fed, &absent);
        let gave_inner = inputs().any(|(end, given)| *given && !is_placeholder(end));
        if wanted.is_none() && !gave_inner {
            let placeholders = (0..self.inputs.len()).filter(|index| is_placeholder(&self.inputs[*index]));
            missing.extend(placeholders.filter(|index| !given[*index]));
        }
        // The graph cannot compute a tensor that it lacks.
        let lost = |end: &End| end.port.as_ref().is_none_or(|(op, _)| !nodes.has(op));
        missing.extend(
            (0..self.inputs.len()).filter(|index| !given[*index] && wanted.is_none() && lost(&self.inputs[*index])),
        );
        let of_key = |key: &str, holds: &dyn Fn(usize) -> bool| {
            (0..self.inputs.len()).any(|index| self.inputs[index].key == key && holds(index))
        };
        let is_needed = |index: usize| given[index] || missing.contains(&index);
        let incomplete = |index: &usize| !given[*index] && of_key(&self.inputs[*index].key, &is_needed);
        (0..self.inputs.len()).filter(incomplete).map(|it| self.inputs[it].name.clone()).collect()
    }
}

impl End {
    fn port(&self) -> Option<(&str, u32)> {
        self.port.as_ref().map(|(op, index)| (op.as_str(), *index))
    }
}

/// The nodes at a graph's top, by name.
struct Nodes<'g>(HashMap<&'g str, NodeView<'g>>);

impl<'g> Nodes<'g> {
    /// The nodes of a serialized `MetaGraphDef`.
    fn new(meta_graph: &'g [u8]) -> Self {
        Self(GraphView::new(meta_graph).nodes().map(|node| (node.name, node)).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a node must be fed.
    fn is_placeholder(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|node| matches!(node.op, "Placeholder" | "PlaceholderV2"))
    }

    /// Walks backwards from these tensors up to the fed ones, and returns the inputs without which they cannot be
    /// computed.
    fn missing<'w>(
        &'w self,
        wanted: Vec<(&'w str, u32)>,
        fed: &HashSet<(&str, u32)>,
        absent: &HashMap<(&str, u32), usize>,
    ) -> Vec<usize> {
        // Each with the nearest input on the path, which could be fed in its place.
        let mut todo: Vec<(&str, Option<u32>, Option<usize>)> =
            wanted.into_iter().map(|(op, index)| (op, Some(index), None)).collect();
        let mut seen: HashSet<(&str, Option<usize>)> = HashSet::new();
        let mut missing = Vec::new();
        while let Some((name, output, mut way)) = todo.pop() {
            let is_placeholder = self.is_placeholder(name);
            // A control input of a fed placeholder is satisfied too; any other node runs for it.
            let port = output.or(is_placeholder.then_some(0)).map(|output| (name, output));
            if port.is_some_and(|port| fed.contains(&port)) {
                continue;
            }
            if let Some(input) = port.and_then(|port| absent.get(&port)) {
                way = Some(*input);
            }
            if is_placeholder {
                missing.extend(way);
            } else if seen.insert((name, way)) {
                let inputs = self.0.get(name).into_iter().flat_map(NodeView::inputs);
                todo.extend(inputs.map(|input| {
                    let (node, output) = source(input);
                    (node, output, way)
                }));
            }
        }
        missing
    }
}

/// The node and the output index of an input; `None` as the index of a control input.
fn source(input: &str) -> (&str, Option<u32>) {
    match input.strip_prefix('^') {
        Some(node) => (node, None),
        None => match input.rsplit_once(':') {
            Some((node, output)) => (node, Some(output.parse().unwrap_or(0))),
            None => (input, Some(0)),
        },
    }
}

impl SavedModel {
    /// Checks the names and dtypes of inputs as a run does, without a session. `outputs` are the requested ones; all if
    /// none are named.
    ///
    /// # Errors
    /// If the signature has no outputs, an output is unknown or cannot be fetched, or an input is missing, unknown, of
    /// another dtype, given twice, or cannot be fed.
    pub fn check_inputs(
        &self,
        meta_graph: &MetaGraph,
        signature: &SignatureDef,
        given: &[(String, Tensor)],
        outputs: Option<&[String]>,
    ) -> Result<()> {
        signature.check_runnable()?;
        let wanted = signature.output_places(outputs)?;
        for (index, part) in signature.outputs.iter().flat_map(|(key, info)| info.parts(key)).enumerate() {
            let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(&index));
            // An output without a dtype here has one in the graph that TensorFlow knows.
            if is_wanted && part.dtype != DType::Invalid && !part.dtype.is_supported() {
                return Err(signature.unfetchable(&part.name, format!("tensors of {} are not supported", part.dtype)));
            }
        }
        let tensors = signature.input_tensors();
        let mut is_given = vec![false; tensors.len()];
        for (name, tensor) in given {
            let expected = signature.input_dtype(name)?;
            if !expected.is_supported() && expected != DType::Invalid {
                return Err(Error::Tensor(TensorError::UnsupportedDType { name: Some(name.clone()), dtype: expected }));
            }
            if expected != DType::Invalid && tensor.dtype() != expected {
                let (signature, input, given) = (signature.name.clone(), name.clone(), tensor.dtype());
                return Err(Error::Signature(SignatureError::WrongDType { signature, input, expected, given }));
            }
            let index = tensors.iter().position(|(other, _)| other == name).unwrap_or_default();
            if std::mem::replace(&mut is_given[index], true) {
                let (signature, input) = (signature.name.clone(), name.clone());
                return Err(Error::Signature(SignatureError::ConflictingInput {
                    signature,
                    input,
                    reason: "was given twice".into(),
                }));
            }
        }
        for (index, (name, dtype)) in tensors.iter().enumerate() {
            is_given[index] |= signature.default_of(name, *dtype).is_some();
        }
        if wanted.is_none() && is_given.iter().all(|given| *given) {
            return Ok(());
        }
        let graph = self.meta_graph_bytes(meta_graph);
        let ends = Ends::new(signature);
        let missing = ends.missing(graph, &is_given, wanted.as_deref());
        if missing.is_empty() {
            return Ok(());
        }
        let outputs = if wanted.is_none() { ends.computable(graph, &is_given) } else { Vec::new() };
        Err(Error::Signature(SignatureError::MissingInput { signature: signature.name.clone(), missing, outputs }))
    }
}

impl SignatureDef {
    /// Checks that a session can run it.
    ///
    /// # Errors
    /// [`SignatureError::NothingToRun`] if it has no outputs.
    pub fn check_runnable(&self) -> Result<()> {
        if self.outputs.is_empty() {
            Err(Error::Signature(SignatureError::NothingToRun { signature: self.name.clone() }))
        } else {
            Ok(())
        }
    }

    /// The names of the output tensors, or of the requested ones; a sparse output has three.
    ///
    /// # Errors
    /// [`SignatureError::UnknownOutput`] with the outputs there are.
    pub fn output_tensors(&self, asked: Option<&[String]>) -> Result<Vec<String>> {
        let wanted = self.output_places(asked)?;
        let parts = self.outputs.iter().flat_map(|(key, info)| info.parts(key)).enumerate();
        let parts = parts.filter(|(index, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(index)));
        Ok(parts.map(|(_, part)| part.name).collect())
    }

    /// The indices of these tensors among those that come back, in order and each once; `None` for all. The key of a
    /// sparse or composite output means all of its tensors.
    ///
    /// # Errors
    /// [`SignatureError::UnknownOutput`] with the outputs there are.
    #[doc(hidden)]
    pub fn output_places(&self, names: Option<&[String]>) -> Result<Option<Vec<usize>>> {
        let Some(names) = names else { return Ok(None) };
        let parts: Vec<(&str, String)> = self
            .outputs
            .iter()
            .flat_map(|(key, info)| info.parts(key).into_iter().map(move |part| (key.as_str(), part.name)))
            .collect();
        let mut indices = Vec::new();
        for name in names {
            let before = indices.len();
            // A part may be called as another output is: then it is the whole name that counts.
            let whole = parts.iter().enumerate().filter(|(_, (_, part))| part == name);
            indices.extend(whole.map(|(index, _)| index));
            if indices.len() == before {
                let of_key = parts.iter().enumerate().filter(|(_, (key, _))| key == name);
                indices.extend(of_key.map(|(index, _)| index));
            }
            if indices.len() == before {
                let available = parts.into_iter().map(|(_, part)| part).collect();
                return Err(Error::Signature(SignatureError::UnknownOutput { output: name.clone(), available }));
            }
        }
        indices.sort_unstable();
        indices.dedup();
        Ok(Some(indices))
    }

    /// The error for an output that cannot be fetched.
    #[doc(hidden)]
    pub fn unfetchable(&self, output: &str, reason: String) -> Error {
        let fetchable = |info: &crate::TensorInfo| match &info.kind {
            TensorKind::Dense { name } => parse_tensor_name(name).is_ok() && info.dtype.is_supported(),
            _ => info.parts("").iter().all(|part| part.dtype.is_supported()),
        };
        let others = self.outputs.iter().filter(|(key, info)| key != output && fetchable(info));
        Error::Signature(SignatureError::Unfetchable {
            signature: self.name.clone(),
            output: output.to_owned(),
            reason,
            others: others.map(|(key, _)| key.clone()).collect(),
        })
    }
}
