//! What a layer is called with, and what it returns.

use std::ops::Deref;

use serde_json::Value;
use tf_persist_savedmodel::Tensor;

use crate::graph::TensorRef;
use crate::reason::{Result, refuse};

/// A tensor with the mask that Keras keeps beside it.
#[derive(Debug, Clone)]
pub(crate) struct Masked {
    pub(crate) tensor: TensorRef,
    /// Which steps count, a bool tensor.
    pub(crate) mask: Option<TensorRef>,
}

impl From<TensorRef> for Masked {
    fn from(tensor: TensorRef) -> Self {
        Self { tensor, mask: None }
    }
}

impl Deref for Masked {
    type Target = TensorRef;

    fn deref(&self) -> &TensorRef {
        &self.tensor
    }
}

/// An argument or a result: a tensor, a nest of them, or a plain value.
///
/// `T` is [`Masked`] in a call, and the origin of a tensor in a model's description of its calls.
#[derive(Debug, Clone)]
pub(crate) enum Argument<T = Masked> {
    Tensor(T),
    List(Vec<Self>),
    Dict(Vec<(String, Self)>),
    /// Null, a bool, a number, a text, or an object that is none of the others.
    Plain(Value),
    Constant(Tensor),
    /// `start:stop:step`.
    Slice([Option<i64>; 3]),
    Ellipsis,
}

impl<T> Argument<T> {
    /// The same with other tensors.
    pub(crate) fn map<U>(&self, change: &mut impl FnMut(&T) -> Result<U>) -> Result<Argument<U>> {
        Ok(match self {
            Self::Tensor(tensor) => Argument::Tensor(change(tensor)?),
            Self::List(items) => Argument::List(items.iter().map(|item| item.map(change)).collect::<Result<_>>()?),
            Self::Dict(items) => {
                let item = |(key, item): &(String, Self)| Ok((key.clone(), item.map(change)?));
                Argument::Dict(items.iter().map(item).collect::<Result<_>>()?)
            }
            Self::Plain(value) => Argument::Plain(value.clone()),
            Self::Constant(tensor) => Argument::Constant(tensor.clone()),
            Self::Slice(slice) => Argument::Slice(*slice),
            Self::Ellipsis => Argument::Ellipsis,
        })
    }

    /// The tensors, in order.
    pub(crate) fn tensors(&self) -> Vec<&T> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a T>) {
        match self {
            Self::Tensor(tensor) => found.push(tensor),
            Self::List(items) => items.iter().for_each(|item| item.collect(found)),
            Self::Dict(items) => items.iter().for_each(|(_, item)| item.collect(found)),
            _ => {}
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Plain(Value::Null))
    }
}

impl Argument {
    /// The tensor, if it is one.
    pub(crate) fn tensor(&self) -> Result<&Masked> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::List(items) if items.len() == 1 => items[0].tensor(),
            _ => refuse!("it is called with something else than one tensor"),
        }
    }
}

impl From<TensorRef> for Argument {
    fn from(tensor: TensorRef) -> Self {
        Self::Tensor(tensor.into())
    }
}

impl From<Masked> for Argument {
    fn from(tensor: Masked) -> Self {
        Self::Tensor(tensor)
    }
}

/// The arguments of a call. A layer takes those that it knows; the others are refused.
#[derive(Debug, Clone)]
pub(crate) struct Arguments<T = Masked> {
    pub(crate) positional: Vec<Option<Argument<T>>>,
    pub(crate) keyword: Vec<(String, Argument<T>)>,
}

impl<T> Default for Arguments<T> {
    fn default() -> Self {
        Self { positional: Vec::new(), keyword: Vec::new() }
    }
}

impl<T> Arguments<T> {
    pub(crate) fn new(positional: Vec<Argument<T>>, keyword: Vec<(String, Argument<T>)>) -> Self {
        Self { positional: positional.into_iter().map(Some).collect(), keyword }
    }

    /// The argument at a position or with a name; `None` if it is missing or null.
    pub(crate) fn take(&mut self, position: usize, name: &str) -> Option<Argument<T>> {
        let positional = self.positional.get_mut(position).and_then(Option::take);
        positional.or_else(|| self.take_keyword(name)).filter(|argument| !argument.is_null())
    }

    /// The argument with a name; `None` if it is missing or null.
    pub(crate) fn take_keyword(&mut self, name: &str) -> Option<Argument<T>> {
        let index = self.keyword.iter().position(|(key, _)| key == name)?;
        Some(self.keyword.remove(index).1).filter(|argument| !argument.is_null())
    }

    /// All tensors, in order.
    pub(crate) fn tensors(&self) -> Vec<&T> {
        let positional = self.positional.iter().flatten().flat_map(Argument::tensors);
        positional.chain(self.keyword.iter().flat_map(|(_, argument)| argument.tensors())).collect()
    }

    pub(crate) fn map<U>(&self, change: &mut impl FnMut(&T) -> Result<U>) -> Result<Arguments<U>> {
        let mut mapped = Arguments::default();
        for argument in &self.positional {
            mapped.positional.push(argument.as_ref().map(|argument| argument.map(change)).transpose()?);
        }
        for (name, argument) in &self.keyword {
            mapped.keyword.push((name.clone(), argument.map(change)?));
        }
        Ok(mapped)
    }

    /// Refuses arguments that were not taken.
    pub(crate) fn finish(&self) -> Result<()> {
        if let Some(position) =
            self.positional.iter().position(|argument| argument.as_ref().is_some_and(|it| !it.is_null()))
        {
            refuse!("it is called with {} positional arguments, and takes fewer", position + 1);
        }
        match self.keyword.iter().find(|(_, argument)| !argument.is_null()) {
            Some((name, _)) => refuse!("it is called with the argument `{name}`, which is not supported"),
            None => Ok(()),
        }
    }
}

impl Arguments {
    /// The first argument, which is one tensor.
    pub(crate) fn input(&mut self) -> Result<Masked> {
        let Some(argument) = self.take_first() else { refuse!("it is called without an input") };
        argument.tensor().cloned()
    }

    /// The first argument, which is a list of tensors.
    pub(crate) fn inputs(&mut self) -> Result<Vec<Masked>> {
        let Some(argument) = self.take_first() else { refuse!("it is called without inputs") };
        match argument {
            Argument::List(items) => items.iter().map(|item| item.tensor().cloned()).collect(),
            Argument::Dict(items) => items.iter().map(|(_, item)| item.tensor().cloned()).collect(),
            argument => Ok(vec![argument.tensor()?.clone()]),
        }
    }

    /// The first argument, however it is named.
    pub(crate) fn take_first(&mut self) -> Option<Argument> {
        const NAMES: [&str; 6] = ["inputs", "x", "x1", "sequences", "sequence", "data"];
        let positional = self.positional.first_mut().and_then(Option::take);
        positional.or_else(|| NAMES.iter().find_map(|name| self.take_keyword(name)))
    }
}
