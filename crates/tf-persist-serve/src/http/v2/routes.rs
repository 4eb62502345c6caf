//! The URLs of the protocol:
//!
//! ```text
//! GET  /v2, /v2/health/(live|ready)
//! GET  /v2/models/NAME[/versions/VERSION][/(ready|config|stats)], /v2/models/stats
//! POST /v2/models/NAME[/versions/VERSION]/infer
//! POST /v2/repository/index, /v2/repository/models/NAME/(load|unload)
//! ```
//!
//! A version is a number or a label. Names are percent-encoded, but for slashes in front of an action; a query does not
//! belong to the path.

use percent_encoding::percent_decode_str;

use crate::status::Status;

/// What a URL means. Versions are texts: empty for the newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Server,
    Live,
    Ready,
    Model {
        model: String,
        version: String,
    },
    ModelReady {
        model: String,
        version: String,
    },
    Infer {
        model: String,
        version: String,
    },
    Config {
        model: String,
        version: String,
    },
    /// Of a model and a version, or of all models.
    Statistics(Option<(String, String)>),
    Index,
    Load(String),
    Unload(String),
    SharedMemory,
    /// An extension of Triton that this server does not have.
    Absent(&'static str),
}

/// Whether a path belongs to the protocol.
pub(in crate::http) fn is_v2_path(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'/' | b'?')))
}

impl Route {
    /// Parses a path with its query.
    ///
    /// # Errors
    /// `NOT_FOUND` if it is none of the protocol's.
    pub(super) fn parse(path: &str) -> Result<Self, Status> {
        let path = path.split('?').next().unwrap_or_default();
        let unknown =
            || Status::not_found(format!("there is nothing at {path}; infer requests are for /v2/models/NAME/infer"));
        let segments: Vec<String> = path.trim_end_matches('/').split('/').skip(2).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Ok(match segments.as_slice() {
            [] => Self::Server,
            ["health", "live"] => Self::Live,
            ["health", "ready"] => Self::Ready,
            ["models", "stats"] => Self::Statistics(None),
            ["models", .., "trace", "setting"] => Self::Absent("the trace extension"),
            ["models", model, "versions", version, rest @ ..] if !version.is_empty() => {
                Self::model(model, version, rest).ok_or_else(unknown)?
            }
            ["models", model] => Self::model(model, "", &[]).ok_or_else(unknown)?,
            ["models", model, action] => Self::model(model, "", &[action]).ok_or_else(unknown)?,
            ["models", rest @ ..] => Self::model_with_slashes(rest).ok_or_else(unknown)?,
            ["repository", "index"] => Self::Index,
            ["repository", "models", name @ .., "load"] => Self::Load(joined(name).ok_or_else(unknown)?),
            ["repository", "models", name @ .., "unload"] => Self::Unload(joined(name).ok_or_else(unknown)?),
            ["systemsharedmemory" | "cudasharedmemory", ..] => Self::SharedMemory,
            ["trace", ..] => Self::Absent("the trace extension"),
            ["logging", ..] => Self::Absent("the logging extension"),
            _ => return Err(unknown()),
        })
    }

    /// A path about a model whose name has slashes. What is asked for ends it.
    fn model_with_slashes(segments: &[&str]) -> Option<Self> {
        let (name, version, action) = match segments {
            [_, .., "versions", "", _] => return None,
            [name @ .., "versions", version, action] => (name, *version, *action),
            [name @ .., action] => (name, "", *action),
            [] => return None,
        };
        let is_known = matches!(action, "ready" | "infer" | "config" | "stats") && !name.contains(&"versions");
        if is_known { Self::model(&joined(name)?, version, &[action]) } else { None }
    }

