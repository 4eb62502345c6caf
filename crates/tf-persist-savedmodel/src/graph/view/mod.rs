//! Views of a graph over the bytes of a model's file: read field by field, without decoding or copying.
//!
//! This is the only module that knows the encoding of graph messages. All code that inspects a graph without changing
//! it uses these views, so that all of it agrees, also with C++ protobuf, with which TensorFlow reads the same bytes: a
//! mistyped field is ignored, the last value of a text counts, and the parts of a message are merged.
//!
//! The bytes were checked when the model was opened (`saved_model/limits.rs`).

mod attr;
mod field;
mod function;
mod indexed;
mod message;
mod node;
mod reachable;

pub(crate) use attr::{AttrView, Content, NamedFunction, TensorView};
pub(crate) use function::{ArgumentView, FunctionView};
pub(crate) use indexed::{IndexedFunction, IndexedGraph};
pub(crate) use node::NodeView;
pub(crate) use reachable::{find_reachable, reachable_nodes};

use field::{gradient, graph, library, meta_graph, registered_gradient, versions};
use message::{contents, int32, last_text, last_varint};

/// The `GraphDef` of a serialized `MetaGraphDef`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GraphView<'a> {
    meta_graph: &'a [u8],
}

impl<'a> GraphView<'a> {
    pub(crate) fn new(meta_graph: &'a [u8]) -> Self {
        Self { meta_graph }
    }

    fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        contents(self.meta_graph, meta_graph::GRAPH_DEF)
    }

    /// The nodes at the top.
    pub(crate) fn nodes(self) -> impl Iterator<Item = NodeView<'a>> {
        self.parts().flat_map(|part| contents(part, graph::NODE)).map(NodeView::new)
    }

    fn library(self) -> impl Iterator<Item = &'a [u8]> {
        self.parts().flat_map(|part| contents(part, graph::LIBRARY))
    }

    /// The functions of the library.
    pub(crate) fn functions(self) -> impl Iterator<Item = FunctionView<'a>> {
        self.library().flat_map(|part| contents(part, library::FUNCTION)).map(FunctionView::new)
    }

    /// Functions with the functions that are their gradients.
    pub(crate) fn gradients(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.library().flat_map(|part| contents(part, library::GRADIENT));
        all.map(|it| (last_text(it, gradient::FUNCTION_NAME), last_text(it, gradient::GRADIENT_FUNC)))
    }

    /// Values of `_gradient_op_type` with the functions that are the gradients (`tf.custom_gradient`).
    pub(crate) fn registered_gradients(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        use registered_gradient::{GRADIENT_FUNC, REGISTERED_OP_TYPE};
        let all = self.library().flat_map(|part| contents(part, library::REGISTERED_GRADIENTS));
        all.map(|it| (last_text(it, REGISTERED_OP_TYPE), last_text(it, GRADIENT_FUNC)))
    }

    /// The version of the graph's producer.
    pub(crate) fn producer(self) -> i32 {
        let parts = self.parts().flat_map(|part| contents(part, graph::VERSIONS));
        parts.filter_map(|part| last_varint(part, versions::PRODUCER)).last().map_or(0, int32)
    }
}

/// Splits an input into the name of its node and the output of that node; `None` for a control input.
pub(crate) fn source(input: &str) -> (&str, Option<&str>) {
    match input.strip_prefix('^') {
        Some(name) => (name, None),
        None => input.split_once(':').map_or((input, Some("0")), |(name, output)| (name, Some(output))),
    }
}
