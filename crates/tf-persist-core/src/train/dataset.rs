//! Datasets: arrays named as the inputs of a signature, one row per example.

use std::path::Path;

use sha2::{Digest, Sha256};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::push_hex;
use tf_persist_savedmodel::tensor::{Strings, Tensor, npz};

use crate::error::{Error, Result};

/// Arrays with equal first dimensions: row `i` of each belongs to example `i`.
///
/// The arrays stay in memory; a batch is a copy of its rows.
#[derive(Debug, Clone)]
pub struct Dataset {
    source: String,
    arrays: Vec<(String, Tensor)>,
    rows: usize,
}

impl Dataset {
    /// Makes a dataset of these arrays. `source` names it in errors.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`](crate::TensorError::InvalidData) if there are no arrays, two have the same name,
    /// one is a scalar, the numbers of rows differ, or there are no rows.
    pub fn new(source: impl Into<String>, arrays: Vec<(String, Tensor)>) -> Result<Self> {
        let source = source.into();
        let refuse = |reason: String| Err(Error::data(&source, reason));
        let Some((first, tensor)) = arrays.first() else { return refuse("it has no arrays".into()) };
        let Some(rows) = tensor.shape().first().copied() else {
            return refuse(format!("array `{first}` is a scalar without rows"));
        };
        for (index, (name, tensor)) in arrays.iter().enumerate() {
            if arrays[..index].iter().any(|(other, _)| other == name) {
                return refuse(format!("array `{name}` occurs twice"));
            }
            match tensor.shape().first() {
                None => return refuse(format!("array `{name}` is a scalar without rows")),
                Some(found) if *found != rows => {
                    return refuse(format!("array `{name}` has {found} rows, and `{first}` has {rows}"));
                }
                Some(_) => {}
            }
        }
        if rows == 0 {
            return refuse(format!("array `{first}` has no rows"));
        }
        Ok(Self { source, arrays, rows })
    }

    /// Reads the arrays of an .npz file.
    ///
    /// # Errors
    /// As [`npz::read_file`] and [`Dataset::new`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(Error::data(path.display().to_string(), "it is a folder, not an .npz file"));
        }
        Self::new(path.display().to_string(), npz::read_file(path)?)
    }

    /// The name in errors.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The number of examples; at least one.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names and arrays.
    pub fn arrays(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> + Clone {
        self.arrays.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// SHA-256 of names, dtypes, shapes and elements, in hexadecimal digits. The order of the arrays does not matter.
    ///
    /// The format is our own. The arrays are sorted by name. Each contributes its name, the name of its dtype, its
    /// rank, its sizes, and its elements as little-endian bytes. Numbers are 64-bit little-endian; texts, and the
    /// strings of string arrays, follow their length.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let number = |hasher: &mut Sha256, number: usize| hasher.update((number as u64).to_le_bytes());
        let text = |hasher: &mut Sha256, text: &[u8]| {
            number(hasher, text.len());
            hasher.update(text);
        };
        let mut sorted: Vec<_> = self.arrays().collect();
        sorted.sort_by_key(|(name, _)| *name);
        for (name, tensor) in sorted {
            text(&mut hasher, name.as_bytes());
            text(&mut hasher, tensor.dtype().name().as_bytes());
            number(&mut hasher, tensor.shape().len());
            tensor.shape().iter().for_each(|size| number(&mut hasher, *size));
            if let Ok(strings) = tensor.strings() {
                strings.iter().for_each(|string| text(&mut hasher, string));
            } else if let Ok(bytes) = tensor.bytes() {
                hasher.update(bytes);
            }
        }
        let mut digest = String::new();
        push_hex(&mut digest, &hasher.finalize());
        digest
    }

    /// Copies these rows of all arrays, in this order, into new memory, which TensorFlow adopts: `[rows.len(), …]` of
    /// each array `[n, …]`, with its dtype.
    ///
    /// # Errors
    /// If an array cannot be read.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn batch(&self, rows: &[usize]) -> Result<Vec<(&str, Tensor)>> {
        self.arrays().map(|(name, array)| Ok((name, gather(array, self.rows, rows)?))).collect()
    }

    /// Finds the first of these rows with a NaN or an infinity, and the array that has it.
    pub(super) fn not_finite(&self, rows: &[usize]) -> Option<(&str, usize)> {
        rows.iter().find_map(|row| {
            let found = self.arrays().find(|(_, array)| {
                let stats = gather(array, self.rows, &[*row])
                    .ok()
                    .and_then(|row| tf_persist_savedmodel::tensor::Stats::from_tensor(&row));
                stats.is_some_and(|stats| stats.nans + stats.infinities > 0)
            });
            found.map(|(name, _)| (name, *row))
        })
    }

    /// The source and the arrays.
    pub(super) fn into_parts(self) -> (String, Vec<(String, Tensor)>) {
        (self.source, self.arrays)
    }
}

