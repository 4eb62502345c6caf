//! Records of TensorFlow Serving, and hostile ones.

use std::fs;

use proptest::prelude::*;
use protobuf::well_known_types::wrappers::Int64Value;
use protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_proto::serving::input::input::Kind as InputKind;
use tf_persist_proto::serving::prediction_log::prediction_log::Log_type;
use tf_persist_proto::tensorflow::{DataType, Example, Feature, TensorProto};
use tf_persist_testing::{copy_folder, root};

use super::tfrecord::write_record;
use super::*;
use crate::dtype::DType;
use crate::saved_model::SavedModel;
use crate::tensor::Tensor;
use crate::tensor::proto::to_proto;

fn parse(log: &pb::PredictionLog) -> Result<Record, String> {
    Record::parse(1, log.write_to_bytes().unwrap())
}

fn spec(signature: &str) -> MessageField<pb::ModelSpec> {
    MessageField::some(pb::ModelSpec { signature_name: signature.into(), name: "m".into(), ..Default::default() })
}

fn predict(signature: &str, inputs: &[(&str, TensorProto)], outputs: &[(&str, TensorProto)]) -> pb::PredictionLog {
    let map = |tensors: &[(&str, TensorProto)]| {
        tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect()
    };
    let request = pb::PredictRequest { model_spec: spec(signature), inputs: map(inputs), ..Default::default() };
    let mut log = pb::PredictLog { request: MessageField::some(request), ..Default::default() };
    if !outputs.is_empty() {
        log.response = MessageField::some(pb::PredictResponse { outputs: map(outputs), ..Default::default() });
    }
    pb::PredictionLog { log_type: Some(Log_type::PredictLog(log)), ..Default::default() }
}

fn floats(values: &[f32]) -> TensorProto {
    to_proto(&Tensor::from_slice(&[values.len()], values).unwrap())
}

#[test]
fn reads_a_request_and_its_response() {
    let mut log = predict("", &[("b", floats(&[2.0])), ("a", floats(&[1.0]))], &[("y", floats(&[3.0]))]);
    log.log_metadata =
        MessageField::some(pb::LogMetadata { saved_model_tags: vec!["serve".into()], ..Default::default() });
    let metadata = log.log_metadata.as_mut().unwrap();
    metadata.model_spec = spec("");
    metadata.model_spec.as_mut().unwrap().set_version(Int64Value { value: 7, ..Default::default() });
    metadata.timestamp_secs = 1_800_000_000;
    let record = parse(&log).unwrap();
    assert_eq!(record.origin, Origin { model: "m".into(), version: Some(7), seconds: Some(1_800_000_000) });
    assert_eq!((record.kind(), record.signature(), record.has_answer()), (Kind::Predict, "serving_default", true));
    assert_eq!(record.tags, ["serve"]);
    let names: Vec<&str> = record.request.inputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(record.answer.unwrap()[0].1.view::<f32>().unwrap(), [3.0]);
    // Plain warm-up files of TensorFlow Serving have no responses.
    let record = parse(&predict("tokens", &[("a", floats(&[1.0]))], &[])).unwrap();
    assert_eq!((record.signature(), record.has_answer()), ("tokens", false));
}

#[test]
fn requests_are_equal_in_every_encoding() {
    let same =
        |a: &pb::PredictionLog, b: &pb::PredictionLog| parse(a).unwrap().request.is_same(&parse(b).unwrap().request);
    let plain = predict("serving_default", &[("a", floats(&[1.0, 1.0]))], &[]);
    let values = TensorProto { tensor_content: Default::default(), float_val: vec![1.0], ..floats(&[1.0, 1.0]) };
    assert!(same(&plain, &predict("", &[("a", values)], &[("y", floats(&[1.0]))])));
    assert!(!same(&plain, &predict("", &[("a", floats(&[1.0, 2.0]))], &[])));
    assert!(!same(&plain, &predict("other", &[("a", floats(&[1.0, 1.0]))], &[])));
}

