//! Signatures: the functions that a model offers by name.

use std::fmt;

use tf_persist_proto::tensorflow as pb;

use super::composite::CompositeSpec;
use crate::dtype::DType;
use crate::error::printable;
use crate::shape::PartialShape;
use crate::tensor::proto::{self, partial_shape};
use crate::tensor::{Tensor, json};

/// The name that exporters give a model's main signature (`kDefaultServingSignatureDefKey`).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// Default values may be stored as one value for all elements. All of a model's together may take this much memory.
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
    /// The element type; that of its values, if it is a sparse or a ragged tensor. It is what the graph says, where the
    /// graph says it, and else what the signature declares.
    pub dtype: DType,
    /// The element type that the signature declares. Models are known to declare another one than their graphs take, or
    /// none.
    pub declared_dtype: DType,
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
        /// What it is.
        spec: CompositeSpec,
        /// Its tensors.
        components: Vec<TensorInfo>,
    },
}

impl SignatureDef {
    /// A signature for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn new(name: &str, inputs: Vec<(String, TensorInfo)>, outputs: Vec<(String, TensorInfo)>) -> Self {
        Self { name: name.to_owned(), method_name: String::new(), inputs, outputs, defaults: Vec::new() }
    }

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

    /// Reads a `SignatureDef`. What defaults take in memory is taken from `budget`.
    pub(super) fn from_proto(name: &str, proto: &pb::SignatureDef, budget: &mut usize) -> Self {
        // Maps are sorted by their keys.
        let infos = |map: &std::collections::BTreeMap<String, pb::TensorInfo>| {
            map.iter().map(|(name, info)| (name.clone(), TensorInfo::from_proto(info))).collect()
        };
        let default = |(name, value): (&String, &pb::TensorProto)| {
            let value = match proto::from_proto(value, *budget) {
                Ok(tensor) => {
                    *budget = budget.saturating_sub(tensor.bytes().map_or(0, <[u8]>::len));
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
    /// An input or output for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn new(dtype: DType, shape: PartialShape, kind: TensorKind) -> Self {
        Self { dtype, declared_dtype: dtype, shape, kind }
    }

    /// Whether it is a single float, as far as is known.
    #[doc(hidden)]
    pub fn is_one_float(&self) -> bool {
        let is_one = |sizes: &[Option<u64>]| sizes.iter().all(|size| *size == Some(1));
        self.dtype.is_float() && self.shape.sizes().is_none_or(is_one)
    }

    /// The names of the graph's tensors that it is made of.
    #[must_use]
    pub fn tensor_names(&self) -> Vec<&str> {
        match &self.kind {
            TensorKind::Dense { name } => vec![name],
            TensorKind::CooSparse { values, indices, dense_shape } => vec![values, indices, dense_shape],
            TensorKind::Composite { components, .. } => components.iter().flat_map(Self::tensor_names).collect(),
        }
    }

    pub(super) fn from_proto(proto: &pb::TensorInfo) -> Self {
        use pb::meta_graph::tensor_info::Encoding;

        let declared_dtype = DType::from_number(proto.dtype.value());
        let (mut dtype, mut shape) = (declared_dtype, partial_shape(&proto.tensor_shape));
        let kind = match &proto.encoding {
            Some(Encoding::Name(name)) => TensorKind::Dense { name: name.clone() },
            Some(Encoding::CooSparse(sparse)) => TensorKind::CooSparse {
                values: sparse.values_tensor_name.clone(),
                indices: sparse.indices_tensor_name.clone(),
                dense_shape: sparse.dense_shape_tensor_name.clone(),
            },
            Some(Encoding::CompositeTensor(composite)) => {
                let (spec, ragged) = CompositeSpec::from_proto(&composite.type_spec);
                if let (Some(of_spec), DType::Invalid) = (ragged, dtype) {
                    (dtype, shape) = of_spec;
                }
                TensorKind::Composite { spec, components: composite.components.iter().map(Self::from_proto).collect() }
            }
            // None, or one of a later TensorFlow.
            _ => TensorKind::Dense { name: String::new() },
        };
        Self { dtype, declared_dtype, shape, kind }
    }
}

/// The names under which TensorFlow keeps operations among the signatures (`INIT_OP_SIGNATURE_KEY` and
/// `TRAIN_OP_SIGNATURE_KEY` in `tensorflow/python/saved_model/constants.py`).
const OPERATIONS: [&str; 2] = ["__saved_model_init_op", "__saved_model_train_op"];

/// Whether a `SignatureDef` is an operation that was put among the signatures: it has one of the two reserved names, or
/// none of its outputs names a tensor.
pub(super) fn is_operation(name: &str, signature: &pb::SignatureDef) -> bool {
    OPERATIONS.contains(&name) || !signature.outputs.is_empty() && signature.outputs.values().all(names_an_operation)
}

/// Whether this is the name of an operation and not of a tensor: it has no `:0`, and no dtype (`op_signature_def` in
/// `tensorflow/python/saved_model/signature_def_utils_impl.py` writes it so). TensorFlow's session takes a name with a
/// dtype and without a number for the first output.
fn names_an_operation(info: &pb::TensorInfo) -> bool {
    info.dtype.value() == DType::Invalid.number() && info.has_name() && is_operation_name(info.name())
}

/// Whether a name has no output's number.
pub fn is_operation_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(':')
}

fn find<'a, T>(all: &'a [(String, T)], name: &str) -> Option<&'a T> {
    all.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

