//! Op libraries, and the ops and kernels of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::slice;

use tensorflow_sys_runtime as tf;
use tf_persist_proto::wire::fields;

use super::float_mode::keeping_mode;
use super::library::Library;
use super::status::Status;
use crate::error::{Error, Result};

/// Loads an op library, for the rest of the process, and returns the serialized `OpList` of its ops. The same path may
/// be loaded twice.
pub(crate) fn load_op_library(_open: &Library, path: &Path) -> Result<Vec<u8>> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::data(path.display().to_string(), "a path cannot hold a NUL"))?;
    let mut status = Status::new();
    // SAFETY: runs the library's initialisers, which is what the user asked for; the name is NUL-terminated.
    let handle = keeping_mode(|| unsafe { tf::TF_LoadLibrary(name.as_ptr(), status.raw()) });
    status.check(|| format!("load the op library `{}`", path.display()))?;
    // SAFETY: the handle is live.
    let list = unsafe { tf::TF_GetOpList(handle) };
    // SAFETY: the list belongs to the handle, which is never deleted.
    Ok(unsafe { copied(&list) })
}

/// Whether the open libtensorflow, or a library that it needs, has a function with this name.
pub(crate) fn has_function(_open: &Library, libtensorflow: &Path, name: &str) -> bool {
    // SAFETY: the file is open, so no initialiser runs.
    let library = unsafe { libloading::Library::new(libtensorflow) };
    // SAFETY: the function is not called.
    library.is_ok_and(|library| unsafe { library.get::<unsafe extern "C" fn()>(name) }.is_ok())
}

/// All ops of this process, those of loaded op libraries included, with the names of their attributes.
pub(crate) fn all_ops(_open: &Library) -> BTreeMap<String, BTreeSet<String>> {
    // SAFETY: takes nothing.
    let list = unsafe { tf::TF_GetAllOpList() };
    // SAFETY: a serialized `OpList`, which the caller deletes.
    let list = unsafe { taken(list) };
    let ops = fields(&list).filter(|(field, _)| *field == 1).filter_map(|(_, op)| op.bytes());
    // `OpDef.name` is field 1, `OpDef.attr` field 4, and `AttrDef.name` field 1.
    let name = |message| fields(message).find(|(field, _)| *field == 1).map_or("", |(_, name)| name.text()).to_owned();
    let attributes = |op| fields(op).filter(|(field, _)| *field == 4).filter_map(|(_, attribute)| attribute.bytes());
    ops.map(|op| (name(op), attributes(op).map(name).collect())).collect()
}

/// Whether a kernel of an op is registered twice. TensorFlow accepts it, and then refuses to run the op.
pub(crate) fn has_doubled_kernels(_open: &Library, op: &str) -> bool {
    let Ok(name) = CString::new(op) else { return false };
    let mut status = Status::new();
    // SAFETY: the name is NUL-terminated.
    let list = unsafe { tf::TF_GetRegisteredKernelsForOp(name.as_ptr().cast::<c_char>(), status.raw()) };
    // SAFETY: a serialized `KernelList`, which the caller deletes, or null with an error.
    let list = unsafe { taken(list) };
    let mut seen = BTreeSet::new();
    let mut kernels = fields(&list).filter(|(field, _)| *field == 1).filter_map(|(_, kernel)| kernel.bytes());
    kernels.any(|kernel| !seen.insert(kernel))
}

/// The bytes of a buffer.
///
/// # Safety
/// The buffer's data must be readable for its length, or null.
unsafe fn copied(buffer: &tf::TF_Buffer) -> Vec<u8> {
    if buffer.length == 0 || buffer.data.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller says.
    unsafe { slice::from_raw_parts(buffer.data.cast(), buffer.length).to_vec() }
}

/// Takes the bytes of a buffer and deletes it; empty if it is null.
///
/// # Safety
/// The buffer must be null, or live and ours.
unsafe fn taken(buffer: *mut tf::TF_Buffer) -> Vec<u8> {
    if buffer.is_null() {
        return Vec::new();
    }
    // SAFETY: live, as the caller promises.
    let contents = unsafe { &*buffer };
    // SAFETY: a live buffer's data are readable for its length.
    let bytes = unsafe { copied(contents) };
    // SAFETY: live, and deleted once.
    unsafe { tf::TF_DeleteBuffer(buffer) };
    bytes
}
