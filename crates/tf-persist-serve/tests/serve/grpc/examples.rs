//! Classify, Regress and MultiInference, with the models of TensorFlow Serving's own tests and similar ones.

use tf_persist_proto::open_inference;
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_proto::tensorflow::feature::feature::Kind;
use tf_persist_proto::tensorflow::{BytesList, Example, Feature, FloatList};
use tonic::Status;

use super::{INVALID_ARGUMENT, NOT_FOUND, PREDICT, UNIMPLEMENTED};
use crate::common::grpc::{GrpcServer, error, spec};
use crate::common::models::testdata;

const CLASSIFY: &str = "/tensorflow.serving.PredictionService/Classify";
const REGRESS: &str = "/tensorflow.serving.PredictionService/Regress";
const MULTI: &str = "/tensorflow.serving.PredictionService/MultiInference";
const CLASSIFY_METHOD: &str = "tensorflow/serving/classify";
const REGRESS_METHOD: &str = "tensorflow/serving/regress";

/// A server of the models `half`, `examples` and `defaults` of TensorFlow Serving's tests.
async fn start(test: &str, change: impl FnOnce(&mut tf_persist_serve::Settings)) -> Option<GrpcServer> {
    let testdata = testdata(test)?;
    let models = [
        ("half", testdata.join("saved_model_half_plus_two_cpu")),
        ("examples", testdata.join("gen_examples")),
        ("defaults", testdata.join("gen_tf2_defaults")),
    ];
    GrpcServer::start(test, &models, change).await
}

#[tokio::test(flavor = "multi_thread")]
async fn method_names_are_checked_where_enabled() {
    let Some(server) =
        start("method_names_are_checked_where_enabled", |settings| settings.run.check_method_names = true).await
    else {
        return;
    };
    let server = &server;
    let words =
        |what: &str, is: &str| format!("Expected {what} signature method_name to be tensorflow/serving/{is}. Was: ");
    let answer = classify(server, "examples", "regress_default", outputs(&[1.0])).await;
    let expected = words("classification", "classify") + REGRESS_METHOD;
    assert_eq!(error(answer), (INVALID_ARGUMENT, expected));
    let answer = regress(server, "examples", "", outputs(&[1.0])).await;
    let expected = words("regression", "regress") + CLASSIFY_METHOD;
    assert_eq!(error(answer), (INVALID_ARGUMENT, expected.clone()));
    let task = multi(&[("examples", "", REGRESS_METHOD)], outputs(&[1.0]));
    assert_eq!(error(server.call::<_, pb::MultiInferenceResponse>(MULTI, &task).await), (INVALID_ARGUMENT, expected));
    regress(server, "examples", "regress_default", outputs(&[1.0])).await.unwrap();
    classify(server, "examples", "", input(labelled())).await.unwrap();
}

fn example(features: &[(&str, Kind)]) -> Example {
    let mut example = Example::new();
    for (name, kind) in features {
        let feature = Feature { kind: Some(kind.clone()), ..Default::default() };
        example.features.mut_or_insert_default().feature.insert((*name).to_owned(), feature);
    }
    example
}

fn floats(values: &[f32]) -> Kind {
    Kind::FloatList(FloatList { value: values.to_vec(), ..Default::default() })
}

fn texts(values: &[&str]) -> Kind {
    let value = values.iter().map(|text| text.as_bytes().to_vec().into()).collect();
    Kind::BytesList(BytesList { value, ..Default::default() })
}

fn input(examples: Vec<Example>) -> MessageField<pb::Input> {
    let mut input = pb::Input::new();
    input.mut_example_list().examples = examples;
    MessageField::some(input)
}

/// Two examples for the model `examples`: one with two classes, one with one.
fn labelled() -> Vec<Example> {
    vec![
        example(&[("class", texts(&["a", "b"])), ("score", floats(&[0.25, 0.75]))]),
        example(&[("class", texts(&["c"])), ("score", floats(&[1.0]))]),
    ]
}

async fn classify(
    server: &GrpcServer,
    model: &str,
    signature: &str,
    input: MessageField<pb::Input>,
) -> Result<pb::ClassificationResponse, Status> {
    let request = pb::ClassificationRequest { model_spec: spec(model, signature), input, ..Default::default() };
    server.call(CLASSIFY, &request).await
}

async fn regress(
    server: &GrpcServer,
    model: &str,
    signature: &str,
    input: MessageField<pb::Input>,
) -> Result<pb::RegressionResponse, Status> {
    let request = pb::RegressionRequest { model_spec: spec(model, signature), input, ..Default::default() };
    server.call(REGRESS, &request).await
}

