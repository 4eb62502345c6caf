//! gRPC's own health service (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! TensorFlow Serving has it behind a flag; who does not ask does not notice it.

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

/// The services that can be asked for: the server, and its own under the names that TensorFlow Serving and gRPC have for them.
const SERVICES: [&str; 5] = [
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
];

/// `Check`: whether a service answers now.
///
/// # Errors
/// `NOT_FOUND` if there is no such service.
pub(super) fn check(message: &[u8], models: &Models, draining: bool) -> Result<Bytes, Status> {
    let service = service_name(message);
    if !SERVICES.contains(&service) {
        return Err(Status::not_found(format!("unknown service {service}")));
    }
    Ok(enum_message(if models.are_ready() && !draining { SERVING } else { NOT_SERVING }))
}

/// `Watch`: whether a service answers, now and whenever that changes, until the server stops or the client leaves.
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
                // The models live as long as this.
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
