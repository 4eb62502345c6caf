//! Warm-up requests that a model contains.

use std::fs;
use std::path::Path;

use tf_persist_core::Code;
use tf_persist_core::warmup::{FILE, tfrecord};
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_proto::tensorflow::tensor_shape::tensor_shape_proto::Dim;
use tf_persist_proto::tensorflow::{DataType, Example, Feature, FloatList, TensorProto, TensorShapeProto};
use tf_persist_serve::internals::State::{Available, End};
use tf_persist_serve::internals::Version;
use tf_persist_testing::copy_folder;

use crate::common::models::{has_tensorflow, testdata};
use crate::models::{Base, error, start, wait_for};

#[test]
fn warmup_requests_are_run_or_refused() {
    if !has_tensorflow("warmup_requests_are_run_or_refused") {
        return;
    }
    let base = Base::new();
    base.put(1, |_| {});
    let models = &start(&base);
    wait_for(models, &[(1, Available)]);
    let input = models.find("m", &Version::Latest).unwrap();
    let signature = input.model().default_signature().unwrap();
    let name = signature.inputs().next().unwrap().0.to_owned();
    let good = predict(&name);
    let expect = |version: i64, records: &[Vec<u8>], refused: Option<(Code, &str)>| {
        base.put(version, with(records));
        let Some((code, text)) = refused else { return wait_for(models, &[(version, Available)]) };
        wait_for(models, &[(version, End)]);
        let error = error(models, version);
        assert!(error.code == code && error.message.contains(text), "{error}");
    };
    expect(10, std::slice::from_ref(&good), None);
    expect(11, &vec![good.clone(); 1000], None);
    expect(
        12,
        &vec![good.clone(); 1001],
        Some((Code::InvalidArgument, "Number of warmup records exceeds the maximum (1000)")),
    );
    expect(
        13,
        &[good.clone(), b"\xff\xff\xff".to_vec()],
        Some((Code::InvalidArgument, "Failed to parse warmup record")),
    );
    expect(14, &[predict("no_such_input")], Some((Code::InvalidArgument, "no_such_input")));
    expect(
        15,
        &[log(|log| log.mut_session_run_log().request = MessageField::some(Default::default()))],
        Some((Code::Unimplemented, "Unsupported log_type for warmup: 5")),
    );
    expect(
        16,
        &[log(|log| log.mut_predict_streamed_log().request.push(Default::default()))],
        Some((Code::Unimplemented, "Unsupported log_type for warmup: 7")),
    );
    // The model has no signature for examples.
    let classify = log(|log| {
        let request = log.mut_classify_log().request.mut_or_insert_default();
        request.input = MessageField::some(examples());
    });
    expect(17, &[classify], Some((Code::InvalidArgument, "warm-up record 1")));
    expect(18, &[multi(&[("predict", "")])], Some((Code::Unimplemented, "Unsupported signature method_name")));
    expect(19, &[multi(&[("regress", "")])], Some((Code::InvalidArgument, "warm-up record 1")));
    base.put(20, |path| {
        with(&[good])(path);
        let file = fs::read(path.join(FILE)).unwrap();
        fs::write(path.join(FILE), &file[..file.len() - 1]).unwrap();
    });
    wait_for(models, &[(20, End)]);
    assert_eq!(error(models, 20).code, Code::DataLoss);
    assert!(error(models, 20).message.contains("Please verify your warmup data is in TFRecord format"));
    // An empty record is skipped.
    expect(21, &[Vec::new()], None);
}

