//! Gradients of some rows of a tensor, as lookups in embeddings have them.

use tf_persist_savedmodel::DType;

use super::Gradient;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse};

/// Gradients of rows. A row may occur several times; its gradient is the sum.
#[derive(Debug, Clone)]
pub(crate) struct Slices {
    /// The numbers of the rows, a vector.
    pub(crate) ids: TensorRef,
    /// The gradient of each of these rows.
    pub(crate) values: TensorRef,
    /// The tensor whose rows they are.
    pub(crate) of: TensorRef,
}

impl Slices {
    /// The same with other values.
    pub(crate) fn with_values(&self, values: TensorRef) -> Self {
        Self { values, ..self.clone() }
    }

    /// The gradient as a tensor of the whole shape.
    pub(crate) fn dense(&self, g: &Graph) -> Result<TensorRef> {
        let rows = g.dim_of(&self.of, 0)?;
        segment_sum(g, &self.values, &self.ids, &rows, self.of.dims()[0])
    }
}

/// The sums of rows with the same number.
pub(crate) fn segment_sum(
    g: &Graph,
    values: &TensorRef,
    ids: &TensorRef,
    count: &TensorRef,
    dim: crate::graph::Dim,
) -> Result<TensorRef> {
    let attrs = vec![("T", values.dtype.into()), ("Tindices", ids.dtype.into()), ("Tnumsegments", count.dtype.into())];
    let Some(inner) = values.dims().get(ids.rank()..) else { refuse!("rows of a scalar are summed") };
    let shape = crate::graph::Shape::new([&[dim], inner].concat());
    g.add("UnsortedSegmentSum", &[values, ids, count], attrs, values.dtype, shape)
}

/// The gradient as a tensor.
pub(crate) fn dense(g: &Graph, gradient: &Gradient) -> Result<TensorRef> {
    match gradient {
        Gradient::Dense(tensor) => Ok(tensor.clone()),
        Gradient::Sparse(slices) => slices.dense(g),
    }
}

/// The sum of the parts of a gradient: a tensor if any part is one.
pub(super) fn sum(g: &Graph, mut parts: Vec<Gradient>) -> Result<Gradient> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let mut sparse = Vec::new();
    for part in &parts {
        if let Gradient::Sparse(slices) = part {
            sparse.push(slices.clone());
        }
    }
    if sparse.len() == parts.len()
        && let Some(first) = sparse.first()
    {
        let same = sparse.iter().all(|slices| slices.ids.dtype == first.ids.dtype);
        let mut ids = Vec::new();
        for slices in &sparse {
            ids.push(if same { slices.ids.clone() } else { g.cast(&slices.ids, DType::Int64)? });
        }
        let values: Vec<&TensorRef> = sparse.iter().map(|slices| &slices.values).collect();
        let (values, ids) = (g.concat(&values, 0)?, g.concat(&ids.iter().collect::<Vec<_>>(), 0)?);
        return Ok(Gradient::Sparse(Slices { ids, values, of: first.of.clone() }));
    }
    let tensors = parts.iter().map(|part| dense(g, part)).collect::<Result<Vec<_>>>()?;
    Ok(g.add_n(&tensors.iter().collect::<Vec<_>>())?.into())
}
