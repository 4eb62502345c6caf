//! `TF_Session` over the graph of a SavedModel.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use tensorflow_sys_runtime as tf;
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::PartialShape;
use tf_persist_savedmodel::internals::gives_reference;
use tf_persist_savedmodel::tensor::Tensor;

use super::float_mode::in_mode_of_tensorflow;
use super::library::{Library, symbols};
use super::status::Status;
use super::tensor::TfTensor;
use crate::error::{Error, ModelError, Result, TensorError};

/// A session with its graph. Many threads may run it at once.
pub(crate) struct Session {
    session: NonNull<tf::TF_Session>,
    graph: NonNull<tf::TF_Graph>,
    /// Whether the graph has variables that ops write in place.
    has_reference_variables: bool,
    /// Whether graphs run in the calling thread, which then needs the floating-point mode of TensorFlow's threads.
    /// Other calling threads keep their mode: they prepare the graph, and must not flush denormal constants.
    in_calling_thread: bool,
}

/// The settings of a session.
pub(crate) struct Setup<'a> {
    /// A serialized `ConfigProto`.
    pub(crate) config: &'a [u8],
    /// Whether the session runs its graph in the calling thread.
    pub(crate) in_calling_thread: bool,
    /// Whether the graph is read from `saved_model.pbtxt`. The reading thread rounds numbers of a text to floats, so it
    /// must not flush denormals.
    pub(crate) text: bool,
}

// SAFETY: TF_SessionRun and TF_GraphOperationByName take TensorFlow's own locks.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

/// An output of an op in the graph of a session.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    output: tf::TF_Output,
    graph: NonNull<tf::TF_Graph>,
}

// SAFETY: points into a graph, which never moves or drops its ops; it is only followed by `Session::run` of that graph.
unsafe impl Send for Port {}
// SAFETY: as above; it is never written through.
unsafe impl Sync for Port {}

/// An op in the graph of a session, as a target of a run.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    op: NonNull<tf::TF_Operation>,
    graph: NonNull<tf::TF_Graph>,
}

// SAFETY: as for `Port`.
unsafe impl Send for Target {}
// SAFETY: as for `Port`.
unsafe impl Sync for Target {}