/// Copies rows of an array that has `all` rows.
fn gather(array: &Tensor, all: usize, rows: &[usize]) -> Result<Tensor> {
    let mut shape = array.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    if array.dtype() == DType::String {
        let strings = array.strings()?;
        let width = strings.len() / all;
        let mut gathered = Strings::with_capacity(rows.len() * width, 0);
        for row in rows {
            (row * width..(row + 1) * width).for_each(|index| gathered.push(strings.get(index).unwrap_or_default()));
        }
        return Ok(Tensor::from_string_array(&shape, gathered)?);
    }
    let mut gathered = Tensor::zeros(array.dtype(), &shape)?;
    let bytes = array.bytes()?;
    let width = bytes.len() / all;
    if width > 0 {
        for (target, row) in gathered.bytes_mut()?.chunks_exact_mut(width).zip(rows) {
            target.copy_from_slice(&bytes[row * width..(row + 1) * width]);
        }
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(arrays: &[(&str, Tensor)]) -> Result<Dataset> {
        Dataset::new("train.npz", arrays.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect())
    }

    fn numbers(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|value: usize| value as f32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    #[test]
    fn arrays_without_common_rows_are_refused() {
        let refused = [
            (vec![], "it has no arrays"),
            (vec![("x", numbers(&[]))], "array `x` is a scalar"),
            (vec![("x", numbers(&[3])), ("y", numbers(&[]))], "array `y` is a scalar"),
            (vec![("x", numbers(&[3, 2])), ("y", numbers(&[2, 3]))], "array `y` has 2 rows, and `x` has 3"),
            (vec![("x", numbers(&[0, 2])), ("y", numbers(&[0]))], "array `x` has no rows"),
            (vec![("x", numbers(&[2])), ("x", numbers(&[2]))], "array `x` occurs twice"),
        ];
        for (arrays, reason) in refused {
            let error = dataset(&arrays).unwrap_err().to_string();
            assert!(error.starts_with("train.npz: ") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn batch_keeps_the_order_of_rows() {
        let names = Tensor::from_strings(&[3, 2], ["a", "b", "", "d", "e\0", "f"]).unwrap();
        let data = dataset(&[("x", numbers(&[3, 2])), ("names", names), ("none", numbers(&[3, 0]))]).unwrap();
        let batch = data.batch(&[2, 0]).unwrap();
        assert_eq!(batch[0].1, Tensor::from_slice(&[2, 2], &[4.0_f32, 5.0, 0.0, 1.0]).unwrap());
        assert_eq!(batch[1].1, Tensor::from_strings(&[2, 2], ["e\0", "f", "a", "b"]).unwrap());
        assert_eq!(batch[2].1.shape(), [2, 0]);
    }

    #[test]
    fn digest_covers_names_dtypes_shapes_and_elements() {
        let (x, y) = (("x", numbers(&[2, 3])), ("y", numbers(&[2])));
        let digest = |arrays: &[(&str, Tensor)]| dataset(arrays).unwrap().digest();
        let all = digest(&[x.clone(), y.clone()]);
        assert_eq!(all.len(), 64);
        assert_eq!(all, digest(&[y.clone(), x.clone()]), "the order matters");
        let other = Tensor::from_slice(&[2], &[0_i32, 0x3f80_0000]).unwrap();
        let strings = |all: [&str; 2]| Tensor::from_strings(&[2], all).unwrap();
        for different in [
            vec![x.clone()],
            vec![("z", x.1.clone()), y.clone()],
            vec![("x", x.1.clone().reshape(&[2, 1, 3]).unwrap()), y.clone()],
            vec![x.clone(), ("y", other)],
            vec![x.clone(), ("y", numbers(&[2]).reshape(&[2, 1]).unwrap())],
        ] {
            assert_ne!(all, digest(&different));
        }
        assert_ne!(digest(&[("s", strings(["ab", "c"]))]), digest(&[("s", strings(["a", "bc"]))]));
    }

    #[test]
    fn row_that_is_not_finite_is_found() {
        let bad = Tensor::from_slice(&[3, 2], &[0.0, 1.0, 2.0, f32::NAN, f32::INFINITY, 5.0]).unwrap();
        let data = dataset(&[("y", numbers(&[3])), ("x", bad)]).unwrap();
        assert_eq!(data.not_finite(&[0]), None);
        assert_eq!(data.not_finite(&[0, 2, 1]), Some(("x", 2)));
    }
}
