//! Any bytes as the body of a REST request, for every dtype.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_core::{Code, DType};
use tf_persist_serve::rest::json::{ExamplesBody, PredictBody, predict_answer};

fuzz_target!(|data: &[u8]| {
    let _ = ExamplesBody::parse(data);
    let Ok(body) = PredictBody::parse(data) else { return };
    for number in 1..24 {
        let dtype = DType::from_number(number);
        for inputs in [&[("x", dtype)][..], &[("x", dtype), ("y", DType::Float32)]] {
            match body.tensors(inputs) {
                // What is read can be written, unless it is a scalar in the row form, which no request makes.
                Ok((form, tensors)) => {
                    let empty = tensors.iter().all(|(_, tensor)| tensor.is_empty());
                    let answer = predict_answer(form, &tensors);
                    assert!(answer.is_ok() || empty);
                }
                Err(status) => assert!(status.code != Code::Internal, "{status}"),
            }
        }
    }
});
