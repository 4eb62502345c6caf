//! A signature bound to the graph of a session, so that names are looked up once, not in every run.

use std::sync::{Mutex, OnceLock, PoisonError};

use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::PartialShape;
use tf_persist_savedmodel::error::{Error, Result, SignatureError, TensorError};
use tf_persist_savedmodel::internals::{NamedTensor, is_operation_name};
use tf_persist_savedmodel::saved_model::{SignatureDef, TensorInfo, TensorKind, parse_tensor_name};
use tf_persist_savedmodel::tensor::Tensor;

use crate::ffi::{Port, Session};

/// The most complete calls that are remembered.
const MAX_CALLS: usize = 32;

/// A signature whose tensor names are ports of the graph.
///
/// A tensor that cannot be fed or fetched is an error only in runs that need it.
pub(super) struct Binding {
    pub(super) definition: SignatureDef,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// The tensors that are fed. Several inputs may name the same one.
    pub(super) feeds: Vec<Port>,
    /// The tensors that are fetched, without repetitions.
    pub(super) fetches: Vec<Port>,
    /// Whether every output can be fetched, and none is an input as well.
    pub(super) is_plain: bool,
    /// Whether all ops that it reaches check shapes themselves; computed on first use.
    pub(super) checks_shapes: OnceLock<bool>,
    /// Calls that are known to be complete.
    complete: Mutex<Vec<Call>>,
}

/// The inputs that are given, and the indices of the requested outputs; `None` for all.
type Call = (Vec<bool>, Option<Vec<usize>>);

/// One tensor that the caller gives.
pub(super) struct Input {
    pub(super) name: String,
    /// The dtype in the graph, or the declared one if the graph lacks the tensor.
    pub(super) dtype: DType,
    /// Its index in `feeds`.
    pub(super) feed: Result<usize, Unusable>,
    /// The shape of the placeholder, as far as it is declared.
    pub(super) shape: PartialShape,
    /// The value if the caller leaves it out.
    pub(super) default: Option<Tensor>,
}

impl Input {
    /// Whether it may be an image or a sound of any size, perhaps as a file's bytes.
    pub(super) fn has_open_sizes(&self) -> bool {
        let is_open = |sizes: &[Option<u64>]| match sizes {
            [only] => only.is_none(),
            sizes => sizes.iter().skip(1).any(Option::is_none),
        };
        self.dtype == DType::String || self.shape.sizes().is_none_or(is_open)
    }
}

/// One tensor that the caller gets.
pub(super) struct Output {
    pub(super) name: String,
    /// The declared shape, unless it is a part of a tensor that is not dense.
    pub(super) shape: PartialShape,
    /// Whether it depends on a convolution that may have nothing to compute; found out on first use.
    pub(super) may_be_nothing: OnceLock<bool>,
    pub(super) source: Result<Source, Unusable>,
}

impl Output {
    /// Whether the number of channels, or of classes, is not the declared one, in a shape of the declared rank.
    /// Signatures are often wrong about other sizes.
    pub(super) fn has_other_channels(&self, shape: &[usize]) -> bool {
        let Some([_, .., Some(channels)]) = self.shape.sizes() else { return false };
        self.shape.rank() == Some(shape.len()) && shape.last().is_some_and(|last| *last as u64 != *channels)
    }
}

/// The source of an output.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// An index in `fetches`.
    pub(super) fetch: usize,
    /// An index in `feeds`, if the output is an input as well. TensorFlow does not fetch fed tensors.
    pub(super) feed: Option<usize>,
}

/// Why a tensor can be neither fed nor fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// `Tensor` does not hold this dtype.
    DType(DType),
    /// The graph has no tensor of this name.
    Lacking(String),
    /// The name is that of an op without outputs.
    Operation(String),
    /// The name cannot be parsed.
    Nameless,
}

