//! Loops, and the lists of tensors that they read and write.
//!
//! The gradient of a loop is a loop in reverse. Each of its steps computes a step of the loop again, from the values
//! that the loop kept, and then the gradients of this step.

use tf_persist_savedmodel::DType;

use super::step::{Gradients, Step};
use super::{Gradient, Slices, gradients_from, slices};
use crate::graph::{Graph, Loop, Shape, TensorRef};
use crate::reason::{Result, refuse};

/// `TensorListFromTensor`.
pub(super) fn list_from_tensor(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let x = step.x(0)?;
        let Some((count, element)) = x.dims().split_first() else { refuse!("a scalar has no slices") };
        step.g.list_stack(&step.dy()?, x.dtype, &Shape::new(element), *count)
    })
}

/// `TensorListStack`.
pub(super) fn list_stack(step: &Step<'_>) -> Gradients {
    step.first(|| step.g.list_from_tensor(&step.dy()?))
}

/// `TensorListGetItem`: the gradient of one element.
pub(super) fn list_get(step: &Step<'_>) -> Gradients {
    if !step.needs(0) {
        return Ok(Vec::new());
    }
    let values = step.g.expand_dims(&step.dy()?, 0)?;
    let ids = step.g.expand_dims(step.x(1)?, 0)?;
    Ok(vec![Some(Gradient::Sparse(Slices { ids, values, of: step.x(0)?.clone() }))])
}

/// `TensorListSetItem`: the element's gradient, and that of the list without it.
pub(super) fn list_set(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let Some(Some(Gradient::Dense(dy))) = step.outputs.first() else { return Ok(Vec::new()) };
    let (index, item) = (step.x(1)?, step.x(2)?);
    Ok(vec![
        step.if_needed(0, || g.list_set(dy, index, &g.zeros_like(item)?))?,
        None,
        step.if_needed(2, || g.list_get(dy, index, item.dtype, &item.shape))?,
    ])
}

/// What the reverse of a loop carries from step to step.
struct Carried {
    /// The variables of the loop whose gradients it has.
    variables: Vec<usize>,
    /// The tensors from outside whose gradients are summed, and the lists from outside, whose elements have gradients.
    outside: Vec<usize>,
    lists: Vec<usize>,
}

pub(super) fn while_loop(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let Some(forward) = Loop::of(step.node) else { refuse!("it does not keep the values of its variables") };
    let inputs = &step.node.inputs;
    let known = |index: &usize| step.outputs.get(*index).is_some_and(Option::is_some);
    let is_list = |index: &usize| inputs[*index].dtype == DType::Variant;
    let outside = |lists: bool| {
        (forward.variables..inputs.len())
            .filter(move |index| step.needs(*index) && is_list(index) == lists)
            .filter(move |index| lists || inputs[*index].dtype.is_floating())
            .collect::<Vec<usize>>()
    };
    let variables =
        forward.given().filter(|index| inputs[*index].dtype.is_floating() || is_list(index) && known(index));
    let carried = Carried { variables: variables.collect(), outside: outside(false), lists: outside(true) };

    let count = step.y(0)?;
    let mut initial = vec![g.scalar_i32(0)?];
    for (_, list) in &forward.kept {
        initial.push(step.y(*list)?);
    }
    for variable in &carried.variables {
        initial.push(step.dy_of(*variable)?);
    }
    for index in &carried.outside {
        initial.push(g.zeros_like(&inputs[*index])?);
    }
    for index in &carried.lists {
        let (dtype, element) = element_of(g, &inputs[*index])?;
        initial.push(g.list_reserve(dtype, &element, &g.list_length(&inputs[*index])?)?);
    }
    let first = 1 + forward.kept.len();
    let mut shapes: Vec<Shape> = initial.iter().map(|tensor| tensor.shape.clone()).collect();
    for (shape, variable) in shapes[first..].iter_mut().zip(&carried.variables) {
        *shape = step.node.outputs[*variable].1.clone();
    }
    let reversed = g.while_loop(
        "gradient",
        &initial,
        Some(&shapes),
        |inner, values| inner.less(&values[0], &count),
        |inner, values| reverse_step(step, &forward, &carried, inner, values),
    )?;
    let mut gradients = vec![None; inputs.len()];
    let indices = carried.variables.iter().chain(&carried.outside).chain(&carried.lists);
    for (index, gradient) in indices.zip(&reversed[first..]) {
        gradients[*index] = Some(gradient.clone().into());
    }
    Ok(gradients)
}

