//! Traces over OTLP, where OpenTelemetry's environment variables ask for them.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, bail};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use tf_persist_serve::{RequestHead, RequestTrace, RequestTracer, TracedRequest};
use tokio::runtime::Handle;

use crate::common_args::env_var;

/// The name of the service, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` has another.
const SERVICE: &str = "tf-persist";

/// The longest time for the last traces when the server ends.
const SHUTDOWN_TIME: Duration = Duration::from_secs(5);

/// The exporter, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Traces(SdkTracerProvider);

/// Begins spans of requests.
#[derive(Debug)]
struct OtelTracer {
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// The span of a request.
struct RequestSpan {
    tracer: SdkTracer,
    span: Span,
    is_grpc: bool,
}

/// Sends traces from the exporter's thread by the server's runtime.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Traces {
    /// Begins to export; `None` if the environment does not ask for it.
    ///
    /// # Errors
    /// If the environment asks for what is not supported.
    pub(super) fn from_environment(runtime: &Handle) -> anyhow::Result<Option<Self>> {
        if !is_asked_for()? {
            return Ok(None);
        }
        // A store may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build().context("cannot start the client that exports traces")?;
        let client = Client { client, runtime: runtime.clone() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.context("traces cannot be exported")?;
        let mut resource = Resource::builder();
        if env_var("OTEL_SERVICE_NAME").is_none() && !names_service() {
            resource = resource.with_service_name(SERVICE);
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = resource.with_attribute(version).build();
        Ok(Some(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())))
    }

    /// What the server tells of its requests.
    pub(super) fn tracer(&self) -> std::sync::Arc<dyn RequestTracer> {
        let propagator = TraceContextPropagator::new();
        std::sync::Arc::new(OtelTracer { tracer: self.0.tracer("tf-persist-serve"), propagator })
    }

    /// Exports the last traces. It blocks.
    pub(super) fn shut_down(self) {
        if let Err(error) = self.0.shutdown_with_timeout(SHUTDOWN_TIME) {
            tracing::warn!(%error, "the last traces are lost");
        }
    }
}

/// Whether the environment asks for traces over OTLP, in a protocol that is supported.
fn is_asked_for() -> anyhow::Result<bool> {
    let is = |name: &str, value: &str| env_var(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    let exporter = env_var("OTEL_TRACES_EXPORTER");
    let has_endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| env_var(name).is_some());
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") || (exporter.is_none() && !has_endpoint) {
        return Ok(false);
    }
    if let Some(exporter) = exporter.filter(|exporter| !exporter.eq_ignore_ascii_case("otlp")) {
        bail!(
            "OTEL_TRACES_EXPORTER is `{}`; traces are exported by `otlp`, or not at all by `none`",
            exporter.display()
        );
    }
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        if let Some(protocol) = env_var(name) {
            if !protocol.eq_ignore_ascii_case("http/protobuf") {
                bail!("{name} is `{}`; traces are exported by `http/protobuf`, on port 4318", protocol.display());
            }
            break;
        }
    }
    Ok(true)
}

/// Whether `OTEL_RESOURCE_ATTRIBUTES` has the name of the service.
fn names_service() -> bool {
    let attributes = env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    attributes.split(',').any(|attribute| attribute.trim().starts_with("service.name="))
}

impl RequestTracer for OtelTracer {
    fn begin(&self, head: RequestHead<'_>) -> Option<Box<dyn RequestTrace>> {
        let parent = self.propagator.extract_with_context(&Context::new(), &HeaderExtractor(head.headers));
        let (name, attributes) = describe(&head);
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Server).with_start_time(head.time);
        let span = self.tracer.build_with_context(builder.with_attributes(attributes), &parent);
        if !span.span_context().is_sampled() {
            return None;
        }
        Some(Box::new(RequestSpan { tracer: self.tracer.clone(), span, is_grpc: head.is_grpc }))
    }
}

