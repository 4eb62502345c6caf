//! `rearrange`: reshapes and transposes by a pattern such as `b (h w) c -> b h w c`.

use super::call::Call;
use super::{Entry, op};
use crate::config::size;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[op("Rearrange", "tensor pattern", "", rearrange)];

/// A side of a pattern: for each dimension, the names of the axes in it.
type Side = Vec<Vec<String>>;

fn side(pattern: &str) -> Result<Side> {
    let mut dims: Side = Vec::new();
    let mut group: Option<Vec<String>> = None;
    let spaced = pattern.replace('(', " ( ").replace(')', " ) ");
    for word in spaced.split_whitespace() {
        match (word, group.as_mut()) {
            ("(", None) => group = Some(Vec::new()),
            (")", Some(_)) => dims.extend(group.take()),
            (name, open) if name.chars().all(|it| it.is_alphanumeric() || it == '_') => match open {
                Some(names) => names.push(name.to_owned()),
                None => dims.push(vec![name.to_owned()]),
            },
            _ => refuse!("the pattern `{}` is not supported", pattern.escape_debug()),
        }
    }
    match group {
        None => Ok(dims),
        Some(_) => refuse!("the pattern `{}` has an open parenthesis", pattern.escape_debug()),
    }
}

/// An axis with its size, and the size when the graph runs.
struct Axis {
    name: String,
    dim: Dim,
    computed: Option<TensorRef>,
}

impl Axis {
    fn size(&self, g: &Graph) -> Result<TensorRef> {
        match (self.dim, &self.computed) {
            (None, Some(size)) => Ok(size.clone()),
            (dim, _) => g.scalar(dim.unwrap_or(1) as f64, tf_persist_savedmodel::DType::Int32),
        }
    }
}

/// The axes of the input, those in groups apart.
fn axes(g: &Graph, x: &TensorRef, dims: &Side, given: &[(String, u64)]) -> Result<Vec<Axis>> {
    let mut axes = Vec::new();
    for (index, names) in dims.iter().enumerate() {
        let total = x.dims()[index];
        let known = |name: &String| given.iter().find(|(other, _)| other == name).map(|(_, size)| *size);
        let product = names.iter().filter_map(known).try_fold(1_u64, u64::checked_mul);
        let open = names.iter().filter(|name| known(name).is_none()).count();
        let Some(product) = product.filter(|product| *product > 0) else { refuse!("a size of the pattern is 0") };
        if open > 1 || total.is_some_and(|total| total % product != 0 || (open == 0 && total != product)) {
            refuse!("the pattern does not fit a dimension of shape {}", x.shape);
        }
        for name in names {
            let (dim, computed) = match (known(name), total) {
                (Some(size), _) => (Some(size), None),
                (None, Some(total)) => (Some(total / product), None),
                (None, None) => {
                    let whole = g.dim_of(x, index as i64)?;
                    let part = if product == 1 {
                        whole
                    } else {
                        g.floor_div(&whole, &g.scalar(product as f64, whole.dtype)?)?
                    };
                    (None, Some(part))
                }
            };
            axes.push(Axis { name: name.clone(), dim, computed });
        }
    }
    Ok(axes)
}

/// Reshapes to products of sizes.
fn reshaped(g: &Graph, x: &TensorRef, groups: &[Vec<&Axis>]) -> Result<TensorRef> {
    let dim = |group: &Vec<&Axis>| group.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.dim?));
    let dims: Vec<Dim> = groups.iter().map(dim).collect();
    if x.dims() == dims {
        return Ok(x.clone());
    }
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(x, &dims);
    }
    let sizes = g.pack_dims(&dims, |index| {
        let mut size: Option<TensorRef> = None;
        for axis in &groups[index] {
            let next = axis.size(g)?;
            size = Some(size.map_or(Ok(next.clone()), |size| g.mul(&size, &next))?);
        }
        size.map_or_else(|| g.scalar_i32(1), Ok)
    })?;
    g.reshape_to(x, &sizes, Shape::new(dims))
}

fn rearrange(c: &mut Call<'_>) -> Result<Argument> {
    let (x, pattern) = (c.tensor("tensor")?, c.text_or("pattern", "")?);
    let g = c.g;
    let Some((before, after)) = pattern.split_once("->") else {
        refuse!("the pattern `{}` has no arrow", pattern.escape_debug())
    };
    let (before, after) = (side(before)?, side(after)?);
    if before.len() != x.rank() {
        refuse!("the pattern `{}` does not fit shape {}", pattern.escape_debug(), x.shape);
    }
    let mut given = Vec::new();
    for name in before.iter().flatten() {
        if let Some(Argument::Plain(value)) = c.arguments.take_keyword(name) {
            given.push((name.clone(), size(name, &value)?));
        }
    }
    let axes = axes(g, &x, &before, &given)?;
    let parts = reshaped(g, &x, &axes.iter().map(|axis| vec![axis]).collect::<Vec<_>>())?;
    let place = |name: &String| match axes.iter().position(|axis| axis.name == *name) {
        Some(place) => Ok(place),
        None => refuse!("the pattern `{}` has `{name}` on one side only", pattern.escape_debug()),
    };
    let order = after.iter().flatten().map(place).collect::<Result<Vec<_>>>()?;
    let moved = g.transpose(&parts, &order)?;
    let mut groups = Vec::new();
    for names in &after {
        groups.push(names.iter().map(|name| Ok(&axes[place(name)?])).collect::<Result<Vec<_>>>()?);
    }
    Ok(reshaped(g, &moved, &groups)?.into())
}
