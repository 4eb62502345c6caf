//! Signatures: the functions that a model offers by name.

use std::fmt;

use tf_persist_proto::tensorflow as pb;

use crate::dtype::DType;
use crate::shape::PartialShape;
use crate::tensor::Tensor;
use crate::tensor::proto::{self, partial_shape};

/// The name that exporters give a model's main signature (`kDefaultServingSignatureDefKey`).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// Default values may be stored as one value that stands for all elements. All of a model's together may take this much
/// memory.
pub(super) const MAX_DEFAULT_BYTES: usize = 64 << 20;

/// A function of a model: tensors to feed and to fetch, by the names that its author gave them.
///
/// `Display` prints it as a small aligned table. Source: `SignatureDef` in `tensorflow/core/protobuf/meta_graph.proto`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignatureDef {
    /// The name that it is called by.
    pub name: String,
    /// What kind of function it is: `tensorflow/serving/predict`, `…/classify`, `…/regress`; may be empty.
    pub method_name: String,
    /// The inputs, sorted by name.
    pub inputs: Vec<(String, TensorInfo)>,
    /// The outputs, sorted by name.
    pub outputs: Vec<(String, TensorInfo)>,
    /// The values of inputs that may be left out, sorted by name.
    pub defaults: Vec<(String, DefaultValue)>,
}

/// The value of an input that may be left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DefaultValue {
    /// The value.
    Tensor(Tensor),
    /// There is one, but it cannot be read: why.
    Unreadable(String),
}

/// What a signature says of one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The element type; that of its values, if it is a sparse tensor.
    pub dtype: DType,
    /// The shape as declared. Models are known to declare other shapes than their graphs take.
    pub shape: PartialShape,
    /// Where it is in the graph.
    pub kind: TensorKind,
}

/// Where a signature's tensor is in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorKind {
    /// One tensor.
    Dense {
        /// Its name, such as `x:0`.
        name: String,
    },
    /// A sparse tensor, which is three tensors.
    CooSparse {
        /// The name of the non-zero values' tensor, of shape `[n]`.
        values: String,
        /// The name of their indices' tensor, int64 of shape `[n, rank]`.
        indices: String,
        /// The name of the tensor of the shape that it would have if it were dense, int64 of shape `[rank]`.
        dense_shape: String,
    },
    /// A structure of several tensors, such as a ragged one.
    Composite {
        /// Its tensors.
        components: Vec<TensorInfo>,
    },
}

impl SignatureDef {
    /// The input of this name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.inputs, name)
    }

    /// The output of this name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.outputs, name)
    }

    /// The default value of the input of this name.
    #[must_use]
    pub fn default_value(&self, name: &str) -> Option<&DefaultValue> {
        find(&self.defaults, name)
    }

    /// Whether this is an operation that has been put among the signatures, such as `__saved_model_init_op`: all that it
    /// gives has no dtype.
    pub(super) fn is_operation(&self) -> bool {
        !self.outputs.is_empty() && self.outputs.iter().all(|(_, info)| info.dtype == DType::Invalid)
    }

    /// Reads a `SignatureDef`. What defaults take in memory is taken from `room`.
    pub(super) fn from_proto(name: &str, proto: &pb::SignatureDef, room: &mut usize) -> Self {
        // Maps are sorted by their keys.
        let infos = |map: &std::collections::BTreeMap<String, pb::TensorInfo>| {
            map.iter().map(|(name, info)| (name.clone(), TensorInfo::from_proto(info))).collect()
        };
        let default = |(name, value): (&String, &pb::TensorProto)| {
            let value = match proto::from_proto(value, *room) {
                Ok(tensor) => {
                    *room = room.saturating_sub(tensor.bytes().map_or(0, <[u8]>::len));
                    DefaultValue::Tensor(tensor)
                }
                Err(error) => DefaultValue::Unreadable(error.to_string()),
            };
            (name.clone(), value)
        };
        Self {
            name: name.to_owned(),
            method_name: proto.method_name.clone(),
            inputs: infos(&proto.inputs),
            outputs: infos(&proto.outputs),
            defaults: proto.defaults.iter().map(default).collect(),
        }
    }
}

impl TensorInfo {
    /// The names of the graph's tensors that it is made of.
    #[must_use]
    pub fn tensor_names(&self) -> Vec<&str> {
        match &self.kind {
            TensorKind::Dense { name } => vec![name],
            TensorKind::CooSparse { values, indices, dense_shape } => vec![values, indices, dense_shape],
            TensorKind::Composite { components } => components.iter().flat_map(Self::tensor_names).collect(),
        }
    }

