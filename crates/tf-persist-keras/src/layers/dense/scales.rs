//! Where the scales of a quantized `EinsumDense` lie among the axes of its result.

use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// How a scale, which has size 1 along the axes that are summed over, is brought to the axes of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alignment {
    pub(super) summed: Vec<usize>,
    transposed: Vec<usize>,
    expanded: Vec<usize>,
    squeezed: Vec<usize>,
}

/// The alignments for an equation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scales {
    pub(super) input: Alignment,
    pub(super) kernel: Alignment,
}

impl Scales {
    /// For an equation and an input of this rank.
    pub(super) fn new(equation: &str, rank: usize) -> Result<Self> {
        let compact = equation.replace(' ', "").replace("...", "0");
        let parts = compact.split_once("->").and_then(|(inputs, output)| Some((inputs.split_once(',')?, output)));
        let Some(((input, kernel), output)) = parts else {
            refuse!("the equation `{}` is not supported", shown_name(equation))
        };
        let elided = rank.saturating_sub(input.chars().filter(|it| *it != '0').count());
        // Labels that no equation has.
        let labels: String = ('\u{100}'..'\u{200}').take(elided).collect();
        let spell = |term: &str| term.replace('0', &labels).chars().collect::<Vec<char>>();
        let (input, kernel, output) = (spell(input), spell(kernel), spell(output));
        // Keras's code leaves this number where it ends one loop, and uses it in another.
        let last = kernel.last().and_then(|label| output.iter().position(|it| it == label));
        let (input, last) = Alignment::new(&input, &output, last);
        let (kernel, _) = Alignment::new(&kernel, &output, last);
        Ok(Self { input, kernel })
    }
}

impl Alignment {
    fn new(term: &[char], output: &[char], mut last: Option<usize>) -> (Self, Option<usize>) {
        let place = |labels: &[char], label: &char| labels.iter().position(|it| it == label);
        let summed: Vec<usize> = (0..term.len()).filter(|axis| place(output, &term[*axis]).is_none()).collect();
        let mut expanded: Vec<usize> = (0..output.len()).filter(|axis| place(term, &output[*axis]).is_none()).collect();
        let mut transposed: Vec<usize> = output.iter().filter_map(|label| place(term, label)).collect();
        let mut squeezed = Vec::new();
        for axis in &summed {
            if expanded.is_empty() {
                squeezed.push(*axis);
            } else {
                last = Some(expanded.remove(0));
            }
            // A missing number is -1 in Python: before the last item.
            let index = last.unwrap_or(transposed.len().saturating_sub(1)).min(transposed.len());
            transposed.insert(index, *axis);
        }
        (Self { summed, transposed, expanded, squeezed }, last)
    }

    /// The shape of the scale of a kernel, aligned.
    pub(super) fn shape(&self, kernel: &[u64]) -> Result<Vec<u64>> {
        let size = |axis: &usize| if self.summed.contains(axis) { 1 } else { kernel[*axis] };
        if self.transposed.iter().any(|axis| *axis >= kernel.len()) {
            refuse!("its equation does not fit a kernel of shape {kernel:?}");
        }
        let mut shape: Vec<u64> = self.transposed.iter().map(size).collect();
        for axis in &self.expanded {
            shape.insert((*axis).min(shape.len()), 1);
        }
        for axis in self.squeezed.iter().rev() {
            if *axis < shape.len() {
                shape.remove(*axis);
            }
        }
        Ok(shape)
    }

    /// The scale of an input, aligned.
    pub(super) fn apply(&self, g: &Graph, scale: &TensorRef) -> Result<TensorRef> {
        let sorted: Vec<usize> = (0..scale.rank()).collect();
        let mut scale = if self.transposed == sorted { scale.clone() } else { g.transpose(scale, &self.transposed)? };
        for axis in &self.expanded {
            scale = g.expand_dims(&scale, *axis as i64)?;
        }
        if !self.squeezed.is_empty() {
            scale = g.squeeze(&scale, &self.squeezed.iter().map(|axis| *axis as i64).collect::<Vec<_>>())?;
        }
        Ok(scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_follow_the_axes_of_the_result() {
        let scales = Scales::new("abc,cd->abd", 3).unwrap();
        assert_eq!((scales.input.summed.as_slice(), scales.kernel.summed.as_slice()), (&[2][..], &[0][..]));
        assert_eq!(scales.kernel.shape(&[8, 4]).unwrap(), [1, 1, 4]);
        let scales = Scales::new("abc,cde->abde", 3).unwrap();
        assert_eq!(scales.kernel.shape(&[8, 2, 3]).unwrap(), [1, 1, 2, 3]);
        assert_eq!((scales.input.transposed.as_slice(), scales.input.expanded.as_slice()), (&[0, 1, 2][..], &[3][..]));
        let scales = Scales::new("abcd,cde->abe", 4).unwrap();
        assert_eq!(
            (scales.input.squeezed.as_slice(), scales.input.transposed.as_slice()),
            (&[3][..], &[0, 1, 3, 2][..])
        );
        assert_eq!(scales.kernel.shape(&[2, 3, 5]).unwrap(), [1, 1, 5]);
        let scales = Scales::new("...x,xy->...y", 4).unwrap();
        assert_eq!(
            (scales.input.summed.as_slice(), scales.kernel.shape(&[8, 6]).unwrap()),
            (&[3][..], vec![1, 1, 1, 6])
        );
    }
}