impl fmt::Display for TensorKind {
    /// `x:0`, or the names of the tensors with what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense { name } if name.is_empty() => f.write_str("no tensor that is known here"),
            Self::Dense { name } => f.write_str(&printable(name)),
            Self::CooSparse { values, indices, dense_shape } => {
                let (values, indices) = (printable(values), printable(indices));
                write!(f, "sparse: values {values}, indices {indices}, dense_shape {}", printable(dense_shape))
            }
            Self::Composite { components, .. } => {
                let parts: Vec<String> = components.iter().map(|part| part.kind.to_string()).collect();
                write!(f, "composite: {}", parts.join(", "))
            }
        }
    }
}

/// More elements of a default value than this are not shown.
const SHOWN_ELEMENTS: usize = 16;

/// A longer text of a default value is cut.
const SHOWN_CHARACTERS: usize = 80;

impl fmt::Display for DefaultValue {
    /// The value as JSON, if it is short, and else its dtype and shape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tensor = match self {
            Self::Tensor(tensor) => tensor,
            Self::Unreadable(reason) => return write!(f, "that cannot be read: {}", printable(reason)),
        };
        let mut text = Vec::new();
        let is_short = tensor.len() <= SHOWN_ELEMENTS && json::write_value("a default", &mut text, tensor).is_ok();
        let text = String::from_utf8_lossy(&text);
        if !is_short {
            return write!(f, "{} of shape {:?}", tensor.dtype(), tensor.shape());
        }
        let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
        write!(f, "{}{}", printable(&shown), if shown.len() < text.len() { "…" } else { "" })
    }
}

impl TensorInfo {
    /// The dtype as it is shown to people, with that which the signature declares, if it is another one.
    fn shown_dtype(&self) -> String {
        match (self.dtype, self.declared_dtype) {
            (DType::Invalid, _) if matches!(self.kind, TensorKind::Composite { .. }) => "-".into(),
            (DType::Invalid, _) => "unknown".into(),
            (dtype, DType::Invalid) => dtype.to_string(),
            (dtype, declared) if dtype == declared => dtype.to_string(),
            (dtype, declared) => format!("{dtype} (declared {declared})"),
        }
    }

    /// Where it is in the graph, and the names that its parts are given and got by, where it has some.
    fn shown_kind(&self, key: &str) -> String {
        let TensorKind::Composite { spec, .. } = &self.kind else { return self.kind.to_string() };
        let parts = self.parts(key);
        let parts: Vec<String> =
            parts.iter().map(|part| format!("{} {}", printable(&part.name), printable(part.tensor))).collect();
        format!("{}: {}", spec.of_dtype(self.dtype), parts.join(", "))
    }
}

