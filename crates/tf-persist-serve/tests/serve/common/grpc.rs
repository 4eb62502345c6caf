//! tonic as a client of gRPC: an implementation that shares nothing with the server. And calls as bytes.

use std::path::PathBuf;

use bytes::Bytes;
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_serve::Settings;
use tf_persist_testing::{HTTP2_PREFACE, http2_frame};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};

use super::TestServer;
use super::server::in_time;
use crate::grpc::raw::{LONGEST, RawCodec};

/// A server and a connection to its gRPC interface.
pub(crate) struct GrpcServer {
    pub(crate) server: TestServer,
    pub(crate) channel: Channel,
}

impl GrpcServer {
    /// A server of these models (names and base paths), once all of them are available. `None` without libtensorflow.
    pub(crate) async fn start(
        test: &str,
        models: &[(&str, PathBuf)],
        change: impl FnOnce(&mut Settings),
    ) -> Option<Self> {
        Some(Self::connect(TestServer::with_models(test, models, change).await?).await)
    }

    pub(crate) async fn connect(server: TestServer) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
        Self { channel: endpoint.connect().await.unwrap(), server }
    }

    pub(crate) async fn call<A: Message, B: Message>(&self, path: &'static str, request: &A) -> Result<B, Status> {
        let response = self.raw(path, request.write_to_bytes().unwrap(), None).await?;
        Ok(tf_persist_proto::parse(&response).unwrap())
    }

    pub(crate) async fn raw(
        &self,
        path: &'static str,
        message: Vec<u8>,
        compressed: Option<CompressionEncoding>,
    ) -> Result<Bytes, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(LONGEST);
        if let Some(encoding) = compressed {
            client = client.send_compressed(encoding);
        }
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        client.unary(tonic::Request::new(message.into()), path, RawCodec).await.map(tonic::Response::into_inner)
    }

    /// Stops the server, and waits for its end.
    pub(crate) async fn stop(self) {
        drop(self.channel);
        self.server.stop().await;
    }
}

/// A `ModelSpec`.
pub(crate) fn spec(name: &str, signature: &str) -> MessageField<pb::ModelSpec> {
    let (name, signature_name) = (name.into(), signature.into());
    MessageField::some(pb::ModelSpec { name, signature_name, ..Default::default() })
}

/// The number of the code and the message of an error.
pub(crate) fn error<T: std::fmt::Debug>(response: Result<T, Status>) -> (i32, String) {
    let status = response.unwrap_err();
    (status.code() as i32, status.message().to_owned())
}

/// Types and flags of HTTP/2's frames (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What a client sends first on a connection.
pub(crate) fn connection_start() -> Vec<u8> {
    [HTTP2_PREFACE, &http2_frame(SETTINGS, 0, 0, &[])].concat()
}

/// The headers of a call whose message is still to come.
pub(crate) fn call_headers(stream: u32, path: &str) -> Vec<u8> {
    let short = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // `:method: POST`, `:scheme: http`, `:authority`, `:path` and `content-type`, of HPACK's static table.
    let block =
        [&[0x83, 0x86, 0x01][..], &short("h"), &[0x04], &short(path), &[0x0f, 0x10], &short("application/grpc")];
    http2_frame(HEADERS, END_HEADERS, stream, &block.concat())
}

/// Reads frames until one of this type, with these flags, on this stream.
pub(crate) async fn read_until(connection: &mut TcpStream, kind: u8, flags: u8, stream: u32) {
    let read = async {
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).await.unwrap();
            let [a, b, c, found_kind, found_flags, d, e, f, g] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            connection.read_exact(&mut payload).await.unwrap();
            if (found_kind, found_flags, u32::from_be_bytes([d, e, f, g])) == (kind, flags, stream) {
                return;
            }
        }
    };
    in_time(read).await;
}