fn labels_and_scores(result: &pb::ClassificationResult) -> Vec<Vec<(&str, f32)>> {
    result
        .classifications
        .iter()
        .map(|one| one.classes.iter().map(|class| (class.label.as_str(), class.score)).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn classify_returns_labels_and_scores() {
    let Some(server) = start("classify_returns_labels_and_scores", |_| ()).await else { return };
    let server = &server;
    let answer = classify(server, "examples", "", input(labelled())).await.unwrap();
    assert_eq!(labels_and_scores(&answer.result), [[("a", 0.25), ("b", 0.75)], [("c", 1.0), ("", 0.0)]]);
    let spec = &answer.model_spec;
    assert_eq!(
        (spec.name.as_str(), spec.signature_name.as_str(), spec.version().value),
        ("examples", "serving_default", 1)
    );
    let answer = classify(server, "examples", "classes_only", input(labelled())).await.unwrap();
    assert_eq!(labels_and_scores(&answer.result), [[("a", 0.0), ("b", 0.0)], [("c", 0.0), ("", 0.0)]]);
    let answer = classify(server, "examples", "scores_only", input(labelled())).await.unwrap();
    assert_eq!(labels_and_scores(&answer.result), [[("", 0.25), ("", 0.75)], [("", 1.0), ("", 0.0)]]);
    let answer =
        classify(server, "half", "classify_x_to_y", input(vec![example(&[("x", floats(&[80.0]))])])).await.unwrap();
    assert_eq!(labels_and_scores(&answer.result), [[("", 42.0)]]);
    assert_eq!(answer.model_spec.signature_name, "classify_x_to_y");
    // The context is in each example, and an example's own features win.
    let mut with_context = pb::Input::new();
    let list = with_context.mut_example_list_with_context();
    list.context = MessageField::some(example(&[("score", floats(&[0.5, 0.5]))]));
    list.examples = vec![example(&[("class", texts(&["a", "b"]))]), labelled().remove(0)];
    let answer = classify(server, "examples", "", MessageField::some(with_context)).await.unwrap();
    assert_eq!(labels_and_scores(&answer.result), [[("a", 0.5), ("b", 0.5)], [("a", 0.25), ("b", 0.75)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn classify_errors_have_tensorflow_servings_words() {
    let Some(server) = start("classify_errors_have_tensorflow_servings_words", |_| ()).await else { return };
    let server = &server;
    let refusal = |signature: &'static str| async move {
        error(classify(server, "examples", signature, input(labelled())).await)
    };
    for (signature, message) in [
        ("nope", "No signature was found with the name: nope"),
        ("two_in", "Expected one input Tensor."),
        ("improperly_sized_scores", "Expected Tensor shape: [batch_size num_classes] but got [2,2,1]"),
        ("classes_wrong_batch", "Expected classes output batch size of 2. Got: 3"),
        ("classes_wrong_type", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("scores_wrong_batch", "Expected scores output batch size of 2. Got: 3"),
        ("scores_wrong_type", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("mismatched_class_count", "Tensors class and score should match in dim_size(1). Got 2 vs. 4"),
    ] {
        assert_eq!(refusal(signature).await, (INVALID_ARGUMENT, message.to_owned()), "{signature}");
    }
    let (code, message) = refusal("no_classify_outputs").await;
    assert_eq!(code, INVALID_ARGUMENT);
    let begin = "Expected classification signature outputs to contain at least one of \"classes\" or \"scores\". Signature was: inputs {\n  key: \"inputs\"\n";
    assert!(message.starts_with(begin), "{message}");
    let (code, message) = error(classify(server, "half", "", input(labelled())).await);
    assert_eq!(code, INVALID_ARGUMENT);
    assert!(message.starts_with("No classification inputs found in SignatureDef: inputs {"), "{message}");
    for none in [MessageField::none(), input(Vec::new()), MessageField::some(pb::Input::new())] {
        let answer = classify(server, "examples", "", none).await;
        assert_eq!(error(answer), (INVALID_ARGUMENT, "Input is empty.".to_owned()));
    }
    let answer = server.call::<_, pb::ClassificationResponse>(CLASSIFY, &pb::ClassificationRequest::new()).await;
    assert_eq!(error(answer), (INVALID_ARGUMENT, "Missing ModelSpec".to_owned()));
    // TensorFlow's error for an example that it cannot parse.
    let wrong = input(vec![example(&[("score", texts(&["a"]))])]);
    assert_eq!(error(classify(server, "examples", "", wrong).await).0, INVALID_ARGUMENT);
}

/// Examples for the regressions of the model `examples`.
fn outputs(values: &[f32]) -> MessageField<pb::Input> {
    input(values.iter().map(|value| example(&[("output", floats(&[*value]))])).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn regress_returns_values() {
    let Some(server) = start("regress_returns_values", |_| ()).await else { return };
    let server = &server;
    let read = |answer: &pb::RegressionResponse| -> Vec<f32> {
        answer.result.regressions.iter().map(|regression| regression.value).collect()
    };
    let answer = regress(server, "examples", "regress_default", outputs(&[1.0, 2.0])).await.unwrap();
    assert_eq!(read(&answer), [1.0, 2.0]);
    assert_eq!((answer.model_spec.name.as_str(), answer.model_spec.version().value), ("examples", 1));
    let answer = regress(server, "examples", "regress_plus_one", outputs(&[1.0, 2.0])).await.unwrap();
    assert_eq!(read(&answer), [2.0, 3.0]);
    let answer =
        regress(server, "half", "regress_x_to_y", input(vec![example(&[("x", floats(&[80.0]))])])).await.unwrap();
    assert_eq!(read(&answer), [42.0]);
    let mut with_context = pb::Input::new();
    let list = with_context.mut_example_list_with_context();
    list.context = MessageField::some(example(&[("ctx", floats(&[3.0])), ("y", floats(&[9.0]))]));
    list.examples = vec![Example::new(), example(&[("y", floats(&[4.0]))])];
    let answer = regress(server, "examples", "regress_ctx", MessageField::some(with_context)).await.unwrap();
    assert_eq!(read(&answer), [309.0, 304.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn regress_errors_have_tensorflow_servings_words() {
    let Some(server) = start("regress_errors_have_tensorflow_servings_words", |_| ()).await else { return };
    let server = &server;
    for (signature, message) in [
        ("nope", "No signature was found with the name: nope"),
        ("two_in", "Expected one input Tensor."),
        ("serving_default", "Expected one output Tensor."),
        (
            "regress_improperly_sized",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,1,1]",
        ),
        ("regress_wrong_batch", "Input batch size did not match output batch size: 2 vs. 3"),
        ("regress_wrong_type", "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
    ] {
        let answer = regress(server, "examples", signature, outputs(&[1.0, 2.0])).await;
        assert_eq!(error(answer), (INVALID_ARGUMENT, message.to_owned()), "{signature}");
    }
    let (code, message) = error(regress(server, "examples", "scores_only", outputs(&[1.0])).await);
    assert_eq!(code, INVALID_ARGUMENT);
    assert!(message.starts_with("No regression outputs found in SignatureDef: inputs {"), "{message}");
    let answer = regress(server, "examples", "regress_default", MessageField::none()).await;
    assert_eq!(error(answer), (INVALID_ARGUMENT, "Input is empty.".to_owned()));
}

fn multi(tasks: &[(&str, &str, &str)], input: MessageField<pb::Input>) -> pb::MultiInferenceRequest {
    let task = |(model, signature, method): &(&str, &str, &str)| pb::InferenceTask {
        model_spec: spec(model, signature),
        method_name: (*method).to_owned(),
        ..Default::default()
    };
    pb::MultiInferenceRequest { tasks: tasks.iter().map(task).collect(), input, ..Default::default() }
}

fn x(value: f32) -> MessageField<pb::Input> {
    input(vec![example(&[("x", floats(&[value]))])])
}

#[tokio::test(flavor = "multi_thread")]
async fn multi_inference_runs_every_task() {
    let Some(server) = start("multi_inference_runs_every_task", |_| ()).await else { return };
    let server = &server;
    let tasks = [
        ("half", "regress_x_to_y", REGRESS_METHOD),
        ("half", "classify_x_to_y", CLASSIFY_METHOD),
        ("half", "regress_x_to_y2", REGRESS_METHOD),
    ];
    let answer: pb::MultiInferenceResponse = server.call(MULTI, &multi(&tasks, x(2.0))).await.unwrap();
    let [first, second, third] = &answer.results[..] else { panic!("{answer}") };
    assert_eq!(first.regression_result().regressions[0].value, 3.0);
    assert_eq!(labels_and_scores(second.classification_result()), [[("", 3.0)]]);
    assert_eq!(third.regression_result().regressions[0].value, 4.0);
    assert_eq!(third.model_spec.signature_name, "regress_x_to_y2");
    assert_eq!(first.model_spec.version().value, 123);
}

/// Triton's statistics, over both interfaces.
#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_all_methods_alike() {
    let Some(server) = start("statistics_count_all_methods_alike", |_| ()).await else { return };
    let server = &server;
    let body = "{\"signature_name\": \"classify_x_to_y\", \"examples\": [{\"x\": 2.0}]}";
    for _ in 0..3 {
        assert_eq!(server.server.post("/v1/models/half:classify", body).await.code, 200);
    }
    classify(server, "half", "classify_x_to_y", x(2.0)).await.unwrap();
    regress(server, "half", "regress_x_to_y", x(2.0)).await.unwrap();
    let task = multi(&[("half", "regress_x_to_y", REGRESS_METHOD)], x(2.0));
    let _: pb::MultiInferenceResponse = server.call(MULTI, &task).await.unwrap();
    let refused = multi(&[("half", "none", REGRESS_METHOD)], x(2.0));
    server.call::<_, pb::MultiInferenceResponse>(MULTI, &refused).await.unwrap_err();
    assert_eq!(server.server.post("/v1/models/half:regress", "{").await.code, 400);
    // What runs no model does not count.
    server.server.get("/v1/models/half").await;
    assert_eq!(server.server.get("/v1/models/half/versions/5/metadata").await.code, 404);

    let page: serde_json::Value = serde_json::from_str(&server.server.get("/v2/models/half/stats").await.body).unwrap();
    let found = &page["model_stats"][0];
    assert_eq!((&found["inference_count"], &found["execution_count"]), (&6.into(), &6.into()), "{page}");
    let stats = &found["inference_stats"];
    for (name, count) in [("success", 6), ("fail", 2), ("queue", 6), ("compute_infer", 6), ("compute_output", 6)] {
        assert_eq!(stats[name]["count"], count, "{name}: {page}");
        assert!(stats[name]["ns"].as_u64().unwrap() > 0, "{name}: {page}");
    }
    // The refused MultiInference was decoded.
    assert_eq!(stats["compute_input"]["count"], 7, "{page}");
    let request = open_inference::ModelStatisticsRequest { name: "half".into(), ..Default::default() };
    let path = "/inference.GRPCInferenceService/ModelStatistics";
    let found: open_inference::ModelStatisticsResponse = server.call(path, &request).await.unwrap();
    let stats = &found.model_stats[0].inference_stats;
    assert_eq!((found.model_stats[0].inference_count, stats.success.count, stats.fail.count), (6, 6, 2));
    assert!(stats.fail.ns > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn multi_inference_errors_have_tensorflow_servings_words() {
    let Some(server) = start("multi_inference_errors_have_tensorflow_servings_words", |_| ()).await else { return };
    let server = &server;
    let y = ("half", "regress_x_to_y", REGRESS_METHOD);
    for (tasks, code, message) in [
        (vec![], INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (vec![("", "", "")], INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (vec![("m", "", "")], NOT_FOUND, "Servable not found for request: Latest(m)"),
        (vec![y, ("", "", "")], INVALID_ARGUMENT, "Found ModelSpec with an empty model name."),
        (
            vec![y, ("examples", "", "")],
            INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (vec![y, y], INVALID_ARGUMENT, "Duplicate evaluation of signature: regress_x_to_y"),
        (vec![y, ("half", "z", "")], INVALID_ARGUMENT, "Requested signature not found in model graph: z"),
        (
            vec![y, ("half", "", "tensorflow/serving/predict")],
            UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ] {
        let answer = server.call::<_, pb::MultiInferenceResponse>(MULTI, &multi(&tasks, x(1.0))).await;
        assert_eq!(error(answer), (code, message.to_owned()));
    }
    let answer = server.call::<_, pb::MultiInferenceResponse>(MULTI, &multi(&[y], MessageField::none())).await;
    assert_eq!(error(answer), (INVALID_ARGUMENT, "Input is empty.".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tensor_content_and_default_inputs() {
    let Some(server) = start("tensor_content_and_default_inputs", |settings| settings.grpc.tensor_content = true).await
    else {
        return;
    };
    let server = &server;
    let request = pb::PredictRequest { model_spec: spec("defaults", ""), ..Default::default() };
    let answer: pb::PredictResponse = server.call(PREDICT, &request).await.unwrap();
    let y = &answer.outputs["y"];
    assert_eq!(y.tensor_content[..], 2.0_f32.to_le_bytes());
    assert!(y.float_val.is_empty());
    let mut request = request;
    request.inputs.insert("nope".to_owned(), y.clone());
    let (code, message) = error(server.call::<_, pb::PredictResponse>(PREDICT, &request).await);
    let expected = "Inputs contains invalid name. Used request inputs: , request input: nope";
    assert_eq!((code, message.as_str()), (INVALID_ARGUMENT, expected));
    // Strings are sent as content too.
    let mut request = pb::PredictRequest { model_spec: spec("examples", "classes_only"), ..Default::default() };
    let examples: Vec<_> = labelled().iter().map(|example| example.write_to_bytes().unwrap()).collect();
    let tensor = tf_persist_core::Tensor::from_strings(&[2], &examples).unwrap();
    request.inputs.insert("inputs".to_owned(), tf_persist_core::tensor::proto::to_proto(&tensor));
    let answer: pb::PredictResponse = server.call(PREDICT, &request).await.unwrap();
    assert_eq!(answer.outputs["classes"].tensor_content[..], *b"\x01\x01\x01\x00abc");
}
