//! Arbitrary bytes as the body of a REST request, for every dtype.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_core::{Code, DType};
use tf_persist_serve::internals::json::{ExamplesBody, PredictBody, predict_response};

fuzz_target!(|data: &[u8]| {
    let _ = ExamplesBody::parse(data);
    let Ok(body) = PredictBody::parse(data) else { return };
    for number in 1..24 {
        let dtype = DType::from_number(number);
        for inputs in [&[("x", dtype)][..], &[("x", dtype), ("y", DType::Float32)]] {
            match body.tensors(inputs, &|_| false) {
                // Tensors that were read can be written, except for scalars in the row format, which no request
                // contains.
                Ok((format, tensors)) => {
                    let empty = tensors.iter().all(|(_, tensor)| tensor.is_empty());
                    let answer = predict_response(format, &tensors);
                    assert!(answer.is_ok() || empty);
                }
                Err(status) => assert!(status.code != Code::Internal, "{status}"),
            }
        }
    }
});
