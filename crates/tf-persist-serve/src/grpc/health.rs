//! gRPC's own health service (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! TensorFlow Serving has it behind a flag; here it is always on.

use bytes::Bytes;
use tf_persist_proto::wire::{Value, try_fields};
use tokio::sync::mpsc;

use super::messages::response::enum_message;
use crate::models::Models;
use crate::shutdown::ShutdownSignal;
use crate::status::Status;

/// `HealthCheckResponse.ServingStatus`.
const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
const SERVICE_UNKNOWN: u8 = 3;

/// The known services: the whole server, its services by TensorFlow Serving's names and by gRPC's, and that of the Open
/// Inference Protocol.
const SERVICES: [&str; 6] = [
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
    "inference.GRPCInferenceService",
];

/// `Check`: whether a service is serving now.
///
/// # Errors
/// `NOT_FOUND` if the service is unknown.
pub(super) fn check(message: &[u8], models: &Models, draining: bool) -> Result<Bytes, Status> {
    let service = service_name(message);
    if !SERVICES.contains(&service) {
        return Err(Status::not_found(format!("unknown service {service}")));
    }
    Ok(enum_message(if models.are_ready() && !draining { SERVING } else { NOT_SERVING }))
}

/// `Watch`: whether a service is serving, now and after every change, until the server shuts down or the client leaves.
pub(super) fn watch(message: &[u8], models: &Models, shutdown: ShutdownSignal) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(1);
    let known = SERVICES.contains(&service_name(message));
    let models = models.clone();
    tokio::spawn(async move {
        let tell = async {
            if !known {
                let _ = sender.send(enum_message(SERVICE_UNKNOWN)).await;
                return std::future::pending().await;
            }
            let (mut changes, mut sent) = (models.changes(), None);
            loop {
                let now = if models.are_ready() { SERVING } else { NOT_SERVING };
                if sent.replace(now) != Some(now) {
                    let _ = sender.send(enum_message(now)).await;
                }
                // Cannot fail: this task holds the models.
                let _ = changes.changed().await;
            }
        };
        tokio::select! {
            () = shutdown.started() => {
                let _ = sender.send(enum_message(if known { NOT_SERVING } else { SERVICE_UNKNOWN })).await;
            }
            () = tell => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

/// `HealthCheckRequest.service`.
fn service_name(message: &[u8]) -> &str {
    let mut service = "";
    for field in try_fields(message) {
        if let Ok((1, value @ Value::Bytes(_))) = field {
            service = value.text();
        }
    }
    service
}
