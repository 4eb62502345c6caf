//! Messages of TensorFlow Serving's API: requests read field by field, responses written as bytes.

pub(super) mod request;
pub(super) mod response;
