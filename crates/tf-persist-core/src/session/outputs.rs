//! The outputs of a run.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use tf_persist_savedmodel::tensor::Tensor;

use super::bind::Binding;
use crate::error::{Error, ModelError, Result, SignatureError};

/// The outputs of a run by name, in the signature's order. They outlive the model.
#[derive(Clone)]
pub struct Outputs {
    binding: Arc<Binding>,
    /// Tensors with their index among the outputs of the signature.
    tensors: Vec<(usize, Tensor)>,
}

impl Outputs {
    pub(super) fn new(binding: Arc<Binding>, tensors: Vec<(usize, Tensor)>) -> Self {
        Self { binding, tensors }
    }

    /// Returns an output.
    ///
    /// # Errors
    /// If there is no output of this name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.iter().find(|(other, _)| *other == name).map(|(_, tensor)| tensor);
        found.ok_or_else(|| {
            Error::Model(ModelError::Signature(SignatureError::UnknownOutput {
                output: name.to_owned(),
                available: self.iter().map(|(name, _)| name.to_owned()).collect(),
            }))
        })
    }

    /// Names and tensors, in the signature's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> + Clone {
        self.tensors.iter().map(|(index, tensor)| (self.binding.outputs[*index].name.as_str(), tensor))
    }

    /// The names and tensors, owned, in the signature's order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(String, Tensor)> {
        let Self { binding, tensors } = self;
        tensors.into_iter().map(|(index, tensor)| (binding.outputs[index].name.clone(), tensor)).collect()
    }

    /// The number of outputs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no outputs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

/// Returns an output.
///
/// # Panics
/// If there is no output of this name; see [`Outputs::get`].
impl Index<&str> for Outputs {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        match self.get(name) {
            Ok(tensor) => tensor,
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
