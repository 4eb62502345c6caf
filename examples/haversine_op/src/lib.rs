//! A TensorFlow op in Rust: `Haversine`, the distance in kilometres between points on the Earth.
//!
//! ```text
//! cargo build --release -p haversine-op        # target/release/libhaversine_op.so
//! tf-persist run MODEL --op-library target/release/libhaversine_op.so …
//! tf.load_op_library("target/release/libhaversine_op.so").haversine(start, end)   # in Python
//! ```
//!
//! It is built without TensorFlow, and works with any release that has the kernel API in C (`tensorflow/c/kernels.h`
//! and `tensorflow/c/ops.h`), which is stable between releases, unlike the C++ API. Three files:
//!
//! - `distance.rs` has the arithmetic, without TensorFlow;
//! - `api.rs` has the part of the C API that the op needs, resolved in the process that loads the library;
//! - `lib.rs` describes and registers the op, and has the callback of each run.

// A library for C needs unsafe code. Each block states why it is sound; the workspace's crates have unsafe code only in
// `ffi/`. A block is a sequence of C calls under one argument, so that the example reads like the C API's
// documentation.
#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block)]

mod api;
mod distance;

use std::ffi::{c_int, c_void};
use std::ptr;

use api::{Api, Builder, Context, DOUBLE, INVALID_ARGUMENT, ShapeContext, Status, Tensor};
use distance::kilometres;

/// The dynamic linker runs the functions in `.init_array` when `TF_LoadLibrary` or `tf.load_op_library` opens the
/// library. TensorFlow takes the ops that they register as the library's ops.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static REGISTER: extern "C" fn() = register;

extern "C" fn register() {
    // A process without TensorFlow, such as a unit test of this crate, cannot register ops.
    let Some(api) = Api::get() else { return };
    // An error cannot be reported here: the loader of the library notices that it has no op.
    // SAFETY: as the C API documents it: strings are NUL-terminated, `register_*` takes and frees the builders, and the
    // callbacks have the required types and live as long as the process, since op libraries are never unloaded.
    unsafe {
        let status = (api.new_status)();
        let op = (api.new_op)(c"Haversine".as_ptr());
        (api.op_input)(op, c"start: double".as_ptr());
        (api.op_input)(op, c"end: double".as_ptr());
        (api.op_output)(op, c"kilometres: double".as_ptr());
        (api.op_shape_function)(op, infer_shape);
        (api.register_op)(op, status);
        let kernel: *mut Builder =
            (api.new_kernel)(c"Haversine".as_ptr(), c"CPU".as_ptr(), Some(create), compute, Some(delete));
        (api.register_kernel)(c"Haversine".as_ptr(), kernel, status);
        (api.delete_status)(status);
    }
}

/// Called once for each node of a graph. The op has neither attributes nor state, so this returns null. A kernel with
/// attributes would read them here, and return a `Box::into_raw` for `compute` and `delete`.
unsafe extern "C" fn create(_construction: *mut c_void) -> *mut c_void {
    ptr::null_mut()
}

/// Called when the graph is deleted.
unsafe extern "C" fn delete(_kernel: *mut c_void) {}

/// The shape of the output when a graph is built: `[n, 2]` and `[n, 2]` give `[n]`. It helps the builder of a graph;
/// `compute` checks the shapes again.
unsafe extern "C" fn infer_shape(context: *mut ShapeContext, status: *mut Status) {
    let Some(api) = Api::get() else { return };
    // SAFETY: context and status are live during the call; the handles are made and deleted here.
    unsafe {
        let (points, matrix) = ((api.new_shape)(), (api.new_shape)());
        for input in 0..2 {
            (api.shape_of_input)(context, input, points, status);
            if (api.status_code)(status) == 0 {
                (api.with_rank)(context, points, 2, matrix, status);
            }
        }
        if (api.status_code)(status) == 0 {
            // The output has the first input's shape without its last dimension.
            (api.shape_of_input)(context, 0, points, status);
            (api.subshape)(context, points, 0, 1, matrix, status);
        }
        if (api.status_code)(status) == 0 {
            (api.set_output_shape)(context, 0, matrix, status);
        }
        (api.delete_shape)(points);
        (api.delete_shape)(matrix);
    }
}