impl Binding {
    pub(super) fn new<'d>(session: &Session, definition: &'d SignatureDef) -> Self {
        let mut feeds = Slots::default();
        let mut inputs = Vec::new();
        for part in definition.inputs.iter().flat_map(|(key, info)| info.parts(key)) {
            let found = feeds.insert(session, &part);
            let dtype = found.as_ref().map_or(part.dtype, |(_, dtype)| *dtype);
            let feed = found.and_then(|(index, dtype)| supported(dtype).map(|()| index));
            let default = definition.default_of(&part.name, dtype).cloned();
            let shape = feed
                .as_ref()
                .map_or_else(|_| PartialShape::unknown(), |index| session.placeholder_shape(&feeds.ports[*index]));
            inputs.push(Input { name: part.name, dtype, feed, shape, default });
        }
        let mut fetches = Slots::default();
        let mut outputs = Vec::new();
        let parts = |(key, info): &'d (String, TensorInfo)| {
            let shape = if matches!(info.kind, TensorKind::Dense { .. }) {
                info.shape.clone()
            } else {
                PartialShape::unknown()
            };
            info.parts(key).into_iter().map(move |part| (part, shape.clone()))
        };
        for (part, shape) in definition.outputs.iter().flat_map(parts) {
            let found = fetches.insert(session, &part);
            let source = found.and_then(|(fetch, dtype)| {
                supported(dtype)?;
                Ok(Source { fetch, feed: feeds.find(part.tensor) })
            });
            outputs.push(Output { name: part.name, shape, may_be_nothing: OnceLock::new(), source });
        }
        let is_plain = |output: &Output| output.source.as_ref().is_ok_and(|source| source.feed.is_none());
        Self {
            is_plain: outputs.iter().all(is_plain),
            definition: definition.clone(),
            inputs,
            outputs,
            feeds: feeds.ports,
            fetches: fetches.ports,
            checks_shapes: OnceLock::new(),
            complete: Mutex::default(),
        }
    }

    /// The source of an output.
    pub(super) fn source(&self, output: usize) -> Result<Source> {
        let output = &self.outputs[output];
        output.source.clone().map_err(|unusable| self.definition.unfetchable(&output.name, unusable.reason()))
    }

    /// The index in `feeds` of an input.
    pub(super) fn feed(&self, input: &Input) -> Result<usize> {
        input.feed.clone().map_err(|unusable| match unusable {
            Unusable::DType(dtype) => {
                Error::Tensor(TensorError::UnsupportedDType { name: Some(input.name.clone()), dtype })
            }
            other => Error::Signature(SignatureError::ConflictingInput {
                signature: self.definition.name.clone(),
                input: input.name.clone(),
                reason: format!("cannot be fed: {}", other.reason()),
            }),
        })
    }

    /// Checks that the given inputs suffice for the requested outputs.
    ///
    /// # Errors
    /// [`SignatureError::MissingInput`] with the missing inputs.
    pub(super) fn check_complete(&self, graph: &[u8], call: Call) -> Result<()> {
        let known = |calls: &Vec<Call>| calls.contains(&call);
        if known(&self.complete.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let missing =
            tf_persist_savedmodel::internals::Ends::new(&self.definition).missing(graph, &call.0, call.1.as_deref());
        if !missing.is_empty() {
            let (signature, outputs) = (self.definition.name.clone(), Vec::new());
            return Err(Error::Signature(SignatureError::MissingInput { signature, missing, outputs }));
        }
        let mut calls = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < MAX_CALLS {
            calls.push(call);
        }
        Ok(())
    }
}

impl Unusable {
    fn reason(&self) -> String {
        match self {
            Self::DType(dtype) => format!("tensors of {dtype} are not supported"),
            Self::Lacking(name) => format!("it names the tensor `{name}`, which the graph lacks"),
            Self::Operation(name) => format!("it names the operation `{name}`, which has no outputs"),
            Self::Nameless => "it names no tensor".into(),
        }
    }
}

/// Refuses dtypes that `Tensor` does not hold. Their numbers are not in the C enum of libtensorflow, and must not come
/// back from it.
fn supported(dtype: DType) -> Result<(), Unusable> {
    if dtype.is_supported() { Ok(()) } else { Err(Unusable::DType(dtype)) }
}

/// Ports without repetitions.
#[derive(Default)]
struct Slots {
    tensors: Vec<(String, u32)>,
    ports: Vec<Port>,
}

impl Slots {
    fn find(&self, tensor: &str) -> Option<usize> {
        let (op, output) = parse_tensor_name(tensor).ok()?;
        self.tensors.iter().position(|(other, at)| other == op && *at == output)
    }

    /// The index of a tensor, and its dtype in the graph.
    fn insert(&mut self, session: &Session, part: &NamedTensor<'_>) -> Result<(usize, DType), Unusable> {
        if let Some(index) = self.find(part.tensor) {
            return Ok((index, session.dtype(&self.ports[index])));
        }
        let (op, output) = parse_tensor_name(part.tensor).map_err(|_| Unusable::Nameless)?;
        let port = session.port(op, output).ok_or_else(|| match session.target(op) {
            Some(_) if is_operation_name(part.tensor) => Unusable::Operation(op.to_owned()),
            _ => Unusable::Lacking(part.tensor.to_owned()),
        })?;
        self.ports.push(port);
        self.tensors.push((op.to_owned(), output));
        Ok((self.ports.len() - 1, session.dtype(&port)))
    }
}