#[test]
fn warmup_requests_with_examples_are_run_or_refused() {
    let test = "warmup_requests_with_examples_are_run_or_refused";
    let Some(testdata) = testdata(test).filter(|_| has_tensorflow(test)) else { return };
    let model = testdata.join("saved_model_half_plus_two_cpu/00000123");
    let base = Base::new();
    let models = &start(&base);
    let expect = |version: i64, record: Vec<u8>, refused: Option<&str>| {
        base.put(version, |path| {
            fs::remove_dir_all(path).unwrap();
            copy_folder(&model, path);
            with(&[record])(path);
        });
        let Some(text) = refused else { return wait_for(models, &[(version, Available)]) };
        wait_for(models, &[(version, End)]);
        assert!(error(models, version).message.contains(text), "{}", error(models, version));
    };
    let (classify, regress) = (("classify", "classify_x_to_y"), ("regress", "regress_x_to_y"));
    expect(30, multi(&[classify, regress]), None);
    expect(31, multi(&[regress, regress]), Some("Duplicate evaluation of signature: regress_x_to_y"));
    expect(32, multi(&[("regress", "classify_x_to_y")]), Some("No regression outputs found in SignatureDef: inputs {"));
    expect(33, multi(&[("regress", "nothing")]), Some("Requested signature not found in model graph: nothing"));
    let regress = |input: pb::Input| {
        log(|log| {
            let request = log.mut_regress_log().request.mut_or_insert_default();
            request.model_spec.mut_or_insert_default().signature_name = "regress_x_to_y".into();
            request.input = MessageField::some(input);
        })
    };
    expect(34, regress(examples()), None);
    expect(35, regress(pb::Input::new()), Some("Input is empty."));
    let classify = |signature: &str| {
        log(|log| {
            let request = log.mut_classify_log().request.mut_or_insert_default();
            request.model_spec.mut_or_insert_default().signature_name = signature.into();
            request.input = MessageField::some(examples());
        })
    };
    expect(36, classify("nothing"), Some("No signature was found with the name: nothing"));
    expect(
        37,
        classify("regress_x_to_y"),
        Some("Expected classification signature outputs to contain at least one of"),
    );
    expect(38, classify("classify_x_to_y"), None);
}

/// Writes warm-up requests into a version.
fn with(records: &[Vec<u8>]) -> impl Fn(&Path) + use<> {
    let mut file = Vec::new();
    for record in records {
        tfrecord::write_record(&mut file, record).unwrap();
    }
    move |path: &Path| {
        fs::create_dir_all(path.join(FILE).parent().unwrap()).unwrap();
        fs::write(path.join(FILE), &file).unwrap();
    }
}

/// A MultiInference request of these methods and signatures.
fn multi(tasks: &[(&str, &str)]) -> Vec<u8> {
    log(|log| {
        let request = log.mut_multi_inference_log().request.mut_or_insert_default();
        request.input = MessageField::some(examples());
        for (method, signature) in tasks {
            let mut task = pb::InferenceTask::new();
            let spec = task.model_spec.mut_or_insert_default();
            (spec.name, spec.signature_name) = ("m".into(), (*signature).into());
            task.method_name = format!("tensorflow/serving/{method}");
            request.tasks.push(task);
        }
    })
}

fn log(fill: impl FnOnce(&mut pb::PredictionLog)) -> Vec<u8> {
    let mut log = pb::PredictionLog::new();
    fill(&mut log);
    log.write_to_bytes().unwrap()
}

fn predict(input: &str) -> Vec<u8> {
    log(|log| {
        let request = log.mut_predict_log().request.mut_or_insert_default();
        let mut tensor = TensorProto::new();
        tensor.dtype = DataType::DT_FLOAT.into();
        let mut shape = TensorShapeProto::new();
        shape.dim.push(Dim { size: 1, ..Default::default() });
        tensor.tensor_shape = MessageField::some(shape);
        tensor.float_val.push(2.0);
        request.inputs.insert(input.to_owned(), tensor);
    })
}

fn examples() -> pb::Input {
    let mut feature = Feature::new();
    feature.set_float_list(FloatList { value: vec![2.0], ..Default::default() });
    let mut example = Example::new();
    example.features.mut_or_insert_default().feature.insert("x".into(), feature);
    let mut input = pb::Input::new();
    input.mut_example_list().examples.push(example);
    input
}
