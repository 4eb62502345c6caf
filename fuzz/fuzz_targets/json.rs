//! Arbitrary bytes as a request and as a value, for every dtype.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_core::DType;
use tf_persist_core::tensor::json::{ExtraInputs, Request, read_value};

fuzz_target!(|data: &[u8]| {
    for number in 1..24 {
        let dtype = DType::from_number(number);
        let _ = read_value("fuzz", data, dtype);
        let Ok(request) = Request::parse("fuzz", data) else { continue };
        let _ = request.tensors("s", &[("x", dtype)], ExtraInputs::Refuse);
        let _ = request.tensors("s", &[("x", dtype), ("y", DType::Float32)], ExtraInputs::Ignore);
    }
});
