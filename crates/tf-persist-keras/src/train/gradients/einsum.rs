//! Einstein's sum.

use super::broadcast::reshape_like;
use super::step::{Gradients, Step};
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse};

pub(super) fn einsum(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let equation = step.text("equation", "").to_owned();
    let Some((inputs, output)) = equation.split_once("->") else { refuse!("its equation has no output") };
    if equation.contains('.') {
        refuse!("an equation with `...` is not supported in training");
    }
    let dy = step.dy()?;
    let terms: Vec<&str> = inputs.split(',').collect();
    match terms.as_slice() {
        [term] => step.first(|| expanded(g, &dy, output, term, step.x(0)?)),
        [a, b] => Ok(vec![
            step.if_needed(0, || factor(g, &dy, output, step.x(1)?, b, step.x(0)?, a))?,
            step.if_needed(1, || factor(g, &dy, output, step.x(0)?, a, step.x(1)?, b))?,
        ]),
        terms => refuse!("an equation of {} inputs is not supported in training", terms.len()),
    }
}

/// The gradient of one input of two.
fn factor(
    g: &Graph,
    dy: &TensorRef,
    output: &str,
    other: &TensorRef,
    other_term: &str,
    x: &TensorRef,
    term: &str,
) -> Result<TensorRef> {
    let left: String = term.chars().filter(|label| output.contains(*label) || other_term.contains(*label)).collect();
    let gradient = g.einsum(&format!("{output},{other_term}->{left}"), &[dy, other])?;
    if left == term {
        return Ok(gradient);
    }
    expanded(g, &gradient, &left, term, x)
}

/// The gradient of an input whose labels are summed or moved.
fn expanded(g: &Graph, dy: &TensorRef, output: &str, term: &str, x: &TensorRef) -> Result<TensorRef> {
    let repeated = |labels: &str| labels.char_indices().any(|(at, label)| labels[..at].contains(label));
    if term.chars().all(|label| output.contains(label)) {
        return g.einsum(&format!("{output}->{term}"), &[dy]);
    }
    let kept: String = term.chars().filter(|label| output.contains(*label)).collect();
    if repeated(term) || repeated(output) || kept != output {
        refuse!("the equation `{term}->{output}` is not supported in training");
    }
    // Dimensions of size 1 in the place of those that were summed.
    let mut wide = dy.clone();
    for (axis, label) in term.chars().enumerate() {
        if !output.contains(label) {
            wide = g.expand_dims(&wide, axis as i64)?;
        }
    }
    let spread = g.broadcast_to(&wide, &g.shape_of(x)?, x.shape.clone())?;
    if spread.dims() == x.dims() { Ok(spread) } else { reshape_like(g, &spread, x) }
}
