//! Ops on texts, and on rows of different lengths.

use tf_persist_savedmodel::{DType, Tensor};

use super::super::{Attr, Dim, Graph, Shape, Slice, TensorRef};
use crate::reason::Result;

/// Rows of different lengths.
#[derive(Debug, Clone)]
pub(crate) struct Ragged {
    /// The elements of all rows, a vector.
    pub(crate) values: TensorRef,
    /// Where each row begins, and where the last one ends, int64.
    pub(crate) splits: TensorRef,
    /// The number of rows, if it is known.
    pub(crate) rows: Dim,
}

impl Ragged {
    /// The same rows with other elements.
    pub(crate) fn with_values(&self, values: TensorRef) -> Self {
        Self { values, ..self.clone() }
    }
}

impl Graph {
    /// A constant text.
    pub(crate) fn text(&self, text: &str) -> Result<TensorRef> {
        self.constant(Tensor::from_strings(&[], [text])?)
    }

    /// Texts with the letters A to Z in lower case.
    pub(crate) fn string_lower(&self, x: &TensorRef) -> Result<TensorRef> {
        self.add("StringLower", &[x], Vec::new(), DType::String, x.shape.clone())
    }

    /// Texts with all matches of a regular expression replaced.
    pub(crate) fn regex_replace(&self, x: &TensorRef, pattern: &str, rewrite: &str) -> Result<TensorRef> {
        let attrs = vec![("pattern", pattern.into()), ("rewrite", rewrite.into())];
        self.add("StaticRegexReplace", &[x], attrs, DType::String, x.shape.clone())
    }

    /// Integers as texts.
    pub(crate) fn as_string(&self, x: &TensorRef) -> Result<TensorRef> {
        self.add("AsString", &[x], vec![("T", x.dtype.into())], DType::String, x.shape.clone())
    }

