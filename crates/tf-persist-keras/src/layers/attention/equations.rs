//! The equations of projections and of attention.

use crate::graph::Dim;
use crate::layers::Activation;
use crate::layers::activation::Function;
use crate::layers::dense::EinsumDense;
use crate::reason::{Result, refuse};

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// The most dimensions of an input.
const MAX_RANK: usize = 6;

/// A projection: `free` dimensions stay, then `bound` ones are summed over, and those of `outputs` appear.
pub(super) fn projection(
    free: usize,
    bound: usize,
    outputs: &[u64],
    use_bias: bool,
    activation: Function,
) -> Result<EinsumDense> {
    let total = free.saturating_add(bound).saturating_add(outputs.len());
    let Some(letters) = LETTERS.get(..total) else { refuse!("its inputs or outputs have too many dimensions") };
    let (kept, rest) = letters.split_at(free);
    let (summed, made) = rest.split_at(bound);
    let equation = format!("{kept}{summed},{summed}{made}->{kept}{made}");
    let mut shape: Vec<Dim> = vec![None; free.saturating_sub(1)];
    shape.extend(outputs.iter().copied().map(Some));
    Ok(EinsumDense::part(equation, shape, use_bias.then(|| made.to_owned()), Activation::from(activation)))
}

/// The equations of attention over some axes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Equations {
    /// Of key and query, to scores.
    pub(super) scores: String,
    /// Of scores and value, to the result.
    pub(super) result: String,
    /// The rank of the scores.
    pub(super) rank: usize,
}

impl Equations {
    /// For projected tensors of this rank: batch, others, heads, size.
    pub(super) fn new(rank: usize, axes: &[usize]) -> Result<Self> {
        let is_free = |axis: &&usize| **axis > 0 && **axis + 2 < rank;
        if rank > MAX_RANK || axes.is_empty() || !axes.iter().all(|axis| is_free(&axis)) {
            refuse!("`attention_axes` do not fit inputs of rank {}", rank.saturating_sub(1));
        }
        let target: Vec<char> = LETTERS.chars().take(rank).collect();
        let mut others = LETTERS.chars().skip(rank);
        let mut source = target.clone();
        for (axis, letter) in source.iter_mut().enumerate() {
            if axes.contains(&axis)
                && let Some(other) = others.next()
            {
                *letter = other;
            }
        }
        let batch = (0..rank - 1).filter(|axis| !axes.contains(axis)).map(|axis| target[axis]);
        let product: String =
            batch.chain(axes.iter().map(|axis| target[*axis])).chain(axes.iter().map(|axis| source[*axis])).collect();
        let (target, source): (String, String) = (target.into_iter().collect(), source.into_iter().collect());
        Ok(Self {
            scores: format!("{source},{target}->{product}"),
            result: format!("{product},{source}->{target}"),
            rank: product.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_those_of_keras() {
        let equations = Equations::new(4, &[1]).unwrap();
        assert_eq!((equations.scores.as_str(), equations.result.as_str()), ("aecd,abcd->acbe", "acbe,aecd->abcd"));
        let equations = Equations::new(5, &[1, 2]).unwrap();
        assert_eq!(
            (equations.scores.as_str(), equations.result.as_str(), equations.rank),
            ("afgde,abcde->adbcfg", "adbcfg,afgde->abcde", 6)
        );
        let equations = Equations::new(5, &[2]).unwrap();
        assert_eq!(equations.scores, "abfde,abcde->abdcf");
    }

    #[test]
    fn axes_must_lie_between_batch_and_heads() {
        for axes in [&[0][..], &[2], &[]] {
            assert!(Equations::new(4, axes).is_err());
        }
    }
}
