//! Predict requests into tensors (`FillPredictRequestFromJson` of `util/json_tensor.cc`).

use std::fmt;

use tf_persist_core::tensor::TensorBuilder;
use tf_persist_core::{DType, Tensor};

use super::Format;
use super::body_index::BodyIndex;
use super::builders::{ShapeBuilder, estimated_elements, floats};
use super::cursor::Cursor;
use super::tensors::{SignatureInputs, columns, rows};
use crate::status::Status;

/// The members of a body, in the order of [`BodyIndex::members`].
const MEMBERS: [&str; 3] = ["signature_name", "instances", "inputs"];
const SIGNATURE: usize = 0;
const INSTANCES: usize = 1;
const INPUTS: usize = 2;

/// The body of a predict request: a valid JSON object, with its tensors still to be decoded.
pub struct PredictBody<'a> {
    index: BodyIndex<'a, 3>,
    signature_name: Option<String>,
    /// The tensor of 32-bit floats that plain nested lists of numbers make, and the member that has them. The whole
    /// body must be read before the model, and with it the dtype, is known; this dtype is by far the most common.
    guess: Option<(usize, Tensor)>,
}

impl fmt::Debug for PredictBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PredictBody").field("signature_name", &self.signature_name).finish_non_exhaustive()
    }
}

impl<'a> PredictBody<'a> {
    /// Parses a body. All of it must be valid JSON; text after the closing brace is ignored.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not a JSON object, or the signature's name is not a string.
    pub fn parse(body: &'a [u8]) -> Result<Self, Status> {
        let mut guess = None;
        let index = BodyIndex::parse(body, MEMBERS, |member, mut cursor| {
            if member == SIGNATURE || guess.is_some() || cursor.peek() != b'[' {
                return None;
            }
            guess = Some((member, guess_floats(&mut cursor)?));
            Some(cursor)
        })?;
        let signature_name = index.signature_name(SIGNATURE)?;
        Ok(Self { index, signature_name, guess })
    }

    /// The name of the signature; `None` for the default one, which an empty name means too.
    #[must_use]
    pub fn signature_name(&self) -> Option<&str> {
        self.signature_name.as_deref()
    }

    /// Decodes the tensors of a signature's inputs. An input with a default may be missing, in row format from all
    /// instances alike. If only one input has no default, its values need no name.
    ///
    /// In row format with several inputs, if the first instance is a base64 object, only the first input is returned.
    /// The checks of predict then report that the others are missing.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the tensors do not fit the signature; in column format, `UNIMPLEMENTED` for a dtype that
    /// JSON has no values for.
    pub fn tensors(
        &self,
        inputs: &[(&str, DType)],
        has_default: &dyn Fn(&str) -> bool,
    ) -> Result<(Format, Vec<(String, Tensor)>), Status> {
        if inputs.is_empty() {
            let name = self.signature_name().unwrap_or("DEFAULT");
            return Err(Status::invalid_argument(format!("Failed to get input map for signature: {name}")));
        }
        let signature = SignatureInputs::new(inputs, has_default);
        match (self.index.members[INSTANCES], self.index.members[INPUTS]) {
            (Some(_), Some(_)) => Err(self
                .index
                .refuse("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")),
            (Some(instances), None) => {
                let mut inside = instances;
                if instances.peek() != b'[' {
                    return Err(self.index.refuse("Expecting 'instances' to be an list/array"));
                }
                if !inside.enter() {
                    return Err(self.index.refuse("No values in 'instances' array"));
                }
                let tensors = match self.guessed(INSTANCES, &signature) {
                    Some(tensors) => tensors,
                    None => rows(instances, inside, &signature)?,
                };
                Ok((Format::Row, tensors))
            }
            (None, Some(values)) => {
                let tensors = match self.guessed(INPUTS, &signature) {
                    Some(tensors) => tensors,
                    None => columns(values, &signature)?,
                };
                Ok((Format::Column, tensors))
            }
            (None, None) => Err(Status::invalid_argument("Missing 'inputs' or 'instances' key")),
        }
    }

    /// The tensor that was decoded while parsing, if it fits the signature.
    fn guessed(&self, member: usize, signature: &SignatureInputs<'_>) -> Option<Vec<(String, Tensor)>> {
        match (&self.guess, signature.unnamed) {
            (Some((of, tensor)), Some((name, DType::Float32))) if *of == member => {
                Some(vec![(name.to_owned(), tensor.clone())])
            }
            _ => None,
        }
    }
}

/// Reads plain nested lists of numbers, if that is the value here.
fn guess_floats(cursor: &mut Cursor<'_>) -> Option<Tensor> {
    let mut shape_builder = ShapeBuilder::default();
    let mut floats_so_far = TensorBuilder::with_capacity(estimated_elements(cursor.text.len() - cursor.at)).ok()?;
    floats(cursor, &mut shape_builder, &mut floats_so_far).ok()?;
    floats_so_far.finish(DType::Float32, &shape_builder.shape()).ok()
}
