//! The grammar of URLs (`model_servers/http_rest_api_util.cc`). A URL is matched as a whole, including its query, and
//! regardless of case:
//!
//! ```text
//! POST /v1/models/NAME[/versions/N|/labels/L]:(classify|regress|predict)
//! GET  /v1/models[/NAME][/versions/N|/labels/L][/metadata]
//! ```
//!
//! Names and labels contain `/` and `:` only percent-encoded, and are decoded after the match.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::api::Api;
use crate::models::Version;
use crate::status::Status;

/// The call that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Predict, classify, regress, status or metadata.
    pub(super) api: Api,
    /// The name of the model. Empty if the URL has none, which status and metadata allow.
    pub(super) model: String,
    /// The version.
    pub(super) version: Version,
}

/// Why a URL is malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The model that it names nevertheless.
    pub(super) model: String,
    /// The error for the client.
    pub(super) status: Status,
}

/// The part of a URL between the model and the action.
enum VersionSegment<'a> {
    Latest,
    Number(&'a str),
    Label(&'a str),
}

/// Whether a path belongs to the API. Others are answered with 404.
pub(super) fn is_api_path(path: &str) -> bool {
    strip_prefix_ignore_case(path, "/v1/").is_some()
}

/// Parses the path of a request.
///
/// # Errors
/// `INVALID_ARGUMENT` if it does not match the grammar.
pub(super) fn parse(method: &Method, path: &str) -> Result<Route, Malformed> {
    let (name, segment, action) = if method == Method::POST {
        parse_post(path)
    } else if method == Method::GET {
        parse_get(path)
    } else {
        None
    }
    .ok_or_else(|| malformed(method, path, ""))?;
    let model = decode(name);
    let version = match segment {
        VersionSegment::Latest => Version::Latest,
        VersionSegment::Label(label) => Version::Label(decode(label)),
        VersionSegment::Number(digits) => match digits.parse() {
            Ok(number) => Version::Number(number),
            Err(_) => {
                let message = format!("Failed to convert version: {digits} to numeric.");
                return Err(Malformed { model, status: Status::invalid_argument(message) });
            }
        },
    };
    let api = match (method == Method::POST, action) {
        (true, "predict") => Api::Predict,
        (true, "classify") => Api::Classify,
        (true, "regress") => Api::Regress,
        // The match ignores case, but only lower case names an action.
        (true, _) => return Err(malformed(method, path, &model)),
        (false, "metadata") => Api::GetModelMetadata,
        (false, _) => Api::GetModelStatus,
    };
    Ok(Route { api, model, version })
}

fn malformed(method: &Method, path: &str, model: &str) -> Malformed {
    let status = Status::invalid_argument(format!("Malformed request: {method} {path}"));
    Malformed { model: model.to_owned(), status }
}

fn parse_post(path: &str) -> Option<(&str, VersionSegment<'_>, &str)> {
    let (name, rest) = split_name(strip_prefix_ignore_case(path, "/v1/models/")?)?;
    let (segment, rest) = version_segment(rest).unwrap_or((VersionSegment::Latest, rest));
    let action = rest.strip_prefix(':')?;
    let known = ["classify", "regress", "predict"].iter().any(|known| action.eq_ignore_ascii_case(known));
    known.then_some((name, segment, action))
}

/// Every part is optional. As in a regular expression, a part is matched only if the rest then matches too:
/// `/v1/models/versions/1` is version 1 of no model, and `/v1/models/labels/metadata` the metadata of the model
/// `labels`.
fn parse_get(path: &str) -> Option<(&str, VersionSegment<'_>, &str)> {
    let rest = strip_prefix_ignore_case(path, "/v1/models")?;
    let named = rest.strip_prefix('/').and_then(split_name).and_then(|(name, rest)| {
        let (segment, action) = rest_of_path(rest)?;
        Some((name, segment, action))
    });
    named.or_else(|| rest_of_path(rest).map(|(segment, action)| ("", segment, action)))
}

fn rest_of_path(rest: &str) -> Option<(VersionSegment<'_>, &str)> {
    let placed = version_segment(rest).and_then(|(segment, rest)| Some((segment, metadata_suffix(rest)?)));
    placed.or_else(|| Some((VersionSegment::Latest, metadata_suffix(rest)?)))
}

fn metadata_suffix(rest: &str) -> Option<&str> {
    if rest.is_empty() {
        return Some("");
    }
    rest.strip_prefix('/').filter(|action| action.eq_ignore_ascii_case("metadata"))
}

fn version_segment(rest: &str) -> Option<(VersionSegment<'_>, &str)> {
    if let Some(rest) = strip_prefix_ignore_case(rest, "/versions/") {
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = rest.split_at(length);
        return (length > 0).then_some((VersionSegment::Number(digits), rest));
    }
    let (label, rest) = split_name(strip_prefix_ignore_case(rest, "/labels/")?)?;
    Some((VersionSegment::Label(label), rest))
}

/// Splits off a name or a label.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_at(text.find(['/', ':']).unwrap_or(text.len()));
    (!name.is_empty()).then_some((name, rest))
}

