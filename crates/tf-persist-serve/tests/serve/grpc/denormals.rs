//! Denormals are zero in the server's threads, as in TensorFlow's own.

use tf_persist_core::Tensor;
use tf_persist_core::tensor::proto::{from_proto, to_proto};
use tf_persist_proto::serving as pb;

use super::PREDICT;
use crate::common::grpc::{GrpcServer, spec};
use crate::common::models::{base_path, load_options};

#[tokio::test(flavor = "multi_thread")]
async fn denormals_are_flushed_to_zero() {
    let folder = base_path("denormals");
    let models = [("m", folder.path().to_owned())];
    let change = |settings: &mut tf_persist_serve::Settings| settings.models.load.options = load_options();
    let Some(server) = GrpcServer::start("denormals_are_flushed_to_zero", &models, change).await else { return };
    for size in [1, 200_000] {
        for number in [1e-20_f32, 1e-40] {
            let x = to_proto(&Tensor::from_slice(&[size], &vec![number; size]).unwrap());
            let inputs = [("x".to_owned(), x)].into();
            let request = pb::PredictRequest { model_spec: spec("m", ""), inputs, ..Default::default() };
            // The first runs of a signature use another thread than those that follow.
            for _ in 0..3 {
                let answer: pb::PredictResponse = server.call(PREDICT, &request).await.unwrap();
                let output = |name: &str| from_proto(&answer.outputs[name], 0).unwrap();
                let square = output("square");
                let squares = square.view::<f32>().unwrap();
                assert!(squares.len() == size && squares.iter().all(|square| square.to_bits() == 0), "{size} {number}");
                let flushed = output("multiple").view::<f32>().unwrap().iter().all(|multiple| *multiple == 0.0);
                assert_eq!(flushed, number < 1e-38, "{size} {number}");
            }
        }
    }
    server.stop().await;
}
