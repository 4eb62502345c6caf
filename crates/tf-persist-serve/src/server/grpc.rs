//! gRPC's connections: HTTP/2, with the guard in front of the routes.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::service::Routes;

use super::accept::Stream;
use super::{Drain, Service};
use crate::status::Status;

/// What a client may send of one request before it is told to go on, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same of all requests of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Requests of one connection at once.
const STREAMS: u32 = 1024;
/// How often a silent client is asked whether it is still there.
const PING: Duration = Duration::from_secs(60);

/// The services that are offered.
pub(super) fn routes(_service: &Service) -> Routes {
    Routes::default()
}

/// Answers the requests of a connection until the client leaves, or the server stops.
pub(super) async fn serve(stream: Stream, routes: Routes, service: Service, mut drain: Drain) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (mut routes, service) = (routes.clone(), service.clone());
        async move {
            // Whether the server is alive is told without a key, and however much there is to do.
            if request.uri().path().starts_with("/grpc.health.v1.Health/") {
                return routes.call(request).await;
            }
            if let Err(status) = service.keys().check(request.headers()) {
                return Ok::<_, Infallible>(refusal(status));
            }
            let _permit = match service.gate().enter() {
                Ok(permit) => permit,
                Err(status) => return Ok(refusal(status)),
            };
            routes.call(request).await
        }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            () = drain.begun(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn refusal(status: Status) -> Response<Body> {
    // The numbers are the same.
    let number = (1..17).find(|number| tf_persist_core::Code::from_number(*number) == Some(status.code));
    let code = tonic::Code::from_i32(number.unwrap_or(2) as i32);
    tonic::Status::new(code, status.message).into_http()
}
