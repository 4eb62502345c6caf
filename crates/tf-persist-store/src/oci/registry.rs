//! Requests to a registry: authentication, redirects, repetition.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

use super::address::OciAddress;
use super::challenge::Challenge;
use super::credentials::Credentials;
use crate::error::{Result, StoreError};
use crate::remote::client::runtime;
use crate::remote::{RemoteError, RemoteErrorKind, RemoteOptions};

/// The most bytes of an error's body, and of the answer of a token service.
const MAX_ANSWER: u64 = 1 << 20;

/// The most redirects of one request.
const MAX_REDIRECTS: usize = 5;

/// What is done in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

/// A repository of a registry.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) address: OciAddress,
    client: Client,
    /// `https://HOST/v2/REPOSITORY/`.
    base: Url,
    access: Access,
    retries: usize,
    /// What requests are sent with, once the registry has asked for it.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether it may be repeated if nobody knows whether it was done.
    pub(super) repeats: bool,
}

impl Wanted {
    pub(super) fn new(method: Method, url: Url) -> Self {
        let repeats = matches!(method, Method::GET | Method::HEAD);
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), repeats }
    }

    /// Adds a header whose value has visible letters only.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    pub(super) fn repeated(mut self) -> Self {
        self.repeats = true;
        self
    }
}

impl Registry {
    /// Sets the client up. Nothing is sent.
    pub(super) fn new(address: &OciAddress, access: Access, options: &RemoteOptions) -> Result<Self> {
        let settings =
            |reason: String| StoreError::from(RemoteError::new(address, RemoteErrorKind::Settings { reason }));
        let is_local = is_loopback(address.host());
        let scheme = if is_local || options.plain_http { "http" } else { "https" };
        // Docker Hub answers at another name than its images have.
        let host = if address.host() == "docker.io" { "registry-1.docker.io" } else { address.host() };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", address.repository()));
        let base = base.map_err(|error| settings(error.to_string()))?;
        let mut builder = Client::builder()
            .user_agent(concat!("tf-persist/", env!("CARGO_PKG_VERSION")))
            // Redirects are followed here, without the credentials.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.timeout.min(Duration::from_secs(10)))
            .read_timeout(options.timeout);
        if is_local {
            builder = builder.no_proxy();
        }
        // It sets up what clients need for TLS.
        runtime().map_err(StoreError::io("start threads for", "requests"))?;
        let client = builder.build().map_err(|error| settings(error.to_string()))?;
        let address = address.clone();
        Ok(Self { address, client, base, access, retries: options.retries, authorization: Mutex::default() })
    }

    /// A place in the repository, such as `blobs/sha256:…`.
    pub(super) fn url(&self, path: &str) -> Result<Url> {
        self.base.join(path).map_err(|error| self.failed(error.to_string()))
    }