impl Session {
    /// Loads the meta graph with these tags, restores its variables and runs its initialisers. `ops` are the ops of the
    /// graph.
    pub(crate) fn load<'o>(
        _open: &Library,
        path: &Path,
        tags: &[String],
        ops: impl IntoIterator<Item = &'o String>,
        setup: &Setup<'_>,
    ) -> Result<Self> {
        let refuse_nul = |_| Error::data(path.display().to_string(), "a path or a tag cannot hold a NUL");
        let folder = CString::new(path.as_os_str().as_bytes()).map_err(refuse_nul)?;
        let tags: Vec<CString> =
            tags.iter().map(|tag| CString::new(tag.as_str())).collect::<Result<_, _>>().map_err(refuse_nul)?;
        let tag_pointers: Vec<*const c_char> = tags.iter().map(|tag| tag.as_ptr()).collect();
        let options = Options::new(setup.config)?;
        let graph = Graph::new();
        let mut status = Status::new();
        // SAFETY: options, graph and status are live, strings NUL-terminated, `tag_pointers` as long as said; null is
        // allowed for the run options and for the meta graph, which is read without TensorFlow here.
        let mut load = || unsafe {
            tf::TF_LoadSessionFromSavedModel(
                options.0.as_ptr(),
                ptr::null(),
                folder.as_ptr(),
                tag_pointers.as_ptr(),
                tag_pointers.len() as c_int,
                graph.0.as_ptr(),
                ptr::null_mut(),
                status.raw(),
            )
        };
        let in_mode = setup.in_calling_thread && !setup.text;
        let session = if in_mode { in_mode_of_tensorflow(load) } else { load() };
        status.check(|| format!("load `{}`", path.display()))?;
        let session = NonNull::new(session).ok_or_else(|| {
            Error::Model(ModelError::Tensor(TensorError::InvalidTensor { reason: "no session came".into() }))
        })?;
        let has_reference_variables = ops.into_iter().any(|op| gives_reference(op));
        let in_calling_thread = setup.in_calling_thread;
        let session = Self { session, graph: graph.0, has_reference_variables, in_calling_thread };
        // The session drops the graph from here on.
        std::mem::forget(graph);
        Ok(session)
    }

    /// Adds the nodes of a serialized `GraphDef` to the graph. `inputs` maps names that the `GraphDef` uses to outputs
    /// of the graph. The next run adds the nodes to the session.
    pub(crate) fn import(&self, graph_def: &[u8], inputs: &[(String, Port)]) -> Result<()> {
        assert!(inputs.iter().all(|(_, port)| port.graph == self.graph), "ports belong to the session of the graph");
        let names: Vec<CString> = inputs
            .iter()
            .map(|(name, _)| CString::new(name.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::data("the name of an op", "it cannot hold a NUL"))?;
        let bytes = borrowed(graph_def);
        let mut status = Status::new();
        // SAFETY: takes nothing.
        let options = unsafe { tf::TF_NewImportGraphDefOptions() };
        for (name, (_, port)) in names.iter().zip(inputs) {
            // SAFETY: the options are live and copy the name; the output belongs to the graph (asserted).
            unsafe { tf::TF_ImportGraphDefOptionsAddInputMapping(options, name.as_ptr(), 0, port.output) };
        }
        // SAFETY: graph, bytes, options and status are live.
        unsafe { tf::TF_GraphImportGraphDef(self.graph.as_ptr(), &raw const bytes, options, status.raw()) };
        // SAFETY: live, and deleted once.
        unsafe { tf::TF_DeleteImportGraphDefOptions(options) };
        status.check(|| "add ops to the graph".into())
    }

    /// An output of an op, if the graph has it.
    pub(crate) fn port(&self, op: &str, index: u32) -> Option<Port> {
        let target = self.target(op)?;
        // SAFETY: the op belongs to the live graph.
        let outputs = unsafe { tf::TF_OperationNumOutputs(target.op.as_ptr()) };
        let index = c_int::try_from(index).ok().filter(|index| *index < outputs)?;
        Some(Port { output: tf::TF_Output { oper: target.op.as_ptr(), index }, graph: self.graph })
    }

    /// The dtype of a tensor; for a reference, that of its value.
    pub(crate) fn dtype(&self, port: &Port) -> DType {
        assert!(port.graph == self.graph, "ports belong to the session that they are asked of");
        // SAFETY: the output exists in the live graph.
        DType::from_number(unsafe { (symbols().output_type)(port.output) })
    }

    /// The shape of a placeholder. Unknown for other tensors, whose inferred shapes are not binding.
    pub(crate) fn placeholder_shape(&self, port: &Port) -> PartialShape {
        assert!(port.graph == self.graph, "ports belong to the session that they are asked of");
        let mut status = Status::new();
        // SAFETY: the op belongs to the live graph.
        let op_type = unsafe { tf::TF_OperationOpType(port.output.oper) };
        // SAFETY: NUL-terminated, and lives as long as the graph.
        let is_placeholder = unsafe { CStr::from_ptr(op_type) }.to_bytes().starts_with(b"Placeholder");
        // SAFETY: the output belongs to the live graph.
        let rank = unsafe { tf::TF_GraphGetTensorNumDims(self.graph.as_ptr(), port.output, status.raw()) };
        let mut dims = vec![-1_i64; usize::try_from(rank).unwrap_or(0)];
        if rank > 0 {
            let first = dims.as_mut_ptr();
            // SAFETY: as above, and `dims` has room for the rank.
            unsafe { tf::TF_GraphGetTensorShape(self.graph.as_ptr(), port.output, first, rank, status.raw()) };
        }
        let dims = (rank >= 0).then_some(dims);
        match dims {
            Some(dims) if is_placeholder && status.check(String::new).is_ok() => {
                PartialShape::new(dims.into_iter().map(|size| u64::try_from(size).ok()).collect())
            }
            _ => PartialShape::unknown(),
        }
    }

    /// An op of the graph, if it exists.
    pub(crate) fn target(&self, op: &str) -> Option<Target> {
        let name = CString::new(op).ok()?;
        // SAFETY: the graph is live, the name NUL-terminated.
        let op = unsafe { tf::TF_GraphOperationByName(self.graph.as_ptr(), name.as_ptr()) };
        Some(Target { op: NonNull::new(op)?, graph: self.graph })
    }

    /// Feeds, fetches and runs. `run_options` is a serialized `RunOptions`. `action` names the run in an error.
    pub(crate) fn run(
        &self,
        action: impl Fn() -> String,
        run_options: Option<&[u8]>,
        feeds: &[(Port, &Tensor)],
        fetches: &[Port],
        targets: &[Target],
    ) -> Result<Vec<Tensor>> {
        let graphs = feeds.iter().map(|(port, _)| port.graph).chain(fetches.iter().map(|port| port.graph));
        assert!(
            graphs.chain(targets.iter().map(|target| target.graph)).all(|graph| graph == self.graph),
            "ports and targets belong to the session that they are run in"
        );
        let inputs: Vec<tf::TF_Output> = feeds.iter().map(|(port, _)| port.output).collect();
        let adopted: Vec<TfTensor> = feeds.iter().map(|(_, tensor)| TfTensor::adopt(tensor)).collect::<Result<_>>()?;
        let input_values: Vec<*mut tf::TF_Tensor> = adopted.iter().map(TfTensor::raw).collect();
        let outputs: Vec<tf::TF_Output> = fetches.iter().map(|port| port.output).collect();
        let mut output_values: Vec<*mut tf::TF_Tensor> = vec![ptr::null_mut(); outputs.len()];
        let target_ops: Vec<*const tf::TF_Operation> =
            targets.iter().map(|target| target.op.as_ptr().cast_const()).collect();
        let run_options = run_options.map(borrowed);
        let mut status = Status::new();
        let session_run = symbols().session_run;
        // SAFETY: the session is live; every op belongs to its graph (asserted); arrays are as long as said; inputs
        // stay alive until the call returns, and TensorFlow counts its own references to what it keeps.
        let mut run = || unsafe {
            session_run(
                self.session.as_ptr(),
                run_options.as_ref().map_or(ptr::null(), ptr::from_ref),
                inputs.as_ptr(),
                input_values.as_ptr(),
                inputs.len() as c_int,
                outputs.as_ptr(),
                output_values.as_mut_ptr(),
                outputs.len() as c_int,
                target_ops.as_ptr(),
                target_ops.len() as c_int,
                ptr::null_mut(),
                status.raw(),
            );
        };
        if self.in_calling_thread {
            in_mode_of_tensorflow(run)
        } else {
            run()
        }
        // SAFETY: what is not null is a live tensor that was made for us. Taken over before the status is looked at, so
        // that nothing leaks if a run fails after some outputs.
        let outputs: Vec<Option<TfTensor>> = output_values
            .into_iter()
            .map(|raw| NonNull::new(raw).map(|raw| unsafe { TfTensor::from_raw(raw) }))
            .collect();
        status.check(action)?;
        let missing = || {
            Error::Model(ModelError::Tensor(TensorError::InvalidTensor {
                reason: "TensorFlow returned no value for an output".into(),
            }))
        };
        let copy = self.has_reference_variables;
        outputs.into_iter().map(|output| output.ok_or_else(missing)?.into_tensor(copy)).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut status = Status::new();
        // SAFETY: live, and closed once. The status of a failed close is ignored.
        unsafe { tf::TF_CloseSession(self.session.as_ptr(), status.raw()) };
        // SAFETY: live, and deleted once, before its graph.
        unsafe { tf::TF_DeleteSession(self.session.as_ptr(), status.raw()) };
        // SAFETY: live, and deleted once.
        unsafe { tf::TF_DeleteGraph(self.graph.as_ptr()) };
    }
}

