//! Requests to an MLflow server.

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::address::MlflowAddress;
use crate::error::{Result, StoreError};
use crate::remote::api::{ApiClient, MAX_ANSWER, Wanted, basic, limited, short, wait};
use crate::remote::{RemoteError, RemoteErrorKind, RemoteOptions};

/// The most bytes of an answer in JSON.
const MAX_JSON: u64 = 16 << 20;

/// What the server says about a host name that it was not told to have, with status 403.
const HOST_REFUSED: &str = "Invalid Host header";

/// An MLflow server.
#[derive(Debug)]
pub(super) struct Server {
    /// What was asked for.
    pub(super) address: MlflowAddress,
    pub(super) api: ApiClient,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Reply {
    Done(Value),
    Refused(Refusal),
}

/// The answer to a request that was not done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// MLflow's word for it, such as `RESOURCE_DOES_NOT_EXIST`; empty if the answer is not from its interface.
    pub(super) code: String,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, body: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| answer.get(key).and_then(Value::as_str).map(short).unwrap_or_default();
        // Pages in HTML say nothing more than the status does.
        let is_host = status == StatusCode::FORBIDDEN && body.starts_with(HOST_REFUSED.as_bytes());
        let message = if is_host { HOST_REFUSED.to_owned() } else { text("message") };
        Self { status, code: text("error_code"), message }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.code == "RESOURCE_DOES_NOT_EXIST"
    }

    pub(super) fn is_there_already(&self) -> bool {
        self.code == "RESOURCE_ALREADY_EXISTS"
    }

    /// Whether the same request would be refused again.
    pub(super) fn is_final(&self) -> bool {
        self.status.is_client_error() && self.status != StatusCode::TOO_MANY_REQUESTS
    }

    fn kind(&self, host: &str) -> RemoteErrorKind {
        let status = self.status;
        match status {
            StatusCode::FORBIDDEN if self.message == HOST_REFUSED => {
                RemoteErrorKind::HostRefused { host: host.to_owned() }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RemoteErrorKind::Denied { code: status.to_string() },
            _ if self.is_absent() => RemoteErrorKind::Absent,
            StatusCode::NOT_FOUND if self.code.is_empty() => {
                RemoteErrorKind::Failed { reason: "404 Not Found, so that this is not an MLflow server".to_owned() }
            }
            StatusCode::PAYLOAD_TOO_LARGE => RemoteErrorKind::Failed {
                reason: "413, so that the server, or a proxy in front of it, takes no file of this size".to_owned(),
            },
            _ if self.message.is_empty() => RemoteErrorKind::Failed { reason: status.to_string() },
            _ => RemoteErrorKind::Failed { reason: format!("{} {}: {}", status.as_u16(), self.code, self.message) },
        }
    }
}

impl Server {
    /// Sets the client up. Nothing is sent.
    pub(super) fn new(address: &MlflowAddress, options: &RemoteOptions) -> Result<Self> {
        let api = ApiClient::new(address, address.host(), &address.path(), options)?;
        let settings = |reason: &str| {
            StoreError::from(RemoteError::new(address, RemoteErrorKind::Settings { reason: reason.to_owned() }))
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(authorization) = authorization(variable).map_err(settings)?
            && !api.authorize(&authorization)
        {
            return Err(settings("MLFLOW_TRACKING_TOKEN has letters that a header cannot have"));
        }
        Ok(Self { address: address.clone(), api })
    }

    /// Asks for something, such as `api/2.0/mlflow/model-versions/get`.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply> {
        let mut url = self.api.url(path)?;
        url.query_pairs_mut().extend_pairs(query);
        self.send(Wanted::new(Method::GET, url))
    }

