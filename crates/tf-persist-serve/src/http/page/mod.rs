//! The page at `/` of the REST port, for people: models, a form for requests, charts. It is one HTML document with its
//! style and its script inside, made of the files of this folder. It has no data; its script asks the paths that other
//! clients use.
//!
//! Names and error messages that the page shows may be chosen by anyone. Its script makes text nodes of them, and the
//! policy of the response forbids to parse text as HTML, to run other scripts, and to load anything from elsewhere.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use super::reply::{self, Reply};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// The parts of the script, which share one scope.
const SCRIPT: [&str; 11] = [
    include_str!("text.js"),
    include_str!("signatures.js"),
    include_str!("server.js"),
    include_str!("models.js"),
    include_str!("picture.js"),
    include_str!("inputs.js"),
    include_str!("request.js"),
    include_str!("answer.js"),
    include_str!("commands.js"),
    include_str!("charts.js"),
    include_str!("main.js"),
];
/// Where the style and the script are in the HTML.
const STYLE_PLACE: &str = "/*style*/";
const SCRIPT_PLACE: &str = "/*script*/";

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    fn new() -> Self {
        let script = SCRIPT.concat();
        let html = HTML.replacen(STYLE_PLACE, STYLE, 1).replacen(SCRIPT_PLACE, &script, 1);
        // Inline code runs only if the policy has its hash.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data: blob:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(&script),
            hash(STYLE)
        );
        // A hash in base64 is valid in a header; a policy that forbids everything takes the place of another.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { html: html.into(), policy }
    }
}

/// The source of a content security policy that permits exactly this text.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Answers a request for the page.
pub(super) fn respond(method: &Method) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = reply::html_page(StatusCode::METHOD_NOT_ALLOWED);
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let mut reply = Response::new(Full::new(PAGE.html.clone()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_has_one_style_and_one_script_whose_hashes_are_in_the_policy() {
        let html = std::str::from_utf8(&PAGE.html).unwrap();
        let policy = PAGE.policy.to_str().unwrap();
        for (begin, end, directive) in
            [("<style>", "</style>", "style-src"), ("<script type=\"module\">", "</script>", "script-src")]
        {
            assert_eq!((html.matches(begin).count(), html.matches(end).count()), (1, 1), "{begin}");
            let (_, rest) = html.split_once(begin).unwrap();
            let (text, _) = rest.split_once(end).unwrap();
            assert!(policy.contains(&format!("{directive} '{}';", hash(text))), "{policy}");
        }
        assert!(!html.contains(STYLE_PLACE) && !html.contains(SCRIPT_PLACE));
    }

    #[test]
    fn page_loads_nothing_and_parses_no_html() {
        let html = std::str::from_utf8(&PAGE.html).unwrap();
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
            "localStorage",
            "document.cookie",
            "src=",
            "@import",
            " onclick=",
            " style=",
        ] {
            assert!(!html.contains(forbidden), "the page has `{forbidden}`");
        }
        let addresses: Vec<&str> =
            html.match_indices("http").map(|(at, _)| &html[at..(at + 30).min(html.len())]).collect();
        let is_name = |address: &&str| address.starts_with("http://www.w3.org/2000/svg") || !address.contains("://");
        assert!(addresses.iter().all(is_name), "{addresses:?}");
    }
}