/// The rest of a text that begins with this prefix, regardless of case.
fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    begin.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Percent-decodes a name. Bytes that are not UTF-8 become replacement characters, which no model's name has.
fn decode(word: &str) -> String {
    percent_decode_str(word).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVED: &str = "!#$%&'()*+,/:;=?@[]";
    const ENCODED: &str = "%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D";

    fn number(number: i64) -> Version {
        Version::Number(number)
    }

    fn label(label: &str) -> Version {
        Version::Label(label.to_owned())
    }

    #[test]
    fn valid_urls() {
        let name = format!("modelname{RESERVED}");
        let latest = format!("latest{RESERVED}");
        let encoded = |path: &str| path.replace("{e}", ENCODED);
        let (status, metadata, predict) = (Api::GetModelStatus, Api::GetModelMetadata, Api::Predict);
        for (method, path, api, model, version) in [
            ("GET", encoded("/v1/models/modelname{e}"), status, name.as_str(), Version::Latest),
            ("GET", "/v1/models/modelname/versions/99".into(), status, "modelname", number(99)),
            ("GET", "/v1/models/modelname/labels/latest".into(), status, "modelname", label("latest")),
            ("GET", encoded("/v1/models/modelname/labels/latest{e}"), status, "modelname", label(&latest)),
            ("GET", "/v1/models/modelname/labels/latest/metadata".into(), metadata, "modelname", label("latest")),
            ("GET", encoded("/v1/models/modelname{e}/labels/latest{e}/metadata"), metadata, &name, label(&latest)),
            ("GET", "/v1/models/m/metadata".into(), metadata, "m", Version::Latest),
            ("GET", "/v1/models/m/versions/007/metadata".into(), metadata, "m", number(7)),
            ("GET", "/V1/Models/M/METADATA".into(), status, "M", Version::Latest),
            ("GET", "/v1/models/m?x=1".into(), status, "m?x=1", Version::Latest),
            ("GET", "/v1/models".into(), status, "", Version::Latest),
            ("GET", "/v1/models/metadata".into(), status, "metadata", Version::Latest),
            ("GET", "/v1/models/versions/1".into(), status, "", number(1)),
            ("GET", "/v1/models/versions/1/metadata".into(), metadata, "", number(1)),
            ("GET", "/v1/models/versions/versions/1".into(), status, "versions", number(1)),
            ("GET", "/v1/models/versions".into(), status, "versions", Version::Latest),
            ("GET", "/v1/models/labels/x".into(), status, "", label("x")),
            ("GET", "/v1/models/labels/metadata".into(), metadata, "labels", Version::Latest),
            ("GET", "/v1/models/m/labels/metadata".into(), status, "m", label("metadata")),
            ("GET", "/v1/models/%zz%4".into(), status, "%zz%4", Version::Latest),
            ("GET", "/v1/models/a+b".into(), status, "a+b", Version::Latest),
            ("POST", encoded("/v1/models/modelname{e}:predict"), predict, &name, Version::Latest),
            ("POST", "/v1/models/modelname/versions/99:predict".into(), predict, "modelname", number(99)),
            ("POST", "/v1/models/modelname/labels/latest:predict".into(), predict, "modelname", label("latest")),
            ("POST", encoded("/v1/models/modelname/labels/latest{e}:predict"), predict, "modelname", label(&latest)),
            ("POST", encoded("/v1/models/modelname{e}/labels/latest{e}:predict"), predict, &name, label(&latest)),
            ("POST", "/V1/MODELS/m/VERSIONS/0000123:classify".into(), Api::Classify, "m", number(123)),
            ("POST", "/v1/models/m:regress".into(), Api::Regress, "m", Version::Latest),
            ("POST", "/v1/models/m/versions/9223372036854775807:predict".into(), predict, "m", number(i64::MAX)),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let expected = Route { api, model: model.to_owned(), version };
            assert_eq!(parse(&method, &path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn malformed_urls() {
        for (method, path) in [
            ("GET", "/v1/foo"),
            ("GET", "/v1/models/debug/model_name"),
            ("GET", "/v1/models/m:predict"),
            ("GET", "/v1/models/foo/version/50:predict"),
            ("GET", "/v1/models/m/"),
            ("GET", "/v1/models/"),
            ("GET", "/v1/models/m/metadata/"),
            ("GET", "/v1/models/m/versions/"),
            ("GET", "/v1/models/m/versions/1x"),
            ("GET", "/v1/modelsm"),
            ("POST", "/v1/foo"),
            ("POST", "/v1/models"),
            ("POST", "/v1/models/m"),
            ("POST", "/v1/models/m/metadata"),
            ("POST", "/v1/models/foo/version/50:predict"),
            ("POST", "/v1/models/foo/versions/string:predict"),
            ("POST", "/v1/models/foo/versions/HELLO:regress"),
            ("POST", "/v1/models/foo/label/some_label:regress"),
            ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
            ("POST", "/v1/models/foo/versions/-1:predict"),
            ("POST", "/v1/models/foo/versions/:predict"),
            ("POST", "/v1/models/foo:explain"),
            ("POST", "/v1/models/foo:predict:predict"),
            ("POST", "/v1/models/foo:predict?x=1"),
            ("POST", "/v1/models/foo:PREDICT"),
            ("POST", "/v1/models/:predict"),
            ("POST", "/v1/models/foo"),
            ("PUT", "/v1/models/foo:predict"),
            ("DELETE", "/v1/models/foo"),
            ("HEAD", "/v1/models/foo"),
            ("PATCH", "/v1/models/foo"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let refused = parse(&method, path).unwrap_err();
            assert_eq!(refused.status, Status::invalid_argument(format!("Malformed request: {method} {path}")));
        }
    }

    #[test]
    fn version_beyond_64_bits_is_refused() {
        for (method, path) in [
            (Method::POST, "/v1/models/foo/versions/18446744073709551615:predict"),
            (Method::GET, "/v1/models/foo/versions/18446744073709551615"),
        ] {
            let refused = parse(&method, path).unwrap_err();
            let message = "Failed to convert version: 18446744073709551615 to numeric.";
            assert_eq!(refused, Malformed { model: "foo".into(), status: Status::invalid_argument(message) });
        }
    }

    #[test]
    fn only_paths_below_v1_are_api_paths() {
        for path in ["/v1/", "/V1/x", "/v1/models"] {
            assert!(is_api_path(path), "{path}");
        }
        for path in ["/", "/v1", "/v2/models", "", "/é1/", "/index", "*"] {
            assert!(!is_api_path(path), "{path}");
        }
    }
}
