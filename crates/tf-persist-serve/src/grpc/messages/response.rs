//! Responses, encoded as messages with their prefixes.

use bytes::Bytes;
use tf_persist_core::Code;
use tf_persist_core::tensor::serialized::{Form, encode, encoded_len, put_head, put_varint, varint_len};
use tf_persist_proto::protobuf::well_known_types::wrappers::Int64Value;
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;

use super::super::framing::frame_message;
use crate::batching::InferenceResponse;
use crate::inference::Class;
use crate::status::Status;

/// Encodes a message of the protobuf crate.
pub(in crate::grpc) fn message(message: &impl Message) -> Result<Bytes, Status> {
    let bytes = message.write_to_bytes().map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    frame_message(bytes.len(), |out| out.extend_from_slice(&bytes))
}

/// The model, version and signature that answered (`MakeModelSpec`).
pub(in crate::grpc) fn model_spec(name: &str, version: i64, signature: &str) -> pb::ModelSpec {
    let mut spec = pb::ModelSpec { name: name.into(), signature_name: signature.into(), ..Default::default() };
    spec.set_version(Int64Value { value: version, ..Default::default() });
    spec
}

/// `PredictResponse`. The elements of tensors are copied once.
pub(in crate::grpc) fn predict(
    answer: &InferenceResponse,
    form: Form,
    name: &str,
    version: i64,
    signature: &str,
) -> Result<Bytes, Status> {
    let spec = model_spec(name, version, signature).write_to_bytes();
    let spec = spec.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    let entries: Vec<_> = answer
        .iter()
        .map(|(name, tensor)| {
            let length = encoded_len(tensor, form);
            (name, tensor, length, delimited_len(name.len()) + delimited_len(length))
        })
        .collect();
    let outputs: usize = entries.iter().map(|(.., entry)| delimited_len(*entry)).sum();
    frame_message(outputs + delimited_len(spec.len()), |out| {
        for (name, tensor, length, entry) in entries {
            put_head(1, entry, out);
            put_head(1, name.len(), out);
            out.extend_from_slice(name.as_bytes());
            put_head(2, length, out);
            encode(tensor, form, out);
        }
        put_head(2, spec.len(), out);
        out.extend_from_slice(&spec);
    })
}

pub(in crate::grpc) fn classifications(results: Vec<Vec<Class>>) -> pb::ClassificationResult {
    // A `string` must be UTF-8: clients refuse messages with other bytes.
    let label = |label: Vec<u8>| {
        String::from_utf8(label).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    };
    let class = |class: Class| pb::Class { label: label(class.label), score: class.score, ..Default::default() };
    let classes = |classes: Vec<Class>| pb::Classifications {
        classes: classes.into_iter().map(class).collect(),
        ..Default::default()
    };
    pb::ClassificationResult { classifications: results.into_iter().map(classes).collect(), ..Default::default() }
}

pub(in crate::grpc) fn regressions(results: Vec<f32>) -> pb::RegressionResult {
    let regression = |value| pb::Regression { value, ..Default::default() };
    pb::RegressionResult { regressions: results.into_iter().map(regression).collect(), ..Default::default() }
}

/// `ClassificationResponse`.
pub(in crate::grpc) fn classify(results: Vec<Vec<Class>>, spec: pb::ModelSpec) -> Result<Bytes, Status> {
    message(&pb::ClassificationResponse {
        result: MessageField::some(classifications(results)),
        model_spec: MessageField::some(spec),
        ..Default::default()
    })
}

/// `RegressionResponse`.
pub(in crate::grpc) fn regress(results: Vec<f32>, spec: pb::ModelSpec) -> Result<Bytes, Status> {
    message(&pb::RegressionResponse {
        result: MessageField::some(regressions(results)),
        model_spec: MessageField::some(spec),
        ..Default::default()
    })
}

/// A message with one enum field, for gRPC's health service.
pub(in crate::grpc) fn enum_message(number: u8) -> Bytes {
    let mut out = vec![0, 0, 0, 0, 2];
    put_varint(1 << 3, &mut out);
    put_varint(u64::from(number), &mut out);
    out.into()
}

/// The length of a field with this many bytes.
pub(in crate::grpc) fn delimited_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

#[cfg(test)]
mod tests {
    use tf_persist_core::Tensor;
    use tf_persist_core::tensor::proto::from_proto;

    use super::super::super::framing::PREFIX_BYTES;
    use super::*;

    #[test]
    fn predict_response_parses_back() {
        let tensors =
            [Tensor::from_slice(&[2, 1], &[1.5_f32, -0.0]).unwrap(), Tensor::from_strings(&[1], ["ä"]).unwrap()];
        let answer: InferenceResponse = ["y", "a"].into_iter().map(str::to_owned).zip(tensors.clone()).collect();
        for form in [Form::Fields, Form::Content] {
            let bytes = predict(&answer, form, "m", 0, "serving_default").unwrap();
            assert_eq!(
                bytes[..PREFIX_BYTES],
                [&[0], &u32::try_from(bytes.len() - PREFIX_BYTES).unwrap().to_be_bytes()[..]].concat()
            );
            let response: pb::PredictResponse = tf_persist_proto::parse(&bytes.slice(PREFIX_BYTES..)).unwrap();
            assert_eq!(*response.model_spec, model_spec("m", 0, "serving_default"));
            assert!(response.model_spec.has_version());
            assert_eq!(from_proto(&response.outputs["y"], 0).unwrap(), tensors[0]);
            assert_eq!(from_proto(&response.outputs["a"], 0).unwrap(), tensors[1]);
            assert_eq!(response.outputs["y"].tensor_content.is_empty(), form == Form::Fields);
        }
    }

    #[test]
    fn labels_that_are_not_utf8_are_replaced() {
        let result = classifications(vec![vec![Class { label: vec![b'a', 0xff], score: 0.5 }], vec![]]);
        assert_eq!(result.classifications[0].classes[0].label, "a\u{fffd}");
        assert_eq!(result.classifications.len(), 2);
    }
}
