//! Requests to servers that keep models: credentials, redirects, repetition.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::client::{RemoteOptions, runtime};
use super::error::{RemoteError, RemoteErrorKind};
use super::file_body::FileBody;
use crate::error::{Result, StoreError};

/// The most bytes of an error's body, and of other short answers.
pub(crate) const MAX_ANSWER: u64 = 1 << 20;

/// The most redirects of one request.
const MAX_REDIRECTS: usize = 5;

/// A client of one server. Only that server gets the credentials.
#[derive(Debug)]
pub(crate) struct ApiClient {
    /// What it is for, in messages.
    place: String,
    client: Client,
    base: Url,
    retries: usize,
    /// What requests are sent with.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Payload,
    /// Whether it may be repeated if nobody knows whether it was done.
    repeats: bool,
}

/// The body of a request.
#[derive(Debug, Clone)]
enum Payload {
    Bytes(Bytes),
    File(FileBody),
}

impl Wanted {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        let repeats = matches!(method, Method::GET | Method::HEAD);
        Self { method, url, headers: HeaderMap::new(), body: Payload::Bytes(Bytes::new()), repeats }
    }

    /// Adds a header whose value has visible letters only.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = Payload::Bytes(body);
        self
    }

    pub(crate) fn file(mut self, file: FileBody) -> Self {
        // The body is a stream, which would be sent in chunks, and not every server takes these.
        self.headers.insert(CONTENT_LENGTH, HeaderValue::from(file.size()));
        self.body = Payload::File(file);
        self
    }

    pub(crate) fn repeated(mut self) -> Self {
        self.repeats = true;
        self
    }
}

impl ApiClient {
    /// Sets the client up. Nothing is sent. `path` begins and ends with `/`.
    pub(crate) fn new(place: impl Display, host: &str, path: &str, options: &RemoteOptions) -> Result<Self> {
        let settings =
            |reason: String| StoreError::from(RemoteError::new(&place, RemoteErrorKind::Settings { reason }));
        let is_local = is_loopback(host);
        let scheme = if is_local || options.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}{path}")).map_err(|error| settings(error.to_string()))?;
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
        Ok(Self { place: place.to_string(), client, base, retries: options.retries, authorization: Mutex::default() })
    }

    /// Where the server's interface is.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn retries(&self) -> usize {
        self.retries
    }

    /// A place below the base, such as `blobs/sha256:…`.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        self.base.join(path).map_err(|error| self.failed(error.to_string()))
    }

    /// Whether an address is one of the server, and not of another that it redirected to.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        same_origin(url, &self.base)
    }

    /// Sends requests to the server with this `Authorization` from now on. `false` if it cannot be a header.
    pub(crate) fn authorize(&self, authorization: &str) -> bool {
        let Ok(mut value) = HeaderValue::from_str(authorization) else { return false };
        value.set_sensitive(true);
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        true
    }

    /// Sends a request, follows redirects, and tries again as far as that is safe.
    ///
    /// # Errors
    /// If there is no answer. Statuses are no errors here.
    pub(crate) async fn send(&self, wanted: &Wanted) -> Result<Response> {
        let mut url = wanted.url.clone();
        let (mut redirects, mut tries) = (0, 0);
        loop {
            let mut request = self.client.request(wanted.method.clone(), url.clone()).headers(wanted.headers.clone());
            if !matches!(wanted.method, Method::GET | Method::HEAD) {
                request = match &wanted.body {
                    Payload::Bytes(bytes) => request.body(bytes.clone()),
                    Payload::File(file) => request.body(file.open()?),
                };
            }
            if self.is_own(&url)
                && let Some(authorization) = self.authorization()
            {
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

    pub(crate) fn failed(&self, reason: String) -> StoreError {
        RemoteError::new(&self.place, RemoteErrorKind::Failed { reason }).into()
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> StoreError {
        RemoteError::new(&self.place, RemoteErrorKind::Unreachable { reason: cause(error) }).into()
    }

    /// Whether a request that failed may be repeated after a break, which this waits for.
    pub(crate) async fn waits(&self, tries: &mut usize) -> bool {
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
            return Err(RemoteError::new(&self.place, RemoteErrorKind::Redirected { host }).into());
        }
        Ok(to)
    }
}

/// Whether two addresses belong to the same server.
fn same_origin(a: &Url, b: &Url) -> bool {
    (a.scheme(), a.host(), a.port_or_known_default()) == (b.scheme(), b.host(), b.port_or_known_default())
}

/// Whether the text of an address is a name or address of a host, and perhaps a port.
pub(crate) fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => (name, port.strip_prefix(':').or_else(|| port.is_empty().then_some("0"))),
        None => host.split_once(':').map_or((host, Some("0")), |(name, port)| (name, Some(port))),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !name.is_empty() && name.bytes().all(is_name) && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Whether a host is this machine, where servers have no certificates.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The `Authorization` of a user.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Statuses that may be others a moment later.
fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before the next try: longer and longer, or as long as the server says, up to a minute.
pub(crate) fn pause(tries: usize, retry_after: Option<&HeaderValue>) -> Duration {
    let said = retry_after.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match said {
        Some(seconds) => Duration::from_secs(seconds.min(60)),
        None => Duration::from_millis(100 << tries.min(6)),
    }
}

/// The bytes of a body.
pub(crate) async fn limited(mut response: Response, limit: u64) -> Result<Bytes, String> {
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
pub(crate) fn cause(error: &reqwest::Error) -> String {
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
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 200;
    text.chars().take(MOST).collect()
}

/// Waits for requests.
pub(crate) fn wait<T>(requests: impl Future<Output = Result<T>>) -> Result<T> {
    runtime().map_err(StoreError::io("start threads for", "requests"))?.block_on(requests)
}
