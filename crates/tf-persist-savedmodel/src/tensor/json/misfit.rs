//! Tensors of a log whose signature has changed since: they are read as what they are, so that they can be compared.

use jiter::{Jiter, Peek};

use super::read::{Text, read_value};
use crate::dtype::DType;
use crate::error::{Error, Result, SignatureError, TensorError};
use crate::tensor::Tensor;

/// What a value may be if it is not of the dtype of the signature, in the order in which it is tried.
const OTHERS: [DType; 5] = [DType::Float32, DType::Float64, DType::String, DType::Bool, DType::Complex128];

/// Whether tensors that are valid JSON may have been refused because they are those of another signature.
pub(super) fn may_be_one(error: &Error) -> bool {
    matches!(
        error,
        Error::Signature(SignatureError::UnknownInput { .. })
            | Error::Tensor(TensorError::InvalidData { .. } | TensorError::UnsupportedDType { .. })
    )
}

/// Reads tensors by name, or the value of the only one. Those with a name in `known` are read with that dtype if they
/// can be, and others with one that their values have. `what` is "input" or "output".
pub(super) fn read<S: AsRef<str>>(
    text: Text<'_>,
    what: &str,
    body: &[u8],
    known: &[(S, DType)],
) -> Result<Vec<(String, Tensor)>> {
    let mut jiter = text.reader(body);
    let invalid = |error| Error::data(text.source, super::read::not_json(body, &error, 0));
    if jiter.peek().map_err(invalid)? != Peek::Object {
        let [(name, dtype)] = known else {
            let reason = format!("`{what}s` must name its {what}s, of which the signature has {}", known.len());
            return Err(Error::data(text.source, reason));
        };
        let name = name.as_ref();
        return Ok(vec![(name.to_owned(), value(text, what, name, body, Some(*dtype))?)]);
    }
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut key = jiter.known_object().map_err(invalid)?.map(str::to_owned);
    while let Some(name) = key {
        let bytes = next_value(&mut jiter, body).map_err(invalid)?;
        if tensors.iter().any(|(other, _)| *other == name) {
            return Err(Error::data(text.source, format!("{what} `{name}` is given twice")));
        }
        let dtype = known.iter().find(|(other, _)| other.as_ref() == name).map(|(_, dtype)| *dtype);
        let tensor = value(text, what, &name, bytes, dtype)?;
        tensors.push((name, tensor));
        key = jiter.next_key().map_err(invalid)?.map(str::to_owned);
    }
    Ok(tensors)
}

/// The text of the next value.
fn next_value<'a>(jiter: &mut Jiter<'_>, body: &'a [u8]) -> jiter::JiterResult<&'a [u8]> {
    let peek = jiter.peek()?;
    let start = jiter.current_index();
    jiter.known_skip(peek)?;
    Ok(body.get(start..jiter.current_index()).unwrap_or_default())
}

/// A tensor of the dtype of the signature, or else of the first that its values have.
fn value(text: Text<'_>, what: &str, name: &str, bytes: &[u8], dtype: Option<DType>) -> Result<Tensor> {
    let source = format!("{}, {what} `{name}`", text.source);
    let mut refusal = None;
    for dtype in dtype.into_iter().filter(|dtype| dtype.is_supported()).chain(OTHERS) {
        match read_value(&source, bytes, dtype) {
            Err(error) if may_be_one(&error) => drop(refusal.get_or_insert(error)),
            other => return other,
        }
    }
    Err(refusal.unwrap_or_else(|| Error::data(&source, "it is no tensor")))
}
