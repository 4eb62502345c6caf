//! Side by side with the tensorflow crate (tensorflow-rust): code that builds graphs with it runs in the same process,
//! over the same libtensorflow, once a [`Runtime`] is open. Before that its calls panic.

use tensorflow::TensorType;
use tf_persist_savedmodel::tensor::{Element, Tensor};

use crate::error::Result;
use crate::runtime::Runtime;

impl Runtime {
    /// A tensor of the tensorflow crate with the same elements, copied once.
    ///
    /// # Errors
    /// If the tensor holds another dtype than `T`.
    pub fn to_tensorflow_rust<T: Element + TensorType>(&self, tensor: &Tensor) -> Result<tensorflow::Tensor<T>> {
        let values = tensor.view::<T>()?;
        let dims: Vec<u64> = tensor.shape().iter().map(|size| *size as u64).collect();
        let mut copy = tensorflow::Tensor::new(&dims);
        // The crate gives an empty tensor room for one element.
        copy[..values.len()].copy_from_slice(values);
        Ok(copy)
    }

    /// A tensor with the elements of one of the tensorflow crate, copied once.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn from_tensorflow_rust<T: Element + TensorType>(&self, tensor: &tensorflow::Tensor<T>) -> Result<Tensor> {
        let shape: Vec<usize> = tensor.dims().iter().map(|size| *size as usize).collect();
        let count = tf_persist_savedmodel::element_count(&shape)?;
        Ok(Tensor::from_slice(&shape, &tensor[..count])?)
    }
}
