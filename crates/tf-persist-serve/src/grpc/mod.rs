//! TensorFlow Serving's gRPC interface: PredictionService and ModelService (`apis/*.proto`), gRPC's own health service,
//! and the Open Inference Protocol.
//!
//! All calls but one have one message in and one message out, so gRPC is little more than five bytes before each
//! message and a code after it (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), over hyper's HTTP/2.
//! It is implemented here for two reasons. A server that accepts messages of two gigabytes must not allocate what a
//! client only announces, and tensors are decoded from the message straight into their memory, without a message object
//! in between.
//!
//! A call passes through `connection`, `dispatch`, which checks keys and limits and finds the method, `framing`, which
//! reads the message, `messages`, which parses it, `prediction_service` or `model_service`, which answer it, and
//! `messages` again, which encodes the response.

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
mod v2;

pub(crate) use connection::serve;
pub use settings::GrpcSettings;
pub use uds_authority::UdsAuthorityRewriter;
pub(crate) use uds_stream::UdsStream;
pub use v2::decode_infer_message;
