use tf_persist_core::Code;
use tf_persist_proto::open_inference as pb;
use tf_persist_proto::open_inference::grpc_service::infer_parameter::Parameter_choice as Choice;
use tf_persist_proto::open_inference::grpc_service::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use tf_persist_proto::protobuf::{Message, MessageField};

use super::*;

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor { name: name.into(), datatype: datatype.into(), shape: shape.into(), ..Default::default() }
}

fn parameter(choice: Choice) -> pb::InferParameter {
    pb::InferParameter { parameter_choice: Some(choice), ..Default::default() }
}

fn request(inputs: Vec<InferInputTensor>, raw: &[&'static [u8]]) -> pb::ModelInferRequest {
    let raw_input_contents = raw.iter().map(|raw| Bytes::from_static(raw)).collect();
    pb::ModelInferRequest { model_name: "m".into(), inputs, raw_input_contents, ..Default::default() }
}

fn parse(request: &pb::ModelInferRequest) -> Result<ModelInferRequest, Status> {
    ModelInferRequest::parse(&request.write_to_bytes().unwrap().into(), 4)
}

fn decode(request: &pb::ModelInferRequest) -> Result<Vec<(String, Tensor)>, Status> {
    Ok(parse(request)?.decode()?.inputs)
}

fn error(request: &pb::ModelInferRequest) -> String {
    let status = decode(request).unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument, "{status}");
    status.message
}

fn with_contents(datatype: &str, shape: &[i64], contents: pb::InferTensorContents) -> pb::ModelInferRequest {
    request(vec![InferInputTensor { contents: MessageField::some(contents), ..input("x", datatype, shape) }], &[])
}

#[test]
fn whole_request() {
    let mut message = request(
        vec![input("x", "FP32", &[1, 1]), input("s", "BYTES", &[1])],
        &[&[0, 0, 0x80, 0x3f], &[1, 0, 0, 0, b'a']],
    );
    message.model_version = "7".into();
    message.id = "an id".into();
    message.parameters.insert("signature_name".into(), parameter(Choice::StringParam("s".into())));
    message.parameters.insert("timeout".into(), parameter(Choice::Uint64Param(3)));
    message.parameters.insert("priority".into(), parameter(Choice::Uint64Param(u64::MAX)));
    message.parameters.insert("theirs".into(), parameter(Choice::DoubleParam(0.5)));
    let mut output = InferRequestedOutputTensor { name: "y".into(), ..Default::default() };
    output.parameters.insert("classification".into(), parameter(Choice::Int64Param(3)));
    message.outputs.push(output);
    let mut found = parse(&message).unwrap();
    let spec = found.take_spec().unwrap();
    assert_eq!((spec.name.as_str(), spec.version), ("m", crate::models::Version::Number(7)));
    assert_eq!(found.id, "an id");
    assert_eq!(found.parameters.signature.as_deref(), Some("s"));
    assert_eq!(found.parameters.timeout, Some(std::time::Duration::from_micros(3)));
    let request = found.decode().unwrap();
    assert_eq!(request.outputs, [Output { name: "y".into(), binary: None, classes: Some(3) }]);
    assert_eq!(request.inputs[0], ("x".into(), Tensor::from_slice(&[1, 1], &[1.0_f32]).unwrap()));
    assert_eq!(request.inputs[1], ("s".into(), Tensor::from_strings(&[1], ["a"]).unwrap()));
}

