//! A server over some models, and tonic as its client: another implementation of gRPC, with nothing of ours in it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use tf_persist_core::LoadOptions;
use tf_persist_core::runtime::Search;
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_serve::{ModelSource, ServerError, Settings};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};

use crate::raw::{LONGEST, RawCodec};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Says that a test could not be made here.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// The models that come with TensorFlow Serving, and others made for it, if they are on this machine.
pub(crate) fn testdata() -> Option<PathBuf> {
    let testdata = PathBuf::from(std::env::var_os("TF_PERSIST_CORPUS")?).parent()?.join("conformance/testdata");
    testdata.is_dir().then_some(testdata)
}

/// A server that serves until it is dropped.
pub(crate) struct Server {
    pub(crate) channel: Channel,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<Result<(), ServerError>>,
    _folder: TempDir,
}

impl Server {
    /// A server of these models: names, and the folders of their versions. `None` if there is no libtensorflow.
    pub(crate) async fn start(models: &[(&str, PathBuf)], change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("models.config");
        let entries = models.iter().map(|(name, path)| {
            format!("config {{ name: {name:?} base_path: {path:?} model_platform: \"tensorflow\" }}\n")
        });
        std::fs::write(&config, format!("model_config_list {{\n{}}}\n", entries.collect::<String>())).unwrap();
        let mut settings = Settings::default();
        settings.models.source = Some(ModelSource::ConfigFile { path: config, poll: None });
        settings.models.load.options = LoadOptions::default().search(search());
        change(&mut settings);
        if tf_persist_core::runtime::Runtime::open_with(&search()).is_err() {
            skipped("there is no libtensorflow");
            return None;
        }
        settings.grpc.address = Some(([127, 0, 0, 1], 0).into());
        let server = tf_persist_serve::Server::bind(settings).unwrap();
        server.state().ready().await.unwrap();
        let address = server.grpc_address().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let served = tokio::spawn(server.run(stopped));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Some(Self { channel, stop: Some(stop), served, _folder: folder })
    }

    pub(crate) async fn call<A: Message, B: Message>(&self, path: &'static str, request: &A) -> Result<B, Status> {
        let answer = self.raw(path, request.write_to_bytes().unwrap(), None).await?;
        Ok(tf_persist_proto::parse(&answer).unwrap())
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

    /// Stops the server, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.take();
        drop(self.channel);
        self.served.await.unwrap().unwrap();
    }
}

pub(crate) fn search() -> Search {
    let library = std::env::var_os("TF_PERSIST_LIBTENSORFLOW").map_or_else(|| root().join(".venv"), PathBuf::from);
    Search::only(library)
}

/// A `ModelSpec`.
pub(crate) fn spec(name: &str, signature: &str) -> MessageField<pb::ModelSpec> {
    let (name, signature_name) = (name.into(), signature.into());
    MessageField::some(pb::ModelSpec { name, signature_name, ..Default::default() })
}

/// The code's number and the message of a refusal.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (i32, String) {
    let status = answer.unwrap_err();
    (status.code() as i32, status.message().to_owned())
}
