//! Reads the files that flags name.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use tf_persist_proto::protobuf::MessageFull;
use tf_persist_proto::protobuf::reflect::MessageDescriptor;
use tf_persist_proto::serving::monitoring_config::MonitoringConfig;
use tf_persist_proto::serving::ssl_config::SSLConfig;
use tf_persist_proto::text_format;
use tf_persist_serve::{MetricsSettings, Pem, Tls};

use super::args::{ServeArgs, given};
use crate::error::UsageError;

/// The largest of them, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The URL path of the metrics, if they are enabled.
pub(super) fn prometheus_path(file: &Path) -> anyhow::Result<Option<String>> {
    let config: MonitoringConfig = parse(file, "tensorflow.serving.MonitoringConfig")?;
    let prometheus = config.prometheus_config.into_option().unwrap_or_default();
    if !prometheus.enable {
        return Ok(None);
    }
    let path = if prometheus.path.is_empty() { MetricsSettings::DEFAULT_PATH.to_owned() } else { prometheus.path };
    if !path.starts_with('/') {
        bail!("`{}`: the path of the metrics is `{path}`, which does not begin with `/`", file.display());
    }
    Ok(Some(path))
}

/// Reads the certificates.
pub(super) fn certificates(args: &ServeArgs) -> anyhow::Result<Option<Tls>> {
    let ours = (given(&args.tls_cert), given(&args.tls_key), given(&args.tls_client_ca));
    let peers = given(&args.ssl_config_file);
    match (ours, peers) {
        ((None, None, None), None) => Ok(None),
        ((None, None, None), Some(file)) => ssl_config(file).map(Some),
        (_, Some(_)) => {
            Err(UsageError("--ssl_config_file cannot be used with --tls_cert, --tls_key and --tls_client_ca".into())
                .into())
        }
        ((Some(certificate), Some(key), authorities), None) => {
            let client_ca = authorities.map(|file| pem(file)).transpose()?;
            Ok(Some(Tls::new(pem(certificate)?, pem(key)?).client_ca(client_ca)))
        }
        _ => Err(UsageError("--tls_cert and --tls_key need each other, and --tls_client_ca needs both".into()).into()),
    }
}

fn ssl_config(file: &Path) -> anyhow::Result<Tls> {
    let config: SSLConfig = parse(file, "tensorflow.serving.SSLConfig")?;
    if config.client_verify && config.custom_ca.is_empty() {
        bail!("`{}`: client_verify needs a custom_ca, which signs the clients' certificates", file.display());
    }
    let part = |name: &str, text: String| Pem::new(format!("`{name}` of `{}`", file.display()), text);
    let tls = Tls::new(part("server_cert", config.server_cert), part("server_key", config.server_key));
    let client_ca = config.client_verify.then(|| part("custom_ca", config.custom_ca));
    Ok(tls.client_ca(client_ca).grpc_only(true))
}

fn pem(file: &Path) -> anyhow::Result<Pem> {
    Ok(Pem::new(format!("`{}`", file.display()), read(file)?))
}

/// Reads a message in text format, whose full name is `what`.
pub(super) fn parse<M: MessageFull>(file: &Path, what: &str) -> anyhow::Result<M> {
    parse_with(file, what, &[])
}

/// The same for a message with an `Any`, which may have these messages.
pub(super) fn parse_with<M: MessageFull>(
    file: &Path,
    what: &str,
    any_types: &[MessageDescriptor],
) -> anyhow::Result<M> {
    let text = read(file)?;
    let options = text_format::Options { any_types, ..Default::default() };
    let parsed = text_format::parse_with(&text, &options).map(|parsed| parsed.message);
    parsed.map_err(|error| {
        let place = format!("{}:{}", error.line, error.column);
        let message = error.message;
        anyhow!("Invalid protobuf file: '{}': no {what} in text format: {place}: {message}", file.display())
    })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("cannot read `{}`", file.display());
    let length = fs::metadata(file).with_context(context)?.len();
    if length > MAX_BYTES {
        bail!("`{}` has {length} bytes, and {MAX_BYTES} are allowed", file.display());
    }
    fs::read(file).with_context(context)
}