/// One step of the reverse loop: what it carries after the step.
fn reverse_step(
    step: &Step<'_>,
    forward: &Loop,
    carried: &Carried,
    g: &Graph,
    values: &[TensorRef],
) -> Result<Vec<TensorRef>> {
    let inputs = &step.node.inputs;
    let mut next = vec![g.add_v2(&values[0], &g.scalar_i32(1)?)?];
    // What the step began with: kept values, and what does not change. Each is a tensor of its own.
    let mut arguments: Vec<Option<TensorRef>> = vec![None; inputs.len()];
    for ((variable, _), list) in forward.kept.iter().zip(&values[1..]) {
        let (dtype, shape) = &step.node.outputs[*variable];
        let [rest, value] = g.list_pop(list, *dtype, shape)?;
        next.push(rest);
        arguments[*variable] = Some(value);
    }
    let mut given = Vec::with_capacity(inputs.len());
    for (index, argument) in arguments.into_iter().enumerate() {
        given.push(match argument {
            Some(value) => value,
            // The contents of lists that the loop fills, counters and lists of kept values are without effect.
            None => g.identity(&inputs[index])?,
        });
    }
    let after = forward.step(g, &given, &carried.variables)?;
    let (dys, sums) = values[1 + forward.kept.len()..].split_at(carried.variables.len());
    let targets: Vec<(TensorRef, TensorRef)> = after.into_iter().zip(dys.iter().cloned()).collect();
    let indices = carried.variables.iter().chain(&carried.outside).chain(&carried.lists);
    let wrt: Vec<TensorRef> = indices.map(|index| given[*index].clone()).collect();
    let mut gradients = gradients_from(g, &targets, &wrt)?.into_iter();
    for (variable, dy) in carried.variables.iter().zip(dys) {
        next.push(match gradients.next().flatten() {
            Some(gradient) => slices::dense(g, &gradient)?,
            None if dy.dtype == DType::Variant => dy.clone(),
            None => g.zeros_like(&given[*variable])?,
        });
    }
    let (sums, lists) = sums.split_at(carried.outside.len());
    for sum in sums {
        next.push(match gradients.next().flatten() {
            Some(gradient) => g.add_v2(sum, &slices::dense(g, &gradient)?)?,
            None => sum.clone(),
        });
    }
    for list in lists {
        next.push(match gradients.next().flatten() {
            Some(Gradient::Sparse(Slices { ids, values, .. })) if ids.dims() == [Some(1)] => {
                g.list_set(list, &g.squeeze(&ids, &[0])?, &g.squeeze(&values, &[0])?)?
            }
            Some(_) => refuse!("a step of it reads several elements of a list"),
            None => list.clone(),
        });
    }
    Ok(next)
}

/// The dtype and the shape of the elements of a list that a tensor became.
fn element_of(g: &Graph, list: &TensorRef) -> Result<(DType, Shape)> {
    g.with_nodes(|nodes| match nodes.get(list.node) {
        Some(node) if node.op == crate::graph::Op::Named("TensorListFromTensor") => {
            let Some(x) = node.inputs.first() else { refuse!("a list is made of nothing") };
            Ok((x.dtype, Shape::new(x.dims().get(1..).unwrap_or_default())))
        }
        _ => refuse!("it reads a list that is not made of a tensor"),
    })
}
