//! Shapes of tensors, which are known, and of signatures, whose sizes and rank may be unknown.

use std::fmt;

/// The highest rank TensorFlow has (`TensorShape::MaxDimensions`); libtensorflow aborts the process above it.
pub const MAX_RANK: usize = 254;

/// A shape that is impossible, or that does not fit the elements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shape {shape:?}: {reason}")]
pub struct InvalidShape {
    /// The shape.
    pub shape: Vec<usize>,
    /// Why it is invalid.
    pub reason: String,
}

/// The number of elements of a tensor of this shape.
///
/// # Errors
/// If the rank is above [`MAX_RANK`], or the product of the non-zero sizes does not fit 63 bits: libtensorflow
/// multiplies in order and aborts the process on overflow, even where a later zero would make the product zero.
pub fn element_count(shape: &[usize]) -> Result<usize, InvalidShape> {
    let refuse = |reason: String| InvalidShape { shape: shape.to_vec(), reason };
    if shape.len() > MAX_RANK {
        return Err(refuse(format!("rank {} is above TensorFlow's limit of {MAX_RANK}", shape.len())));
    }
    let product = shape.iter().filter(|size| **size != 0).try_fold(1_usize, |product, size| product.checked_mul(*size));
    match product {
        Some(product) if i64::try_from(product).is_ok() => Ok(if shape.contains(&0) { 0 } else { product }),
        _ => Err(refuse("the number of elements does not fit 63 bits".into())),
    }
}

/// The shape that a signature declares. The rank or any size may be unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PartialShape(Option<Vec<Option<u64>>>);

impl PartialShape {
    /// A shape of unknown rank.
    #[must_use]
    pub fn unknown() -> Self {
        Self(None)
    }

    /// A shape of known rank; `None` is an unknown size.
    #[must_use]
    pub fn new(sizes: Vec<Option<u64>>) -> Self {
        Self(Some(sizes))
    }

    /// The sizes, or `None` if the rank is unknown.
    #[must_use]
    pub fn sizes(&self) -> Option<&[Option<u64>]> {
        self.0.as_deref()
    }

    /// The rank, or `None` if it is unknown.
    #[must_use]
    pub fn rank(&self) -> Option<usize> {
        self.0.as_ref().map(Vec::len)
    }

    /// The number of elements, if every size is known and the product fits.
    #[must_use]
    pub fn element_count(&self) -> Option<u64> {
        self.0.as_ref()?.iter().try_fold(1_u64, |product, size| product.checked_mul((*size)?))
    }

    /// Whether a tensor of shape `shape` matches this declaration.
    #[must_use]
    pub fn accepts(&self, shape: &[usize]) -> bool {
        self.0.as_ref().is_none_or(|sizes| {
            sizes.len() == shape.len()
                && sizes.iter().zip(shape).all(|(size, given)| size.is_none_or(|size| size == *given as u64))
        })
    }
}

impl fmt::Display for PartialShape {
    /// `[-1, 8, 8, 1]` as in Python, `[]` for a scalar, `unknown` for an unknown rank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(sizes) = &self.0 else { return f.pad("unknown") };
        let sizes: Vec<String> = sizes.iter().map(|size| size.map_or("-1".into(), |size| size.to_string())).collect();
        f.pad(&format!("[{}]", sizes.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_elements() {
        assert_eq!(element_count(&[]).unwrap(), 1);
        assert_eq!(element_count(&[2, 3]).unwrap(), 6);
        assert_eq!(element_count(&[2, 0, 3]).unwrap(), 0);
    }

    #[test]
    fn refuses_what_libtensorflow_would_abort_on() {
        assert!(element_count(&[1 << 62, 4, 0]).is_err());
        assert!(element_count(&[0, 1 << 63]).is_err());
        assert!(element_count(&[1; MAX_RANK + 1]).is_err());
        assert!(element_count(&[1; MAX_RANK]).is_ok());
    }

    #[test]
    fn an_open_size_takes_any() {
        let shape = PartialShape::new(vec![None, Some(8)]);
        assert_eq!(shape.to_string(), "[-1, 8]");
        assert!(shape.accepts(&[5, 8]) && !shape.accepts(&[5, 9]) && !shape.accepts(&[8]));
        assert!(PartialShape::unknown().accepts(&[1, 2, 3]));
        assert_eq!(PartialShape::new(vec![]).to_string(), "[]");
    }
}
