//! `TF_Status` as a `Result`.

use std::ffi::CStr;

use tensorflow_sys_runtime as tf;

use crate::error::{Code, Error, Result};

/// A status to be handed to a C call and looked at after it.
pub(super) struct Status(*mut tf::TF_Status);

impl Status {
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing, and never returns null.
        Self(unsafe { tf::TF_NewStatus() })
    }

    pub(super) fn raw(&mut self) -> *mut tf::TF_Status {
        self.0
    }

    /// The status as a result. `action` names what was tried, as in "TensorFlow could not …".
    pub(super) fn check(&self, action: impl FnOnce() -> String) -> Result<()> {
        // SAFETY: the status is live. Its code is one of the 17 of the C enum: the set is frozen, being gRPC's.
        let Some(code) = Code::from_number(unsafe { tf::TF_GetCode(self.0) } as u32) else { return Ok(()) };
        // SAFETY: the message is NUL-terminated and lives as long as the status.
        let message = unsafe { CStr::from_ptr(tf::TF_Message(self.0)) }.to_string_lossy().into_owned();
        Err(Error::TensorFlow { action: action(), code, message, hint: None })
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: made by TF_NewStatus, and dropped once.
        unsafe { tf::TF_DeleteStatus(self.0) }
    }
}