/// Called for each run, from any thread, possibly concurrently.
unsafe extern "C" fn compute(_kernel: *mut c_void, context: *mut Context) {
    let Some(api) = Api::get() else { return };
    // A panic must not reach TensorFlow, which is C++: it would end the process.
    let done = std::panic::catch_unwind(|| distances(api, context));
    let refusal = match done {
        Ok(Ok(())) => return,
        Ok(Err(refusal)) => refusal,
        Err(_) => "Haversine panicked".to_owned(),
    };
    let message = std::ffi::CString::new(refusal).unwrap_or_default();
    // SAFETY: the context is live during the call; the status is made and deleted here, its message NUL-terminated.
    unsafe {
        let status = (api.new_status)();
        (api.set_status)(status, INVALID_ARGUMENT, message.as_ptr());
        (api.fail)(context, status);
        (api.delete_status)(status);
    }
}

/// Reads two `[n, 2]` tensors of latitudes and longitudes in degrees, and writes `[n]` kilometres.
fn distances(api: &Api, context: *mut Context) -> Result<(), String> {
    let start = Input::read(api, context, 0, "start")?;
    let end = Input::read(api, context, 1, "end")?;
    if start.points().len() != end.points().len() {
        return Err(format!("`start` has {} points and `end` {}", start.points().len(), end.points().len()));
    }
    let count = start.points().len();
    let dims = [count as i64];
    // SAFETY: context and dims are live; the length is that of a tensor of this shape. The tensor is deleted below,
    // which frees the handle but not the output.
    let (output, code) = unsafe {
        let status = (api.new_status)();
        let output = (api.allocate_output)(context, 0, DOUBLE, dims.as_ptr(), 1, count * size_of::<f64>(), status);
        let code = (api.status_code)(status);
        (api.delete_status)(status);
        (output, code)
    };
    if code != 0 || output.is_null() {
        return Err("there is no memory for the output".into());
    }
    let output = Handle { api, tensor: output };
    if count > 0 {
        // SAFETY: TensorFlow's tensors are aligned for every element type, this one has room for `count`, and nothing
        // else refers to it yet.
        let kilometres_out = unsafe { std::slice::from_raw_parts_mut((api.tensor_data)(output.tensor).cast(), count) };
        for ((start, end), out) in start.points().iter().zip(end.points()).zip(kilometres_out) {
            *out = kilometres(*start, *end);
        }
    }
    Ok(())
}

/// A tensor handle that is deleted on drop.
struct Handle<'a> {
    api: &'a Api,
    tensor: *mut Tensor,
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // SAFETY: live, and deleted once.
        unsafe { (self.api.delete_tensor)(self.tensor) }
    }
}

/// An input of the op.
struct Input<'a>(Handle<'a>);

impl<'a> Input<'a> {
    /// Returns an input, which must be `[n, 2]`. TensorFlow ensures the declared dtype.
    fn read(api: &'a Api, context: *mut Context, index: c_int, name: &str) -> Result<Self, String> {
        let mut tensor = ptr::null_mut();
        // SAFETY: the context is live during the call; the status is made and deleted here.
        let code = unsafe {
            let status = (api.new_status)();
            (api.get_input)(context, index, &raw mut tensor, status);
            let code = (api.status_code)(status);
            (api.delete_status)(status);
            code
        };
        if code != 0 || tensor.is_null() {
            return Err(format!("`{name}` cannot be read"));
        }
        let input = Self(Handle { api, tensor });
        // SAFETY: the tensor is live; its second dimension is read only if it has two.
        let is_points = unsafe { (api.rank)(tensor) == 2 && (api.dim)(tensor, 1) == 2 };
        if is_points {
            Ok(input)
        } else {
            Err(format!("`{name}` must have the shape [n, 2]: latitudes and longitudes"))
        }
    }

    /// The points.
    fn points(&self) -> &[[f64; 2]] {
        let Handle { api, tensor } = &self.0;
        // SAFETY: the tensor is live; it is [n, 2] doubles, row by row, so `n` pairs can be read; none where it is
        // empty, when the pointer may be null.
        unsafe {
            match (api.dim)(*tensor, 0) {
                count @ 1.. => std::slice::from_raw_parts((api.tensor_data)(*tensor).cast(), count as usize),
                _ => &[],
            }
        }
    }
}
