//! `TF_Status` as a `Result`.

use std::ffi::CStr;

use tensorflow_sys_runtime as tf;

use super::library::symbols;
use crate::error::{Code, Error, Result};

/// A status for a C call.
pub(super) struct Status(*mut tf::TF_Status);

impl Status {
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing, and never returns null.
        Self(unsafe { (symbols().new_status)() })
    }

    pub(super) fn raw(&mut self) -> *mut tf::TF_Status {
        self.0
    }

    /// Converts the status to a result. `action` completes "TensorFlow could not …".
    pub(super) fn check(&self, action: impl FnOnce() -> String) -> Result<()> {
        // SAFETY: the status is live.
        let Some(code) = Code::from_number(unsafe { (symbols().status_code)(self.0) } as u32) else { return Ok(()) };
        // SAFETY: the status is live.
        let message = unsafe { tf::TF_Message(self.0) };
        // SAFETY: the message is NUL-terminated and lives as long as the status.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
        Err(Error::TensorFlow { action: action(), code, message, hint: None })
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: made by TF_NewStatus, and dropped once.
        unsafe { (symbols().delete_status)(self.0) }
    }
}
