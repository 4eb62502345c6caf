//! Serialized graphs from outside of a model's file.

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::tensorflow as pb;

use super::limits::{MAX_FILE_BYTES, survey, survey_graph};

/// The most bytes of a graph: more do not fit into a `saved_model.pb`.
pub const MAX_GRAPH_BYTES: u64 = MAX_FILE_BYTES;

/// Decodes a `GraphDef` within the limits of a model's file. Constants share the memory of `bytes`.
///
/// # Errors
/// A sentence.
pub fn decode_graph(bytes: &Bytes) -> Result<pb::GraphDef, String> {
    if bytes.len() as u64 > MAX_GRAPH_BYTES {
        return Err(format!("it has {} bytes, and protobuf's limit is {MAX_GRAPH_BYTES}", bytes.len()));
    }
    survey_graph(bytes)?.check_decoding(bytes.len())?;
    tf_persist_proto::parse(bytes).map_err(|error| error.to_string())
}

/// Checks a serialized `SavedModel` against the limits of opening.
///
/// # Errors
/// A sentence.
pub fn check_model(bytes: &[u8]) -> Result<(), String> {
    survey(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::testing::delimited;

    fn refusal(bytes: Vec<u8>) -> String {
        decode_graph(&bytes.into()).unwrap_err()
    }

    #[test]
    fn refuses_what_is_no_graph() {
        assert!(refusal(vec![0x0a, 5]).contains("beyond the end of the data"));
        assert!(refusal(b"\x0a\x03\x0a\x01\xff".to_vec()).contains("not UTF-8"));
        assert!(refusal([0x0a, 0].repeat(1 << 22)).contains("out of all proportion"));
        let mut nested = Vec::new();
        // GraphDef.node.experimental_type.args.args…
        for field in std::iter::repeat_n(2, 200).chain([7, 1]) {
            let mut outer = Vec::new();
            delimited(&mut outer, field, &nested);
            nested = outer;
        }
        assert!(refusal(nested).contains("nested more than 100 deep"));
    }

    #[test]
    fn refuses_more_than_protobuf_takes() {
        // Zeros that are never written are never in memory.
        assert!(refusal(vec![0; MAX_GRAPH_BYTES as usize + 1]).contains("protobuf's limit"));
    }
}
