//! Metadata and status of models.

use tf_persist_proto::serving as pb;

use super::{INVALID_ARGUMENT, METADATA, NOT_FOUND, STATUS, half_plus_two};
use crate::common::grpc::{error, spec};

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_status() {
    let Some((server, _folder)) = half_plus_two("metadata_and_status").await else { return };
    let request = |name: &str, fields: &[&str]| pb::GetModelMetadataRequest {
        model_spec: spec(name, ""),
        metadata_field: fields.iter().map(|&field| field.to_owned()).collect(),
        ..Default::default()
    };
    let response: pb::GetModelMetadataResponse =
        server.call(METADATA, &request("half", &["signature_def"])).await.unwrap();
    assert_eq!((response.model_spec.name.as_str(), response.model_spec.version().value), ("half", 7));
    let any = &response.metadata["signature_def"];
    assert_eq!(any.type_url, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
    let signatures: pb::SignatureDefMap = tf_persist_proto::parse(&any.value.clone().into()).unwrap();
    let names: Vec<_> = signatures.signature_def.keys().map(String::as_str).collect();
    assert_eq!(names, ["__saved_model_init_op", "serving_default"]);

    let refusal = async |request: pb::GetModelMetadataRequest| {
        error(server.call::<_, pb::GetModelMetadataResponse>(METADATA, &request).await)
    };
    let missing = (INVALID_ARGUMENT, "Missing ModelSpec".to_owned());
    assert_eq!(refusal(pb::GetModelMetadataRequest::default()).await, missing);
    let none = "GetModelMetadataRequest must specify at least one metadata_field".to_owned();
    assert_eq!(refusal(request("half", &[])).await, (INVALID_ARGUMENT, none));
    let other = "Metadata field stuff is not supported".to_owned();
    assert_eq!(refusal(request("half", &["signature_def", "stuff"])).await, (INVALID_ARGUMENT, other));
    let unknown = "Servable not found for request: Latest(m)".to_owned();
    assert_eq!(refusal(request("m", &["signature_def"])).await, (NOT_FOUND, unknown));

    let status = |name: &str| pb::GetModelStatusRequest { model_spec: spec(name, ""), ..Default::default() };
    let response: pb::GetModelStatusResponse = server.call(STATUS, &status("half")).await.unwrap();
    let [version] = &response.model_version_status[..] else { panic!("{response}") };
    assert_eq!((version.version, version.state.value(), version.status.error_code.value()), (7, 30, 0));
    let response = server.call::<_, pb::GetModelStatusResponse>(STATUS, &status("m")).await;
    assert_eq!(error(response), (NOT_FOUND, "Could not find any versions of model m".to_owned()));
    let response = server.call::<_, pb::GetModelStatusResponse>(STATUS, &pb::GetModelStatusRequest::new()).await;
    assert_eq!(error(response), missing);
    server.stop().await;
}
