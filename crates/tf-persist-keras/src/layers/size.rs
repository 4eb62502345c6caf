//! Sizes that are known when a model is converted, or only when it runs.

use crate::graph::{Dim, Graph, Margins, TensorRef};
use crate::reason::{Result, refuse};

/// A size of a dimension.
#[derive(Debug, Clone)]
pub(crate) enum Size {
    Known(u64),
    /// An int32 scalar.
    Computed(TensorRef),
}

impl Size {
    pub(crate) fn of(g: &Graph, x: &TensorRef, axis: usize) -> Result<Self> {
        match x.dim(axis as i64)? {
            Some(size) => Ok(Self::Known(size)),
            None => Ok(Self::Computed(g.dim_of(x, axis as i64)?)),
        }
    }

    pub(crate) fn dim(&self) -> Dim {
        match self {
            Self::Known(size) => Some(*size),
            Self::Computed(_) => None,
        }
    }

    /// An int32 scalar.
    pub(crate) fn scalar(&self, g: &Graph) -> Result<TensorRef> {
        match self {
            Self::Computed(size) => Ok(size.clone()),
            Self::Known(size) => match i32::try_from(*size) {
                Ok(size) => g.scalar_i32(size),
                Err(_) => refuse!("a size of {size} is too large"),
            },
        }
    }

    pub(crate) fn plus(&self, g: &Graph, other: &Self) -> Result<Self> {
        self.with(g, other, u64::checked_add, Graph::add_v2)
    }

    pub(crate) fn minus(&self, g: &Graph, other: &Self) -> Result<Self> {
        self.with(g, other, u64::checked_sub, Graph::sub)
    }

    pub(crate) fn times(&self, g: &Graph, other: &Self) -> Result<Self> {
        self.with(g, other, u64::checked_mul, Graph::mul)
    }

    /// The quotient, rounded down.
    pub(crate) fn over(&self, g: &Graph, other: &Self) -> Result<Self> {
        self.with(g, other, u64::checked_div, Graph::floor_div)
    }

    /// What is missing to a multiple of `block`.
    pub(crate) fn fill(&self, g: &Graph, block: u64) -> Result<Self> {
        let block = Self::Known(block);
        let rest = self.with(g, &block, u64::checked_rem, Graph::floor_mod)?;
        block.minus(g, &rest)?.with(g, &block, u64::checked_rem, Graph::floor_mod)
    }

    fn with(
        &self,
        g: &Graph,
        other: &Self,
        known: impl Fn(u64, u64) -> Option<u64>,
        computed: impl Fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>,
    ) -> Result<Self> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => match known(*a, *b) {
                Some(size) => Ok(Self::Known(size)),
                None => refuse!("sizes {a} and {b} give none"),
            },
            (a, b) => Ok(Self::Computed(computed(g, &a.scalar(g)?, &b.scalar(g)?)?)),
        }
    }
}

impl From<u64> for Size {
    fn from(size: u64) -> Self {
        Self::Known(size)
    }
}

/// Sizes as a vector of int32: a constant if all are known.
pub(crate) fn vector(g: &Graph, sizes: &[Size]) -> Result<TensorRef> {
    let dims: Vec<Dim> = sizes.iter().map(Size::dim).collect();
    g.pack_dims(&dims, |index| sizes[index].scalar(g))
}

/// Paddings or crops of dimensions.
pub(crate) fn margins(g: &Graph, sizes: &[(Size, Size)]) -> Result<Margins> {
    let known: Option<Vec<(u64, u64)>> = sizes.iter().map(|(before, after)| before.dim().zip(after.dim())).collect();
    if let Some(known) = known {
        return Ok(Margins::Known(known));
    }
    let pairs = sizes.iter().map(|(before, after)| g.pack(&[&before.scalar(g)?, &after.scalar(g)?], 0));
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let totals = sizes.iter().map(|(before, after)| before.dim()?.checked_add(after.dim()?)).collect();
    Ok(Margins::Computed(g.pack(&pairs.iter().collect::<Vec<_>>(), 0)?, totals))
}
