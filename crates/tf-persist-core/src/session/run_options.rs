//! Options of a run.

/// Options of a run. The default is that of [`Signature::run`](crate::Signature::run).
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions<'a> {
    pub(super) outputs: Option<&'a [String]>,
    pub(super) any_shape: bool,
}

impl<'a> RunOptions<'a> {
    /// Computes only these outputs, and requires only the inputs that they need. The outputs come in the signature's
    /// order, each once. The key of a sparse or composite output names all of its tensors.
    #[must_use]
    pub fn outputs(mut self, names: &'a [String]) -> Self {
        self.outputs = Some(names);
        self
    }

    /// Feeds tensors of any shape, whatever the graph's placeholders say, where all ops that the run reaches are known
    /// to refuse shapes they cannot take instead of ending the process
    /// ([`Signature::ops_check_shapes`](crate::Signature::ops_check_shapes)). Other signatures are fed what their
    /// placeholders take. TensorFlow Serving never looks at placeholders.
    #[must_use]
    pub fn skip_shape_check(mut self, allow: bool) -> Self {
        self.any_shape = allow;
        self
    }
}
