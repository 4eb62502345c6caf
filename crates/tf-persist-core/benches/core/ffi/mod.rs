//! What `Signature::run` is measured against: the same session options and tensors, and nothing but `TF_SessionRun`.

// A block is a sequence of C calls, as in a C program.
#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block)]

use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr;

use tensorflow_sys_runtime as tf;
use tf_persist_core::runtime::Runtime;

/// The model `half_plus_two` in a session, with its input made once.
pub(crate) struct BareSession {
    session: *mut tf::TF_Session,
    input: *mut tf::TF_Tensor,
    feed: tf::TF_Output,
    fetch: tf::TF_Output,
    status: *mut tf::TF_Status,
}

impl BareSession {
    pub(crate) fn load(path: &Path, inter_op_threads: i32) -> Self {
        Runtime::open().unwrap();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // `ConfigProto.inter_op_parallelism_threads`, field 5, as a varint of 64 bits.
        let mut config = vec![5 << 3];
        let mut value = i64::from(inter_op_threads).cast_unsigned();
        while value >= 0x80 {
            config.push(value as u8 | 0x80);
            value >>= 7;
        }
        config.push(value as u8);
        // SAFETY: as in TensorFlow's own C examples; a benchmark of one model that is known to have these ops.
        unsafe {
            let status = tf::TF_NewStatus();
            let options = tf::TF_NewSessionOptions();
            tf::TF_SetConfig(options, config.as_ptr().cast(), config.len(), status);
            let graph = tf::TF_NewGraph();
            let tags = [c"serve".as_ptr()];
            let session = tf::TF_LoadSessionFromSavedModel(
                options,
                ptr::null(),
                path.as_ptr(),
                tags.as_ptr(),
                1,
                graph,
                ptr::null_mut(),
                status,
            );
            check(status);
            let output =
                |name: &CStr| tf::TF_Output { oper: tf::TF_GraphOperationByName(graph, name.as_ptr()), index: 0 };
            let input = tf::TF_AllocateTensor(tf::TF_FLOAT, [3_i64].as_ptr(), 1, 12);
            tf::TF_TensorData(input).cast::<[f32; 3]>().write([1.0, 2.0, 3.0]);
            let (feed, fetch) = (output(c"serving_default_x"), output(c"StatefulPartitionedCall"));
            assert!(!feed.oper.is_null() && !fetch.oper.is_null());
            Self { session, input, feed, fetch, status }
        }
    }

    pub(crate) fn run(&self) {
        let mut output = ptr::null_mut();
        // SAFETY: everything is live, and arrays are of length one.
        unsafe {
            tf::TF_SessionRun(
                self.session,
                ptr::null(),
                &self.feed,
                &self.input,
                1,
                &self.fetch,
                &mut output,
                1,
                ptr::null(),
                0 as c_int,
                ptr::null_mut(),
                self.status,
            );
            check(self.status);
            tf::TF_DeleteTensor(output);
        }
    }
}

/// # Safety
/// `status` is live.
unsafe fn check(status: *const tf::TF_Status) {
    // SAFETY: the caller's promise.
    unsafe {
        assert_eq!(tf::TF_GetCode(status), tf::TF_OK, "{:?}", CStr::from_ptr(tf::TF_Message(status)));
    }
}
