//! A signature bound to the ops of a session's graph: names looked up once, not at every run.

use std::path::Path;
use std::sync::OnceLock;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ffi::{Port, Session};
use crate::saved_model::{Part, SignatureDef, parse_tensor_name};
use crate::shape::PartialShape;
use crate::tensor::Tensor;

/// A signature whose tensor names are ports of the graph.
pub(super) struct Binding {
    pub(super) definition: SignatureDef,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// The tensors that are fed, each once, whatever number of inputs name it.
    pub(super) feeds: Vec<Port>,
    /// The tensors that are fetched, each once.
    pub(super) fetches: Vec<Port>,
    /// Whether the ops that it reaches check shapes themselves; found out when it is first asked for.
    pub(super) checks_shapes: OnceLock<bool>,
}

/// One tensor that the caller gives.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) dtype: DType,
    /// Its place in `feeds`.
    pub(super) feed: usize,
    /// The shape that the graph takes, where it says.
    pub(super) shape: PartialShape,
    /// What it is if the caller leaves it out.
    pub(super) default: Option<Tensor>,
}

/// One tensor that the caller gets.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) source: Source,
}

/// Where an output's value comes from.
pub(super) enum Source {
    /// A place in `fetches`.
    Fetch(usize),
    /// A place in `feeds`: the signature gives an input back. TensorFlow refuses to fetch what is fed.
    Feed(usize),
}

impl Binding {
    pub(super) fn new(session: &Session, definition: &SignatureDef, model: &Path) -> Result<Self> {
        let mut feeds = Slots::default();
        let mut inputs = Vec::new();
        for (key, info) in &definition.inputs {
            for Part { name, dtype, tensor } in info.parts(key) {
                let dtype = supported(&name, dtype)?;
                let feed = feeds.place(session, definition, tensor, model)?;
                let default = definition.default_of(&name, dtype).cloned();
                let shape = session.placeholder_shape(&feeds.ports[feed]);
                inputs.push(Input { name, dtype, feed, shape, default });
            }
        }
        let mut fetches = Slots::default();
        let mut outputs = Vec::new();
        for (key, info) in &definition.outputs {
            for Part { name, dtype, tensor } in info.parts(key) {
                supported(&name, dtype)?;
                let source = match feeds.find(tensor)? {
                    Some(feed) => Source::Feed(feed),
                    None => Source::Fetch(fetches.place(session, definition, tensor, model)?),
                };
                outputs.push(Output { name, source });
            }
        }
        let (definition, checks_shapes) = (definition.clone(), OnceLock::new());
        Ok(Self { definition, inputs, outputs, feeds: feeds.ports, fetches: fetches.ports, checks_shapes })
    }
}

/// Refuses by name what no tensor can hold, before libtensorflow is asked: a number that its C enum lacks must not come back.
fn supported(name: &str, dtype: DType) -> Result<DType> {
    if dtype.is_supported() { Ok(dtype) } else { Err(Error::UnsupportedDType { name: Some(name.to_owned()), dtype }) }
}

/// Ports without repetition.
#[derive(Default)]
struct Slots {
    tensors: Vec<(String, u32)>,
    ports: Vec<Port>,
}

impl Slots {
    fn find(&self, tensor: &str) -> Result<Option<usize>> {
        let (op, index) = parse_tensor_name(tensor)?;
        Ok(self.tensors.iter().position(|(other, at)| other == op && *at == index))
    }

    fn place(&mut self, session: &Session, definition: &SignatureDef, tensor: &str, model: &Path) -> Result<usize> {
        if let Some(place) = self.find(tensor)? {
            return Ok(place);
        }
        let (op, index) = parse_tensor_name(tensor)?;
        let missing = || {
            let reason = format!("signature `{}` names the tensor `{tensor}`, which the graph lacks", definition.name);
            Error::damaged(model, reason)
        };
        self.ports.push(session.port(op, index).ok_or_else(missing)?);
        self.tensors.push((op.to_owned(), index));
        Ok(self.ports.len() - 1)
    }
}
