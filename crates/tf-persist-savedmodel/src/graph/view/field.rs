//! The field numbers of graph messages. No other module knows them.
//!
//! Source: `tensorflow/core/framework/{graph,node_def,function,op_def,attr_value,tensor,tensor_shape,versions}.proto`
//! and `tensorflow/core/protobuf/meta_graph.proto`.

pub(crate) mod meta_graph {
    pub(crate) const GRAPH_DEF: u32 = 2;
}

pub(crate) mod graph {
    pub(crate) const NODE: u32 = 1;
    pub(crate) const LIBRARY: u32 = 2;
    pub(crate) const VERSIONS: u32 = 4;
}

/// `VersionDef`.
pub(crate) mod versions {
    pub(crate) const PRODUCER: u32 = 1;
}

/// `FunctionDefLibrary`.
pub(crate) mod library {
    pub(crate) const FUNCTION: u32 = 1;
    pub(crate) const GRADIENT: u32 = 2;
    pub(crate) const REGISTERED_GRADIENTS: u32 = 3;
}

/// `GradientDef`.
pub(crate) mod gradient {
    pub(crate) const FUNCTION_NAME: u32 = 1;
    pub(crate) const GRADIENT_FUNC: u32 = 2;
}

/// `RegisteredGradient`.
pub(crate) mod registered_gradient {
    pub(crate) const GRADIENT_FUNC: u32 = 1;
    pub(crate) const REGISTERED_OP_TYPE: u32 = 2;
}

pub(crate) mod function {
    pub(crate) const SIGNATURE: u32 = 1;
    pub(crate) const NODE_DEF: u32 = 3;
    pub(crate) const RET: u32 = 4;
    pub(crate) const ATTR: u32 = 5;
    pub(crate) const CONTROL_RET: u32 = 6;
}

pub(crate) mod op_def {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const INPUT_ARG: u32 = 2;
    pub(crate) const OUTPUT_ARG: u32 = 3;
}

/// `OpDef.ArgDef`.
pub(crate) mod arg_def {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const TYPE: u32 = 3;
    pub(crate) const TYPE_ATTR: u32 = 4;
    pub(crate) const NUMBER_ATTR: u32 = 5;
    pub(crate) const TYPE_LIST_ATTR: u32 = 6;
    pub(crate) const IS_REF: u32 = 16;
}

pub(crate) mod node {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const OP: u32 = 2;
    pub(crate) const INPUT: u32 = 3;
    pub(crate) const DEVICE: u32 = 4;
    pub(crate) const ATTR: u32 = 5;
}

/// An entry of a map.
pub(crate) mod entry {
    pub(crate) const KEY: u32 = 1;
    pub(crate) const VALUE: u32 = 2;
}

/// The members of `AttrValue.value`.
pub(crate) mod attr {
    pub(crate) const LIST: u32 = 1;
    pub(crate) const S: u32 = 2;
    pub(crate) const I: u32 = 3;
    pub(crate) const F: u32 = 4;
    pub(crate) const B: u32 = 5;
    pub(crate) const TYPE: u32 = 6;
    pub(crate) const SHAPE: u32 = 7;
    pub(crate) const TENSOR: u32 = 8;
    pub(crate) const PLACEHOLDER: u32 = 9;
    pub(crate) const FUNC: u32 = 10;
}

/// `AttrValue.ListValue`.
pub(crate) mod list {
    pub(crate) const S: u32 = 2;
    pub(crate) const I: u32 = 3;
    pub(crate) const F: u32 = 4;
    pub(crate) const B: u32 = 5;
    pub(crate) const TYPE: u32 = 6;
    pub(crate) const SHAPE: u32 = 7;
    pub(crate) const TENSOR: u32 = 8;
    pub(crate) const FUNC: u32 = 9;
}

/// `NameAttrList`.
pub(crate) mod func {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const ATTR: u32 = 2;
}

pub(crate) mod tensor {
    pub(crate) const DTYPE: u32 = 1;
    pub(crate) const TENSOR_SHAPE: u32 = 2;
    pub(crate) const TENSOR_CONTENT: u32 = 4;
    pub(crate) const STRING_VAL: u32 = 8;
}

/// `TensorShapeProto`.
pub(crate) mod shape {
    pub(crate) const DIM: u32 = 2;
    pub(crate) const UNKNOWN_RANK: u32 = 3;
}

/// `TensorShapeProto.Dim`.
pub(crate) mod dim {
    pub(crate) const SIZE: u32 = 1;
}