    /// Hashes of texts, from 0 to `buckets - 1`, int64; with a key, those that are hard to foresee.
    pub(crate) fn hash_bucket(&self, x: &TensorRef, buckets: i64, key: Option<[i64; 2]>) -> Result<TensorRef> {
        let mut attrs: Vec<(&'static str, Attr)> = vec![("num_buckets", buckets.into())];
        let op = match key {
            Some(key) => {
                attrs.push(("key", key.to_vec().into()));
                "StringToHashBucketStrong"
            }
            None => "StringToHashBucketFast",
        };
        self.add(op, &[x], attrs, DType::Int64, x.shape.clone())
    }

    /// The words of each text of a vector, split at white space.
    pub(crate) fn split_words(&self, x: &TensorRef) -> Result<Ragged> {
        let separator = self.text("")?;
        let outputs = vec![
            (DType::Int64, Shape::new([None, Some(2)])),
            (DType::String, Shape::new([None])),
            (DType::Int64, Shape::new([Some(2)])),
        ];
        let parts = self.add_many("StringSplitV2", &[x, &separator], Vec::new(), outputs)?;
        let row_of_each = self.strided_slice(&parts[0], &[Slice::ALL, Slice::Index(0)])?;
        let rows = self.cast(&self.element(&parts[2], 0)?, DType::Int32)?;
        // As many in each row as there are indices of it, added up.
        let none = self.constant(Tensor::zeros(DType::Int64, &[0])?)?;
        let row_of_each = self.cast(&row_of_each, DType::Int32)?;
        let lengths = self.dense_bincount(&row_of_each, &rows, &none, false, x.dims()[0])?;
        let ends = self.cumulate("Cumsum", &lengths, 0, false)?;
        let splits = self.concat(&[&self.constant(Tensor::zeros(DType::Int64, &[1])?)?, &ends], 0)?;
        Ok(Ragged { values: parts[1].clone(), splits, rows: x.dims()[0] })
    }

    /// The characters of each text of a vector.
    pub(crate) fn split_characters(&self, x: &TensorRef) -> Result<Ragged> {
        let splits_dim = x.dims()[0].and_then(|rows| rows.checked_add(1));
        let outputs = vec![(DType::Int64, Shape::new([splits_dim])), (DType::Int32, Shape::new([None]))];
        let parts = self.add_many("UnicodeDecode", &[x], vec![("input_encoding", "UTF-8".into())], outputs)?;
        let count = self.cast(&self.dim_of(&parts[1], 0)?, DType::Int64)?;
        let (zero, one) = (self.scalar(0.0, DType::Int64)?, self.scalar(1.0, DType::Int64)?);
        let bounds = self.range(&zero, &self.add_v2(&count, &one)?, &one, None)?;
        let attrs = vec![("output_encoding", "UTF-8".into())];
        let values = self.add("UnicodeEncode", &[&parts[1], &bounds], attrs, DType::String, Shape::new([None]))?;
        Ok(Ragged { values, splits: parts[0].clone(), rows: x.dims()[0] })
    }

    /// The sequences of these numbers of words in each row, the words joined by a space.
    pub(crate) fn n_grams(&self, x: &Ragged, widths: &[i64]) -> Result<Ragged> {
        let attrs = vec![
            ("separator", " ".into()),
            ("ngram_widths", widths.to_vec().into()),
            ("left_pad", "".into()),
            ("right_pad", "".into()),
            ("pad_width", Attr::Int(0)),
            ("preserve_short_sequences", false.into()),
        ];
        let outputs = vec![(DType::String, Shape::new([None])), (DType::Int64, x.splits.shape.clone())];
        let mut parts = self.add_many("StringNGrams", &[&x.values, &x.splits], attrs, outputs)?;
        let splits = parts.remove(1);
        Ok(Ragged { values: parts.remove(0), splits, rows: x.rows })
    }

    /// A matrix of the rows, cut or filled with zeros to `length`, or to that of the longest one.
    pub(crate) fn dense_rows(&self, x: &Ragged, length: Option<u64>) -> Result<TensorRef> {
        let length_or_any = length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX));
        let sizes = self.constant(Tensor::from_slice(&[2], &[-1_i64, length_or_any])?)?;
        let zero = self.scalar(0.0, x.values.dtype)?;
        let attrs = vec![
            ("T", x.values.dtype.into()),
            ("Tindex", DType::Int64.into()),
            ("Tshape", DType::Int64.into()),
            ("num_row_partition_tensors", Attr::Int(1)),
            ("row_partition_types", Attr::Texts(vec!["ROW_SPLITS".to_owned()])),
        ];
        let shape = Shape::new([x.rows, length]);
        self.add("RaggedTensorToTensor", &[&sizes, &x.values, &zero, &x.splits], attrs, x.values.dtype, shape)
    }

    /// How often each integer below `size` occurs in each row, or whether it does.
    pub(crate) fn ragged_bincount(&self, x: &Ragged, size: u64, only_whether: bool, dtype: DType) -> Result<TensorRef> {
        let count = self.scalar(size as f64, x.values.dtype)?;
        let weights = self.constant(Tensor::zeros(dtype, &[0])?)?;
        let attrs = vec![("T", dtype.into()), ("Tidx", x.values.dtype.into()), ("binary_output", only_whether.into())];
        let shape = Shape::new([x.rows, Some(size)]);
        self.add("RaggedBincount", &[&x.splits, &x.values, &count, &weights], attrs, dtype, shape)
    }

    /// The indices of the elements that are true, int64.
    pub(crate) fn indices_of_true(&self, condition: &TensorRef) -> Result<TensorRef> {
        let shape = Shape::new([None, Some(condition.rank() as u64)]);
        self.add("Where", &[condition], vec![("T", DType::Bool.into())], DType::Int64, shape)
    }

    /// A text with a tensor in the place of `{}`.
    pub(crate) fn format_text(&self, template: &str, x: &TensorRef) -> Result<TensorRef> {
        let attrs =
            vec![("T", Attr::Types(vec![x.dtype])), ("template", template.into()), ("placeholder", "{}".into())];
        self.add("StringFormat", &[x], attrs, DType::String, Shape::scalar())
    }

    /// Fails with a message where a condition does not hold. Gives the tensor, computed after it.
    pub(crate) fn asserted(&self, condition: &TensorRef, message: &TensorRef, x: &TensorRef) -> Result<TensorRef> {
        let attrs = vec![("T", Attr::Types(vec![message.dtype]))];
        self.add_many("Assert", &[condition, message], attrs, Vec::new())?;
        let assertion = self.with_nodes(<[_]>::len) - 1;
        let y = self.identity(x)?;
        self.run_after(&y, &[assertion]);
        Ok(y)
    }
}
