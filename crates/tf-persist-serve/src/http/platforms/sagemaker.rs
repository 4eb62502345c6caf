//! SageMaker's contract for containers, as AWS's container for TensorFlow Serving keeps it
//! (`aws/sagemaker-tensorflow-serving-container`).

use std::sync::Arc;

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::super::body;
use super::super::reply::{self, Reply};
use super::super::routes;
use super::sagemaker_body::{ContentType, on_one_line, translate};
use super::{call, model_or_first, sagemaker_models};
use crate::api::Api;
use crate::models::{SageMakerModels, Version};
use crate::setters::setters;
use crate::state::ServerState;
use crate::status::Status;

/// The header by which a client names the model, the version and the method.
const ATTRIBUTES: &str = "X-Amzn-SageMaker-Custom-Attributes";

const JSON_LINES: HeaderValue = HeaderValue::from_static("application/jsonlines");

/// How SageMaker calls the server.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SageMaker {
    /// The model that answers requests that name none (`SAGEMAKER_TFS_DEFAULT_MODEL_NAME`). Without one, the only model
    /// does, or the first by name.
    pub default_model: Option<String>,
    /// The models that SageMaker loads and unloads while the server runs (`SAGEMAKER_MULTI_MODEL`).
    pub multi_model: Option<Arc<SageMakerModels>>,
}

/// What a request wants, as far as its path says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Route {
    Ping,
    Invocations,
    /// All models of a multi-model endpoint.
    Models,
    /// One of them.
    Model(String),
    /// A request to one of them.
    Invoke(String),
}

/// The model, the version and the method of a request.
#[derive(Debug, PartialEq, Eq)]
struct Attributes {
    model: Option<String>,
    version: Version,
    api: Api,
}

impl SageMaker {
    setters! {
        default_model: impl Into<Option<String>>,
        multi_model: impl Into<Option<Arc<SageMakerModels>>>,
    }

    pub(super) fn route(&self, path: &str) -> Option<Route> {
        match path {
            "/ping" => return Some(Route::Ping),
            "/invocations" => return Some(Route::Invocations),
            _ => {}
        }
        self.multi_model.as_ref()?;
        let rest = path.strip_prefix("/models")?;
        if rest.is_empty() || rest == "/" {
            return Some(Route::Models);
        }
        let rest = rest.strip_prefix('/')?;
        let (name, action) = rest.split_once('/').map_or((rest, ""), |(name, action)| (name, action));
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        match action {
            "" => Some(Route::Model(name)),
            "invoke" => Some(Route::Invoke(name)),
            _ => None,
        }
    }

    pub(super) async fn answer(&self, state: &ServerState, route: Route, head: &Parts, body: Incoming) -> Reply {
        let is_read = head.method == Method::GET || head.method == Method::HEAD;
        match (route, &self.multi_model) {
            (Route::Ping, _) if is_read => {
                body::drain(body).await;
                self.ping(state)
            }
            (Route::Invocations, _) if head.method == Method::POST => self.invoke(state, head, body, None).await,
            (Route::Invoke(name), Some(models)) if head.method == Method::POST => {
                if models.url(&name).is_none() {
                    body::drain(body).await;
                    return sagemaker_models::unknown(&name);
                }
                self.invoke(state, head, body, Some(name)).await
            }
            (Route::Models, Some(models)) if head.method == Method::POST => {
                sagemaker_models::load(state, models, body).await
            }
            (Route::Models, Some(models)) if is_read => {
                body::drain(body).await;
                sagemaker_models::list(state, models)
            }
            (Route::Model(name), Some(models)) if is_read || head.method == Method::DELETE => {
                body::drain(body).await;
                match head.method {
                    Method::DELETE => sagemaker_models::unload(state, models, &name).await,
                    _ => sagemaker_models::show(models, &name),
                }
            }
            (route, _) => {
                body::drain(body).await;
                method_not_allowed(&route)
            }
        }
    }

    /// Whether requests are answered: a version of the model is available, or it is an endpoint of several models,
    /// whose models come later.
    fn ping(&self, state: &ServerState) -> Reply {
        let is_stopping = state.is_shutting_down();
        let answers = self.multi_model.is_some()
            || state.models().answers(&model_or_first(state, self.default_model.as_ref()), &Version::Latest).is_ok();
        if !is_stopping && answers {
            return reply::text(StatusCode::OK, "\n".into());
        }
        // AWS's container answers so, behind nginx.
        reply::error_with_code(StatusCode::BAD_GATEWAY, "no version of the model is available yet")
    }

