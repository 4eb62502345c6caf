//! A client of the gRPC interface, over tonic.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tf_persist_proto::open_inference::grpc_service::model_infer_request::InferInputTensor;
use tf_persist_proto::open_inference::{ModelInferRequest, ModelInferResponse};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::serving::{ModelSpec, PredictRequest, PredictResponse};
use tf_persist_proto::tensorflow::tensor_shape::tensor_shape_proto::Dim;
use tf_persist_proto::tensorflow::types::DataType;
use tf_persist_proto::tensorflow::{TensorProto, TensorShapeProto};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;

use crate::raw::{LONGEST, RawCodec};
use crate::requests::Case;
use crate::{Job, Protocol, Result, Seen};

const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A client of its own connection, until the time is over.
pub(crate) async fn client(job: Arc<Job>, messages: Arc<Vec<Bytes>>, number: usize) -> Result<Seen> {
    let channel = Endpoint::from_shared(format!("http://{}", job.target))?.tcp_nodelay(true).connect().await?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(LONGEST).max_encoding_message_size(LONGEST);
    let mut seen = Seen::default();
    let mut turn = number;
    let path = if job.protocol == Protocol::V2Grpc { MODEL_INFER } else { PREDICT };
    job.start.wait().await;
    let until = Instant::now() + job.length;
    while Instant::now() < until {
        let looks = seen.looks();
        let message = messages[turn % messages.len()].clone();
        let begin = Instant::now();
        grpc.ready().await?;
        let request = tonic::Request::new(message.clone());
        let answer = grpc.unary(request, PathAndQuery::from_static(path), RawCodec).await;
        let answer = match answer {
            Ok(_) if !looks => Ok(true),
            Ok(answer) if job.echo => Ok(answer.into_inner() == message),
            Ok(answer) if job.protocol == Protocol::V2Grpc => {
                Ok(is_right_in_v2(&answer.into_inner(), job.requests.case(turn)))
            }
            Ok(answer) => Ok(is_right(&answer.into_inner(), &job.requests.output, job.requests.case(turn))),
            Err(status) => Err(status.to_string()),
        };
        seen.note(begin, answer);
        turn += 1;
    }
    Ok(seen)
}

/// What is asked.
pub(crate) fn messages(job: &Job) -> Result<Vec<Bytes>> {
    job.requests.cases.iter().map(|case| message(job, case)).collect()
}

fn message(job: &Job, case: &Case) -> Result<Bytes> {
    let bytes: Vec<u8> = case.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    if job.protocol == Protocol::V2Grpc {
        let input = InferInputTensor {
            name: job.requests.input.clone(),
            datatype: "FP32".into(),
            shape: job.requests.shape.iter().map(|size| *size as i64).collect(),
            ..Default::default()
        };
        let request = ModelInferRequest {
            model_name: job.model.clone(),
            inputs: vec![input],
            raw_input_contents: vec![bytes.into()],
            ..Default::default()
        };
        return Ok(request.write_to_bytes()?.into());
    }
    let dim = job.requests.shape.iter().map(|size| Dim { size: *size as i64, ..Dim::default() }).collect();
    let tensor = TensorProto {
        dtype: DataType::DT_FLOAT.into(),
        tensor_shape: Some(TensorShapeProto { dim, ..TensorShapeProto::default() }).into(),
        tensor_content: bytes.into(),
        ..TensorProto::default()
    };
    let mut request = PredictRequest::new();
    request.model_spec = Some(ModelSpec { name: job.model.clone(), ..ModelSpec::default() }).into();
    request.inputs.insert(job.requests.input.clone(), tensor);
    Ok(request.write_to_bytes()?.into())
}

fn is_right(answer: &Bytes, output: &str, case: &Case) -> bool {
    let Ok(answer) = tf_persist_proto::parse::<PredictResponse>(answer) else { return false };
    let Some(tensor) = answer.outputs.get(output) else { return false };
    let mut values = tensor.float_val.clone();
    let content = tensor.tensor_content.chunks_exact(4);
    values.extend(content.filter_map(|four| four.try_into().ok()).map(f32::from_le_bytes));
    case.is_answered_by(&values)
}

fn is_right_in_v2(answer: &Bytes, case: &Case) -> bool {
    let Ok(answer) = tf_persist_proto::parse::<ModelInferResponse>(answer) else { return false };
    let Some(raw) = answer.raw_output_contents.first() else { return false };
    let values = raw.chunks_exact(4).filter_map(|four| four.try_into().ok()).map(f32::from_le_bytes);
    case.is_answered_by(&values.collect::<Vec<f32>>())
}