#[test]
fn examples_are_passed_on_serialized() {
    let example = |value: f32| {
        let mut feature = Feature::new();
        feature.mut_float_list().value.push(value);
        let mut example = Example::new();
        example.features.mut_or_insert_default().feature.insert("x".into(), feature);
        example
    };
    let [one, two] = [1.0, 2.0].map(example);
    let list = pb::ExampleList { examples: vec![one.clone(), two.clone()], ..Default::default() };
    let input = pb::Input { kind: Some(InputKind::ExampleList(list)), ..Default::default() };
    let class = |label: &str, score| pb::Class { label: label.into(), score, ..Default::default() };
    let row = |classes| pb::Classifications { classes, ..Default::default() };
    let rows = vec![row(vec![class("a", 0.7), class("b", 0.3)]), row(vec![class("b", 0.9), class("a", 0.1)])];
    let result = pb::ClassificationResult { classifications: rows, ..Default::default() };
    let log = pb::ClassifyLog {
        request: MessageField::some(pb::ClassificationRequest {
            model_spec: spec("classify"),
            input: MessageField::some(input),
            ..Default::default()
        }),
        response: MessageField::some(pb::ClassificationResponse {
            result: MessageField::some(result),
            ..Default::default()
        }),
        ..Default::default()
    };
    let log = pb::PredictionLog { log_type: Some(Log_type::ClassifyLog(log)), ..Default::default() };
    let record = parse(&log).unwrap();
    assert_eq!((record.kind(), record.signature()), (Kind::Classify, "classify"));
    let (name, inputs) = &record.request.inputs[0];
    assert_eq!((name.as_str(), inputs.shape()), ("inputs", &[2][..]));
    assert_eq!(inputs.strings().unwrap().get(1).unwrap(), two.write_to_bytes().unwrap());
    let answer = record.answer.unwrap();
    assert_eq!(answer[0].1, Tensor::from_strings(&[2, 2], ["a", "b", "b", "a"]).unwrap());
    assert_eq!(answer[1].1.view::<f32>().unwrap(), [0.7, 0.3, 0.9, 0.1]);

    // A context precedes each example.
    let list = pb::ExampleListWithContext {
        examples: vec![one.clone()],
        context: MessageField::some(two.clone()),
        ..Default::default()
    };
    let input = pb::Input { kind: Some(InputKind::ExampleListWithContext(list)), ..Default::default() };
    let regressions = [1.5, 2.5].map(|value| pb::Regression { value, ..Default::default() }).to_vec();
    let result = pb::RegressionResult { regressions, ..Default::default() };
    let log = pb::RegressLog {
        request: MessageField::some(pb::RegressionRequest { input: MessageField::some(input), ..Default::default() }),
        response: MessageField::some(pb::RegressionResponse {
            result: MessageField::some(result),
            ..Default::default()
        }),
        ..Default::default()
    };
    let log = pb::PredictionLog { log_type: Some(Log_type::RegressLog(log)), ..Default::default() };
    let record = parse(&log).unwrap();
    assert_eq!(record.reason_to_skip, None);
    let both = [two, one].map(|example| example.write_to_bytes().unwrap()).concat();
    assert_eq!(record.request.inputs[0].1.strings().unwrap().get(0).unwrap(), both);
    assert_eq!(record.answer.unwrap()[0].1.view::<f32>().unwrap(), [1.5, 2.5]);

    // A server that redacts examples writes the request without them.
    let mut log = log;
    log.mut_regress_log().request.mut_or_insert_default().input.mut_or_insert_default().kind = None;
    assert_eq!(parse(&log).unwrap().reason_to_skip.unwrap(), "its examples were redacted");
}

