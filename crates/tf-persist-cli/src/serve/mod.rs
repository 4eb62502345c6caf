//! `tf-persist serve-local`.

pub(crate) mod args;
mod files;
mod log;
mod settings;
#[cfg(test)]
mod tests;

use anyhow::{Context, anyhow};
use clap::ArgMatches;
use tf_persist_serve::models::ModelSource;
use tf_persist_serve::{Server, ServerError, Service, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::block_in_place;

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
    if args.enable_batching == Some(false) && args.enable_per_model_batching_parameters {
        tracing::warn!("--enable_per_model_batching_parameters has no effect without --enable_batching");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("serve").build();
    let runtime = runtime.context("cannot start threads")?;
    let served = runtime.block_on(run(args, settings));
    // What was given up is not waited for.
    runtime.shutdown_background();
    if served.is_ok() {
        // Without TensorFlow's destructors: a run that was given up may go on still.
        signal_hook::low_level::exit(0);
    }
    served.map_err(|error| match error {
        ServerError::Models(status) => anyhow!("the models cannot be served: {}", status.message),
        ServerError::Listen { what: "REST", .. } => {
            anyhow!("{error}; --rest_api_port names another port, --host another address")
        }
        ServerError::Listen { .. } => anyhow!("{error}; --port names another port, --host another address"),
        ServerError::Socket { .. } => anyhow!("{error}; --grpc_socket_path names another"),
        other => anyhow!(other),
    })
}

async fn run(args: ServeArgs, settings: Settings) -> Result<(), ServerError> {
    let server = Server::bind(settings)?;
    greet(&server, &args);
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(signals(args, server.service().clone(), stop));
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
    let service = server.service();
    let version = env!("CARGO_PKG_VERSION");
    match &service.settings().models.source {
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
    if let Some(path) = &service.settings().grpc.socket {
        tracing::info!(socket = %path.display(), "gRPC");
    }
    let Some(address) = server.rest_address() else {
        tracing::info!("REST is off: --rest_api_port 8501 turns it on");
        return;
    };
    tracing::info!(%address, "REST");
    let scheme = if service.settings().guard.tls.as_ref().is_some_and(|tls| !tls.grpc_only) { "https" } else { "http" };
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    let key = if service.settings().guard.api_key_file.is_some() { " -H 'X-Api-Key: KEY'" } else { "" };
    match &service.settings().models.source {
        Some(ModelSource::BasePath { name, .. }) => {
            tracing::info!("ask: curl{key} {scheme}://{host}/v1/models/{name}:predict -d '{{\"instances\": [...]}}'")
        }
        _ => tracing::info!("the list of models: curl{key} {scheme}://{host}/models"),
    }
    if args.host.is_unspecified() && service.settings().guard.api_key_file.is_none() {
        tracing::warn!("whoever reaches this machine may ask: there is no --api_key_file");
    }
    if args.rest_api_port == Port::Any {
        tracing::debug!("the port of REST was chosen by the operating system");
    }
}

/// Listens to signals: to stop, and to read files again. The second that says stop ends the process from within its handler, whatever
/// the server's threads are doing.
async fn signals(args: ServeArgs, service: Service, stop: oneshot::Sender<()>) {
    let all = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(_)) = (all.0, all.1, all.2, Stop::on_signals())
    else {
        tracing::error!("signals cannot be listened to: the server stops when it is killed");
        return std::future::pending().await;
    };
    let name = loop {
        tokio::select! {
            () = next(&mut terminate) => break "SIGTERM",
            () = next(&mut interrupt) => break "SIGINT",
            // Files may be far away.
            () = next(&mut hangup) => block_in_place(|| reload(&args, &service)),
        }
    };
    tracing::info!(signal = name, "stopping");
    // If the server has stopped already, there is nobody to tell.
    let _ = stop.send(());
}

async fn next(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn reload(args: &ServeArgs, service: &Service) {
    tracing::info!("SIGHUP: reading configuration, keys and certificates again");
    let tls = files::certificates(args).unwrap_or_else(|error| {
        tracing::error!("the certificates stay as they were: {error:#}");
        None
    });
    service.reload(tls.as_ref());
}
