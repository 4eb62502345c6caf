//! TensorFlow Serving's gRPC interface: PredictionService and ModelService (`apis/*.proto`), and gRPC's own health service.
//!
//! All calls but one are one message in, one message out, so gRPC is little more than five bytes before each message and a code
//! after it (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), over hyper's HTTP/2. It is written down here, because
//! servers that take whole messages of two gigabytes must not make room for what a client only says that it will send, and because
//! tensors go from the message into their own memory without a message object between.
//!
//! The way of a call: `connection` takes the connection, `dispatch` says whether the call may be made and finds the method, `framing` reads
//! the message, `messages` its fields, `prediction_service` and
//! `model_service` answer it, `messages` writes the answer down.

mod body;
mod connection;
mod dispatch;
mod framing;
mod health;
mod messages;
mod metadata;
mod model_service;
mod prediction_service;
mod settings;
mod status;
mod timeout;
mod uds_authority;
mod uds_stream;

pub(crate) use connection::serve;
pub use settings::GrpcSettings;
pub use uds_authority::UdsAuthorityRewriter;
pub(crate) use uds_stream::UdsStream;
