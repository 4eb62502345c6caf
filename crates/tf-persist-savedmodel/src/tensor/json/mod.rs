//! The JSON forms of TensorFlow Serving's REST interface: requests in, answers out.
//!
//! A request is `{"inputs": …}`, the column form, with whole tensors by input name (or one bare tensor, if the
//! signature has one input), or `{"instances": […]}`, the row form, with one item a row of the batch. It may name its
//! `signature_name`. Other keys are ignored. The rules are those of TensorFlow Serving's
//! <https://www.tensorflow.org/tfx/serving/api_rest> and its `util/json_tensor.cc`, with the exceptions below.
//!
//! | dtype | JSON |
//! |---|---|
//! | floats | any number in range, also `NaN`, `Infinity` and `-Infinity` |
//! | integers, quantised ones as their raw number | an integer in range, written without `.` and `e` |
//! | `bool` | `true`, `false` |
//! | `string` | text, or `{"b64": "…"}` for bytes (standard alphabet, padding or none) |
//! | complex | `{"real": r, "imag": i}` |
//!
//! Unlike TensorFlow Serving, this reads and writes half, bfloat16, uint16, quantised and complex tensors (a server can
//! refuse them with [`is_served_by_tensorflow_serving`]); checks the range of all numbers (in TensorFlow Serving, too
//! large a float becomes infinite); refuses bytes after the request, duplicate keys, and, by default, unknown inputs;
//! does not accept `Inf` for `Infinity`; and refuses nesting deeper than 200, which no tensor has.

mod cell;
mod decode;
mod examples;
mod inputs;
mod misfit;
mod plain;
mod read;
mod shape_builder;
mod write;

pub use examples::{FeatureKind, ReadExamples, read_examples};
pub(crate) use read::not_json;
pub use read::{ExtraInputs, Form, Request, read_value, without_byte_order_mark};
pub use write::{Layout, write_lines, write_outputs, write_value};

use crate::dtype::DType;

/// Whether TensorFlow Serving's REST interface reads and writes tensors of this dtype.
#[must_use]
pub fn is_served_by_tensorflow_serving(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::Float32
            | DType::Float64
            | DType::Int8
            | DType::Int16
            | DType::Int32
            | DType::Int64
            | DType::UInt8
            | DType::UInt32
            | DType::UInt64
            | DType::Bool
            | DType::String
    )
}

#[cfg(test)]
mod tests;
