//! `TF_Graph` without a session: dtypes and shapes of tensors, and definitions of ops.

use std::ffi::{CString, c_int};
use std::ptr::NonNull;

use tensorflow_sys_runtime as tf;
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::PartialShape;

use super::library::{Library, symbols};
use super::session::{Graph, borrowed};
use super::status::Status;
use crate::error::{Error, Result};

/// A graph that TensorFlow has checked: ops, attributes, inputs and shapes of every node.
pub(crate) struct ImportedGraph(Graph);

/// The type of a tensor of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorType {
    pub(crate) dtype: DType,
    /// The shape, as far as TensorFlow can infer it.
    pub(crate) shape: PartialShape,
    /// Whether it is a reference to the memory of a variable of TensorFlow 1.
    pub(crate) is_reference: bool,
}

/// Larger dtype numbers are those of references.
const REFERENCES_ABOVE: c_int = 100;

impl ImportedGraph {
    /// Imports a serialized `GraphDef`.
    pub(crate) fn import(_open: &Library, graph_def: &[u8]) -> Result<Self> {
        let graph = Graph::new();
        let bytes = borrowed(graph_def);
        let mut status = Status::new();
        // SAFETY: takes nothing.
        let options = unsafe { tf::TF_NewImportGraphDefOptions() };
        // SAFETY: graph, bytes, options and status are live.
        unsafe { tf::TF_GraphImportGraphDef(graph.0.as_ptr(), &raw const bytes, options, status.raw()) };
        // SAFETY: live, and deleted once.
        unsafe { tf::TF_DeleteImportGraphDefOptions(options) };
        status.check(|| "import the graph".into())?;
        Ok(Self(graph))
    }

    /// The type of an output, if the graph has it.
    pub(crate) fn tensor(&self, op: &str, index: u32) -> Result<Option<TensorType>> {
        let Ok(name) = CString::new(op) else { return Ok(None) };
        let graph = self.0.0.as_ptr();
        // SAFETY: the graph is live, the name NUL-terminated.
        let op = unsafe { tf::TF_GraphOperationByName(graph, name.as_ptr()) };
        // SAFETY: the op, if there is one, belongs to the live graph.
        let outputs = if op.is_null() { 0 } else { unsafe { tf::TF_OperationNumOutputs(op) } };
        let Some(index) = c_int::try_from(index).ok().filter(|index| *index < outputs) else { return Ok(None) };
        let output = tf::TF_Output { oper: op, index };
        let mut status = Status::new();
        // SAFETY: the output exists (above).
        let number = unsafe { (symbols().output_type)(output) };
        // SAFETY: the graph is live, and the output exists.
        let rank = unsafe { tf::TF_GraphGetTensorNumDims(graph, output, status.raw()) };
        let mut dims = vec![-1_i64; usize::try_from(rank).unwrap_or(0)];
        if rank > 0 {
            // SAFETY: as above, and `dims` has room for the rank.
            unsafe { tf::TF_GraphGetTensorShape(graph, output, dims.as_mut_ptr(), rank, status.raw()) };
        }
        status.check(|| format!("tell the shape of `{}:{index}`", name.to_string_lossy()))?;
        let sizes = || PartialShape::new(dims.into_iter().map(|size| u64::try_from(size).ok()).collect());
        Ok(Some(TensorType {
            dtype: DType::from_number(number),
            shape: if rank < 0 { PartialShape::unknown() } else { sizes() },
            is_reference: number > REFERENCES_ABOVE,
        }))
    }

    /// The serialized `OpDef` of an op of the graph.
    pub(crate) fn op_def(&self, op: &str) -> Result<Vec<u8>> {
        let name = CString::new(op).map_err(|_| Error::data(format!("op `{op}`"), "its name has a NUL"))?;
        let definition = Buffer::empty();
        let mut status = Status::new();
        // SAFETY: all four are live, and the name NUL-terminated.
        unsafe {
            tf::TF_GraphGetOpDef(self.0.0.as_ptr(), name.as_ptr(), definition.0.as_ptr(), status.raw());
        }
        status.check(|| format!("tell what the op `{op}` is"))?;
        Ok(definition.bytes().to_vec())
    }

    /// A serialized `GraphDef` without nodes, with the versions that this TensorFlow writes.
    pub(crate) fn none(_open: &Library) -> Result<Vec<u8>> {
        let (graph, written) = (Graph::new(), Buffer::empty());
        let mut status = Status::new();
        // SAFETY: all three are live.
        unsafe { tf::TF_GraphToGraphDef(graph.0.as_ptr(), written.0.as_ptr(), status.raw()) };
        status.check(|| "write an empty graph".into())?;
        Ok(written.bytes().to_vec())
    }
}

/// A `TF_Buffer` that we own.
struct Buffer(NonNull<tf::TF_Buffer>);

impl Buffer {
    fn empty() -> Self {
        // SAFETY: takes nothing.
        let buffer = unsafe { tf::TF_NewBuffer() };
        // SAFETY: TF_NewBuffer never returns null.
        Self(unsafe { NonNull::new_unchecked(buffer) })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer is live.
        let buffer = unsafe { self.0.as_ref() };
        if buffer.data.is_null() {
            return &[];
        }
        // SAFETY: the data are readable for the buffer's length until it is deleted.
        unsafe { std::slice::from_raw_parts(buffer.data.cast(), buffer.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: live, and deleted once.
        unsafe { tf::TF_DeleteBuffer(self.0.as_ptr()) }
    }
}