/// The records of a log in JSON of this model.
fn lines(model: &str, text: &str) -> Vec<Record> {
    let model = SavedModel::open(root().join("models").join(model).join("model")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    fs::write(&path, text).unwrap();
    LoggedRequests::open(&path, &model.meta_graphs()[0]).unwrap().collect::<crate::error::Result<_>>().unwrap()
}

#[test]
fn lines_of_a_log_have_the_results_of_examples() {
    let text = r#"{"api": "classify", "signature_name": "classify", "inputs": {"inputs": [{"b64": "AAE="}, "b"]},
        "results": [[["x", 0.1], ["y", NaN]], [["y", 3.4028235e38], ["x", null]]], "status": "OK"}
        {"api": "regress", "signature_name": "regress", "inputs": {"inputs": ["a"]}, "results": [16777217.0]}
        {"api": "multi_inference", "signature_name": "regress", "inputs": {"inputs": ["a"]}, "results": [[1.0]]}
        {"api": "predict", "signature_name": "regress", "inputs": {"inputs": ["a"]}, "outputs": {"outputs": [2]}}"#;
    let records = lines("tf1_graph", &text.replace(",\n", ","));
    let kinds: Vec<Kind> = records.iter().map(Record::kind).collect();
    assert_eq!(kinds, [Kind::Classify, Kind::Regress, Kind::MultiInference, Kind::Predict]);
    assert_eq!(records[0].request.inputs[0].1.strings().unwrap().get(0), Some(&[0, 1][..]));
    let answer = records[0].answer.as_ref().unwrap();
    assert_eq!(answer[0].1, Tensor::from_strings(&[2, 2], ["x", "y", "y", "x"]).unwrap());
    let scores = answer[1].1.view::<f32>().unwrap();
    assert_eq!((scores[0], scores[2]), (0.1, f32::MAX));
    assert!(scores[1].is_nan() && scores[3].is_nan());
    let answer = records[1].answer.as_ref().unwrap();
    assert_eq!((answer[0].0.as_str(), answer[0].1.view::<f32>().unwrap()), ("outputs", &[16_777_216.0][..]));
    assert!(records[3].has_answer() && records.iter().all(|record| record.reason_to_skip.is_none()));
}

