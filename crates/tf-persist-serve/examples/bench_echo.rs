//! Servers that give back the bytes they get: how fast anything could be that does the same over the same protocol.
//!
//! `bench_echo rest PORT` is an axum server, `bench_echo grpc PORT` a tonic one. `scripts/bench serve` starts them.

#![allow(clippy::print_stderr, reason = "a program")]

#[path = "bench_load/raw.rs"]
mod raw;

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};

use raw::RawCodec;

/// A service of the real server, so that clients need not know the difference: TensorFlow Serving's, or that of the
/// Open Inference Protocol.
#[derive(Clone)]
struct Echo<const V2: bool>;

impl NamedService for Echo<false> {
    const NAME: &'static str = "tensorflow.serving.PredictionService";
}

impl NamedService for Echo<true> {
    const NAME: &'static str = "inference.GRPCInferenceService";
}

impl<const V2: bool> UnaryService<Bytes> for Echo<V2> {
    type Response = Bytes;
    type Future = BoxFuture<tonic::Response<Bytes>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        Box::pin(async move { Ok(tonic::Response::new(request.into_inner())) })
    }
}

impl<const V2: bool> Service<http::Request<Body>> for Echo<V2> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc =
            Grpc::new(RawCodec).max_decoding_message_size(raw::LONGEST).max_encoding_message_size(raw::LONGEST);
        Box::pin(async move { Ok(grpc.unary(Echo::<V2>, request).await) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [protocol, port] = arguments.as_slice() else { return Err("usage: bench_echo rest|grpc PORT".into()) };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
    if protocol == "grpc" {
        let server = tonic::transport::Server::builder().tcp_nodelay(true).add_service(Echo::<false>);
        let server = server.add_service(Echo::<true>);
        return Ok(server.serve(address).await?);
    }
    let echo = Router::new().fallback(post(|body: Bytes| async { body }));
    let echo = echo.layer(axum::extract::DefaultBodyLimit::disable());
    let listener = tokio::net::TcpListener::bind(address).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        if let Err(error) = socket.set_nodelay(true) {
            eprintln!("no TCP_NODELAY: {error}");
        }
    });
    Ok(axum::serve(listener, echo).await?)
}