    /// Sends a request, and authenticates, follows redirects and tries again as far as that is safe.
    ///
    /// # Errors
    /// If there is no answer, or the registry does not accept the credentials. Other statuses are no errors here.
    pub(super) async fn send(&self, wanted: &Wanted) -> Result<Response> {
        let mut url = wanted.url.clone();
        let (mut is_authorized, mut redirects, mut tries) = (false, 0, 0);
        loop {
            let mut request = self.client.request(wanted.method.clone(), url.clone()).headers(wanted.headers.clone());
            if !matches!(wanted.method, Method::GET | Method::HEAD) {
                request = request.body(wanted.body.clone());
            }
            let is_own = same_origin(&url, &self.base);
            if is_own && let Some(authorization) = self.authorization() {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if tries < self.retries && (wanted.repeats || error.is_connect()) => {
                    tries += 1;
                    tokio::time::sleep(pause(tries, None)).await;
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            match response.status() {
                StatusCode::UNAUTHORIZED if is_own && !is_authorized => {
                    is_authorized = true;
                    self.authorize(response.headers()).await?;
                }
                status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                    redirects += 1;
                    url = self.redirected(wanted, &url, &response, redirects)?;
                }
                status if is_temporary(status) && wanted.repeats && tries < self.retries => {
                    tries += 1;
                    tokio::time::sleep(pause(tries, response.headers().get(RETRY_AFTER))).await;
                }
                _ => return Ok(response),
            }
        }
    }

    /// The error for an answer with another status than was hoped for. `what` is what was asked for.
    pub(super) async fn refusal(&self, what: &str, response: Response) -> StoreError {
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

    pub(super) fn failed(&self, reason: String) -> StoreError {
        RemoteError::new(&self.address, RemoteErrorKind::Failed { reason }).into()
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> StoreError {
        RemoteError::new(&self.address, RemoteErrorKind::Unreachable { reason: cause(error) }).into()
    }

    /// Whether a request that failed may be repeated after a break, which this waits for.
    pub(super) async fn waits(&self, tries: &mut usize) -> bool {
        *tries += 1;
        if *tries > self.retries {
            return false;
        }
        tokio::time::sleep(pause(*tries, None)).await;
        true
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn redirected(&self, wanted: &Wanted, url: &Url, response: &Response, redirects: usize) -> Result<Url> {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let Some(to) = location.and_then(|location| url.join(location).ok()) else {
            return Err(self.failed("it redirects to nowhere".to_owned()));
        };
        if redirects > MAX_REDIRECTS {
            return Err(self.failed("it redirects again and again".to_owned()));
        }
        let is_read = matches!(wanted.method, Method::GET | Method::HEAD);
        let is_safe = to.scheme() == "https" || (to.scheme() == "http" && url.scheme() == "http");
        if !is_safe || !(is_read || same_origin(&to, url)) {
            let host = format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default());
            return Err(RemoteError::new(&self.address, RemoteErrorKind::Redirected { host }).into());
        }
        Ok(to)
    }

    /// Whether the registry may send an upload there: to itself, or to any host with TLS.
    pub(super) fn may_upload_to(&self, url: &Url) -> bool {
        url.scheme() == "https" || same_origin(url, &self.base)
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
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| denied("the token is not valid"))?;
        value.set_sensitive(true);
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    /// A token of the service that a registry names.
    async fn token(&self, challenge: &Challenge, credentials: Option<&Credentials>) -> Result<String> {
        let realm = challenge.get("realm").and_then(|realm| Url::parse(realm).ok());
        let Some(mut realm) = realm else { return Err(self.failed("it names no token service".to_owned())) };
        // Credentials go there.
        if realm.scheme() != "https" && self.base.scheme() == "https" {
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
                self.client.post(realm).header("Content-Type", "application/x-www-form-urlencoded").body(form)
            }
            Some(Credentials::Password { user, password }) => {
                parameters.push(("account", user));
                realm.query_pairs_mut().extend_pairs(&parameters);
                self.client.get(realm).header(AUTHORIZATION, basic(user, password))
            }
            _ => {
                realm.query_pairs_mut().extend_pairs(&parameters);
                self.client.get(realm)
            }
        };
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
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

/// Whether two addresses belong to the same server.
fn same_origin(a: &Url, b: &Url) -> bool {
    (a.scheme(), a.host(), a.port_or_known_default()) == (b.scheme(), b.host(), b.port_or_known_default())
}

/// Whether a host is this machine, where registries have no certificates.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Statuses that may be others a moment later.
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before the next try: longer and longer, or as long as the server says, up to a minute.
fn pause(tries: usize, retry_after: Option<&HeaderValue>) -> Duration {
    let said = retry_after.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match said {
        Some(seconds) => Duration::from_secs(seconds.min(60)),
        None => Duration::from_millis(100 << tries.min(6)),
    }
}

/// The bytes of a body.
pub(super) async fn limited(mut response: Response, limit: u64) -> Result<Bytes, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 <= limit => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("its answer has more than {limit} bytes")),
            Ok(None) => return Ok(body.into()),
            Err(error) => return Err(cause(&error)),
        }
    }
}

/// The innermost cause of an error, without the address, which may have a signature in it.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

/// A text of a server for a message.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    text.chars().take(MOST).collect()
}