/// A graph without a session.
pub(super) struct Graph(pub(super) NonNull<tf::TF_Graph>);

impl Graph {
    /// Creates an empty graph, which accepts ops without a shape function, as in old libraries.
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing.
        let graph = unsafe { tf::TF_NewGraph() };
        // SAFETY: TF_NewGraph never returns null.
        let graph = Self(unsafe { NonNull::new_unchecked(graph) });
        if let Some(require) = symbols().require_shape_functions {
            // SAFETY: the graph is live.
            unsafe { require(graph.0.as_ptr(), false) };
        }
        graph
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: live, and deleted once: whoever takes it over forgets this.
        unsafe { tf::TF_DeleteGraph(self.0.as_ptr()) }
    }
}

/// Session options with a `ConfigProto`.
struct Options(NonNull<tf::TF_SessionOptions>);

impl Options {
    fn new(config: &[u8]) -> Result<Self> {
        let mut status = Status::new();
        // SAFETY: takes nothing.
        let options = unsafe { tf::TF_NewSessionOptions() };
        // SAFETY: TF_NewSessionOptions never returns null.
        let options = Self(unsafe { NonNull::new_unchecked(options) });
        let bytes = config.as_ptr().cast::<c_void>();
        // SAFETY: the bytes are readable for their length, and copied.
        unsafe { tf::TF_SetConfig(options.0.as_ptr(), bytes, config.len(), status.raw()) };
        status.check(|| "take the session's options".into())?;
        Ok(options)
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: live, and deleted once.
        unsafe { tf::TF_DeleteSessionOptions(self.0.as_ptr()) }
    }
}

/// A `TF_Buffer` that borrows these bytes.
pub(super) fn borrowed(bytes: &[u8]) -> tf::TF_Buffer {
    tf::TF_Buffer { data: bytes.as_ptr().cast(), length: bytes.len(), data_deallocator: None }
}
