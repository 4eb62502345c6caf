use tf_persist_proto::serving::SignatureDefMap;

use super::*;
use crate::inference::Class;
use crate::models::{State, VersionStatus};

fn answer(format: Format, outputs: &[(&str, Tensor)]) -> String {
    let outputs = outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    text(predict_response(format, &outputs).unwrap())
}

fn refused(format: Format, outputs: &[(&str, Tensor)]) -> String {
    let outputs = outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    let status = predict_response(format, &outputs).unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    status.message
}

#[test]
fn rows_are_on_one_line() {
    let y = Tensor::from_slice(&[3], &[2.5_f32, 3.0, 4.5]).unwrap();
    assert_eq!(answer(Format::Row, &[("y", y)]), "{\n    \"predictions\": [2.5, 3.0, 4.5\n    ]\n}");
    let y = Tensor::from_slice(&[2, 2, 1], &[1_i64, -2, 3, i64::MIN]).unwrap();
    assert_eq!(
        answer(Format::Row, &[("y", y)]),
        "{\n    \"predictions\": [[[1], [-2]], [[3], [-9223372036854775808]]\n    ]\n}"
    );
    let empty = Tensor::zeros(DType::Int32, &[0, 2]).unwrap();
    assert_eq!(answer(Format::Row, &[("y", empty.clone())]), "{\n    \"predictions\": []\n}");
    assert_eq!(answer(Format::Row, &[("y", empty.clone()), ("z", empty)]), "{\n    \"predictions\": []\n}");
    let empty = Tensor::zeros(DType::Float16, &[2, 0]).unwrap();
    assert_eq!(answer(Format::Row, &[("y", empty)]), "{\n    \"predictions\": [[], []\n    ]\n}");
}

#[test]
fn named_rows_are_objects() {
    let a = Tensor::from_slice(&[2, 2], &[1_u8, 2, 3, 255]).unwrap();
    let b = Tensor::from_strings(&[2], ["x\"\n", "\u{1}é"]).unwrap();
    let c = Tensor::from_strings(&[2, 1], ["hello", ""]).unwrap();
    assert_eq!(
        answer(Format::Row, &[("a", a), ("b", b), ("c_bytes", c)]),
        "{\n    \"predictions\": [\n        {\n            \"a\": [1, 2],\n            \"b\": \"x\\\"\\n\",\n            \"c_bytes\": \
         [{\n                    \"b64\": \"aGVsbG8=\"\n                }]\n        },\n        {\n            \"a\": [3, \
         255],\n            \"b\": \"\\u0001é\",\n            \"c_bytes\": [{\n                    \"b64\": \"\"\n                \
         }]\n        }\n    ]\n}"
    );
}

#[test]
fn columns_have_one_element_per_line() {
    let y = Tensor::from_slice(&[2, 1], &[true, false]).unwrap();
    assert_eq!(
        answer(Format::Column, &[("y", y.clone())]),
        "{\n    \"outputs\": [\n        [\n            true\n        ],\n        [\n            false\n        ]\n    ]\n}"
    );
    let scalar = Tensor::scalar(2.0_f64).unwrap();
    assert_eq!(answer(Format::Column, &[("y", scalar.clone())]), "{\n    \"outputs\": 2.0\n}");
    let bytes = Tensor::from_strings(&[], [[0xff_u8, 0]]).unwrap();
    assert_eq!(
        answer(Format::Column, &[("s", scalar), ("y_bytes", bytes)]),
        "{\n    \"outputs\": {\n        \"s\": 2.0,\n        \"y_bytes\": {\n            \"b64\": \"/wA=\"\n        }\n    }\n}"
    );
    let empty = Tensor::zeros(DType::UInt64, &[0]).unwrap();
    assert_eq!(answer(Format::Column, &[("y", empty)]), "{\n    \"outputs\": []\n}");
}

#[test]
fn every_dtype_is_written() {
    let numbers = |tensor: Tensor| answer(Format::Row, &[("y", tensor)]);
    let row = |values: &str| format!("{{\n    \"predictions\": [{values}\n    ]\n}}");
    assert_eq!(numbers(Tensor::from_slice(&[2], &[i8::MIN, 127]).unwrap()), row("-128, 127"));
    assert_eq!(numbers(Tensor::from_slice(&[2], &[i16::MIN, 1]).unwrap()), row("-32768, 1"));
    assert_eq!(numbers(Tensor::from_slice(&[2], &[i32::MIN, 0]).unwrap()), row("-2147483648, 0"));
    assert_eq!(numbers(Tensor::from_slice(&[1], &[u32::MAX]).unwrap()), row("4294967295"));
    assert_eq!(numbers(Tensor::from_slice(&[1], &[u64::MAX]).unwrap()), row("18446744073709551615"));
    assert_eq!(
        numbers(Tensor::from_slice(&[4], &[f32::NAN, f32::INFINITY, 9e6, f32::NEG_INFINITY]).unwrap()),
        row("NaN, Infinity, 9e+06, -Infinity")
    );
    assert_eq!(numbers(Tensor::from_slice(&[2], &[0.1, 1.0 / 3.0]).unwrap()), row("0.1, 0.33333333333333331"));
}