#[test]
fn typed_contents() {
    let one = |request: &pb::ModelInferRequest| decode(request).unwrap().remove(0).1;
    let floats = pb::InferTensorContents { fp32_contents: vec![1.5, f32::INFINITY], ..Default::default() };
    assert_eq!(one(&with_contents("FP32", &[2], floats.clone())).view::<f32>().unwrap(), [1.5, f32::INFINITY]);
    let ints = pb::InferTensorContents { int_contents: vec![-128, 127], ..Default::default() };
    assert_eq!(one(&with_contents("INT8", &[2, 1], ints.clone())).view::<i8>().unwrap(), [-128, 127]);
    assert_eq!(one(&with_contents("INT32", &[2], ints.clone())).view::<i32>().unwrap(), [-128, 127]);
    let large = pb::InferTensorContents { uint64_contents: vec![u64::MAX], ..Default::default() };
    assert_eq!(one(&with_contents("UINT64", &[], large)).view::<u64>().unwrap(), [u64::MAX]);
    let bools = pb::InferTensorContents { bool_contents: vec![true, false], ..Default::default() };
    assert_eq!(one(&with_contents("BOOL", &[2], bools)).view::<bool>().unwrap(), [true, false]);
    let doubles = pb::InferTensorContents { fp64_contents: vec![0.1], ..Default::default() };
    assert_eq!(one(&with_contents("FP64", &[1], doubles)).view::<f64>().unwrap(), [0.1]);
    let strings = pb::InferTensorContents { bytes_contents: vec![Bytes::from_static(b"\xff")], ..Default::default() };
    assert_eq!(one(&with_contents("BYTES", &[1], strings)), Tensor::from_strings(&[1], [b"\xff"]).unwrap());
    // No contents are those of a tensor without elements.
    assert_eq!(one(&request(vec![input("x", "INT64", &[0, 2])], &[])), Tensor::zeros(DType::Int64, &[0, 2]).unwrap());

    assert!(error(&with_contents("FP32", &[3], floats.clone())).contains("`contents` has 2 elements"));
    assert!(error(&with_contents("FP64", &[2], floats)).contains("`contents` are not those of FP64"));
    assert!(error(&with_contents("UINT8", &[2], ints.clone())).contains("are not those of UINT8"));
    let large = pb::InferTensorContents { int_contents: vec![128], ..Default::default() };
    assert!(error(&with_contents("INT8", &[1], large)).contains("a number does not fit INT8"));
    assert!(error(&with_contents("FP16", &[2], ints)).contains("FP16 is sent in `raw_input_contents`"));
    assert!(error(&request(vec![input("x", "FP32", &[1 << 40])], &[])).contains("has 0 elements"));
}

#[test]
fn tensors_that_lie_are_refused() {
    let x = || input("x", "FP32", &[1]);
    assert!(error(&request(vec![x()], &[&[0; 3]])).contains("takes 4 bytes, 3 were sent"));
    assert!(error(&request(vec![x(), x()], &[&[0; 4]])).contains("has 1 tensors, and there are 2 inputs"));
    assert!(error(&request(vec![], &[&[0; 4]])).contains("has 1 tensors, and there are 0 inputs"));
    assert!(error(&request(vec![input("x", "FP31", &[1])], &[&[0; 4]])).contains("the datatype FP31 is unknown"));
    assert!(error(&request(vec![input("x", "FP32", &[-1])], &[&[0; 4]])).contains("-1 is not a size"));
    assert!(error(&request(vec![input("x", "FP32", &[1; 255])], &[&[0; 4]])).contains("more than 254 sizes"));
    assert!(error(&request(vec![input("x", "FP32", &[i64::MAX, i64::MAX])], &[&[0; 4]])).contains("63 bits"));
    assert!(error(&request(vec![x(), x(), x(), x(), x()], &[])).contains("more than 4 inputs"));
    let mut shared = x();
    shared.parameters.insert("shared_memory_region".into(), parameter(Choice::StringParam("r".into())));
    assert!(error(&request(vec![shared], &[])).contains("shared memory is not supported"));
    let both = InferInputTensor { contents: MessageField::some(pb::InferTensorContents::new()), ..x() };
    assert!(error(&request(vec![both], &[&[0; 4]])).contains("as well as `raw_input_contents`"));
    let mut unnamed = request(vec![x()], &[&[0; 4]]);
    unnamed.model_name = String::new();
    assert!(parse(&unnamed).unwrap().take_spec().unwrap_err().message.contains("names no model"));
}

#[test]
fn damaged_messages_are_refused() {
    let message = request(vec![input("x", "FP32", &[1])], &[&[0; 4]]).write_to_bytes().unwrap();
    for cut in 1..message.len() {
        // A message that ends between two fields is valid, and has no data for its input.
        let parsed = ModelInferRequest::parse(&Bytes::copy_from_slice(&message[..cut]), 4);
        assert!(parsed.and_then(ModelInferRequest::decode).is_err() || cut < 6, "{cut}");
    }
    // Packed floats of a length that is no multiple of four.
    let contents = [5 << 3 | 2, 9, 1 << 3 | 2, 1, b'x', 2 << 3 | 2, 4, b'F', b'P', b'3'];
    assert!(ModelInferRequest::parse(&Bytes::copy_from_slice(&contents), 4).is_err());
}
