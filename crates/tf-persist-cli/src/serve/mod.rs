//! `tf-persist serve-local`.

pub(crate) mod args;
mod files;
mod log;
mod settings;
#[cfg(test)]
mod tests;

use std::io;

use anyhow::{Context, anyhow};
use clap::ArgMatches;
use tf_persist_core::Code;
use tf_persist_serve::{ModelSource, Server, ServerError, ServerState, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use crate::error::Hinted;
use crate::signals::Stop;
use args::{Port, ServeArgs, WITHOUT_EFFECT};

pub(crate) fn serve(args: ServeArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    let settings = settings::settings(&args)?;
    log::begin(args.log_format, args.log_level);
    for (name, _, why) in WITHOUT_EFFECT {
        if matches.value_source(name).is_some_and(|source| source != clap::parser::ValueSource::DefaultValue) {
            tracing::warn!("--{name} has no effect: {why}");
        }
    }
    if args.rest_api_timeout_in_ms < 0 {
        let given = args.rest_api_timeout_in_ms;
        tracing::warn!("--rest_api_timeout_in_ms {given} is below 0: REST requests are never given up, as with 0");
    }
    if args.enable_batching != Some(true) && args.enable_per_model_batching_parameters {
        tracing::warn!("--enable_per_model_batching_parameters has no effect without --enable_batching");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("serve").build();
    let runtime = runtime.context("cannot start threads")?;
    // Before anything is loaded: a server that is stopped then is no server that crashed.
    let (stop, stopped) = oneshot::channel();
    let listening = Stop::on_signals(move |signal| {
        tracing::info!(signal, "stopping; another SIGTERM or SIGINT, a second or more from now, ends it at once");
        // If the server has stopped already, there is nobody to tell.
        let _ = stop.send(());
    });
    let _stop = listening.context("cannot listen to signals")?;
    let served = runtime.block_on(run(args, settings, stopped));
    // What was given up is not waited for.
    runtime.shutdown_background();
    if served.is_ok() {
        // Without TensorFlow's destructors: a run that was given up may go on still.
        signal_hook::low_level::exit(0);
    }
    served.map_err(|error| match error {
        ServerError::Models(status) => {
            let error = anyhow!("the models cannot be served: {}", status.message);
            // TensorFlow Serving's words for it.
            let is_label =
                status.code == Code::FailedPrecondition && status.message.starts_with("Request to assign label");
            if is_label { Hinted { error, hint: LABELS.into() }.into() } else { error }
        }
        ServerError::Listen { what: "REST", .. } => {
            anyhow!("{error}; --rest_api_port names another port, --host another address")
        }
        ServerError::Listen { .. } => anyhow!("{error}; --port names another port, --host another address"),
        ServerError::Socket { .. } => anyhow!("{error}; --grpc_socket_path names another"),
        other => anyhow!(other),
    })
}

/// What helps where a label stands on a version that is not there.
const LABELS: &str = "labels stand on versions that are loaded: name one that is there and that the version policy takes in, or give \
                      --allow_version_labels_for_unavailable_models";

async fn run(args: ServeArgs, settings: Settings, stopped: oneshot::Receiver<()>) -> Result<(), ServerError> {
    // A terminal that is closed while the models load does not end it.
    let hangup = signal(SignalKind::hangup());
    let server = Server::bind(settings)?;
    greet(&server, &args);
    tokio::spawn(reload_on(hangup, args, server.state().clone()));
    server
        .run(async {
            // If nobody listens to signals, nobody says stop.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await
}

/// What the log begins with: where the server is, what it serves, how to ask.
fn greet(server: &Server, args: &ServeArgs) {
    let state = server.state();
    let version = env!("CARGO_PKG_VERSION");
    match &state.settings().models.source {
        Some(ModelSource::BasePath { name, path }) => {
            tracing::info!(version, model = name, path = %path.display(), "serving a model");
        }
        Some(ModelSource::ConfigFile { path, .. }) => {
            tracing::info!(version, config = %path.display(), "serving the models of a file");
        }
        None => {}
    }
    if let Some(address) = server.grpc_address() {
        tracing::info!(%address, "gRPC");
    }
    if let Some(path) = &state.settings().grpc.socket {
        tracing::info!(socket = %path.display(), "gRPC");
    }
    let Some(address) = server.rest_address() else {
        tracing::info!("REST is off: --rest_api_port 8501 turns it on");
        return;
    };
    tracing::info!(%address, "REST");
    let scheme =
        if state.settings().security.tls.as_ref().is_some_and(|tls| !tls.grpc_only) { "https" } else { "http" };
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    let key = if state.settings().security.api_key_file.is_some() { " -H 'X-Api-Key: KEY'" } else { "" };
    match &state.settings().models.source {
        Some(ModelSource::BasePath { name, .. }) => {
            tracing::info!("ask: curl{key} {scheme}://{host}/v1/models/{name}:predict -d '{{\"instances\": [...]}}'")
        }
        _ => tracing::info!("the list of models: curl{key} {scheme}://{host}/models"),
    }
    if args.host.is_unspecified() && state.settings().security.api_key_file.is_none() {
        tracing::warn!("whoever reaches this machine may ask: there is no --api_key_file");
    }
    if args.rest_api_port == Port::Any {
        tracing::debug!("the port of REST was chosen by the operating system");
    }
}

/// Reads files again whenever SIGHUP says so.
async fn reload_on(hangup: io::Result<Signal>, args: ServeArgs, state: ServerState) {
    match hangup {
        Ok(mut hangup) => {
            while hangup.recv().await.is_some() {
                // Files may be far away.
                block_in_place(|| reload(&args, &state));
            }
        }
        Err(error) => tracing::error!(%error, "SIGHUP cannot be listened to: files are not read again"),
    }
}

fn reload(args: &ServeArgs, state: &ServerState) {
    tracing::info!("SIGHUP: reading configuration, keys and certificates again");
    let tls = files::certificates(args).unwrap_or_else(|error| {
        tracing::error!("the certificates stay as they were: {error:#}");
        None
    });
    state.reload(tls.as_ref());
}
