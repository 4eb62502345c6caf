//! What a run gives back.

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
    /// A tensor and its place among the signature's outputs.
    tensors: Vec<(usize, Tensor)>,
}

impl Outputs {
    pub(super) fn new(binding: Arc<Binding>, tensors: Vec<(usize, Tensor)>) -> Self {
        Self { binding, tensors }
    }

    /// An output.
    ///
    /// # Errors
    /// If there is none of that name.
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
        self.tensors.iter().map(|(place, tensor)| (self.binding.outputs[*place].name.as_str(), tensor))
    }

    /// Names and tensors, in the signature's order, to be kept.
    #[must_use]
    pub fn into_vec(self) -> Vec<(String, Tensor)> {
        let Self { binding, tensors } = self;
        tensors.into_iter().map(|(place, tensor)| (binding.outputs[place].name.clone(), tensor)).collect()
    }

    /// The number of outputs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

/// An output by its name.
///
/// # Panics
/// If there is none of that name; [`Outputs::get`] says so instead.
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
