//! The answer to an infer request. Tensors are always in `raw_output_contents`, which all clients read.

use bytes::Bytes;
use tf_persist_core::Tensor;
use tf_persist_core::tensor::serialized::{put_head, put_varint, varint_len};

use super::super::framing::frame_message;
use super::super::messages::response::delimited_len;
use crate::status::Status;
use crate::v2::{encode, encoded_len};

/// `ModelInferResponse`, as a message with its prefix. The elements of tensors are copied once.
pub(super) fn infer(model: &str, version: i64, id: &str, outputs: &[(String, Tensor)]) -> Result<Bytes, Status> {
    let version = version.to_string();
    let texts = [(1, model), (2, version.as_str()), (3, id)];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let mut length: usize = texts.clone().map(|(_, text)| delimited_len(text.len())).sum();
    let mut entries = Vec::with_capacity(outputs.len());
    for (name, tensor) in outputs {
        let (bytes, datatype) = encoded_len(name, tensor)?;
        let shape: usize = tensor.shape().iter().map(|size| varint_len(*size as u64)).sum();
        let entry = delimited_len(name.len())
            + delimited_len(datatype.len())
            + if tensor.shape().is_empty() { 0 } else { delimited_len(shape) };
        length += delimited_len(entry) + delimited_len(bytes);
        entries.push((name, tensor, datatype, shape, entry, bytes));
    }
    frame_message(length, |out| {
        for (number, text) in texts {
            put_text(number, text, out);
        }
        for (name, tensor, datatype, shape, entry, _) in &entries {
            put_head(5, *entry, out);
            put_text(1, name, out);
            put_text(2, datatype, out);
            if !tensor.shape().is_empty() {
                put_head(3, *shape, out);
                tensor.shape().iter().for_each(|size| put_varint(*size as u64, out));
            }
        }
        for (_, tensor, .., bytes) in &entries {
            put_head(6, *bytes, out);
            encode(tensor, out);
        }
    })
}

fn put_text(number: u32, text: &str, out: &mut Vec<u8>) {
    put_head(number, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use tf_persist_core::DType;
    use tf_persist_proto::open_inference as pb;

    use super::super::super::framing::PREFIX_BYTES;
    use super::*;

    #[test]
    fn answer_parses_back() {
        let outputs: Vec<(String, Tensor)> = [
            ("y", Tensor::from_slice(&[2, 1], &[1.5_f32, -0.0]).unwrap()),
            ("s", Tensor::from_strings(&[], ["ä"]).unwrap()),
            ("none", Tensor::zeros(DType::Int64, &[0, 300]).unwrap()),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into();
        let bytes = infer("m", 12, "an id", &outputs).unwrap();
        let length = u32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
        assert_eq!(bytes[1..PREFIX_BYTES], length.to_be_bytes());
        let found: pb::ModelInferResponse = tf_persist_proto::parse(&bytes.slice(PREFIX_BYTES..)).unwrap();
        assert_eq!((found.model_name.as_str(), found.model_version.as_str(), found.id.as_str()), ("m", "12", "an id"));
        let heads: Vec<_> =
            found.outputs.iter().map(|it| (it.name.as_str(), it.datatype.as_str(), &it.shape[..])).collect();
        assert_eq!(heads, [("y", "FP32", &[2, 1][..]), ("s", "BYTES", &[]), ("none", "INT64", &[0, 300])]);
        assert_eq!(found.raw_output_contents[0][..], [0, 0, 0xc0, 0x3f, 0, 0, 0, 0x80]);
        assert_eq!(found.raw_output_contents[1][..], [2, 0, 0, 0, 0xc3, 0xa4]);
        assert!(found.raw_output_contents[2].is_empty());
        let empty = infer("", 1, "", &[]).unwrap();
        assert_eq!(empty[PREFIX_BYTES..], [2 << 3 | 2, 1, b'1']);
    }
}