    /// Has something done. It is not repeated if nobody knows whether it was done, unless it may be done twice.
    pub(super) fn change(&self, method: Method, path: &str, body: &Value, may_repeat: bool) -> Result<Reply> {
        let wanted = Wanted::new(method, self.api.url(path)?)
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()));
        self.send(if may_repeat { wanted.repeated() } else { wanted })
    }

    /// Sends a request whose answer is JSON.
    fn send(&self, wanted: Wanted) -> Result<Reply> {
        wait(async {
            let response = self.api.send(&wanted).await?;
            let status = response.status();
            let limit = if status.is_success() { MAX_JSON } else { MAX_ANSWER };
            let body = limited(response, limit).await.map_err(|reason| self.api.failed(reason))?;
            if !status.is_success() {
                return Ok(Reply::Refused(Refusal::new(status, &body)));
            }
            let answer = serde_json::from_slice(&body)
                .map_err(|_| self.failed("its answer is not JSON, so that this is not an MLflow server"))?;
            Ok(Reply::Done(answer))
        })
    }

    /// The error for a request that was refused. `what` is what it was about.
    pub(super) fn refused(&self, what: impl std::fmt::Display, refusal: &Refusal) -> StoreError {
        RemoteError::new(what, refusal.kind(self.address.host())).into()
    }

    /// The error for an answer with this status and body.
    pub(super) fn refused_with(&self, what: impl std::fmt::Display, status: StatusCode, body: &[u8]) -> StoreError {
        self.refused(what, &Refusal::new(status, body))
    }

    pub(super) fn failed(&self, reason: impl Into<String>) -> StoreError {
        self.api.failed(reason.into())
    }
}

/// What requests are sent with, by the variables that MLflow's own client reads.
fn authorization(variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, &'static str> {
    let [user, password, token] =
        ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"].map(variable);
    match (user, password, token) {
        (Some(user), Some(password), _) => Ok(Some(basic(&user, &password))),
        (_, _, Some(token)) => Ok(Some(format!("Bearer {token}"))),
        (Some(_), None, None) => Err("MLFLOW_TRACKING_USERNAME is set without MLFLOW_TRACKING_PASSWORD"),
        (None, Some(_), None) => Err("MLFLOW_TRACKING_PASSWORD is set without MLFLOW_TRACKING_USERNAME"),
        (None, None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_mlflow() {
        let with = |set: &[(&str, &str)]| {
            authorization(|name| set.iter().find(|(it, _)| name.ends_with(it)).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(with(&[]), Ok(None));
        let both = [("USERNAME", "ada"), ("PASSWORD", "secret"), ("TOKEN", "t")];
        assert_eq!(with(&both).unwrap().as_deref(), Some("Basic YWRhOnNlY3JldA=="));
        assert_eq!(with(&[("USERNAME", "ada"), ("TOKEN", "t")]).unwrap().as_deref(), Some("Bearer t"));
        assert!(with(&[("USERNAME", "ada")]).is_err() && with(&[("PASSWORD", "secret")]).is_err());
    }

    #[test]
    fn refusals_are_sentences() {
        let kind = |status: u16, body: &str| {
            Refusal::new(StatusCode::from_u16(status).unwrap(), body.as_bytes()).kind("mlflow.example")
        };
        let denied = |code: &str| RemoteErrorKind::Denied { code: code.to_owned() };
        assert_eq!(kind(401, "<html>You are not authenticated</html>"), denied("401 Unauthorized"));
        assert_eq!(kind(403, "Permission denied"), denied("403 Forbidden"));
        let refused = RemoteErrorKind::HostRefused { host: "mlflow.example".to_owned() };
        assert_eq!(kind(403, "Invalid Host header - possible DNS rebinding attack detected"), refused);
        assert_eq!(kind(404, r#"{"error_code": "RESOURCE_DOES_NOT_EXIST"}"#), RemoteErrorKind::Absent);
        let RemoteErrorKind::Failed { reason } = kind(400, r#"{"error_code": "BAD", "message": "why"}"#) else {
            panic!()
        };
        assert_eq!(reason, "400 BAD: why");
        assert!(matches!(kind(404, "<html>"), RemoteErrorKind::Failed { reason } if reason.contains("not an MLflow")));
    }
}
