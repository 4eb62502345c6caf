//! The variables of an optimizer.

use std::collections::HashMap;

use tf_persist_savedmodel::{DType, Tensor};

use crate::graph::{Program, Resource, Variable};
use crate::layers::Weight;
use crate::reason::{Result, refuse};

/// A variable of an optimizer, in the order in which files have them.
#[derive(Debug, Clone)]
pub(crate) struct OptimizerVariable {
    pub(crate) resource: Resource,
    /// Such as `optimizer/dense_kernel_momentum`.
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// The value before the first step.
    pub(crate) initial: Initial,
    /// Whether it has a value in a file of an optimizer that made no step.
    pub(crate) is_slot: bool,
}

/// The value of a variable before the first step.
#[derive(Debug, Clone)]
pub(crate) enum Initial {
    /// All elements are this number.
    Filled(f64),
    /// The value of a weight.
    Weight(Resource),
}

/// The variables of an optimizer while it is built.
#[derive(Debug)]
pub(in crate::train) struct State<'a> {
    program: &'a Program,
    pub(in crate::train) variables: Vec<OptimizerVariable>,
    slots: HashMap<(&'static str, usize), Resource>,
    named: HashMap<&'static str, Resource>,
}

impl<'a> State<'a> {
    pub(in crate::train) fn new(program: &'a Program) -> Self {
        Self { program, variables: Vec::new(), slots: HashMap::new(), named: HashMap::new() }
    }

    fn add(&mut self, name: &str, dtype: DType, shape: &[usize], initial: Initial, is_slot: bool) -> Result<Resource> {
        let wanted = format!("optimizer/{name}");
        let (mut full, mut number) = (wanted.clone(), 1);
        while self.variables.iter().any(|variable| variable.name == full) {
            full = format!("{wanted}_{number}");
            number += 1;
        }
        let variable = Variable { name: full.clone(), dtype, shape: shape.to_vec(), trainable: false };
        let resource = self.program.add_variable(variable);
        self.variables.push(OptimizerVariable { resource, name: full, dtype, shape: shape.to_vec(), initial, is_slot });
        Ok(resource)
    }

    /// A variable that is not a weight's.
    pub(super) fn scalar(&mut self, name: &'static str, dtype: DType, initial: f64, is_slot: bool) -> Result<()> {
        self.scalar_as(name, name, dtype, initial, is_slot)
    }

    /// The same, called otherwise in the SavedModel.
    pub(super) fn scalar_as(
        &mut self,
        key: &'static str,
        name: &str,
        dtype: DType,
        initial: f64,
        is_slot: bool,
    ) -> Result<()> {
        let resource = self.add(name, dtype, &[], Initial::Filled(initial), is_slot)?;
        self.named.insert(key, resource);
        Ok(())
    }

    pub(super) fn named(&self, name: &'static str) -> Result<Resource> {
        match self.named.get(name) {
            Some(resource) => Ok(*resource),
            None => refuse!("the optimizer has no variable `{name}`"),
        }
    }

    /// A slot of a weight, of its dtype and shape.
    pub(super) fn slot_of(
        &mut self,
        name: &'static str,
        index: usize,
        weight: &Weight,
        initial: Initial,
    ) -> Result<()> {
        let full = format!("{}_{name}", slot_prefix(weight));
        let resource = self.add(&full, weight.dtype, &weight.shape, initial, true)?;
        self.slots.insert((name, index), resource);
        Ok(())
    }

    /// A slot of another dtype and shape, under a name of its own.
    pub(super) fn slot_as(
        &mut self,
        key: &'static str,
        index: usize,
        name: &str,
        dtype: DType,
        shape: &[usize],
    ) -> Result<()> {
        let resource = self.add(name, dtype, shape, Initial::Filled(0.0), true)?;
        self.slots.insert((key, index), resource);
        Ok(())
    }

    /// Slots of all weights, next to each other for each weight.
    pub(super) fn slots(&mut self, weights: &[Weight], names: &[(&'static str, f64)]) -> Result<()> {
        for (index, weight) in weights.iter().enumerate() {
            for (name, initial) in names {
                self.slot_of(name, index, weight, Initial::Filled(*initial))?;
            }
        }
        Ok(())
    }

    pub(super) fn slot(&self, name: &'static str, index: usize) -> Result<Resource> {
        match self.slots.get(&(name, index)) {
            Some(resource) => Ok(*resource),
            None => refuse!("the optimizer has no `{name}` of weight {index}"),
        }
    }
}

/// The weight's path as the names of its slots have it: `dense_kernel`.
fn slot_prefix(weight: &Weight) -> String {
    let layers = weight.place.layers.iter().map(String::as_str);
    layers.chain([weight.name.as_str()]).collect::<Vec<_>>().join("_").replace('/', "_")
}

/// A tensor of one number.
pub(crate) fn filled(number: f64, dtype: DType, shape: &[usize]) -> tf_persist_savedmodel::Result<Tensor> {
    if number == 0.0 {
        return Tensor::zeros(dtype, shape);
    }
    let count = tf_persist_savedmodel::element_count(shape)?;
    let tensor = match dtype {
        DType::Float32 => Tensor::from_slice(&[count], &vec![number as f32; count])?,
        DType::Float64 => Tensor::from_slice(&[count], &vec![number; count])?,
        DType::Float16 => Tensor::from_slice(&[count], &vec![half::f16::from_f64(number); count])?,
        DType::BFloat16 => Tensor::from_slice(&[count], &vec![half::bf16::from_f64(number); count])?,
        DType::Int64 => Tensor::from_slice(&[count], &vec![number as i64; count])?,
        _ => Tensor::zeros(dtype, &[count])?,
    };
    tensor.reshape(shape)
}
