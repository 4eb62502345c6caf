//! Libraries of further ops.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::slice;

use tensorflow_sys_runtime as tf;

use super::library::Library;
use super::status::Status;
use crate::error::{Error, Result};

/// Loads an op library into the process, for good, and gives the serialized `OpList` of what it registered. The same path
/// twice is fine.
pub(crate) fn load_op_library(_open: &Library, path: &Path) -> Result<Vec<u8>> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::data(path.display().to_string(), "a path cannot hold a NUL"))?;
    let mut status = Status::new();
    // SAFETY: runs the library's initialisers, which is what the user asked for; the name is NUL-terminated.
    let handle = unsafe { tf::TF_LoadLibrary(name.as_ptr(), status.raw()) };
    status.check(|| format!("load the op library `{}`", path.display()))?;
    // SAFETY: the list belongs to the handle, which is never deleted; it is copied here.
    unsafe {
        let list = tf::TF_GetOpList(handle);
        Ok(if list.length == 0 { Vec::new() } else { slice::from_raw_parts(list.data.cast(), list.length).to_vec() })
    }
}