    /// Runs a request of the model that the URL names, or the attributes, or else the default one.
    async fn invoke(&self, state: &ServerState, head: &Parts, body: Incoming, model: Option<String>) -> Reply {
        let content_type = text(&head.headers, CONTENT_TYPE.as_str());
        let Some(kind) = ContentType::parse(&content_type) else {
            body::drain(body).await;
            let message = format!("Unsupported Media Type: {content_type}");
            return reply::error_with_code(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message);
        };
        let attributes = match Attributes::parse(&text(&head.headers, ATTRIBUTES)) {
            Ok(attributes) => attributes,
            Err(status) => {
                body::drain(body).await;
                return reply::error(&status);
            }
        };
        let Attributes { model: named, version, api } = attributes;
        let model = model.or(named).unwrap_or_else(|| model_or_first(state, self.default_model.as_ref()));
        let route = routes::Route { api, model, version };
        match call::run(state, head, &route, body, move |body| translate(body, kind, api)).await {
            Err(refused) => refused,
            Ok(answer) if text(&head.headers, ACCEPT.as_str()).contains("application/jsonlines") => {
                let mut reply = reply::json(StatusCode::OK, on_one_line(&answer));
                reply.headers_mut().insert(CONTENT_TYPE, JSON_LINES);
                reply
            }
            Ok(answer) => reply::json(StatusCode::OK, answer),
        }
    }
}

/// A header as text; empty without it.
fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn method_not_allowed(route: &Route) -> Reply {
    let (allowed, text) = match route {
        Route::Ping => (HeaderValue::from_static("GET"), "/ping takes GET"),
        Route::Invocations | Route::Invoke(_) => (HeaderValue::from_static("POST"), "an invocation takes POST"),
        Route::Models => (HeaderValue::from_static("GET, POST"), "/models takes GET and POST"),
        Route::Model(_) => (HeaderValue::from_static("GET, DELETE"), "a model takes GET and DELETE"),
    };
    let mut reply = reply::error_with_code(StatusCode::METHOD_NOT_ALLOWED, text);
    reply.headers_mut().insert(ALLOW, allowed);
    reply
}

impl Attributes {
    /// Parses `tfs-model-name=M,tfs-model-version=2,tfs-method=predict`. Other attributes are for others.
    fn parse(header: &str) -> Result<Self, Status> {
        let mut parsed = Self { model: None, version: Version::Latest, api: Api::Predict };
        for attribute in header.split(',') {
            let Some((name, value)) = attribute.split_once('=') else { continue };
            match (name.trim(), value.trim()) {
                (_, "") => {}
                ("tfs-model-name", name) => parsed.model = Some(name.to_owned()),
                ("tfs-model-version", version) => {
                    let number = version.parse().map_err(|_| {
                        Status::invalid_argument(format!("tfs-model-version is {version:?}, which is not a number"))
                    })?;
                    parsed.version = Version::Number(number);
                }
                ("tfs-method", "predict") => parsed.api = Api::Predict,
                ("tfs-method", "classify") => parsed.api = Api::Classify,
                ("tfs-method", "regress") => parsed.api = Api::Regress,
                ("tfs-method", method) => {
                    return Err(Status::invalid_argument(format!(
                        "tfs-method is {method:?}, and not predict, classify or regress"
                    )));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_several_models_need_that_mode() {
        let one = SageMaker::default();
        assert_eq!((one.route("/ping"), one.route("/invocations")), (Some(Route::Ping), Some(Route::Invocations)));
        for path in ["/models", "/models/m", "/models/m/invoke", "/", "/v1/models/m", "/ping/", "/invocations/x"] {
            assert_eq!(one.route(path), None, "{path}");
        }
        let several = SageMaker::default().multi_model(Arc::new(SageMakerModels::default()));
        let name = || "a/b c".to_owned();
        for (path, expected) in [
            ("/models", Some(Route::Models)),
            ("/models/", Some(Route::Models)),
            ("/models/a%2Fb%20c", Some(Route::Model(name()))),
            ("/models/a%2Fb%20c/invoke", Some(Route::Invoke(name()))),
            ("/models/m/other", None),
            ("/modelsx", None),
        ] {
            assert_eq!(several.route(path), expected, "{path}");
        }
    }

    #[test]
    fn attributes_name_model_version_and_method() {
        let default = Attributes { model: None, version: Version::Latest, api: Api::Predict };
        assert_eq!(Attributes::parse("").unwrap(), default);
        assert_eq!(Attributes::parse("trace=7, tfs-model-name=,x").unwrap(), default);
        let parsed = Attributes::parse("tfs-model-name=m, tfs-model-version=2,tfs-method=regress").unwrap();
        assert_eq!(parsed, Attributes { model: Some("m".into()), version: Version::Number(2), api: Api::Regress });
        assert!(Attributes::parse("tfs-model-version=two").unwrap_err().message.contains("\"two\""));
        assert!(Attributes::parse("tfs-method=explain").unwrap_err().message.contains("\"explain\""));
    }
}
