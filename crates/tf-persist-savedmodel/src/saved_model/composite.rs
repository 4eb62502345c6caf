//! The `TypeSpecProto` of composite tensors, such as ragged ones.

use std::fmt;

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::struct_::structured_value::Kind;
use tf_persist_proto::tensorflow::struct_::type_spec_proto::TypeSpecClass;

use crate::dtype::DType;
use crate::shape::PartialShape;
use crate::tensor::proto::partial_shape;

/// The type of a composite tensor.
///
/// Source: `TypeSpecProto` in `tensorflow/core/protobuf/struct.proto`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CompositeSpec {
    /// The name of its class in Python, such as `RaggedTensorSpec` or `my_module.Masked.Spec`; may be empty.
    pub class: String,
    /// The number of ragged dimensions of a ragged tensor, and of the tensors of row splits that follow its values.
    pub ragged_rank: Option<u64>,
}

/// A ragged tensor's dtype and shape.
pub(super) type Ragged = (DType, PartialShape);

impl CompositeSpec {
    /// Reads the type of a composite tensor, and the dtype and shape of a ragged one.
    pub(super) fn from_proto(spec: &pb::TypeSpecProto) -> (Self, Option<Ragged>) {
        let class = spec.type_spec_class_name.clone();
        if spec.type_spec_class.enum_value() != Ok(TypeSpecClass::RAGGED_TENSOR_SPEC) {
            return (Self { class, ragged_rank: None }, None);
        }
        // `RaggedTensorSpec._serialize`: shape, dtype, ragged rank, dtype of the row splits.
        let state = match &spec.type_state.kind {
            Some(Kind::TupleValue(state)) => state.values.as_slice(),
            _ => &[],
        };
        let kind = |place: usize| state.get(place).and_then(|value| value.kind.as_ref());
        let shape = match kind(0) {
            Some(Kind::TensorShapeValue(shape)) => partial_shape(&MessageField::some(shape.clone())),
            _ => PartialShape::unknown(),
        };
        let dtype = match kind(1) {
            Some(Kind::TensorDtypeValue(dtype)) => DType::from_number(dtype.value()),
            _ => DType::Invalid,
        };
        let rank = match kind(2) {
            Some(Kind::Int64Value(rank)) => u64::try_from(*rank).ok(),
            _ => None,
        };
        (Self { class, ragged_rank: rank.or(Some(1)) }, Some((dtype, shape)))
    }

    /// Whether it is a ragged tensor.
    #[must_use]
    pub fn is_ragged(&self) -> bool {
        self.ragged_rank.is_some()
    }

    /// A description of its components.
    fn parts(&self) -> String {
        match self.ragged_rank {
            Some(1) => "values and row splits".to_owned(),
            Some(rank) => format!("values and {rank} tensors of row splits, the innermost first"),
            None => "its tensors".to_owned(),
        }
    }

    /// `ragged int64, values and row splits`, or `composite my_module.Masked.Spec, its tensors`.
    pub(super) fn of_dtype(&self, dtype: DType) -> impl fmt::Display {
        let what = match (self.is_ragged(), self.class.as_str()) {
            (true, _) => format!("ragged {dtype}"),
            (false, "") => "composite".to_owned(),
            (false, class) => format!("composite {}", crate::error::printable(class)),
        };
        format!("{what}, {}", self.parts())
    }
}
