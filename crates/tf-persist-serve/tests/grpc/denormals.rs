//! Denormals are zero in the threads that answer, as in TensorFlow's own.

use tf_persist_core::tensor::proto::{from_proto, to_proto};
use tf_persist_core::{LoadOptions, Tensor};
use tf_persist_proto::serving as pb;

use crate::client::{Server, search, spec};
use crate::{PREDICT, versions};

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_no_denormals() {
    let folder = versions("denormals");
    let options = LoadOptions::default().search(search()).inter_op_threads(-1);
    let models = [("m", folder.path().to_owned())];
    let Some(server) = Server::start(&models, |settings| settings.models.load.options = options).await else { return };
    for size in [1, 200_000] {
        for number in [1e-20_f32, 1e-40] {
            let x = to_proto(&Tensor::from_slice(&[size], &vec![number; size]).unwrap());
            let inputs = [("x".to_owned(), x)].into();
            let request = pb::PredictRequest { model_spec: spec("m", ""), inputs, ..Default::default() };
            // The first run of a signature goes elsewhere than those that follow.
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
