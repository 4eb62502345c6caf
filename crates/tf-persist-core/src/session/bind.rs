//! A signature bound to the ops of a session's graph: names looked up once, not at every run.

use std::sync::{Mutex, OnceLock, PoisonError};

use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::PartialShape;
use tf_persist_savedmodel::error::{Error, Result, SignatureError, TensorError};
use tf_persist_savedmodel::internals::{NamedTensor, is_operation_name};
use tf_persist_savedmodel::saved_model::{SignatureDef, parse_tensor_name};
use tf_persist_savedmodel::tensor::Tensor;

use crate::ffi::{Port, Session};

/// So many ways to leave inputs out are remembered.
const KNOWN_WAYS: usize = 32;

/// A signature whose tensor names are ports of the graph.
///
/// What cannot be fed or fetched is an error of those who ask for it: the rest of the signature runs.
pub(super) struct Binding {
    pub(super) definition: SignatureDef,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// The tensors that are fed, each once, whatever number of inputs name it.
    pub(super) feeds: Vec<Port>,
    /// The tensors that are fetched, each once.
    pub(super) fetches: Vec<Port>,
    /// Whether every output can be fetched and none gives an input back: all of them are what is fetched.
    pub(super) is_plain: bool,
    /// Whether the ops that it reaches check shapes themselves; found out when it is first asked for.
    pub(super) checks_shapes: OnceLock<bool>,
    /// What may be left out, as far as it was asked.
    complete: Mutex<Vec<Way>>,
}

/// Which inputs are given, and which outputs are asked for: all if `None`.
type Way = (Vec<bool>, Option<Vec<usize>>);

/// One tensor that the caller gives.
pub(super) struct Input {
    pub(super) name: String,
    /// That of the graph, where the graph has the tensor.
    pub(super) dtype: DType,
    /// Its place in `feeds`.
    pub(super) feed: Result<usize, Unusable>,
    /// The shape that the graph takes, where it says.
    pub(super) shape: PartialShape,
    /// What it is if the caller leaves it out.
    pub(super) default: Option<Tensor>,
}

/// One tensor that the caller gets.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) source: Result<Source, Unusable>,
}

/// Where an output's value comes from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// A place in `fetches`.
    pub(super) fetch: usize,
    /// A place in `feeds`: the signature gives an input back. TensorFlow refuses to fetch what is fed.
    pub(super) feed: Option<usize>,
}

/// Why a tensor can be neither fed nor fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// No tensor of ours holds it.
    DType(DType),
    /// The graph has no tensor of this name.
    Lacking(String),
    /// It is the name of an operation that gives nothing.
    Operation(String),
    /// It has no name that can be understood.
    Nameless,
}

impl Binding {
    pub(super) fn new(session: &Session, definition: &SignatureDef) -> Self {
        let mut feeds = Slots::default();
        let mut inputs = Vec::new();
        for part in definition.inputs.iter().flat_map(|(key, info)| info.parts(key)) {
            let found = feeds.place(session, &part);
            let dtype = found.as_ref().map_or(part.dtype, |(_, dtype)| *dtype);
            let feed = found.and_then(|(place, dtype)| supported(dtype).map(|()| place));
            let default = definition.default_of(&part.name, dtype).cloned();
            let shape = feed
                .as_ref()
                .map_or_else(|_| PartialShape::unknown(), |place| session.placeholder_shape(&feeds.ports[*place]));
            inputs.push(Input { name: part.name, dtype, feed, shape, default });
        }
        let mut fetches = Slots::default();
        let mut outputs = Vec::new();
        for part in definition.outputs.iter().flat_map(|(key, info)| info.parts(key)) {
            let found = fetches.place(session, &part);
            let source = found.and_then(|(fetch, dtype)| {
                supported(dtype)?;
                Ok(Source { fetch, feed: feeds.find(part.tensor) })
            });
            outputs.push(Output { name: part.name, source });
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

    /// Where the value of an output comes from.
    pub(super) fn source(&self, output: usize) -> Result<Source> {
        let output = &self.outputs[output];
        output.source.clone().map_err(|unusable| self.definition.unfetchable(&output.name, unusable.reason()))
    }

    /// Where the value of an input goes.
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

    /// Whether these inputs are enough to compute these outputs.
    ///
    /// # Errors
    /// [`SignatureError::MissingInput`] with those that are not given.
    pub(super) fn check_complete(&self, graph: &[u8], way: Way) -> Result<()> {
        let known = |ways: &Vec<Way>| ways.contains(&way);
        if known(&self.complete.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let missing =
            tf_persist_savedmodel::internals::Ends::of(&self.definition).missing(graph, &way.0, way.1.as_deref());
        if !missing.is_empty() {
            let (signature, outputs) = (self.definition.name.clone(), Vec::new());
            return Err(Error::Signature(SignatureError::MissingInput { signature, missing, outputs }));
        }
        let mut ways = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        if ways.len() < KNOWN_WAYS {
            ways.push(way);
        }
        Ok(())
    }
}

impl Unusable {
    fn reason(&self) -> String {
        match self {
            Self::DType(dtype) => format!("no tensor here holds {dtype}"),
            Self::Lacking(name) => format!("it names the tensor `{name}`, which the graph lacks"),
            Self::Operation(name) => format!("it names the operation `{name}`, which gives no tensor"),
            Self::Nameless => "it names no tensor".into(),
        }
    }
}

/// Refuses what no tensor can hold, before libtensorflow is asked: a number that its C enum lacks must not come back.
fn supported(dtype: DType) -> Result<(), Unusable> {
    if dtype.is_supported() { Ok(()) } else { Err(Unusable::DType(dtype)) }
}

/// Ports without repetition.
#[derive(Default)]
struct Slots {
    tensors: Vec<(String, u32)>,
    ports: Vec<Port>,
}

impl Slots {
    fn find(&self, tensor: &str) -> Option<usize> {
        let (op, index) = parse_tensor_name(tensor).ok()?;
        self.tensors.iter().position(|(other, at)| other == op && *at == index)
    }

    /// The place of a tensor, and the dtype that the graph gives it.
    fn place(&mut self, session: &Session, part: &NamedTensor<'_>) -> Result<(usize, DType), Unusable> {
        if let Some(place) = self.find(part.tensor) {
            return Ok((place, session.dtype(&self.ports[place])));
        }
        let (op, index) = parse_tensor_name(part.tensor).map_err(|_| Unusable::Nameless)?;
        let port = session.port(op, index).ok_or_else(|| match session.target(op) {
            Some(_) if is_operation_name(part.tensor) => Unusable::Operation(op.to_owned()),
            _ => Unusable::Lacking(part.tensor.to_owned()),
        })?;
        self.ports.push(port);
        self.tensors.push((op.to_owned(), index));
        Ok((self.ports.len() - 1, session.dtype(&port)))
    }
}
