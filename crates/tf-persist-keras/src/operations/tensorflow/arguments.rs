//! Arguments of functions of TensorFlow.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use crate::config::{int, shown};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::operations::call::Call;
use crate::operations::operand::Operand;
use crate::parse::constant;
use crate::reason::{Result, refuse};

impl Call<'_> {
    /// Two arguments of one dtype: that of the tensor among them.
    pub(super) fn two(&mut self, a: &str, b: &str) -> Result<[TensorRef; 2]> {
        let (Some(first), Some(second)) = (self.take(a), self.take(b)) else {
            refuse!("it is called without `{a}` or `{b}`")
        };
        let dtype = dtype_of(&first).or_else(|| dtype_of(&second));
        Ok([typed(self.g, &first, dtype)?, typed(self.g, &second, dtype)?])
    }

    /// An argument of a dtype, if it is there.
    pub(super) fn typed(&mut self, name: &str, dtype: DType) -> Result<Option<TensorRef>> {
        self.take(name).map(|argument| typed(self.g, &argument, Some(dtype))).transpose()
    }

    /// A list of tensors of one dtype; a tensor alone is a list of one.
    pub(super) fn tensors(&mut self, name: &str) -> Result<Vec<TensorRef>> {
        match self.take(name) {
            Some(Argument::List(items)) => {
                let dtype = items.iter().find_map(dtype_of);
                items.iter().map(|item| typed(self.g, item, dtype)).collect()
            }
            Some(one) => Ok(vec![typed(self.g, &one, None)?]),
            None => refuse!("it is called without `{name}`"),
        }
    }

    /// A function of one tensor.
    pub(super) fn one(
        &mut self,
        name: &str,
        emit: impl FnOnce(&Graph, &TensorRef) -> Result<TensorRef>,
    ) -> Result<Argument> {
        let x = self.tensor(name)?;
        Ok(emit(self.g, &x)?.into())
    }

    /// A shape: a vector of sizes, and what is known of them.
    pub(super) fn sizes(&mut self, name: &str) -> Result<(TensorRef, Shape)> {
        let g = self.g;
        let items = match self.take(name) {
            Some(Argument::List(items)) => items,
            Some(Argument::Plain(value)) => vec![Argument::Plain(value)],
            Some(Argument::Tensor(sizes)) => {
                let [Some(rank)] = *sizes.dims() else { refuse!("the rank of `{name}` is unknown") };
                let rank = usize::try_from(rank).unwrap_or(usize::MAX).min(tf_persist_savedmodel::MAX_RANK);
                return Ok((g.cast(&sizes, DType::Int32)?, Shape::new(vec![None; rank])));
            }
            _ => refuse!("it is called without `{name}`"),
        };
        let (mut dims, mut scalars): (Vec<Dim>, Vec<TensorRef>) = (Vec::new(), Vec::new());
        for item in &items {
            match item {
                Argument::Plain(value) => {
                    let size = int(name, value)?;
                    dims.push(u64::try_from(size).ok());
                    scalars.push(g.scalar(size as f64, DType::Int32)?);
                }
                item => {
                    let size = item.tensor()?;
                    dims.push(None);
                    scalars.push(g.cast(size, DType::Int32)?);
                }
            }
        }
        if items.iter().all(|item| matches!(item, Argument::Plain(_))) {
            let sizes: Vec<i64> =
                dims.iter().map(|dim| dim.map_or(-1, |size| i64::try_from(size).unwrap_or(-1))).collect();
            return Ok((g.vector_i32(&sizes)?, Shape::new(dims)));
        }
        Ok((g.pack(&scalars.iter().collect::<Vec<_>>(), 0)?, Shape::new(dims)))
    }
}

/// The dtype of a tensor in an argument.
pub(super) fn dtype_of(argument: &Argument) -> Option<DType> {
    argument.tensors().first().map(|tensor| tensor.dtype)
}

/// An argument as a tensor. Numbers have the dtype, if it is known.
pub(super) fn typed(g: &Graph, argument: &Argument, dtype: Option<DType>) -> Result<TensorRef> {
    let Some(dtype) = dtype else { return Operand::of(g, argument)?.tensor(g) };
    let value = match argument {
        Argument::Tensor(tensor) if tensor.dtype == dtype => return Ok(tensor.tensor.clone()),
        Argument::Tensor(tensor) => refuse!("its arguments are {dtype} and {}", tensor.dtype),
        argument => plain(argument),
    };
    match value {
        Some(Value::String(text)) if dtype == DType::String => g.text(&text),
        Some(value) => g.constant(constant(&value, dtype)?),
        None => g.cast(&Operand::of(g, argument)?.tensor(g)?, dtype),
    }
}

/// The value of an argument without tensors.
pub(super) fn plain(argument: &Argument) -> Option<Value> {
    match argument {
        Argument::Plain(value) => Some(value.clone()),
        Argument::List(items) => items.iter().map(plain).collect::<Option<Vec<_>>>().map(Value::Array),
        _ => None,
    }
}

/// A key of `x[key]` as Keras 2 writes it: slices are objects.
pub(super) fn key(argument: &Argument) -> Result<Argument> {
    Ok(match argument {
        Argument::List(items) => Argument::List(items.iter().map(key).collect::<Result<_>>()?),
        Argument::Plain(Value::Object(object)) => {
            if object.get("class_name").and_then(Value::as_str) == Some("__ellipsis__") {
                return Ok(Argument::Ellipsis);
            }
            let object = object.get("config").and_then(Value::as_object).unwrap_or(object);
            let bound = |name: &str| match object.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(value) if value.is_number() => int(name, value).map(Some),
                Some(value) => refuse!("a slice has the bound {}, which is not supported", shown(value)),
            };
            Argument::Slice([bound("start")?, bound("stop")?, bound("step")?])
        }
        other => other.clone(),
    })
}