#[test]
fn lines_that_cannot_be_compared_say_why() {
    let text = r#"{"inputs": {"x": [1, 2]}, "status": "DEADLINE_EXCEEDED", "error": "late"}
        {"inputs": {}, "redacted": ["x"], "outputs": {"y": [1]}, "status": "OK"}
        {"inputs": {"x": [[1, 2]]}, "outputs": {"y": []}, "status": "OK"}
        {"inputs": {"x": [[1, 2]]}, "status": 5, "api": null, "redacted": []}"#;
    let reasons: Vec<_> = lines("multi", text).into_iter().map(|record| record.reason_to_skip).collect();
    let expected = [
        Some("it failed when it was logged: DEADLINE_EXCEEDED"),
        Some("its inputs were redacted: `x`"),
        Some("`y` has no elements, and a log in JSON does not have its shape"),
        None,
    ];
    assert_eq!(reasons.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn lines_of_another_version_are_read_as_what_they_are() {
    let text = r#"{"inputs": {"x": ["a"], "more": [true], "big": 1e300}, "outputs": [["b"]]}
        {"inputs": {"x": [1]}, "outputs": {"other": {"real": 1, "imag": 2}, "y": [1]}}
        {"instances": [{"z": 1}], "outputs": {"y": [1]}}
        {"signature_name": "no", "inputs": {"x": [1]}, "outputs": {"y": [1]}}"#;
    let records = lines("half_plus_two", text);
    let dtypes =
        |tensors: &Tensors| -> Vec<_> { tensors.iter().map(|(name, it)| (name.clone(), it.dtype())).collect() };
    let named = |name: &str, dtype| (name.to_owned(), dtype);
    let inputs = [named("big", DType::Float64), named("more", DType::Bool), named("x", DType::String)];
    assert_eq!(dtypes(&records[0].request.inputs), inputs);
    assert_eq!(dtypes(records[0].answer.as_ref().unwrap()), [named("y", DType::String)]);
    let answer = [named("other", DType::Complex128), named("y", DType::Float32)];
    assert_eq!(dtypes(records[1].answer.as_ref().unwrap()), answer);
    let reasons: Vec<_> = records.iter().map(|record| record.reason_to_skip.clone().unwrap_or_default()).collect();
    assert_eq!((reasons[0].as_str(), reasons[1].as_str()), ("", ""));
    assert!(reasons[2].contains("has no input `z`") && reasons[3].contains("has no signature `no`"), "{reasons:?}");
    assert_eq!(records[3].signature(), "no");
}

#[test]
fn responses_consist_of_outputs_as_in_tensorflow_serving() {
    let tensor = |name: &str, tensor: crate::error::Result<Tensor>| (name.to_owned(), tensor.unwrap());
    let column = vec![tensor("outputs", Tensor::from_slice(&[2, 1], &[1.0_f32, 2.0]))];
    let answer = examples::answer(Kind::Regress, column).unwrap();
    assert_eq!(answer[0].1.shape(), [2]);
    let scores = vec![tensor("scores", Tensor::from_slice(&[1, 2], &[0.5_f32, 0.5]))];
    let answer = examples::answer(Kind::Classify, scores).unwrap();
    assert_eq!(answer[0].1, Tensor::from_strings(&[1, 2], ["", ""]).unwrap());
    assert!(examples::answer(Kind::Classify, Vec::new()).unwrap().is_empty());
}

#[test]
fn several_tasks_share_their_examples() {
    let task = |signature: &str, method: &str| pb::InferenceTask {
        model_spec: spec(signature),
        method_name: method.into(),
        ..Default::default()
    };
    let list = pb::ExampleList { examples: vec![Example::new(), Example::new()], ..Default::default() };
    let request = pb::MultiInferenceRequest {
        tasks: vec![task("a", "tensorflow/serving/regress"), task("", "other")],
        input: MessageField::some(pb::Input { kind: Some(InputKind::ExampleList(list)), ..Default::default() }),
        ..Default::default()
    };
    let log = pb::MultiInferenceLog { request: MessageField::some(request), ..Default::default() };
    let mut log = pb::PredictionLog { log_type: Some(Log_type::MultiInferenceLog(log)), ..Default::default() };
    let record = parse(&log).unwrap();
    assert_eq!((record.kind(), record.signature(), record.has_answer()), (Kind::MultiInference, "a", false));
    let asked: Vec<_> = record.tasks().map(|(_, signature, method)| (signature, method)).collect();
    assert_eq!(asked, [("a", "tensorflow/serving/regress"), ("", "other")]);
    assert_eq!(record.request.inputs[0].1.shape(), [2]);

    let Some(Log_type::MultiInferenceLog(multi)) = &mut log.log_type else { unreachable!() };
    multi.request.mut_or_insert_default().tasks = vec![task("a", "b"); 1001];
    assert!(parse(&log).unwrap_err().contains("more than 1000 tasks"));
}

#[test]
fn other_kinds_are_named_and_not_checked() {
    let kinds = [
        (Log_type::SessionRunLog(Default::default()), Kind::SessionRun),
        (Log_type::PredictStreamedLog(Default::default()), Kind::PredictStreamed),
    ];
    for (log, kind) in kinds {
        let log = pb::PredictionLog { log_type: Some(log), ..Default::default() };
        assert_eq!(parse(&log).unwrap().kind(), kind);
    }
    assert_eq!(Record::parse(1, Vec::new()).unwrap().kind(), Kind::Unknown);
}

#[test]
fn invalid_records_are_refused() {
    let refusal = |log: &pb::PredictionLog| parse(log).unwrap_err();
    assert!(Record::parse(1, b"no protobuf".to_vec()).is_err());
    let huge = TensorProto { float_val: vec![1.0], tensor_content: Default::default(), ..floats(&[]) };
    let mut huge = huge;
    huge.tensor_shape.mut_or_insert_default().dim[0].size = 1 << 40;
    assert!(refusal(&predict("", &[("x", huge)], &[])).contains("its input `x`: "));
    let resource = TensorProto { dtype: DataType::DT_RESOURCE.into(), ..floats(&[]) };
    assert!(refusal(&predict("", &[], &[("y", resource)])).contains("its output `y`: "));
    let mut odd = floats(&[1.0]);
    odd.tensor_content = b"abc".as_slice().into();
    assert!(refusal(&predict("", &[("x", odd)], &[])).contains("3 were given"));
    // Twelve tensors of 100 MB in a few hundred bytes.
    let filled = |index: usize| {
        let mut tensor = TensorProto { float_val: vec![1.0], tensor_content: Default::default(), ..floats(&[]) };
        tensor.tensor_shape.mut_or_insert_default().dim[0].size = 25 << 20;
        (["a", "b", "c", "d", "e"][index], tensor)
    };
    let many: Vec<_> = (0..5).map(filled).collect();
    assert!(refusal(&predict("", &many, &[])).contains("its limit is then"));
    let shape = TensorProto { tensor_shape: MessageField::some(Default::default()), ..floats(&[]) };
    let mut shape = shape;
    shape.tensor_shape.mut_or_insert_default().dim = vec![Default::default(); 40_000];
    assert!(refusal(&predict("", &[("x", shape)], &[])).contains("its rank is above TensorFlow's limit"));
}

#[test]
fn number_of_records_is_limited() {
    let model = tempfile::tempdir().unwrap();
    copy_folder(&root().join("models/half_plus_two/model"), model.path());
    let saved_model = SavedModel::open(model.path()).unwrap();
    assert!(Records::open(&saved_model).unwrap().is_none());
    let mut file = Vec::new();
    (0..=MAX_RECORDS).for_each(|_| write_record(&mut file, b"").unwrap());
    fs::create_dir(model.path().join("assets.extra")).unwrap();
    fs::write(model.path().join(FILE), &file).unwrap();
    let mut records = Records::open(&saved_model).unwrap().unwrap();
    let last = records.by_ref().last().unwrap();
    assert!(last.unwrap_err().to_string().contains("more than 1000 records"));
    assert!(records.next().is_none());
}

#[test]
fn state_writes_are_found_without_running() {
    let written = |model: &str, signature: &str| {
        let model = SavedModel::open(root().join("models").join(model).join("model")).unwrap();
        let meta_graph = model.meta_graphs()[0].clone();
        first_state_write(&model, &meta_graph, meta_graph.signature(signature).unwrap()).map(|(op, _)| op)
    };
    assert_eq!(written("counter", "increment").as_deref(), Some("AssignAddVariableOp"));
    assert_eq!(written("counter", "reset").as_deref(), Some("AssignVariableOp"));
    assert_eq!(written("counter", "value"), None);
    for (model, signature) in [
        ("digits", "serving_default"),
        ("text", "serving_default"),
        ("text", "tokens"),
        ("tf1_graph", "classify"),
        ("two_in_two_out", "serve"),
        ("multi", "shifted"),
        ("bare_table", "serving_default"),
        ("session_only", "weights"),
    ] {
        assert_eq!(written(model, signature), None, "{model}, {signature}");
    }
}

proptest! {
    #[test]
    fn changed_record_is_read_or_refused(at in any::<prop::sample::Index>(), by in 1_u8.., cut in any::<bool>()) {
        let log = predict("s", &[("x", floats(&[1.0, 2.0]))], &[("y", floats(&[3.0]))]);
        let mut bytes = log.write_to_bytes().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if cut {
            bytes.truncate(at);
        }
        let _ = Record::parse(1, bytes);
    }

    #[test]
    fn any_bytes_are_a_record_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::parse(1, bytes);
    }
}
