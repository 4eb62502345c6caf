//! The contracts of platforms that start the server as a container and call it by routes of their own.
//!
//! - `sagemaker`: Amazon SageMaker. `sagemaker_body` turns its bodies into those of TensorFlow Serving,
//!   `sagemaker_models` loads and unloads models on request.
//! - `vertex`: Vertex AI of Google Cloud.
//! - `call`: a request of TensorFlow Serving's REST API, made from one of a platform.

mod call;
mod csv;
mod sagemaker;
mod sagemaker_body;
mod sagemaker_models;
mod vertex;

use http::request::Parts;
use hyper::body::Incoming;

use super::body;
use super::reply::{self, Reply};
use super::settings::HttpSettings;
use crate::state::ServerState;

pub use sagemaker::SageMaker;
pub use vertex::Vertex;

/// The platform that started the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Platform {
    /// Amazon SageMaker.
    SageMaker(SageMaker),
    /// Vertex AI of Google Cloud.
    Vertex(Vertex),
}

/// A route of a platform that matches a request.
pub(super) enum PlatformRoute<'a> {
    SageMaker(&'a SageMaker, sagemaker::Route),
    Vertex(&'a Vertex, vertex::Route),
}

/// The route of a request, if it is one of the platform.
pub(super) fn find<'a>(state: &'a ServerState, head: &Parts) -> Option<PlatformRoute<'a>> {
    match state.settings().http.platform.as_ref()? {
        Platform::SageMaker(contract) => {
            contract.route(head.uri.path()).map(|route| PlatformRoute::SageMaker(contract, route))
        }
        Platform::Vertex(contract) => {
            contract.route(&head.method, head.uri.path()).map(|route| PlatformRoute::Vertex(contract, route))
        }
    }
}

/// Whether `/models` is the platform's, and not the list that the page at `/` reads.
pub(crate) fn has_own_models(settings: &HttpSettings) -> bool {
    matches!(&settings.platform, Some(Platform::SageMaker(contract)) if contract.multi_model.is_some())
}

/// Answers a request of a platform. Health checks have no API key, others need one where the server has keys.
pub(super) async fn answer(state: &ServerState, route: PlatformRoute<'_>, head: &Parts, body: Incoming) -> Reply {
    let is_health = matches!(
        route,
        PlatformRoute::SageMaker(_, sagemaker::Route::Ping) | PlatformRoute::Vertex(_, vertex::Route::Health)
    );
    if !is_health && let Err(status) = state.api_keys().check(&head.headers) {
        body::drain(body).await;
        return reply::error(&status);
    }
    match route {
        PlatformRoute::SageMaker(contract, route) => contract.answer(state, route, head, body).await,
        PlatformRoute::Vertex(contract, route) => contract.answer(state, route, head, body).await,
    }
}

/// This model, else the first by name; empty if there is none.
fn model_or_first(state: &ServerState, model: Option<&String>) -> String {
    let first = || state.models().list().into_iter().next().map(|model| model.name);
    model.cloned().or_else(first).unwrap_or_default()
}
