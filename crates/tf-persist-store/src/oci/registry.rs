//! Requests to a registry: what it wants to see, and what its errors mean.

use reqwest::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use super::address::OciAddress;
use super::challenge::Challenge;
use super::credentials::Credentials;
use crate::error::{Result, StoreError};
use crate::remote::api::{ApiClient, MAX_ANSWER, Wanted, basic, limited, short};
use crate::remote::{RemoteError, RemoteErrorKind, RemoteOptions};

/// What is done in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// A repository of a registry.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) address: OciAddress,
    api: ApiClient,
    access: Access,
}

impl Registry {
    /// Sets the client up. Nothing is sent.
    pub(crate) fn new(address: &OciAddress, access: Access, options: &RemoteOptions) -> Result<Self> {
        // Docker Hub answers at another name than its images have.
        let host = if address.host() == "docker.io" { "registry-1.docker.io" } else { address.host() };
        let api = ApiClient::new(address, host, &format!("/v2/{}/", address.repository()), options)?;
        Ok(Self { address: address.clone(), api, access })
    }

    /// A place in the repository, such as `blobs/sha256:…`.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        self.api.url(path)
    }

    /// How often a request that failed is repeated.
    pub(crate) fn retries(&self) -> usize {
        self.api.retries()
    }

    /// Sends a request, and authenticates, follows redirects and tries again as far as that is safe.
    ///
    /// # Errors
    /// If there is no answer, or the registry does not accept the credentials. Other statuses are no errors here.
    pub(crate) async fn send(&self, wanted: &Wanted) -> Result<Response> {
        let response = self.api.send(wanted).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.api.is_own(response.url()) {
            return Ok(response);
        }
        self.authorize(response.headers()).await?;
        self.api.send(wanted).await
    }

    /// The error for an answer with another status than was hoped for. `what` is what was asked for.
    pub(crate) async fn refusal(&self, what: &str, response: Response) -> StoreError {
        let status = response.status();
        let body = limited(response, MAX_ANSWER).await.unwrap_or_default();
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |key: &str| answer.pointer(&format!("/errors/0/{key}")).and_then(Value::as_str).map(short);
        let code = text("code").unwrap_or_default();
        let reason = match text("message").filter(|message| !message.is_empty()) {
            Some(message) => format!("{} {code}: {message}", status.as_u16()),
            None => format!("{status} {code}"),
        };
        let kind = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RemoteErrorKind::Denied { code: if code.is_empty() { status.to_string() } else { code } }
            }
            StatusCode::NOT_FOUND => RemoteErrorKind::Absent,
            _ => RemoteErrorKind::Failed { reason: reason.trim_end().to_owned() },
        };
        RemoteError::new(what, kind).into()
    }

    pub(crate) fn failed(&self, reason: String) -> StoreError {
        self.api.failed(reason)
    }

    /// Whether a request that failed may be repeated after a break, which this waits for.
    pub(crate) async fn waits(&self, tries: &mut usize) -> bool {
        self.api.waits(tries).await
    }

    /// Whether the registry may send an upload there: to itself, or to any host with TLS.
    pub(crate) fn may_upload_to(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.api.is_own(url)
    }

    /// Gets what the registry wants to see.
    async fn authorize(&self, headers: &HeaderMap) -> Result<()> {
        let denied = |code: &str| {
            StoreError::from(RemoteError::new(&self.address, RemoteErrorKind::Denied { code: code.to_owned() }))
        };
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|header| header.to_str().ok());
        let challenges: Vec<Challenge> = challenges.flat_map(Challenge::parse).collect();
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let credentials = Credentials::of_host(self.address.host())?;
        let authorization = match (of("bearer"), of("basic"), &credentials) {
            (_, _, Some(Credentials::Bearer(token))) => format!("Bearer {token}"),
            (Some(challenge), _, credentials) => {
                format!("Bearer {}", self.token(challenge, credentials.as_ref()).await?)
            }
            (None, Some(_), Some(Credentials::Password { user, password })) => basic(user, password),
            (None, Some(_), _) => return Err(denied("no credentials in docker's `config.json`")),
            _ => return Err(denied("it wants another kind of authentication than Bearer or Basic")),
        };
        match self.api.authorize(&authorization) {
            true => Ok(()),
            false => Err(denied("the token is not valid")),
        }
    }

    /// A token of the service that a registry names.
    async fn token(&self, challenge: &Challenge, credentials: Option<&Credentials>) -> Result<String> {
        let realm = challenge.get("realm").and_then(|realm| Url::parse(realm).ok());
        let Some(mut realm) = realm else { return Err(self.failed("it names no token service".to_owned())) };
        // Credentials go there.
        if realm.scheme() != "https" && self.api.base().scheme() == "https" {
            let host = format!("{}://{}", realm.scheme(), realm.host_str().unwrap_or_default());
            return Err(RemoteError::new(&self.address, RemoteErrorKind::Redirected { host }).into());
        }
        let actions = if self.access == Access::Push { "pull,push" } else { "pull" };
        let own_scope = format!("repository:{}:{actions}", self.address.repository());
        // The scope of the challenge is that of one request; both are of this repository.
        let mut parameters = vec![("scope", own_scope.as_str())];
        if let Some(service) = challenge.get("service") {
            parameters.push(("service", service));
        }
        let request = match credentials {
            Some(Credentials::Refresh(token)) => {
                parameters.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "tf-persist"),
                    ("refresh_token", token.as_str()),
                ]);
                let mut form = realm.clone();
                form.set_query(None);
                form.query_pairs_mut().extend_pairs(&parameters);
                let form = form.query().unwrap_or_default().to_owned();
                self.api.client().post(realm).header("Content-Type", "application/x-www-form-urlencoded").body(form)
            }
            Some(Credentials::Password { user, password }) => {
                parameters.push(("account", user));
                realm.query_pairs_mut().extend_pairs(&parameters);
                self.api.client().get(realm).header(AUTHORIZATION, basic(user, password))
            }
            _ => {
                realm.query_pairs_mut().extend_pairs(&parameters);
                self.api.client().get(realm)
            }
        };
        let response = request.send().await.map_err(|error| self.api.unreachable(&error))?;
        if !response.status().is_success() {
            let what = format!("{}, by its token service", self.address);
            return Err(self.refusal(&what, response).await);
        }
        let answer = limited(response, MAX_ANSWER).await.map_err(|reason| self.failed(reason))?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let token = ["token", "access_token"].into_iter().find_map(|key| answer.get(key)?.as_str());
        match token {
            Some(token) if !token.is_empty() => Ok(token.to_owned()),
            _ => Err(self.failed("its token service gives no token".to_owned())),
        }
    }
}
