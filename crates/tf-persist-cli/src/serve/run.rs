//! Serves models until a signal stops it.

use std::io;

use anyhow::{Context, anyhow};
use clap::ArgMatches;
use tf_persist_core::Code;
use tf_persist_serve::{ModelSource, Server, ServerError, ServerState, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use super::args::{Port, ServeArgs, WITHOUT_EFFECT};
use super::container::Invoked;
#[cfg(feature = "traces")]
use super::traces::Traces;
use super::{container, files, log, settings};
use crate::error::Hinted;
use crate::signals::Stop;

pub(crate) fn run(mut args: ServeArgs, matches: &ArgMatches, invoked: Invoked) -> anyhow::Result<()> {
    container::apply(&mut args, matches, invoked)?;
    #[cfg_attr(not(feature = "traces"), expect(unused_mut, reason = "only traces change it"))]
    let mut settings = settings::settings(&args)?;
    log::begin(args.log_format, args.log_level);
    for (name, _, why) in WITHOUT_EFFECT {
        if matches.value_source(name).is_some_and(|source| source != clap::parser::ValueSource::DefaultValue) {
            tracing::warn!("--{name} has no effect: {why}");
        }
    }
    if args.rest_api_timeout_in_ms < 0 {
        let given = args.rest_api_timeout_in_ms;
        tracing::warn!("--rest_api_timeout_in_ms {given} is below 0: REST requests have no timeout, as with 0");
    }
    if args.enable_batching != Some(true) && args.enable_per_model_batching_parameters {
        tracing::warn!("--enable_per_model_batching_parameters has no effect without --enable_batching");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("serve").build();
    let runtime = runtime.context("cannot start threads")?;
    #[cfg(feature = "traces")]
    let traces = Traces::from_environment(runtime.handle())?;
    #[cfg(feature = "traces")]
    if let Some(traces) = &traces {
        tracing::info!("requests are traced, as the environment asks for");
        settings = settings.tracer(traces.tracer());
    }
    // Before anything is loaded: a stop during a load must not count as a crash of that load (`crash_journal.rs`).
    let (stop, stopped) = oneshot::channel();
    let listening = Stop::on_signals(move |signal| {
        tracing::info!(signal, "stopping; another SIGTERM or SIGINT, a second or more from now, stops at once");
        // The server may have stopped already.
        let _ = stop.send(());
    });
    let _stop = listening.context("cannot listen for signals")?;
    let served = runtime.block_on(serve(args, settings, stopped));
    #[cfg(feature = "traces")]
    if let Some(traces) = traces {
        traces.shut_down();
    }
    // Does not wait for abandoned runs.
    runtime.shutdown_background();
    if served.is_ok() {
        // Without TensorFlow's destructors: an abandoned run may still be running.
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
            anyhow!("{error}; choose another port with --rest_api_port, or another address with --host")
        }
        ServerError::Listen { .. } => {
            anyhow!("{error}; choose another port with --port, or another address with --host")
        }
        ServerError::Socket { .. } => anyhow!("{error}; choose another path with --grpc_socket_path"),
        other => anyhow!(other),
    })
}

/// The hint for a label on a version that is not available.
const LABELS: &str = "a label needs a loaded version: name one that exists and that the version policy includes, or set \
                      --allow_version_labels_for_unavailable_models";

async fn serve(args: ServeArgs, settings: Settings, stopped: oneshot::Receiver<()>) -> Result<(), ServerError> {
    // Closing the terminal while models load does not stop the server.
    let hangup = signal(SignalKind::hangup());
    let server = Server::bind(settings)?;
    log_startup(&server, &args);
    tokio::spawn(reload_on(hangup, args, server.state().clone()));
    server
        .run(async {
            // Without a signal handler, nothing stops the server.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await
}

/// Logs what is served, where the server listens, and an example request.
fn log_startup(server: &Server, args: &ServeArgs) {
    let state = server.state();
    let version = env!("CARGO_PKG_VERSION");
    match &state.settings().models.source {
        Some(ModelSource::BasePath { name, path }) => {
            tracing::info!(version, model = name, path = %path.display(), "serving a model");
        }
        Some(ModelSource::ConfigFile { path, .. }) => {
            tracing::info!(version, config = %path.display(), "serving the models of a file");
        }
        Some(ModelSource::Catalog(catalog)) => {
            tracing::info!(version, "serving the models of {}", catalog.name());
        }
        None => {}
    }
    if let Some(traffic) = &state.settings().traffic.source {
        tracing::info!("requests without a version are split by {}", traffic.name());
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
            tracing::info!("try: curl{key} {scheme}://{host}/v1/models/{name}:predict -d '{{\"instances\": [...]}}'")
        }
        _ => tracing::info!("list the models: curl{key} {scheme}://{host}/models"),
    }
    if state.settings().http.page {
        tracing::info!("look at the models in a browser: {scheme}://{host}/");
    }
    if args.host.is_unspecified() && state.settings().security.api_key_file.is_none() {
        tracing::warn!("anyone who can reach this machine may send requests: there is no --api_key_file");
    }
    if args.rest_api_port == Port::Any {
        tracing::debug!("the operating system chose the REST port");
    }
}

/// Reloads files on SIGHUP.
async fn reload_on(hangup: io::Result<Signal>, args: ServeArgs, state: ServerState) {
    match hangup {
        Ok(mut hangup) => {
            while hangup.recv().await.is_some() {
                // Files may be on a slow network.
                block_in_place(|| reload(&args, &state));
            }
        }
        Err(error) => tracing::error!(%error, "cannot listen for SIGHUP: files are not reloaded"),
    }
}

fn reload(args: &ServeArgs, state: &ServerState) {
    tracing::info!("SIGHUP: reloading configuration, traffic rules, keys and certificates");
    let tls = files::certificates(args).unwrap_or_else(|error| {
        tracing::error!("the old certificates stay in use: {error:#}");
        None
    });
    state.reload(tls.as_ref());
}
