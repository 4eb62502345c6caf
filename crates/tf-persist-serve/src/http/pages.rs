//! Pages beside the API: health, readiness, the list of models and the page for people, which TensorFlow Serving does
//! not have, and its page of metrics.

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::page;
use super::reply::{self, Reply};
use crate::metrics::{Gauges, ShareGauge, VersionGauge, latency_limits_ms};
use crate::models::{ModelStatus, State, Version, VersionStatus};
use crate::state::ServerState;
use crate::traffic::{Traffic, TrafficStatus};

/// The pages that need no key: health checks have none, and the page at `/` asks for one.
pub(super) fn find_public(state: &ServerState, method: &Method, path: &str) -> Option<Reply> {
    if state.settings().http.page && path.split('?').next() == Some("/") {
        return Some(page::respond(method));
    }
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    match path.split('?').next()? {
        "/healthz" => Some(reply::text(StatusCode::OK, "ok\n".into())),
        "/readyz" => Some(ready(state)),
        _ => None,
    }
}

/// Whether this is the path of the page of metrics. It may be below `/v1/`.
pub(super) fn is_metrics(state: &ServerState, path: &str) -> bool {
    state.settings().metrics.prometheus_path.as_deref().is_some_and(|page| path.split('?').next() == Some(page))
}

/// The other pages.
pub(super) fn find(state: &ServerState, method: &Method, path: &str) -> Option<Reply> {
    if is_metrics(state, path) {
        return Some(metrics(state));
    }
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    match path.split('?').next()? {
        "/models" => Some(models(state)),
        "/models/metrics" => Some(model_metrics(state)),
        _ => None,
    }
}

/// Whether the server is ready for requests, and if not, which models it waits for.
pub(super) fn ready(state: &ServerState) -> Reply {
    if state.is_shutting_down() {
        return not_ready(&json!({"ready": false, "stopping": true}));
    }
    if state.models().are_ready() {
        return reply::text(StatusCode::OK, "ok\n".into());
    }
    let unready = |model: &ModelStatus| {
        !model.pending_labels.is_empty()
            || model.versions.iter().all(|version| version.state.for_clients() != State::Available)
    };
    let is_coming = |model: &ModelStatus| {
        model.versions.iter().any(|version| matches!(version.state, State::Start | State::Loading))
    };
    let mut models = state.models().list();
    // If every model answers, it is another version that is waited for.
    let is_any = models.iter().any(unready);
    models.retain(|model| if is_any { unready(model) } else { is_coming(model) });
    let waited_for: Vec<String> = models.into_iter().map(|model| model.name).collect();
    not_ready(&json!({"ready": false, "stopping": false, "waiting_for": waited_for}))
}

fn not_ready(why: &serde_json::Value) -> Reply {
    reply::json(StatusCode::SERVICE_UNAVAILABLE, json_text(why))
}

fn models(state: &ServerState) -> Reply {
    let models: Vec<_> = state.models().list().into_iter().map(|model| model_json(state, model)).collect();
    let mut page = json!({ "models": models });
    let problems = [state.models().problem(), state.traffic().and_then(Traffic::problem)];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    if !problems.is_empty() {
        page["problem"] = problems.join("; ").into();
    }
    reply::json(StatusCode::OK, json_text(&page))
}

fn model_json(state: &ServerState, model: ModelStatus) -> serde_json::Value {
    let versions: Vec<_> = model
        .versions
        .iter()
        .map(|found| {
            let error = found.error.as_ref();
            json!({
                "version": found.version.to_string(),
                "state": found.state.name(),
                "error": error.map(|error| json!({"code": error.code.name(), "message": error.message})),
                "batching": batching(state, &model.name, found.version),
                "optimization": optimization(state, &model.name, found.version),
            })
        })
        .collect();
    let labels = |labels: Vec<(String, i64)>| -> serde_json::Map<_, _> {
        labels.into_iter().map(|(label, version)| (label, version.to_string().into())).collect()
    };
    let mut page = json!({"name": model.name, "labels": labels(model.labels), "versions": versions});
    if !model.pending_labels.is_empty() {
        page["pending_labels"] = labels(model.pending_labels).into();
    }
    if let Some(problem) = model.problem {
        page["problem"] = problem.into();
    }
    if let Some(traffic) = state.traffic().and_then(|traffic| traffic.status(&model.name)) {
        page["traffic"] = traffic_json(traffic);
    }
    page
}

/// The rules of a model's traffic, and what they come to now.
fn traffic_json(traffic: TrafficStatus) -> serde_json::Value {
    let weights: serde_json::Map<_, _> =
        traffic.weights.into_iter().map(|(name, weight)| (name, weight.into())).collect();
    let versions: serde_json::Map<_, _> =
        traffic.shares.into_iter().map(|(version, share)| (version.to_string(), share.into())).collect();
    json!({"weights": weights, "shadows": traffic.shadows, "versions": versions, "pending": traffic.pending})
}

/// Whether requests of each signature share runs now, and the reason; empty for a version that is not available.
fn batching(state: &ServerState, model: &str, version: i64) -> serde_json::Map<String, serde_json::Value> {
    let Ok(servable) = state.models().find(model, &Version::Number(version)) else { return serde_json::Map::new() };
    let signature_json =
        |(name, (together, why)): (&str, (bool, String))| (name.to_owned(), json!({"together": together, "why": why}));
    servable.batching().map(signature_json).collect()
}

/// What was done to make a version faster; null for a version that is not available, and where nothing was asked for.
fn optimization(state: &ServerState, model: &str, version: i64) -> Option<serde_json::Value> {
    let servable = state.models().find(model, &Version::Number(version)).ok()?;
    let done = servable.model().optimization()?;
    Some(json!({
        "constants": done.constants,
        "simplified": done.simplified,
        "speedup": done.speedup,
        "requests": done.requests,
        "reason": done.reason,
        "remembered": done.remembered,
        "failed": done.failed,
    }))
}

/// Counts and latencies of the served models, which the page at `/` makes charts of.
fn model_metrics(state: &ServerState) -> Reply {
    let names = state.models().list().into_iter().map(|model| model.name);
    let page = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": is_ready(state),
        "requests_under_way": state.concurrency_limit().in_flight(),
        "connections": state.connections(),
        "latency_limits_ms": latency_limits_ms(),
        "models": state.metrics().summary(names),
    });
    reply::json(StatusCode::OK, json_text(&page))
}

fn is_ready(state: &ServerState) -> bool {
    !state.is_shutting_down() && state.models().are_ready()
}

fn json_text(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn metrics(state: &ServerState) -> Reply {
    let gauges = Gauges {
        connections: state.connections(),
        requests: state.concurrency_limit().in_flight(),
        ready: is_ready(state),
        versions: state.models().list().into_iter().flat_map(version_gauges).collect(),
        shares: state.traffic().map(|traffic| {
            let gauge = |(model, version, share)| ShareGauge { model, version, share };
            traffic.shares().into_iter().map(gauge).collect()
        }),
    };
    reply::text(StatusCode::OK, state.metrics().page(&gauges))
}

fn version_gauges(model: ModelStatus) -> impl Iterator<Item = VersionGauge> {
    let gauge = move |found: VersionStatus| VersionGauge {
        model: model.name.clone(),
        version: found.version,
        state: found.state.name(),
    };
    model.versions.into_iter().map(gauge)
}
