//! A client for two pages of a server on the same network, over plain HTTP.

use std::time::Duration;

use serde_json::Value;
use ureq::http::Uri;

use super::Page;
use crate::error::{LoopError, Result};

/// The most bytes of an answer.
const MAX_ANSWER: u64 = 16 << 20;

/// The time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Without a slash at the end.
    url: String,
}

impl Server {
    /// The server at a URL. The error is a clause.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let invalid = |reason: &str| format!("the server `{url}` {reason}");
        let odd = || invalid("is not an address, such as http://127.0.0.1:8501");
        let address: Uri = url.parse().map_err(|_| odd())?;
        if address.scheme_str() != Some("http") {
            return Err(invalid("does not begin with `http://`"));
        }
        let is_host = address.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !is_host || address.path() != "/" || address.query().is_some() {
            return Err(odd());
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned() })
    }

    /// What `GET /models` says of a model.
    pub(crate) fn model(&self, name: &str) -> Result<Value> {
        let text = self.get("/models")?;
        let page: Value = serde_json::from_slice(&text)
            .map_err(|error| self.failed(&format!("answers `/models` with what is no JSON: {error}")))?;
        let models = page.get("models").and_then(Value::as_array).into_iter().flatten();
        let found = models.into_iter().find(|model| model.get("name").and_then(Value::as_str) == Some(name));
        found.cloned().ok_or_else(|| self.failed(&format!("does not serve the model `{name}`")))
    }

    /// The page of metrics.
    pub(crate) fn metrics(&self, path: &str) -> Result<Page> {
        let text = self.get(path)?;
        Ok(Page::parse(&String::from_utf8_lossy(&text)))
    }

    fn failed(&self, what: &str) -> LoopError {
        LoopError::Other(format!("the server `{}` {what}", self.url))
    }

    /// The body of a page.
    fn get(&self, path: &str) -> Result<Vec<u8>> {
        // The server is one that the configuration names: no proxy of the environment is asked.
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None);
        let agent = config.build().new_agent();
        let failed = |error: ureq::Error| self.failed(&format!("does not answer: {error}"));
        let mut answer = agent.get(format!("{}{path}", self.url)).call().map_err(failed)?;
        match answer.status().as_u16() {
            200 => answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed),
            status => Err(self.failed(&format!("answers `{path}` with {status}"))),
        }
    }
}
