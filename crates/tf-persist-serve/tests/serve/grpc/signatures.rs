//! A model with an output that cannot be fetched, and with a signature that declares another dtype than the graph has.

use tf_persist_core::Tensor;
use tf_persist_core::tensor::proto::to_proto;
use tf_persist_proto::serving as pb;

use super::{INVALID_ARGUMENT, PREDICT, UNIMPLEMENTED};
use crate::common::grpc::{GrpcServer, error, spec};

/// Computes the lengths of texts, and a tensor list.
const MODEL: &str = r#"
    saved_model_schema_version: 1
    meta_graphs {
      meta_info_def { tags: "serve" }
      graph_def {
        node { name: "text" op: "Placeholder" attr { key: "dtype" value { type: DT_STRING } }
               attr { key: "shape" value { shape { unknown_rank: true } } } }
        node { name: "length" op: "StringLength" input: "text" attr { key: "unit" value { s: "BYTE" } } }
        node { name: "minus" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
               attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: -1 } } } }
        node { name: "list" op: "EmptyTensorList" input: "minus" input: "minus"
               attr { key: "element_dtype" value { type: DT_FLOAT } } attr { key: "shape_type" value { type: DT_INT32 } } }
        versions { producer: 2404 }
      }
      signature_def {
        key: "serving_default"
        value {
          inputs { key: "t" value { name: "text:0" dtype: DT_FLOAT tensor_shape { unknown_rank: true } } }
          outputs { key: "length" value { name: "length:0" dtype: DT_INT32 tensor_shape { unknown_rank: true } } }
          outputs { key: "list" value { name: "list:0" dtype: DT_VARIANT tensor_shape { unknown_rank: true } } }
        }
      }
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn dtypes_come_from_the_graph_and_only_fetched_outputs_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("1")).unwrap();
    std::fs::write(folder.path().join("1/saved_model.pbtxt"), MODEL).unwrap();
    let models = [("m", folder.path().to_owned())];
    let test = "dtypes_come_from_the_graph_and_only_fetched_outputs_are_checked";
    let Some(server) = GrpcServer::start(test, &models, |_| ()).await else { return };
    let request = |tensor: Tensor, filter: &[&str]| pb::PredictRequest {
        model_spec: spec("m", ""),
        inputs: [("t".to_owned(), to_proto(&tensor))].into(),
        output_filter: filter.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let texts = || Tensor::from_strings(&[2], ["a", "bcd"]).unwrap();
    let answer: pb::PredictResponse = server.call(PREDICT, &request(texts(), &["length"])).await.unwrap();
    assert_eq!(answer.outputs["length"].int_val, [1, 3]);
    let all = server.call::<_, pb::PredictResponse>(PREDICT, &request(texts(), &[])).await;
    let (code, message) = error(all);
    assert!(code == UNIMPLEMENTED && message.contains("output `list`"), "{message}");
    let floats = Tensor::from_slice(&[1], &[1.0_f32]).unwrap();
    let other = server.call::<_, pb::PredictResponse>(PREDICT, &request(floats, &["length"])).await;
    let message = "Expects arg[0] to be string but float is provided".to_owned();
    assert_eq!(error(other), (INVALID_ARGUMENT, message));
    server.stop().await;
}
