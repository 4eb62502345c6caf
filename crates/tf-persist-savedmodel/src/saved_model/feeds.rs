//! The tensors that a caller feeds and fetches, by their names on the command line, in npz files and in requests.

use std::collections::HashSet;

use super::signature::{DefaultValue, SignatureDef, TensorInfo, TensorKind};
use super::tensor_name::parse_tensor_name;
use crate::dtype::DType;
use crate::error::{Error, Result, SignatureError};
use crate::tensor::Tensor;

/// One tensor of an input or output.
#[derive(Debug)]
pub struct NamedTensor<'a> {
    /// Its name among the tensors of the signature.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// The tensor's name in the graph.
    pub tensor: &'a str,
}

impl TensorInfo {
    /// The tensors behind the input or output `key`: one if it is dense; of a sparse tensor `KEY.indices`, `KEY.values`
    /// and `KEY.dense_shape`; of any other composite `KEY.0`, `KEY.1`, ….
    #[doc(hidden)]
    pub fn parts(&self, key: &str) -> Vec<NamedTensor<'_>> {
        match &self.kind {
            TensorKind::Dense { name } => vec![NamedTensor { name: key.to_owned(), dtype: self.dtype, tensor: name }],
            TensorKind::CooSparse { values, indices, dense_shape } => vec![
                NamedTensor { name: format!("{key}.indices"), dtype: DType::Int64, tensor: indices },
                NamedTensor { name: format!("{key}.values"), dtype: self.dtype, tensor: values },
                NamedTensor { name: format!("{key}.dense_shape"), dtype: DType::Int64, tensor: dense_shape },
            ],
            TensorKind::Composite { components, .. } => {
                let components = components.iter().enumerate();
                components.flat_map(|(index, component)| component.parts(&format!("{key}.{index}"))).collect()
            }
        }
    }
}

/// The nodes of these tensors in the graph; names that are not valid names of tensors are left out.
fn nodes_of(infos: &[(String, TensorInfo)]) -> impl Iterator<Item = &str> {
    let parts = infos.iter().flat_map(|(key, info)| info.parts(key));
    parts.filter_map(|part| parse_tensor_name(part.tensor).ok().map(|(node, _)| node))
}

impl SignatureDef {
    /// The nodes that are fed.
    pub(crate) fn fed_nodes(&self) -> HashSet<&str> {
        nodes_of(&self.inputs).collect()
    }

    /// The nodes that are fetched.
    pub(crate) fn fetched_nodes(&self) -> Vec<&str> {
        nodes_of(&self.outputs).collect()
    }

    /// The tensors to feed: name and dtype. A sparse input `KEY` has three, `KEY.indices`, `KEY.values` and
    /// `KEY.dense_shape`; any other composite input has `KEY.0`, `KEY.1`, ….
    #[must_use]
    pub fn input_tensors(&self) -> Vec<(String, DType)> {
        let parts = self.inputs.iter().flat_map(|(key, info)| info.parts(key));
        parts.map(|part| (part.name, part.dtype)).collect()
    }

    /// The dtype of one of the [tensors to feed](Self::input_tensors).
    ///
    /// # Errors
    /// [`SignatureError::UnknownInput`] with the names of the inputs.
    pub fn input_dtype(&self, name: &str) -> Result<DType> {
        let tensors = self.input_tensors();
        match tensors.iter().find(|(other, _)| other == name) {
            Some((_, dtype)) => Ok(*dtype),
            None => Err(Error::Signature(SignatureError::UnknownInput {
                signature: self.name.clone(),
                input: name.to_owned(),
                available: tensors.into_iter().map(|(name, _)| name).collect(),
            })),
        }
    }

    /// The default of one of the tensors to feed. Only dense inputs have defaults, and their tensors have their names.
    #[doc(hidden)]
    pub fn default_of(&self, name: &str, dtype: DType) -> Option<&Tensor> {
        match self.default_value(name) {
            Some(DefaultValue::Tensor(value)) if value.dtype() == dtype => Some(value),
            _ => None,
        }
    }
}
