//! The page at `/` over real connections. `python/checks/check_page.py` uses it in a browser.

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::TestServer;
use crate::common::http::ONE;

#[tokio::test]
async fn page_needs_no_key_and_its_data_do() {
    let server = TestServer::start(|settings, folder| {
        settings.http.page = true;
        let file = folder.join("keys");
        fs::write(&file, "secret\n").unwrap();
        settings.security.api_key_file = Some(file);
    });
    for path in ["/", "/?from=elsewhere"] {
        let page = server.get(path).await;
        assert_eq!(page.code, 200);
        assert!(page.head.contains("content-type: text/html; charset=utf-8"), "{}", page.head);
        assert!(
            page.head.contains("content-security-policy: default-src 'none'; script-src 'sha256-"),
            "{}",
            page.head
        );
        assert!(page.body.starts_with("<!doctype html>") && page.body.ends_with("</html>\n"));
        // What the server serves is not in the page.
        assert!(!page.body.contains("secret") && !page.body.contains(&server.http.port().to_string()));
    }
    for path in ["/models", "/models/metrics", "/models/none", "//", "/index.html"] {
        server.get(path).await.is_error(401, "API key");
    }
    let metrics = server.request("GET", "/models/metrics", "X-Api-Key: secret\r\n", "").await;
    let metrics: serde_json::Value = serde_json::from_str(&metrics.body).unwrap();
    assert_eq!((&metrics["ready"], &metrics["models"][0]["name"]), (&false.into(), &"m".into()));
    server.stop().await;
}

#[tokio::test]
async fn page_answers_head_and_refuses_other_methods() {
    let server = TestServer::start(|settings, _| settings.http.page = true);
    let length = server.get("/").await.body.len();
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\n"), "{response}");
    assert!(response.contains(&format!("content-length: {length}\r\n")), "{response}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refusal = server.request(method, "/", "", ONE).await;
        assert_eq!(refusal.code, 405, "{method}");
        assert!(refusal.head.contains("allow: get, head"), "{}", refusal.head);
    }
    server.stop().await;
}

#[tokio::test]
async fn metrics_of_the_page_count_requests_of_served_models() {
    let server = TestServer::start(|_, _| ());
    // Without the page, `/` is TensorFlow Serving's 404, and the metrics stay.
    assert_eq!(server.get("/").await.code, 404);
    server.post("/v1/models/m:predict", ONE).await.is_error(404, "Latest(m)");
    server.post("/v1/models/unknown:predict", ONE).await.is_error(404, "Latest(unknown)");
    let metrics: serde_json::Value = serde_json::from_str(&server.get("/models/metrics?x").await.body).unwrap();
    let expected = serde_json::json!([{"name": "m", "requests": {"NOT_FOUND": 1}, "latency": []}]);
    assert_eq!(metrics["models"], expected);
    assert_eq!(server.post("/models/metrics", ONE).await.code, 404);
    server.stop().await;
}
