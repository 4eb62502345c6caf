use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_proto::tensorflow::{Example, TensorProto};

use super::*;

const MOST: usize = 10;

fn spec(name: &str) -> pb::ModelSpec {
    pb::ModelSpec { name: name.into(), signature_name: "s".into(), ..Default::default() }
}

fn bytes(message: &impl Message) -> Bytes {
    message.write_to_bytes().unwrap().into()
}

#[test]
fn predict_request_is_parsed() {
    let mut request = pb::PredictRequest { model_spec: MessageField::some(spec("m")), ..Default::default() };
    request.inputs.insert("x".into(), TensorProto { float_val: vec![1.0], ..Default::default() });
    request.inputs.insert("y".into(), TensorProto::new());
    request.output_filter = vec!["a".into(), "b".into()];
    let read = PredictRequest::parse(&bytes(&request), MOST).unwrap();
    assert_eq!(read.spec, Some(ModelSpec { name: "m".into(), version: Version::Latest, signature: "s".into() }));
    assert_eq!(read.inputs["x"], bytes(&request.inputs["x"]));
    assert_eq!(read.inputs["y"], "");
    assert_eq!(read.output_filter, ["a", "b"]);
    let none = PredictRequest::parse(&Bytes::new(), MOST).unwrap();
    assert!(none.spec.is_none() && none.inputs.is_empty() && none.output_filter.is_empty());
}

#[test]
fn last_of_version_and_label_counts() {
    let read = |message: &[u8]| {
        let mut spec = None;
        ModelSpec::merge(&mut spec, message).unwrap();
        spec.unwrap().version
    };
    assert_eq!(read(&[2 << 3 | 2, 2, 8, 7]), Version::Number(7));
    assert_eq!(read(&[2 << 3 | 2, 0]), Version::Number(0));
    assert_eq!(read(&[2 << 3 | 2, 2, 8, 7, 4 << 3 | 2, 1, b'l']), Version::Label("l".into()));
    assert_eq!(read(&[4 << 3 | 2, 1, b'l', 2 << 3 | 2, 2, 8, 7]), Version::Number(7));
}

#[test]
fn examples_keep_their_bytes() {
    let example = |name: &str| {
        let mut example = Example::new();
        example.features.mut_or_insert_default().feature.insert(name.into(), Default::default());
        example
    };
    let mut request = pb::ClassificationRequest { model_spec: MessageField::some(spec("m")), ..Default::default() };
    let input = request.input.mut_or_insert_default();
    input.mut_example_list().examples = vec![example("a"), example("b")];
    let read = ExamplesRequest::parse(&bytes(&request)).unwrap();
    let plain: Vec<_> = [example("a"), example("b")].iter().map(bytes).collect();
    assert_eq!(read.input.examples().unwrap(), plain.iter().collect());
    let list = request.input.mut_or_insert_default().mut_example_list_with_context();
    list.examples = vec![example("a"), example("b")];
    list.context = MessageField::some(example("c"));
    let read = ExamplesRequest::parse(&bytes(&request)).unwrap();
    let joined = plain.iter().map(|own| [bytes(&example("c")).to_vec(), own.to_vec()].concat());
    assert_eq!(read.input.examples().unwrap(), joined.collect());
    // The last kind of input counts.
    let mut both = bytes(&request).to_vec();
    both.extend([2 << 3 | 2, 4, 1 << 3 | 2, 2, 1 << 3 | 2, 0]);
    assert_eq!(ExamplesRequest::parse(&both).unwrap().input.examples().unwrap(), Strings::empty(1));
}

#[test]
fn context_takes_bounded_memory() {
    // 1 MB of context for 1,000 empty examples.
    let mut input =
        Input { kind: Some(InputKind::WithContext), examples: Strings::empty(1000), context: vec![0; 1 << 20] };
    let code = |input: Input| input.examples().map_err(|status| status.code);
    assert_eq!(code(std::mem::take(&mut input)), Err(Code::ResourceExhausted));
}

#[test]
fn tasks_are_parsed() {
    let task = |name: &str, method: &str| pb::InferenceTask {
        model_spec: MessageField::some(spec(name)),
        method_name: method.into(),
        ..Default::default()
    };
    let request = pb::MultiInferenceRequest { tasks: vec![task("m", "a"), task("n", "b")], ..Default::default() };
    let read = MultiInferenceRequest::parse(&bytes(&request), 2).unwrap();
    assert_eq!(read.spec.unwrap().name, "m");
    assert_eq!(read.tasks[1], Task { model: "n".into(), signature: "s".into(), method: "b".into() });
    let refused = MultiInferenceRequest::parse(&bytes(&request), 1).unwrap_err();
    assert_eq!(refused, Status::invalid_argument("the request has more than 1 tasks"));
}

#[test]
fn malformed_requests_are_refused() {
    let code = |message: &'static [u8]| PredictRequest::parse(&Bytes::from_static(message), MOST).unwrap_err().code;
    assert_eq!(code(b"\xff\xff\xff\xff"), Code::Internal);
    assert_eq!(code(b"\x0a\x05a"), Code::Internal);
    // A name that is not UTF-8.
    assert_eq!(code(b"\x0a\x03\x0a\x01\xff"), Code::Internal);
    assert_eq!(code(b"\x1a\x01\xff"), Code::Internal);
    let many = [0x12, 0].repeat(MOST + 1);
    assert_eq!(PredictRequest::parse(&many.into(), MOST).unwrap_err().code, Code::InvalidArgument);
    let many = [0x1a, 0].repeat(MOST + 1);
    assert_eq!(PredictRequest::parse(&many.into(), MOST).unwrap_err().code, Code::InvalidArgument);
}
