//! The part of TensorFlow's C API that an op needs (`tensorflow/c/ops.h`, `kernels.h`, `tf_tensor.h`, `tf_status.h`).
//!
//! TensorFlow is already in the process when an op library is loaded, so nothing is linked or opened: the library is
//! found by the name that it was loaded under, with `RTLD_NOLOAD`.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Dtype numbers and status codes are plain integers here: a Rust enum must not hold an unknown number.
pub(crate) const DOUBLE: c_int = 2;
pub(crate) const INVALID_ARGUMENT: c_int = 3;

/// `RTLD_NOLOAD`: finds only libraries that are already open. libloading does not define it, since not every system has
/// it.
const RTLD_NOLOAD: c_int = if cfg!(target_os = "macos") { 0x10 } else { 0x4 };

/// The names of the library with the kernel API: in Python's wheels and in the C tarballs, on Linux and macOS.
const NAMES: [&str; 4] = [
    "libtensorflow_framework.so.2",
    "libtensorflow_framework.2.dylib",
    "@rpath/libtensorflow_framework.2.dylib",
    "libtensorflow.so.2",
];

macro_rules! opaque {
    ($($name:ident)+) => { $(
        /// A type of TensorFlow, used only behind a pointer.
        #[repr(C)]
        pub(crate) struct $name([u8; 0]);
    )+ };
}

opaque! { Builder Context OpBuilder Shape ShapeContext Status Tensor }

/// `create` of a kernel.
pub(crate) type Create = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
/// `compute` of a kernel.
pub(crate) type Compute = unsafe extern "C" fn(*mut c_void, *mut Context);
/// `delete` of a kernel.
pub(crate) type Delete = unsafe extern "C" fn(*mut c_void);
/// The shape function of an op.
pub(crate) type InferShape = unsafe extern "C" fn(*mut ShapeContext, *mut Status);

macro_rules! api {
    ($($field:ident: $symbol:literal = fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        /// The functions, by shorter names.
        pub(crate) struct Api { $(pub(crate) $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+ }

        impl Api {
            fn find(library: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of the headers, with enums as the integers that they are in C.
                unsafe { Ok(Self { $($field: *library.get($symbol)?,)+ }) }
            }
        }
    };
}

api! {
    new_status: "TF_NewStatus" = fn() -> *mut Status;
    delete_status: "TF_DeleteStatus" = fn(*mut Status);
    status_code: "TF_GetCode" = fn(*const Status) -> c_int;
    set_status: "TF_SetStatus" = fn(*mut Status, c_int, *const c_char);

    new_op: "TF_NewOpDefinitionBuilder" = fn(*const c_char) -> *mut OpBuilder;
    op_input: "TF_OpDefinitionBuilderAddInput" = fn(*mut OpBuilder, *const c_char);
    op_output: "TF_OpDefinitionBuilderAddOutput" = fn(*mut OpBuilder, *const c_char);
    op_shape_function: "TF_OpDefinitionBuilderSetShapeInferenceFunction" = fn(*mut OpBuilder, InferShape);
    register_op: "TF_RegisterOpDefinition" = fn(*mut OpBuilder, *mut Status);

    new_shape: "TF_NewShapeHandle" = fn() -> *mut Shape;
    delete_shape: "TF_DeleteShapeHandle" = fn(*mut Shape);
    shape_of_input: "TF_ShapeInferenceContextGetInput" = fn(*mut ShapeContext, c_int, *mut Shape, *mut Status);
    with_rank: "TF_ShapeInferenceContextWithRank" = fn(*mut ShapeContext, *mut Shape, i64, *mut Shape, *mut Status);
    subshape: "TF_ShapeInferenceContextSubshape" = fn(*mut ShapeContext, *mut Shape, i64, i64, *mut Shape, *mut Status);
    set_output_shape: "TF_ShapeInferenceContextSetOutput" = fn(*mut ShapeContext, c_int, *mut Shape, *mut Status);

    new_kernel: "TF_NewKernelBuilder" =
        fn(*const c_char, *const c_char, Option<Create>, Compute, Option<Delete>) -> *mut Builder;
    register_kernel: "TF_RegisterKernelBuilder" = fn(*const c_char, *mut Builder, *mut Status);
    get_input: "TF_GetInput" = fn(*mut Context, c_int, *mut *mut Tensor, *mut Status);
    allocate_output: "TF_AllocateOutput" =
        fn(*mut Context, c_int, c_int, *const i64, c_int, usize, *mut Status) -> *mut Tensor;
    fail: "TF_OpKernelContext_Failure" = fn(*mut Context, *mut Status);

    rank: "TF_NumDims" = fn(*const Tensor) -> c_int;
    dim: "TF_Dim" = fn(*const Tensor, c_int) -> i64;
    tensor_data: "TF_TensorData" = fn(*const Tensor) -> *mut c_void;
    delete_tensor: "TF_DeleteTensor" = fn(*mut Tensor);
}

impl Api {
    /// The functions; `None` in a process without TensorFlow, or if its release has no kernel API in C.
    pub(crate) fn get() -> Option<&'static Self> {
        static API: OnceLock<Option<Api>> = OnceLock::new();
        API.get_or_init(|| NAMES.iter().find_map(|name| Self::of(name))).as_ref()
    }

    fn of(name: &str) -> Option<Self> {
        // SAFETY: runs no initialisers, because it finds only open libraries.
        let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) }.ok()?;
        let api = Self::find(&library).ok();
        // The functions must stay valid; TensorFlow cannot be unloaded anyway.
        std::mem::forget(library);
        api
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_tensorflow_has_none() {
        assert!(Api::get().is_none());
    }
}
