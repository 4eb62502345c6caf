//! Vertex AI's contract for containers ("Custom container requirements" of its documentation).

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;

use super::super::json::signature_parameter;
use super::super::reply::{self, Reply};
use super::super::{body, pages, routes};
use super::{call, model_or_first};
use crate::api::Api;
use crate::models::Version;
use crate::setters::setters;
use crate::state::ServerState;
use crate::status::Status;

/// The routes that Vertex AI calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vertex {
    /// The path of health checks (`AIP_HEALTH_ROUTE`).
    pub health_route: String,
    /// The path of predictions (`AIP_PREDICT_ROUTE`).
    pub predict_route: String,
    /// The model that answers them; `None` for the only model, or the first by name.
    pub model: Option<String>,
}

impl Default for Vertex {
    fn default() -> Self {
        Self { health_route: "/health".into(), predict_route: "/predict".into(), model: None }
    }
}

/// What a request wants.
pub(in crate::http) enum Route {
    Health,
    Predict,
}

impl Vertex {
    setters! { health_route: impl Into<String>, predict_route: impl Into<String>, model: impl Into<Option<String>> }

    pub(super) fn route(&self, method: &Method, path: &str) -> Option<Route> {
        let is_read = method == Method::GET || method == Method::HEAD;
        if is_read && path == self.health_route {
            Some(Route::Health)
        } else if method == Method::POST && path == self.predict_route {
            Some(Route::Predict)
        } else {
            None
        }
    }

    pub(super) async fn answer(&self, state: &ServerState, route: Route, head: &Parts, body: Incoming) -> Reply {
        match route {
            Route::Health => {
                body::drain(body).await;
                pages::ready(state)
            }
            Route::Predict => {
                let model = model_or_first(state, self.model.as_ref());
                let route = routes::Route { api: Api::Predict, model, version: Version::Latest };
                match call::run(state, head, &route, body, translate).await {
                    Ok(answer) => reply::json(StatusCode::OK, answer),
                    Err(refused) => refused,
                }
            }
        }
    }
}

/// A request of Vertex AI as one of TensorFlow Serving: parameters become members of the body.
fn translate(body: Bytes) -> Result<Bytes, Status> {
    let Some(signature) = signature_parameter(&body)? else { return Ok(body) };
    let open = body.iter().position(|byte| *byte == b'{').map_or(0, |open| open + 1);
    let (before, after) = body.split_at(open);
    let name = serde_json::Value::from(signature).to_string();
    // An object without further members has no parameters, so one follows.
    Ok([before, b"\"signature_name\":", name.as_bytes(), b",", after].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(body: &'static str) -> Result<String, Status> {
        translate(Bytes::from_static(body.as_bytes())).map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_signature_of_the_parameters_is_that_of_the_request() {
        let plain = r#"{"instances": [1]}"#;
        assert_eq!(translated(plain).unwrap(), plain);
        let body = r#" {"instances": [1], "parameters": {"signature_name": "a\"b"}}"#;
        let expected = r#" {"signature_name":"a\"b","instances": [1], "parameters": {"signature_name": "a\"b"}}"#;
        assert_eq!(translated(body).unwrap(), expected);
        assert!(translated(r#"{"instances": [1], "parameters": {"temperature": 1}}"#).is_err());
    }

    #[test]
    fn only_its_routes_are_matched() {
        let vertex = Vertex::default().health_route("/h").predict_route("/v1/endpoints/1/deployedModels/2:predict");
        let found = |method: Method, path: &str| match vertex.route(&method, path) {
            Some(Route::Health) => "health",
            Some(Route::Predict) => "predict",
            None => "",
        };
        assert_eq!(found(Method::GET, "/h"), "health");
        assert_eq!(found(Method::POST, "/v1/endpoints/1/deployedModels/2:predict"), "predict");
        assert_eq!(found(Method::GET, "/v1/endpoints/1/deployedModels/2:predict"), "");
        assert_eq!((found(Method::POST, "/h"), found(Method::GET, "/h/")), ("", ""));
    }
}
