//! Credentials of registries, as docker keeps them.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{Result, StoreError};

/// The most bytes of the file.
const MAX_FILE: u64 = 16 << 20;

/// The key of Docker Hub in the file, and what helpers are asked for.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What a registry knows somebody by. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// A token for which the registry's token service gives others.
    Refresh(String),
    /// A token that the registry itself takes.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Refresh(_) => "Refresh",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl Credentials {
    /// Those for a registry in `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, or from the helper that the
    /// file names. None if there are none.
    ///
    /// # Errors
    /// If the file cannot be read, or the helper fails.
    pub(super) fn of_host(host: &str) -> Result<Option<Self>> {
        let folder = std::env::var_os("DOCKER_CONFIG").filter(|it| !it.is_empty()).map(PathBuf::from);
        let home =
            || std::env::var_os("HOME").filter(|it| !it.is_empty()).map(|home| PathBuf::from(home).join(".docker"));
        let Some(folder) = folder.or_else(home) else { return Ok(None) };
        let path = folder.join("config.json");
        let Some(bytes) = crate::durable::read(&path, MAX_FILE)? else { return Ok(None) };
        // Its text is not shown: it has secrets.
        let config: Value = serde_json::from_slice(&bytes).map_err(|_| StoreError::damaged(&path, "it is not JSON"))?;
        let damaged = |reason: String| StoreError::damaged(&path, reason);
        if let Some(helper) = helper(&config, host) {
            return ask(helper, host).map_err(damaged);
        }
        Self::in_file(&config, host).map_err(damaged)
    }

    /// Those that the file itself has.
    fn in_file(config: &Value, host: &str) -> Result<Option<Self>, String> {
        let Some(entries) = config.get("auths").and_then(Value::as_object) else { return Ok(None) };
        let Some((_, entry)) = entries.iter().find(|(key, _)| is_of(key, host)) else { return Ok(None) };
        let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Self::Refresh(token.to_owned())));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Self::Bearer(token.to_owned())));
        }
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Ok(Some(Self::Password { user: user.to_owned(), password: password.to_owned() }));
        }
        let Some(encoded) = text("auth") else { return Ok(None) };
        let invalid = || format!("its `auth` of `{host}` is not a user and a password in base64");
        let decoded = STANDARD.decode(encoded).map_err(|_| invalid())?;
        let decoded = String::from_utf8(decoded).map_err(|_| invalid())?;
        let (user, password) = decoded.trim_end_matches('\0').split_once(':').ok_or_else(invalid)?;
        Ok(Some(Self::Password { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// Whether a key of the file is of a registry: a host, perhaps with a scheme and a path.
fn is_of(key: &str, host: &str) -> bool {
    let key_host =
        key.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or_default();
    key_host == host || (host == "docker.io" && (key == DOCKER_HUB || key_host == "index.docker.io"))
}

/// The helper for a registry.
fn helper<'a>(config: &'a Value, host: &str) -> Option<&'a str> {
    let own = config.get("credHelpers").and_then(Value::as_object);
    let own =
        own.and_then(|helpers| helpers.iter().find(|(key, _)| is_of(key, host))).and_then(|(_, name)| name.as_str());
    own.or_else(|| config.get("credsStore")?.as_str()).filter(|name| !name.is_empty())
}

/// Runs `docker-credential-NAME get`.
fn ask(name: &str, host: &str) -> Result<Option<Credentials>, String> {
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err("it names a credential helper that is no plain name".to_owned());
    }
    let program = format!("docker-credential-{name}");
    let failed = |reason: String| format!("its credential helper `{program}` {reason}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(format!("cannot be run: {error}")))?;
    let wanted = if host == "docker.io" { DOCKER_HUB } else { host };
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input fails below.
        let _ = input.write_all(wanted.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // "credentials not found in native keychain": there are none, which is how a public image is read.
        let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
        return if said.contains("not found") { Ok(None) } else { Err(failed("failed".to_owned())) };
    }
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|_| failed("does not answer in JSON".into()))?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(match (text("Username"), text("Secret")) {
        (Some(user), Some(secret)) if user == "<token>" => Some(Credentials::Refresh(secret)),
        (Some(user), Some(password)) => Some(Credentials::Password { user, password }),
        _ => return Err(failed("answers without `Username` and `Secret`".into())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_of_the_file() {
        let config = json!({"auths": {
            "localhost:5000": {"auth": STANDARD.encode("ada:pass:word")},
            "https://ghcr.io/v2/": {"username": "bob", "password": "x"},
            "https://index.docker.io/v1/": {"identitytoken": "t"},
            "broken": {"auth": "!"},
            "empty": {},
        }});
        let of = |host: &str| Credentials::in_file(&config, host);
        let password =
            |user: &str, password: &str| Credentials::Password { user: user.into(), password: password.into() };
        assert_eq!(of("localhost:5000").unwrap(), Some(password("ada", "pass:word")));
        assert_eq!(of("ghcr.io").unwrap(), Some(password("bob", "x")));
        assert_eq!(of("docker.io").unwrap(), Some(Credentials::Refresh("t".into())));
        assert_eq!((of("empty").unwrap(), of("localhost").unwrap(), of("io").unwrap()), (None, None, None));
        assert!(of("broken").unwrap_err().contains("base64"));
        assert_eq!(format!("{:?}", of("ghcr.io").unwrap().unwrap()), "Password");
    }

    #[test]
    fn helpers() {
        let config = json!({"credsStore": "desktop", "credHelpers": {"ghcr.io": "gh"}});
        assert_eq!((helper(&config, "ghcr.io"), helper(&config, "quay.io")), (Some("gh"), Some("desktop")));
        assert_eq!(helper(&json!({}), "ghcr.io"), None);
        assert!(ask("../sh", "ghcr.io").unwrap_err().contains("no plain name"));
        assert!(ask("of-nobody", "ghcr.io").unwrap_err().contains("cannot be run"));
    }
}
