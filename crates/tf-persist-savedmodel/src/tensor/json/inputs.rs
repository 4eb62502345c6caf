//! The tensors of a request, by the names of a signature's inputs.

use std::collections::HashMap;
use std::ops::Range;

use jiter::{Jiter, JiterResult, Peek};

use super::cell::{B64, IMAG, REAL, Refusal, describe};
use super::decode::Builder;
use super::read::{ExtraInputs, Text};
use crate::dtype::DType;
use crate::error::{Error, Result, SignatureError, TensorError};
use crate::tensor::Tensor;

/// The inputs of a signature, with their tensors.
pub(super) struct Inputs<'a> {
    text: Text<'a>,
    /// What the reader reads: the value of the key of the tensors, or the rest of it.
    body: Range<usize>,
    signature: &'a str,
    inputs: Vec<(&'a str, DType)>,
    indices: HashMap<&'a str, usize>,
    builders: Vec<Builder>,
    /// Whether each builder reads a value for every row, rather than one value for all.
    by_row: bool,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        text: Text<'a>,
        body: Range<usize>,
        signature: &'a str,
        inputs: Vec<(&'a str, DType)>,
    ) -> Result<Self> {
        let indices = inputs.iter().enumerate().map(|(index, (name, _))| (*name, index)).collect();
        // An input of an unsupported dtype matters only if it is given.
        let builder = |(name, dtype): &(&str, DType)| {
            Builder::new(name, if dtype.is_supported() { *dtype } else { DType::String })
        };
        let builders = inputs.iter().map(builder).collect::<Result<_>>()?;
        Ok(Self { text, body, signature, inputs, indices, builders, by_row: false })
    }

    /// Reads the column form: an object of the inputs by name, or the value of the only input.
    pub(super) fn read_columns(&mut self, extra: ExtraInputs) -> Result<()> {
        let mut jiter = self.reader();
        let peek = self.checked(jiter.peek())?;
        if peek != Peek::Object || self.is_element(&jiter) {
            return self.read_whole(&mut jiter, "inputs");
        }
        let mut key = self.checked(jiter.known_object().map(|name| self.known(name)))?;
        while let Some(known) = key {
            match known {
                Ok(index) if self.builders[index].values() > 0 => return Err(self.twice(index)),
                Ok(index) => self.read_input(index, &mut jiter, None)?,
                Err(name) if extra == ExtraInputs::Refuse => return Err(self.unknown(name)),
                Err(_) => self.checked(jiter.next_skip())?,
            }
            key = self.checked(jiter.next_key().map(|name| self.known(name)))?;
        }
        Ok(())
    }

    /// Reads the row form: a list of objects of the inputs by name, or of values of the only input.
    pub(super) fn read_rows(&mut self) -> Result<()> {
        let mut jiter = self.reader();
        let mut whole = jiter.clone();
        let peek = self.checked(jiter.peek())?;
        if peek != Peek::Array {
            let found = describe(peek).unwrap_or("something else");
            return Err(self.data(format!("`instances` must be a list, not {found}")));
        }
        let Some(first) = self.checked(jiter.known_array())? else {
            return Err(self.data("`instances` must not be empty"));
        };
        if first != Peek::Object || self.is_element(&jiter) {
            return self.read_whole(&mut whole, "instances");
        }
        self.by_row = true;
        let mut row = 0;
        let mut item = Some(first);
        while let Some(peek) = item {
            if peek != Peek::Object {
                let found = describe(peek).unwrap_or("something else");
                return Err(self.data(format!("at [{row}]: {found} where the items before it are objects")));
            }
            self.read_row(row, &mut jiter)?;
            row += 1;
            item = self.checked(jiter.array_step())?;
        }
        Ok(())
    }

    /// Reads an object that has each input at most once, and the same ones as the objects before it.
    fn read_row(&mut self, row: usize, jiter: &mut Jiter<'a>) -> Result<()> {
        let mut key = self.checked(jiter.known_object().map(|name| self.known(name)))?;
        while let Some(known) = key {
            let index = known.map_err(|name| self.unknown(name))?;
            if self.builders[index].values() > row {
                return Err(self.twice(index));
            }
            if self.builders[index].values() < row {
                let name = self.inputs[index].0;
                return Err(
                    self.data(format!("at [{row}]: input `{name}` is given here, and not in the items before it"))
                );
            }
            self.read_input(index, jiter, Some(row))?;
            key = self.checked(jiter.next_key().map(|name| self.known(name)))?;
        }
        // An input that no row has may have a default, which the signature knows.
        let given_before = |builder: &Builder| builder.values() > 0 && builder.values() <= row;
        let inputs = self.inputs.iter().zip(&self.builders);
        let missing: Vec<&str> =
            inputs.filter(|(_, builder)| given_before(builder)).map(|((name, _), _)| *name).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.data(format!("at [{row}]: input `{}` is missing", missing.join("`, `"))))
    }

    /// Reads the only input of a signature from a value that is not in an object.
    fn read_whole(&mut self, jiter: &mut Jiter<'a>, key: &str) -> Result<()> {
        let [_] = &self.inputs[..] else {
            let reason = format!(
                "`{key}` must name its inputs, of which signature `{}` has {}",
                self.signature,
                self.inputs.len()
            );
            return Err(self.data(reason));
        };
        self.builders[0].reserve_for(self.text.bytes.get(self.body.clone()).unwrap_or_default())?;
        self.read_input(0, jiter, None)
    }

    /// Reads the next value as one of an input, for a row if it is in one.
    fn read_input(&mut self, index: usize, jiter: &mut Jiter<'a>, row: Option<usize>) -> Result<()> {
        let (name, dtype) = self.inputs[index];
        if !dtype.is_supported() {
            return Err(Error::Tensor(TensorError::UnsupportedDType { name: Some(name.to_owned()), dtype }));
        }
        let builder = &mut self.builders[index];
        let start = self.body.start + jiter.current_index();
        if let Some(taken) = self.text.bytes.get(start..self.body.end).and_then(|rest| builder.read_plain(rest)) {
            // A reader cannot be moved on; one of the rest can be made.
            self.body.start = start + taken;
            *jiter = self.reader();
            return Ok(());
        }
        builder.read(jiter).map_err(|refused| {
            let source = format!("{}, input `{}`", self.text.source, self.inputs[index].0);
            let row = row.map(|row| format!("[{row}]")).unwrap_or_default();
            let path = format!("{row}{}", builder.path());
            Text { source: &source, bytes: self.text.bytes }.refuse(&path, *refused, self.body.start)
        })
    }

    /// The tensors that were given, in the order of the inputs.
    pub(super) fn finish(self) -> Result<Vec<(String, Tensor)>> {
        let tensors = self.inputs.into_iter().zip(self.builders).filter(|(_, builder)| builder.values() > 0);
        tensors.map(|((name, _), builder)| Ok((name.to_owned(), builder.finish(self.by_row)?))).collect()
    }

    /// Whether the next object is an element of the only input, and not an object of inputs by name.
    fn is_element(&self, jiter: &Jiter<'_>) -> bool {
        let [(_, dtype)] = &self.inputs[..] else { return false };
        let mut ahead = jiter.clone();
        let Ok(Some(key)) = ahead.next_object() else { return false };
        match dtype {
            DType::String if key == B64 => ahead.next_str().is_ok() && ahead.next_key() == Ok(None),
            DType::Complex64 | DType::Complex128 if matches!(key, REAL | IMAG) => {
                ahead.peek().is_ok_and(|peek| peek.is_num())
            }
            _ => false,
        }
    }

    fn reader(&self) -> Jiter<'a> {
        self.text.reader(self.text.bytes.get(self.body.clone()).unwrap_or_default())
    }

    /// The input of a key, or the key itself if there is none.
    fn known(&self, key: Option<&str>) -> Option<Result<usize, String>> {
        key.map(|name| self.indices.get(name).copied().ok_or_else(|| name.to_owned()))
    }

    fn checked<T>(&self, result: JiterResult<T>) -> Result<T> {
        result.map_err(|error| self.text.refuse("", Refusal::Syntax(error), self.body.start))
    }

    fn data(&self, reason: impl Into<String>) -> Error {
        Error::data(self.text.source, reason)
    }

    fn twice(&self, index: usize) -> Error {
        let input = self.inputs[index].0.to_owned();
        Error::Signature(SignatureError::ConflictingInput {
            signature: self.signature.into(),
            input,
            reason: "is given twice".into(),
        })
    }

    fn unknown(&self, input: String) -> Error {
        let available = self.inputs.iter().map(|(name, _)| (*name).to_owned()).collect();
        Error::Signature(SignatureError::UnknownInput { signature: self.signature.into(), input, available })
    }
}