impl fmt::Display for SignatureDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.name))?;
        if !self.method_name.is_empty() {
            write!(f, "  {}", printable(&self.method_name))?;
        }
        let row = |(name, info): &(String, TensorInfo)| {
            [printable(name), info.shown_dtype(), info.shape.to_string(), info.shown_kind(name)]
        };
        let groups = [("inputs", &self.inputs), ("outputs", &self.outputs)];
        let rows = groups.map(|(_, infos)| infos.iter().map(row).collect::<Vec<_>>());
        let width = |column: usize| {
            let cells = rows.iter().flatten().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let [names, dtypes, shapes] = [0, 1, 2].map(width);
        for ((title, infos), rows) in groups.iter().zip(&rows) {
            write!(f, "\n  {title}")?;
            match (rows.is_empty(), *title) {
                (true, "outputs") => write!(f, "  none, so a session cannot run it")?,
                (true, _) => write!(f, "  none")?,
                _ => {}
            }
            for ((key, _), [name, dtype, shape, kind]) in infos.iter().zip(rows) {
                write!(f, "\n    {name:names$}  {dtype:dtypes$}  {shape:shapes$}  {kind}")?;
                if let (Some(default), "inputs") = (self.default_value(key), *title) {
                    write!(f, "  (default {default})")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(dtype: DType, sizes: Vec<Option<u64>>, name: &str) -> TensorInfo {
        let kind = TensorKind::Dense { name: name.into() };
        TensorInfo { dtype, declared_dtype: dtype, shape: PartialShape::new(sizes), kind }
    }

    fn proto(outputs: Vec<(&str, pb::TensorInfo)>) -> pb::SignatureDef {
        let outputs = outputs.into_iter().map(|(key, info)| (key.to_owned(), info)).collect();
        pb::SignatureDef { outputs, ..Default::default() }
    }

    fn named(name: &str, dtype: pb::DataType) -> pb::TensorInfo {
        let mut info = pb::TensorInfo { dtype: dtype.into(), ..Default::default() };
        info.set_name(name.into());
        info
    }

    #[test]
    fn an_operation_is_what_names_no_tensor() {
        use pb::DataType::{DT_FLOAT, DT_INVALID};
        let mut ragged = pb::TensorInfo::new();
        let parts = [("y:0", DT_FLOAT), ("y:1", DT_FLOAT)].map(|(name, dtype)| named(name, dtype));
        ragged.mut_composite_tensor().components.extend(parts);
        let mut sparse = pb::TensorInfo::new();
        sparse.mut_coo_sparse().values_tensor_name = "y:0".into();
        let train_op = || proto(vec![("op", named("train", DT_INVALID))]);
        assert!(is_operation("init", &train_op()));
        let signatures = [
            proto(vec![("y", ragged)]),
            proto(vec![("y", sparse)]),
            proto(vec![("y", named("y:0", DT_INVALID))]),
            proto(vec![("y", named("y", DT_FLOAT))]),
            proto(vec![("y", named("y:0", DT_FLOAT)), ("op", named("train", DT_INVALID))]),
            // One of a later TensorFlow names its tensor in a way that is not known here.
            proto(vec![("y", pb::TensorInfo::new())]),
            proto(vec![]),
        ];
        for signature in &signatures {
            assert!(!is_operation("s", signature), "{signature}");
            assert!(OPERATIONS.iter().all(|name| is_operation(name, signature)));
        }
    }

    #[test]
    fn prints_an_aligned_table() {
        let sparse = TensorInfo {
            dtype: DType::Int64,
            declared_dtype: DType::Int64,
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
            "    image          float32  [-1, 8]  x:0  (default 1.0)",
            "  outputs",
            "    probabilities  float32  []       \\u{1b}[31mcall:0",
        ];
        assert_eq!(signature.to_string(), lines.join("\n"));
    }
}