    /// A path about a model.
    fn model(model: &str, version: &str, action: &[&str]) -> Option<Self> {
        if model.is_empty() {
            return None;
        }
        let (model, version) = (model.to_owned(), version.to_owned());
        Some(match action {
            [] => Self::Model { model, version },
            ["ready"] => Self::ModelReady { model, version },
            ["infer"] => Self::Infer { model, version },
            ["config"] => Self::Config { model, version },
            ["stats"] => Self::Statistics(Some((model, version))),
            ["generate" | "generate_stream"] => Self::Absent("the generate extension"),
            _ => return None,
        })
    }
}

/// The name of a model from its segments: clients do not encode the slashes of names. `None` if one is empty.
fn joined(segments: &[&str]) -> Option<String> {
    if segments.is_empty() || segments.contains(&"") { None } else { Some(segments.join("/")) }
}

/// Percent-decodes a segment. Bytes that are not UTF-8 become replacement characters, which no model's name has.
fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(model: &str, version: &str) -> (String, String) {
        (model.to_owned(), version.to_owned())
    }

    #[test]
    fn valid_paths() {
        let model = |(model, version)| Route::Model { model, version };
        let infer = |(model, version)| Route::Infer { model, version };
        for (path, route) in [
            ("/v2", Route::Server),
            ("/v2/", Route::Server),
            ("/v2?x=1", Route::Server),
            ("/v2/health/live", Route::Live),
            ("/v2/health/ready", Route::Ready),
            ("/v2/models/m", model(of("m", ""))),
            ("/v2/models/a%2Fb%20c/", model(of("a/b c", ""))),
            ("/v2/models/m/versions/7", model(of("m", "7"))),
            ("/v2/models/m/versions/stable?signature_name=x", model(of("m", "stable"))),
            ("/v2/models/versions", model(of("versions", ""))),
            ("/v2/models/m/infer", infer(of("m", ""))),
            ("/v2/models/m/versions/7/infer?x=/y", infer(of("m", "7"))),
            ("/v2/models/stats/infer", infer(of("stats", ""))),
            ("/v2/models/team/m%20x/infer", infer(of("team/m x", ""))),
            ("/v2/models/team/a/m/versions/7/infer", infer(of("team/a/m", "7"))),
            ("/v2/models/m/ready", Route::ModelReady { model: "m".into(), version: String::new() }),
            ("/v2/models/m/versions/1/config", Route::Config { model: "m".into(), version: "1".into() }),
            ("/v2/models/m/stats", Route::Statistics(Some(of("m", "")))),
            ("/v2/models/stats", Route::Statistics(None)),
            ("/v2/repository/index", Route::Index),
            ("/v2/repository/models/m/load", Route::Load("m".into())),
            ("/v2/repository/models/m/unload", Route::Unload("m".into())),
            ("/v2/repository/models/team/m/load", Route::Load("team/m".into())),
            ("/v2/systemsharedmemory/region/r/register", Route::SharedMemory),
            ("/v2/cudasharedmemory/status", Route::SharedMemory),
            ("/v2/trace/setting", Route::Absent("the trace extension")),
            ("/v2/models/m/trace/setting", Route::Absent("the trace extension")),
            ("/v2/models/m/versions/1/trace/setting", Route::Absent("the trace extension")),
            ("/v2/models/team/m/trace/setting", Route::Absent("the trace extension")),
            ("/v2/models/m/generate", Route::Absent("the generate extension")),
        ] {
            assert!(is_v2_path(path), "{path}");
            assert_eq!(Route::parse(path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn other_paths() {
        for path in ["/v2x", "/v1/models/m", "/V2", "/"] {
            assert!(!is_v2_path(path), "{path}");
        }
        for path in [
            "/v2/models",
            "/v2/models//infer",
            "/v2/models/m/versions//infer",
            "/v2/models/m/predict",
            "/v2/models/m/infer/x",
            "/v2/models/team//infer",
            "/v2/models/team/m/predict",
            "/v2/models/team/m/versions//infer",
            "/v2/health",
            "/v2/repository/models/m",
            "/v2/repository/models//load",
            "/v2/repository/models/load",
            "/v2/%00",
        ] {
            assert!(is_v2_path(path), "{path}");
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
