//! Arbitrary bytes as an infer request of the Open Inference Protocol: as JSON with binary data after it, and as a
//! message of gRPC.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_core::Code;
use tf_persist_serve::internals::decode_infer_message;
use tf_persist_serve::internals::json::v2::{InferAnswer, infer_request, infer_response};

const LIMIT: usize = 64;

fuzz_target!(|data: &[u8]| {
    // A message that cannot be parsed is `INTERNAL` in gRPC.
    let _ = decode_infer_message(data, LIMIT);
    let Some((length, body)) = data.split_first_chunk::<2>() else { return };
    let (json, binary) = body.split_at(usize::from(u16::from_le_bytes(*length)).min(body.len()));
    match infer_request(json, binary, LIMIT) {
        // What was read can be written: in binary always, in JSON unless a string is not UTF-8.
        Ok(body) => {
            assert!(infer_response(&InferAnswer::new("m", 1, body.inputs(), true)).is_ok());
            if let Err(status) = infer_response(&InferAnswer::new("m", 1, body.inputs(), false)) {
                assert!(status.code == Code::InvalidArgument, "{status}");
            }
        }
        Err(status) => assert!(status.code != Code::Internal, "{status}"),
    }
});
