//! Predict: tensors, errors, compression.

use tf_persist_core::Tensor;
use tf_persist_core::tensor::proto::{from_proto, to_proto};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::serving as pb;
use tf_persist_proto::tensorflow::TensorProto;
use tonic::codec::CompressionEncoding;

use super::{INVALID_ARGUMENT, NOT_FOUND, PREDICT, half_plus_two};
use crate::common::grpc::{error, spec};

const FAILED_PRECONDITION: i32 = 9;

/// A request to the model `half`, whose input `x` is a list of floats.
fn request(inputs: &[(&str, TensorProto)]) -> pb::PredictRequest {
    let inputs = inputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    pb::PredictRequest { model_spec: spec("half", ""), inputs, ..Default::default() }
}

fn floats(values: &[f32]) -> TensorProto {
    to_proto(&Tensor::from_slice(&[values.len()], values).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_as_content_and_as_fields() {
    let Some((server, _folder)) = half_plus_two("tensors_as_content_and_as_fields").await else { return };
    let content = floats(&[2.0, -4.0]);
    let fields = TensorProto { float_val: vec![2.0, -4.0], tensor_content: Default::default(), ..content.clone() };
    for tensor in [content, fields] {
        let answer: pb::PredictResponse = server.call(PREDICT, &request(&[("x", tensor)])).await.unwrap();
        assert_eq!(answer.outputs["y"].float_val, [3.0, 0.0]);
        assert!(answer.outputs["y"].tensor_content.is_empty());
        let spec = &answer.model_spec;
        assert_eq!(
            (spec.name.as_str(), spec.signature_name.as_str(), spec.version().value),
            ("half", "serving_default", 7)
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_tensorflow_servings_words() {
    let Some((server, _folder)) = half_plus_two("errors_have_tensorflow_servings_words").await else { return };
    let x = || ("x", floats(&[1.0]));
    let refusal =
        async |request: pb::PredictRequest| error(server.call::<_, pb::PredictResponse>(PREDICT, &request).await);
    let check = async |request: pb::PredictRequest, code: i32, message: &'static str| {
        assert_eq!(refusal(request).await, (code, message.to_owned()));
    };
    check(pb::PredictRequest::new(), INVALID_ARGUMENT, "Missing ModelSpec").await;
    let named =
        |name: &str, signature: &str| pb::PredictRequest { model_spec: spec(name, signature), ..request(&[x()]) };
    check(named("", ""), INVALID_ARGUMENT, "ModelSpec has no name specified.").await;
    check(named("m", ""), NOT_FOUND, "Servable not found for request: Latest(m)").await;
    check(named("half", "s"), FAILED_PRECONDITION, "Serving signature key \"s\" not found.").await;
    check(
        request(&[]),
        INVALID_ARGUMENT,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )
    .await;
    check(
        request(&[x(), ("a", floats(&[])), ("b", floats(&[]))]),
        INVALID_ARGUMENT,
        "input size does not match signature: 3!=1 len({a,b,x}) != len({x}). Sent extra: {a,b}. Missing but required: {}.",
    )
    .await;
    check(
        request(&[("a", floats(&[]))]),
        INVALID_ARGUMENT,
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided. Inputs \
         expected to be in the request {a}, or default input alias set: ",
    )
    .await;
    let int = to_proto(&Tensor::from_slice(&[1], &[1_i32]).unwrap());
    check(request(&[("x", int)]), INVALID_ARGUMENT, "Expects arg[0] to be float but int32 is provided").await;
    let short = TensorProto { tensor_content: vec![0; 3].into(), ..floats(&[1.0]) };
    check(request(&[("x", short)]), INVALID_ARGUMENT, "tensor parsing error: x").await;
    let mut huge = TensorProto { tensor_content: Default::default(), float_val: vec![1.0], ..floats(&[1.0]) };
    huge.tensor_shape.mut_or_insert_default().dim[0].size = 1 << 40;
    check(request(&[("x", huge)]), INVALID_ARGUMENT, "tensor parsing error: x").await;
    let filter = |names: &[&str]| pb::PredictRequest {
        output_filter: names.iter().map(|&name| name.to_owned()).collect(),
        ..request(&[x()])
    };
    check(
        filter(&["z"]),
        INVALID_ARGUMENT,
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    )
    .await;
    check(filter(&["y", "y"]), INVALID_ARGUMENT, "duplicate output tensor alias: y").await;
    let (_, long) = refusal(filter(&[&"q".repeat(3000)])).await;
    assert!(long.len() == 1024 + "...TRUNCATED".len() && long.ends_with("qqq...TRUNCATED"), "{long}");
    let answer: pb::PredictResponse = server.call(PREDICT, &filter(&["y"])).await.unwrap();
    assert_eq!(answer.outputs["y"].float_val, [2.5]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_and_large_messages() {
    let Some((server, _folder)) = half_plus_two("compressed_and_large_messages").await else { return };
    for count in [3, 4 << 20] {
        let message = request(&[("x", floats(&vec![2.0; count]))]).write_to_bytes().unwrap();
        for compressed in [None, Some(CompressionEncoding::Gzip)] {
            let answer = server.raw(PREDICT, message.clone(), compressed).await.unwrap();
            let answer: pb::PredictResponse = tf_persist_proto::parse(&answer).unwrap();
            let y = from_proto(&answer.outputs["y"], 0).unwrap();
            assert_eq!(y.shape(), [count]);
            assert!(y.view::<f32>().unwrap().iter().all(|y| *y == 3.0));
        }
    }
    server.stop().await;
}