    pub(super) fn from_proto(proto: &pb::TensorInfo) -> Self {
        use pb::meta_graph::tensor_info::Encoding;

        let kind = match &proto.encoding {
            Some(Encoding::Name(name)) => TensorKind::Dense { name: name.clone() },
            Some(Encoding::CooSparse(sparse)) => TensorKind::CooSparse {
                values: sparse.values_tensor_name.clone(),
                indices: sparse.indices_tensor_name.clone(),
                dense_shape: sparse.dense_shape_tensor_name.clone(),
            },
            Some(Encoding::CompositeTensor(composite)) => {
                TensorKind::Composite { components: composite.components.iter().map(Self::from_proto).collect() }
            }
            // None, or one of a later TensorFlow.
            _ => TensorKind::Dense { name: String::new() },
        };
        Self { dtype: DType::from_number(proto.dtype.value()), shape: partial_shape(&proto.tensor_shape), kind }
    }
}

fn find<'a, T>(all: &'a [(String, T)], name: &str) -> Option<&'a T> {
    all.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

impl fmt::Display for TensorKind {
    /// `x:0`, or the names of the tensors with what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense { name } => f.write_str(&printable(name)),
            Self::CooSparse { values, indices, dense_shape } => {
                let (values, indices) = (printable(values), printable(indices));
                write!(f, "sparse: values {values}, indices {indices}, dense_shape {}", printable(dense_shape))
            }
            Self::Composite { components } => {
                let parts: Vec<String> = components.iter().map(|part| part.kind.to_string()).collect();
                write!(f, "composite: {}", parts.join(", "))
            }
        }
    }
}

impl fmt::Display for SignatureDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.name))?;
        if !self.method_name.is_empty() {
            write!(f, "  {}", printable(&self.method_name))?;
        }
        let row = |(name, info): &(String, TensorInfo)| {
            [printable(name), info.dtype.to_string(), info.shape.to_string(), info.kind.to_string()]
        };
        let groups = [("inputs", &self.inputs), ("outputs", &self.outputs)];
        let groups = groups.map(|(title, infos)| (title, infos.iter().map(row).collect::<Vec<_>>()));
        let width = |column: usize| {
            let cells = groups.iter().flat_map(|(_, rows)| rows).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let [names, dtypes, shapes] = [0, 1, 2].map(width);
        for (title, rows) in &groups {
            write!(f, "\n  {title}")?;
            if rows.is_empty() {
                write!(f, "  none")?;
            }
            for [name, dtype, shape, kind] in rows {
                write!(f, "\n    {name:names$}  {dtype:dtypes$}  {shape:shapes$}  {kind}")?;
                if *title == "inputs" && self.default_value(name).is_some() {
                    write!(f, "  (has a default)")?;
                }
            }
        }
        Ok(())
    }
}

/// A name out of a file as it may be shown: control characters, which could steer a terminal, spelled out.
pub fn printable(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut shown, character| {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(dtype: DType, sizes: Vec<Option<u64>>, name: &str) -> TensorInfo {
        TensorInfo { dtype, shape: PartialShape::new(sizes), kind: TensorKind::Dense { name: name.into() } }
    }

    #[test]
    fn prints_an_aligned_table() {
        let sparse = TensorInfo {
            dtype: DType::Int64,
            shape: PartialShape::unknown(),
            kind: TensorKind::CooSparse { values: "v:0".into(), indices: "i:0".into(), dense_shape: "s:0".into() },
        };
        let signature = SignatureDef {
            name: "serving_default".into(),
            method_name: "tensorflow/serving/predict".into(),
            inputs: vec![("ids".into(), sparse), ("image".into(), info(DType::Float32, vec![None, Some(8)], "x:0"))],
            outputs: vec![("probabilities".into(), info(DType::Float32, vec![], "\x1b[31mcall:0"))],
            defaults: vec![("image".into(), DefaultValue::Tensor(Tensor::scalar(1.0_f32).unwrap()))],
        };
        let lines = [
            "serving_default  tensorflow/serving/predict",
            "  inputs",
            "    ids            int64    unknown  sparse: values v:0, indices i:0, dense_shape s:0",
            "    image          float32  [-1, 8]  x:0  (has a default)",
            "  outputs",
            "    probabilities  float32  []       \\u{1b}[31mcall:0",
        ];
        assert_eq!(signature.to_string(), lines.join("\n"));
    }
}
