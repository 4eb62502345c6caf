//! Attributes of nodes.

use tf_persist_savedmodel::{DType, Tensor};

use super::Shape;

/// The value of an attribute.
#[derive(Debug, Clone)]
pub(crate) enum Attr {
    Type(DType),
    Types(Vec<DType>),
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Floats(Vec<f32>),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Shape(Shape),
    Shapes(Vec<Shape>),
    Tensor(Tensor),
    /// The name of a function.
    Function(String),
}

/// The attributes of a node. Those with their default are left out.
pub(crate) type Attrs = Vec<(&'static str, Attr)>;

impl From<DType> for Attr {
    fn from(dtype: DType) -> Self {
        Self::Type(dtype)
    }
}

impl From<i64> for Attr {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f32> for Attr {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Attr {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Attr {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Vec<i64>> for Attr {
    fn from(values: Vec<i64>) -> Self {
        Self::Ints(values)
    }
}