/// The name and the attributes of a request's span. Names have no names of models, of which clients may invent any
/// number.
fn describe(head: &RequestHead<'_>) -> (String, Vec<KeyValue>) {
    if head.is_grpc {
        let call = head.path.trim_start_matches('/');
        let (service, method) = call.rsplit_once('/').unwrap_or(("", call));
        let attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", method.to_owned()),
        ];
        let is_known =
            service.starts_with("tensorflow.") || service.starts_with("inference.") || service.starts_with("grpc.");
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
        let is_plain = is_known && call.len() < 100 && call.bytes().all(is_name);
        return (if is_plain { call.to_owned() } else { "unknown method".to_owned() }, attributes);
    }
    let attributes = vec![
        KeyValue::new("http.request.method", head.method.to_owned()),
        KeyValue::new("url.path", head.path.to_owned()),
    ];
    (format!("{} {}", head.method, route(head.path)), attributes)
}

/// A path without names of models, versions and labels.
fn route(path: &str) -> String {
    const KNOWN: [&str; 14] = [
        "v1",
        "v2",
        "models",
        "versions",
        "labels",
        "metadata",
        "infer",
        "ready",
        "health",
        "live",
        "config",
        "stats",
        "repository",
        "monitoring",
    ];
    let mut parts = Vec::new();
    let mut after = "";
    for part in path.split('/').skip(1).take(8) {
        let (name, verb) = part.split_once(':').map_or((part, None), |(name, verb)| (name, Some(verb)));
        let is_verb = |verb: &&str| ["predict", "classify", "regress"].contains(verb);
        let is_place = matches!(after, "models" | "versions" | "labels");
        let shown = if KNOWN.contains(&name) && !is_place { name } else { "*" };
        parts.push(verb.filter(is_verb).map_or(shown.to_owned(), |verb| format!("{shown}:{verb}")));
        after = if is_place { "" } else { name };
    }
    format!("/{}", parts.join("/"))
}

impl RequestTrace for RequestSpan {
    fn end(self: Box<Self>, request: TracedRequest) {
        let Self { tracer, mut span, is_grpc } = *self;
        if let Some(model) = request.model {
            span.set_attribute(KeyValue::new("tf_persist.model", model.name));
            span.set_attribute(KeyValue::new("tf_persist.version", model.version));
            span.set_attribute(KeyValue::new("tf_persist.signature", model.signature));
        }
        match request.status {
            Some(status) => {
                let key = if is_grpc { "rpc.grpc.status_code" } else { "http.response.status_code" };
                span.set_attribute(KeyValue::new(key, i64::from(status)));
                // By OpenTelemetry's conventions, a client's error is no error of the server: of gRPC's codes, these
                // are.
                let is_error = if is_grpc { [2, 4, 12, 13, 14, 15].contains(&status) } else { status >= 500 };
                if is_error {
                    span.set_status(Status::error(""));
                }
            }
            None => span.set_status(Status::error("given up")),
        }
        let parent = Context::new().with_remote_span_context(span.span_context().clone());
        for phase in request.phases {
            let builder = tracer.span_builder(phase.name).with_kind(SpanKind::Internal).with_start_time(phase.start);
            tracer.build_with_context(builder, &parent).end_with_timestamp(phase.end);
        }
        span.end();
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        /// The longest answer that is read, in bytes.
        const MAX_ANSWER: u64 = 1 << 20;
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let is_short = answer.content_length().is_none_or(|length| length <= MAX_ANSWER);
            let body = if is_short { answer.bytes().await? } else { Bytes::new() };
            let mut response = http::Response::new(body);
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Ok::<_, HttpError>(response)
        });
        sent.await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_spans_have_no_names_of_models() {
        for (path, name) in [
            ("/v1/models/m:predict", "/v1/models/*:predict"),
            ("/v1/models/models/versions/3:classify", "/v1/models/*/versions/*:classify"),
            ("/v1/models/m/labels/versions", "/v1/models/*/labels/*"),
            ("/v1/models/m:evil", "/v1/models/*"),
            ("/v2/models/m/versions/1/infer", "/v2/models/*/versions/*/infer"),
            ("/v2/health/ready", "/v2/health/ready"),
            ("/secret", "/*"),
            ("/", "/*"),
        ] {
            assert_eq!(route(path), name, "{path}");
        }
    }
}
