//! gRPC's connections, with the guard in front of the calls.

use std::sync::Arc;

use http::request::Parts;

use super::accept::Stream;
use super::{Drain, Service};
use crate::grpc::{Admitted, Enter, Grpc, serve_connection};
use crate::status::Status;

/// Whether the server is alive is told without a key, and however much there is to do.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The calls that are offered, to those who may ask.
pub(super) fn calls(service: &Service) -> Grpc {
    let guard = service.clone();
    let admit = move |head: &Parts| -> Result<Enter, Status> {
        if head.uri.path().starts_with(HEALTH) {
            return Ok(Box::new(|| Ok(Box::new(()))));
        }
        guard.keys().check(&head.headers)?;
        let guard = guard.clone();
        Ok(Box::new(move || Ok(Box::new(guard.gate().enter()?) as Admitted)))
    };
    Grpc::guarded(service.clone(), Arc::new(admit))
}

/// Answers the calls of a connection until the client leaves, or the server stops.
pub(super) async fn serve(stream: Stream, calls: Grpc, mut drain: Drain) {
    let watched = calls.clone();
    let stop = async move {
        drain.begun().await;
        // Nothing else ends the call of a client that watches the server's health.
        watched.drain();
    };
    if let Err(error) = serve_connection(stream, calls, stop).await {
        tracing::debug!(%error, "a gRPC connection broke");
    }
}
