//! The HTTP client under all remote stores, and the threads that run it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, RetryConfig};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use tokio::runtime::{Builder, Runtime};

use super::progress::Progress;

/// Settings of connections to remote stores.
#[derive(Debug, Clone)]
#[must_use]
pub struct RemoteOptions {
    pub(crate) timeout: Duration,
    pub(crate) retries: usize,
    pub(crate) parallel: usize,
    pub(crate) unguarded: bool,
    pub(crate) plain_http: bool,
    pub(crate) progress: Arc<dyn Progress>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            retries: 4,
            parallel: 8,
            unguarded: false,
            plain_http: false,
            progress: Arc::new(()),
        }
    }
}

impl RemoteOptions {
    /// The time without any byte after which a request fails; by default 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a request that failed is repeated; by default 4 times, after longer and longer breaks.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// The requests at the same time; by default 8.
    pub fn parallel(mut self, parallel: usize) -> Self {
        self.parallel = parallel.clamp(1, 64);
        self
    }

    /// Also writes to stores that do not keep preconditions, where two writers at the same time do not notice each
    /// other.
    pub fn unguarded(mut self, unguarded: bool) -> Self {
        self.unguarded = unguarded;
        self
    }

    /// Talks to registries without TLS. Those on this machine are talked to so in any case.
    pub fn plain_http(mut self, plain_http: bool) -> Self {
        self.plain_http = plain_http;
        self
    }

    /// Who hears how far a transfer is.
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    pub(crate) fn retry(&self) -> RetryConfig {
        RetryConfig { max_retries: self.retries, retry_timeout: Duration::from_secs(120), ..RetryConfig::default() }
    }
}

/// The bytes of bodies that were sent and received by this process.
static SENT: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// The bytes of files that this process has sent to remote stores and received from them.
#[must_use]
pub fn traffic() -> (u64, u64) {
    (SENT.load(Ordering::Relaxed), RECEIVED.load(Ordering::Relaxed))
}

pub(crate) fn count_sent(bytes: usize) {
    SENT.fetch_add(bytes as u64, Ordering::Relaxed);
}

pub(crate) fn count_received(bytes: usize) {
    RECEIVED.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// The threads that run requests, for the whole process: they are never stopped, since that would be a panic within
/// asynchronous code.
pub(crate) fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        // The process may have another provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build()
    });
    made.as_ref().map_err(|error| std::io::Error::new(error.kind(), error.to_string()))
}

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// Within the same host, since requests carry credentials, which reqwest would forward in part.
    SameHost,
    /// To any host, without the credentials of the first, and never from HTTPS to HTTP.
    Any,
}

/// Makes clients for `object_store`.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) redirects: Redirects,
    pub(crate) timeout: Duration,
    /// Name and password for every request, until it is redirected to another host.
    pub(crate) basic: Option<(String, String)>,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let redirects = self.redirects;
        let mut headers = HeaderMap::new();
        if let Some((name, password)) = &self.basic {
            let text = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            // Base64 fits into a header.
            headers.extend(HeaderValue::from_str(&text).ok().map(|value| (AUTHORIZATION, value)));
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("tf-persist/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(move |attempt| redirect(attempt, redirects)))
            .connect_timeout(self.timeout.min(Duration::from_secs(10)))
            .read_timeout(self.timeout)
            .http1_only()
            .build();
        let failed = |error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) };
        client.map(HttpClient::new).map_err(failed)
    }
}

/// A redirect that was not followed.
#[derive(Debug, thiserror::Error)]
#[error("redirected to another host")]
pub(crate) struct NotFollowed {
    pub(crate) host: String,
}

fn redirect(attempt: Attempt<'_>, redirects: Redirects) -> Action {
    const MOST: usize = 5;
    let same = |a: &Url, b: &Url| {
        (a.scheme(), a.host(), a.port_or_known_default()) == (b.scheme(), b.host(), b.port_or_known_default())
    };
    let to = attempt.url().clone();
    let is_first = |from: &Url| same(from, &to);
    let is_allowed = attempt.previous().last().is_some_and(|from| match redirects {
        Redirects::SameHost => is_first(from),
        Redirects::Any => from.scheme() == to.scheme() || to.scheme() == "https",
    });
    if attempt.previous().len() > MOST {
        return attempt.error("too many redirects");
    }
    match is_allowed {
        true => attempt.follow(),
        false => {
            let host = format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default());
            attempt.error(NotFollowed { host })
        }
    }
}
