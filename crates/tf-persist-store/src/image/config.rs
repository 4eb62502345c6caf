//! The config of an image: how it is started, and on which layers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What an image runs on, in the words of Go, which OCI uses: `linux/amd64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
}

impl Platform {
    /// The platform of this program.
    #[must_use]
    pub fn of_this_program() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
        Self { os: os.to_owned(), architecture: architecture.to_owned() }
    }

    /// Such as `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Such as `amd64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl FromStr for Platform {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match text.split_once('/') {
            Some((os, architecture)) if is_word(os) && is_word(architecture) => {
                Ok(Self { os: os.to_owned(), architecture: architecture.to_owned() })
            }
            _ => Err("not a platform, such as `linux/amd64`"),
        }
    }
}

/// How a running image is asked for its health. It is Docker's extension of OCI's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// A program of the image and its arguments.
    pub command: Vec<String>,
    /// The time between two checks.
    pub interval: Duration,
    /// The time for one check.
    pub timeout: Duration,
    /// The time during which failures do not count.
    pub start_period: Duration,
    /// The failures in a row after which the container is not healthy.
    pub retries: u32,
}

/// How an image is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The user and the group, as numbers: a cluster can only tell from a number that it is not root.
    pub user: String,
    /// Such as `8501/tcp`.
    pub ports: Vec<String>,
    /// Environment variables.
    pub variables: Vec<(String, String)>,
    /// A folder at the end of `PATH`.
    pub path: Option<String>,
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments, which whoever starts the image may replace.
    pub arguments: Vec<String>,
    /// Names and values that tools show.
    pub labels: BTreeMap<String, String>,
    /// How the image is asked for its health.
    pub healthcheck: Option<Healthcheck>,
}

/// The config of an image on a base, or on nothing. `layers` are diff ids and what made them. An error is a reason why
/// the base cannot be one.
pub(super) fn config(
    base: Option<(Value, usize)>,
    own: &ImageConfig,
    platform: &Platform,
    created: Timestamp,
    layers: &[(String, String)],
) -> Result<Value, String> {
    let (mut config, base_layers) = match base {
        Some((config, layers)) => {
            check_platform(&config, platform)?;
            (config, layers)
        }
        None => (json!({"architecture": platform.architecture(), "os": platform.os()}), 0),
    };
    let Some(object) = config.as_object_mut() else { return Err("its config is not an object".to_owned()) };
    object.insert("created".to_owned(), created.to_string().into());
    let run = object.entry("config").or_insert(Value::Null);
    if run.is_null() {
        *run = json!({});
    }
    let Some(run) = run.as_object_mut() else { return Err("its `config` is not an object".to_owned()) };
    merge(run, own)?;
    add_layers(object, base_layers, layers)?;
    let history = object.entry("history").or_insert(Value::Null);
    if !history.is_array() {
        *history = json!([]);
    }
    if let Some(history) = history.as_array_mut() {
        let created = created.to_string();
        history.extend(layers.iter().map(|(_, by)| json!({"created": created, "created_by": by})));
    }
    Ok(config)
}

fn check_platform(config: &Value, platform: &Platform) -> Result<(), String> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let (os, architecture) = (text("os"), text("architecture"));
    match (os.as_str(), architecture.as_str()) == (platform.os(), platform.architecture()) {
        true => Ok(()),
        false => Err(format!("it is for {os}/{architecture}, and {platform} is needed")),
    }
}

/// Adds diff ids to those of the base.
fn add_layers(config: &mut Map<String, Value>, base: usize, layers: &[(String, String)]) -> Result<(), String> {
    let rootfs = config.entry("rootfs").or_insert_with(|| json!({"type": "layers", "diff_ids": []}));
    let Some(ids) = rootfs.get_mut("diff_ids").and_then(Value::as_array_mut) else {
        return Err("its config has no `rootfs` for its layers".to_owned());
    };
    if ids.len() != base {
        return Err(format!("its manifest has {base} layers, and its config {}", ids.len()));
    }
    if let Some(other) = ids.iter().find(|id| !id.as_str().is_some_and(is_digest)) {
        return Err(format!("its config has {other} for a layer, which is not a SHA-256"));
    }
    ids.extend(layers.iter().map(|(id, _)| Value::from(format!("sha256:{id}"))));
    Ok(())
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(crate::oci::address::is_sha256)
}

/// Ours in the place of what the base has, except for what adds up: variables, ports, labels.
fn merge(run: &mut Map<String, Value>, own: &ImageConfig) -> Result<(), String> {
    run.insert("User".to_owned(), own.user.as_str().into());
    run.insert("Entrypoint".to_owned(), own.entrypoint.clone().into());
    run.insert("Cmd".to_owned(), own.arguments.clone().into());
    run.insert("StopSignal".to_owned(), "SIGTERM".into());
    // What a build on the base would do; an image that is finished has none.
    run.remove("OnBuild");
    let environment = environment(run.get("Env"), own)?;
    run.insert("Env".to_owned(), environment.into());
    run.entry("WorkingDir").or_insert_with(|| "/".into());
    for (key, added) in [
        ("ExposedPorts", own.ports.iter().map(|port| (port.clone(), json!({}))).collect::<Map<_, _>>()),
        ("Labels", own.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()),
    ] {
        let known = run.entry(key).or_insert(Value::Null);
        if known.is_null() {
            *known = json!({});
        }
        let Some(known) = known.as_object_mut() else { return Err(format!("its `{key}` is not an object")) };
        known.extend(added);
    }
    match &own.healthcheck {
        Some(check) => run.insert("Healthcheck".to_owned(), healthcheck(check)),
        // That of the base asks for a server that does not run.
        None => run.remove("Healthcheck"),
    };
    Ok(())
}

/// The variables of the base, those of ours with the same name replaced.
fn environment(base: Option<&Value>, own: &ImageConfig) -> Result<Vec<String>, String> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => value.clone_into(known),
        None => variables.push((name.to_owned(), value.to_owned())),
    };
    let listed = match base {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err("its `Env` is not a list".to_owned()),
    };
    let mut path = None;
    for variable in listed {
        let Some((name, value)) = variable.as_str().and_then(|text| text.split_once('=')) else {
            return Err("its `Env` has something that is not `NAME=VALUE`".to_owned());
        };
        set(name, value);
        path = if name == "PATH" { Some(value) } else { path };
    }
    if let Some(own) = &own.path {
        set("PATH", &path.map_or_else(|| own.clone(), |path| format!("{path}:{own}")));
    }
    own.variables.iter().for_each(|(name, value)| set(name, value));
    Ok(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn healthcheck(check: &Healthcheck) -> Value {
    let test: Vec<&str> = std::iter::once("CMD").chain(check.command.iter().map(String::as_str)).collect();
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "Test": test,
        "Interval": nanoseconds(check.interval),
        "Timeout": nanoseconds(check.timeout),
        "StartPeriod": nanoseconds(check.start_period),
        "Retries": check.retries,
    })
}