#[test]
fn responses_that_cannot_be_written() {
    let scalar = Tensor::scalar(1_i32).unwrap();
    let two = Tensor::from_slice(&[2], &[1_i32, 2]).unwrap();
    let one = Tensor::from_slice(&[1], &[1_i32]).unwrap();
    for format in [Format::Row, Format::Column] {
        assert_eq!(refused(format, &[]), "Cannot convert empty tensor map to JSON");
        for (dtype, name) in [
            (DType::Float16, "half"),
            (DType::BFloat16, "bfloat16"),
            (DType::UInt16, "uint16"),
            (DType::Complex64, "complex64"),
        ] {
            let tensor = Tensor::zeros(dtype, &[1]).unwrap();
            assert_eq!(
                refused(format, &[("y", tensor)]),
                format!("Failed to write JSON value for tensor type: {name}")
            );
        }
    }
    assert_eq!(refused(Format::Row, &[("y", scalar)]), "Tensor name: y has no shape information ");
    assert_eq!(
        refused(Format::Row, &[("a", two), ("b", one)]),
        "Tensor name: b has inconsistent batch size: 1 expecting: 2"
    );
}

#[test]
fn classes_and_values() {
    let class = |label: &str, score| Class { label: label.into(), score };
    assert_eq!(
        text(classify_response(&[vec![class("car", 0.2), class("", 0.0)], vec![]])),
        "{\n    \"results\": [[[\"car\", 0.2], [\"\", 0.0]], []\n    ]\n}"
    );
    assert_eq!(text(regress_response(&[0.2, f32::INFINITY, 1.0])), "{\n    \"results\": [0.2, Infinity, 1.0]\n}");
}

#[test]
fn errors() {
    assert_eq!(text(error_body("Bad \"key\"\n/é\t\x7f")), "{\n    \"error\": \"Bad \\\"key\\\"\\n/é\\t\x7f\"\n}");
}

#[test]
fn status() {
    let versions = [
        VersionStatus { version: 124, state: State::Available, error: None, hint: None },
        VersionStatus {
            version: 123,
            state: State::End,
            error: Some(Status::not_found("no <file> \"a\"")),
            hint: None,
        },
    ];
    assert_eq!(
        text(status_response(&versions)),
        r#"{
 "model_version_status": [
  {
   "version": "124",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "123",
   "state": "END",
   "status": {
    "error_code": "NOT_FOUND",
    "error_message": "no \u003cfile\u003e \"a\""
   }
  }
 ]
}
"#
    );
    assert_eq!(text(status_response(&[])), "{\n \"model_version_status\": []\n}\n");
}

#[test]
fn metadata() {
    let map: SignatureDefMap = tf_persist_proto::protobuf::text_format::parse_from_str(
        r#"signature_def {
            key: "s"
            value {
                inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } dim { size: 3 name: "n" } } } }
                inputs { key: "y" value { coo_sparse { values_tensor_name: "v" } } }
                outputs { key: "z" value { tensor_shape { unknown_rank: true } } }
                method_name: "m"
                defaults { key: "y" value { dtype: DT_FLOAT float_val: 1.0 float_val: 0.5 float_val: nan string_val: "a" } }
            }
        }"#,
    )
    .unwrap();
    let answer = text(metadata_response("m", 123, &map));
    assert!(answer.starts_with(
        "{\n\"model_spec\":{\n \"name\": \"m\",\n \"version\": \"123\",\n \"signature_name\": \"\"\n}\n,\n\"metadata\": \
         {\"signature_def\": {\n \"signature_def\": {\n  \"s\": {\n   \"inputs\": {\n    \"x\": {\n     \"name\": \"x:0\",\n"
    ), "{answer}");
    assert!(answer.ends_with("\n }\n}\n}\n}\n"), "{answer}");
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let signature = &json["metadata"]["signature_def"]["signature_def"]["s"];
    assert_eq!(
        signature["inputs"]["x"],
        serde_json::json!({"name": "x:0", "dtype": "DT_FLOAT", "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": "n"}], "unknown_rank": false}})
    );
    assert_eq!(
        signature["inputs"]["y"],
        serde_json::json!({"dtype": "DT_INVALID", "coo_sparse": {
            "values_tensor_name": "v", "indices_tensor_name": "", "dense_shape_tensor_name": ""}})
    );
    assert_eq!(
        signature["outputs"]["z"],
        serde_json::json!({"dtype": "DT_INVALID", "tensor_shape": {"dim": [], "unknown_rank": true}})
    );
    assert_eq!(signature["defaults"]["y"]["float_val"], serde_json::json!([1, 0.5, "NaN"]));
    assert_eq!(signature["defaults"]["y"]["string_val"], serde_json::json!(["YQ=="]));
    assert_eq!(signature["defaults"]["y"]["version_number"], 0);
    assert_eq!(signature["method_name"], "m");
    let empty: SignatureDefMap =
        tf_persist_proto::protobuf::text_format::parse_from_str("signature_def { key: \"s\" value {} }").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&metadata_response("m", 1, &empty)).unwrap();
    assert_eq!(
        json["metadata"]["signature_def"]["signature_def"]["s"],
        serde_json::json!({"inputs": {}, "outputs": {}, "method_name": "", "defaults": {}})
    );
}
