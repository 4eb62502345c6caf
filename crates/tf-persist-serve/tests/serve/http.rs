//! The REST interface over real connections, without models: requests for models are refused as TensorFlow Serving
//! refuses them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tf_persist_serve::{MetricsSettings, Server, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::TestServer;
use crate::common::http::{ONE, read};
use crate::common::server::{eventually, settings};

#[tokio::test]
async fn errors_have_tensorflow_servings_order_and_words() {
    let server = TestServer::start(|_, _| ());
    for (method, path) in
        [("POST", "/v1/foo"), ("GET", "/v1/models/m:predict"), ("PUT", "/v1/models/m"), ("GET", "/v1/models/")]
    {
        server.request(method, path, "", "").await.is_error(400, &format!("Malformed request: {method} {path}"));
    }
    server.get("/v1/models").await.is_error(400, "Missing model name in request.");
    server.get("/v1/models/versions/1").await.is_error(400, "Missing model name in request.");
    server
        .post("/v1/models/m/versions/18446744073709551615:predict", ONE)
        .await
        .is_error(400, "Failed to convert version");
    server.post("/v1/models/none:predict", "{").await.is_error(400, "JSON");
    server.post("/v1/models/none:predict", "").await.is_error(400, "The document is empty");
    server.post("/v1/models/none:predict", ONE).await.is_error(404, "Servable not found for request: Latest(none)");
    server
        .post("/v1/models/m/versions/7:predict", ONE)
        .await
        .is_error(404, "Servable not found for request: Specific(m, 7)");
    server.post("/v1/models/m/labels/x:predict", ONE).await.is_error(400, "Unrecognized servable version label: x");
    server.get("/v1/models/none").await.is_error(404, "Could not find any versions of model none");
    server.get("/v1/models/none/metadata").await.is_error(404, "Servable not found for request: Latest(none)");
    server.post("/v1/models/none:classify", "{\"examples\": [{\"x\": 1.0}]}").await.is_error(404, "Latest(none)");

    for path in ["/", "/index", "/v1", "/v2x", "/models/m:predict", "/healthz/x"] {
        for method in ["GET", "POST"] {
            let response = server.request(method, path, "", "").await;
            assert_eq!(response.code, 404, "{method} {path}");
            assert!(response.head.contains("content-type: text/html") && response.body.contains("<H1>Not Found</H1>"));
        }
    }
    // A response to HEAD has the length of a body, and no body.
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /v1/models/m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400 ") && response.ends_with("\r\n\r\n"), "{response}");
    assert_eq!(server.request("BREW", "/v1/models/m", "", "").await.code, 501);

    let page = server.get(MetricsSettings::DEFAULT_PATH).await;
    let line = ":tensorflow:serving:request_count{model_name=\"none\",status=\"NOT_FOUND\"} 4";
    assert!(page.body.lines().any(|found| found == line), "{}", page.body);
    assert!(page.head.contains("content-type: text/plain"), "{page:?}");
    server.stop().await;
}

#[tokio::test]
async fn chunked_compressed_and_pipelined_requests() {
    let server = TestServer::start(|_, _| ());
    let unknown = "Servable not found for request: Latest(none)";
    let url = "/v1/models/none:predict";
    server
        .send(format!("POST {url} HTTP/1.0\r\nContent-Length: 20\r\n\r\n{ONE}").as_bytes())
        .await
        .is_error(404, unknown);
    let chunked = format!("7\r\n{}\r\nd\r\n{}\r\n0\r\n\r\n", &ONE[..7], &ONE[7..]);
    let head = format!("POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    server.send((head + &chunked).as_bytes()).await.is_error(404, unknown);
    server.request("POST", url, "Expect: 100-continue\r\n", ONE).await.is_error(404, unknown);
    server.request("POST", url, "Content-Type: text/plain\r\n", ONE).await.is_error(404, unknown);
    server.get("/v1/models/m").await;

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(ONE.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let head = |length| {
        format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n")
    };
    server.send(&[head(gzip.len()).as_bytes(), &gzip].concat()).await.is_error(404, unknown);
    server.send((head(4) + "nope").as_bytes()).await.is_error(400, "The document is empty");

    // Several requests on one connection, malformed ones among them.
    let mut stream = server.connect().await;
    for body in [ONE, "{", "", ONE] {
        let length = body.len();
        let request = format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        read(&mut stream).await.unwrap().is_error(if body == ONE { 404 } else { 400 }, "");
    }
    // Garbage on one connection affects no other.
    for junk in [&b"\x00\xff\x16\x03\x01 nonsense\r\n\r\n"[..], b"GET\r\n\r\n", b"GET /v1/\xff\xfe HTTP/1.1\r\n\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(junk).await.unwrap();
        if let Some(response) = read(&mut stream).await {
            assert!(response.code == 400 || response.code == 404, "{response:?}");
        }
    }
    server.post(url, ONE).await.is_error(404, unknown);
    server.stop().await;
}

#[tokio::test]
async fn cors_headers_are_sent_where_enabled() {
    let origin = "Origin: http://example.com\r\n";
    for cors in [false, true] {
        let server = TestServer::start(|settings, _| settings.http.cors = cors);
        let allowed = server.request("OPTIONS", "/v1/models/m:predict", origin, "").await;
        assert_eq!((allowed.code, allowed.body.as_str()), (200, ""));
        let refused = server.request("OPTIONS", "/v1/models/m:predict", "", "").await;
        refused.is_error(400, "Origin header is missing in CORS preflight");
        let common = ["access-control-allow-origin: *", "access-control-allow-methods: post, get"];
        let v1 = [common[0], common[1], "access-control-allow-headers: content-type"];
        for response in [allowed, refused, server.get("/v1/models/none").await, server.get("/v1/foo").await] {
            let mut found: Vec<&str> =
                response.head.lines().filter(|line| line.starts_with("access-control-")).collect();
            found.sort_by_key(|line| v1.iter().position(|other| other == line));
            assert_eq!(found, if cors { &v1[..] } else { &[] }, "{response:?}");
        }
        // Pages send and read tensors in binary.
        let allowed = server.request("OPTIONS", "/v2/models/m/infer", origin, "").await;
        assert_eq!(allowed.code, 200);
        for response in [allowed, server.post("/v2/models/none/infer?x=1", "{}").await, server.get("/v2").await] {
            for header in [
                common[0],
                common[1],
                "access-control-allow-headers: content-type, inference-header-content-length",
                "access-control-expose-headers: inference-header-content-length",
            ] {
                assert_eq!(response.head.lines().any(|line| line == header), cors, "{response:?}");
            }
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn health_and_readiness_pages() {
    let server = TestServer::start(|_, _| ());
    assert_eq!(server.get("/healthz").await.code, 200);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.code, 503);
    let why: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(why, serde_json::json!({"ready": false, "stopping": false, "waiting_for": ["m"]}));
    let models = async || -> serde_json::Value { serde_json::from_str(&server.get("/models").await.body).unwrap() };
    let mut page = serde_json::Value::Null;
    eventually("the folder was read", async || {
        page = models().await;
        page["models"][0]["problem"].is_string()
    })
    .await;
    let problem = page["models"][0]["problem"].take();
    assert!(problem.as_str().unwrap().contains("no versions under the base path"), "{problem}");
    assert_eq!(page, serde_json::json!({"models": [{"name": "m", "labels": {}, "versions": [], "problem": null}]}));
    server.stop().await;
}

#[tokio::test]
async fn large_bodies_are_read_whole() {
    let server = TestServer::start(|_, _| ());
    let url = "/v1/models/none:predict";
    // Longer than what is reserved at once, with an error at its end.
    let body = format!("{{\"instances\": [{}oops", "0.25,".repeat(1 << 20));
    let fault = format!("Invalid value. at offset: {}", body.len() - 4);
    server.post(url, &body).await.is_error(400, &fault);
    let mut chunked = format!("POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.as_bytes().chunks(100_000) {
        chunked += &format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap());
    }
    chunked += "0\r\n\r\n";
    server.send(chunked.as_bytes()).await.is_error(400, &fault);
    server.stop().await;
}

#[tokio::test]
async fn body_limit_holds_before_the_body_is_read() {
    let server = TestServer::start(|settings, _| settings.security.limits.body_bytes = 1000);
    let url = "/v1/models/none:predict";
    let long = format!("{{\"instances\": [{}1.0]}}", " ".repeat(2000));
    server.post(url, &long).await.is_error(413, "longer than 1000 bytes");
    // The declared length is enough.
    let lie = format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n{{");
    server.send(lie.as_bytes()).await.is_error(413, "longer than 1000 bytes");
    let chunk = "a".repeat(600);
    let chunked = format!(
        "POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n0\r\n\r\n"
    );
    server.send(chunked.as_bytes()).await.is_error(413, "longer than 1000 bytes");
    // So does the first piece of a chunked body, which may arrive whole.
    for (length, code, words) in [(1000, 400, "JSON"), (1001, 413, "longer than 1000 bytes"), (6000, 413, "longer")] {
        let chunked = format!(
            "POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
            "a".repeat(length)
        );
        server.send(chunked.as_bytes()).await.is_error(code, words);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(long.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(gzip.len() < 1000);
    let head =
        format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", gzip.len());
    server.send(&[head.as_bytes(), &gzip].concat()).await.is_error(413, "longer than 1000 bytes");
    server.post(url, ONE).await.is_error(404, "Latest(none)");
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_not_http_get_a_reason() {
    let server = TestServer::start(|_, _| ());
    for bad in [
        "nonsense\r\n\r\n".to_owned(),
        "GET /healthz HTTP/9.9\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nBad Name: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
    ] {
        server.send(bad.as_bytes()).await.is_error(400, "not valid HTTP");
    }
    // A client of HTTP/2 that asks nobody before, and one that sends the frames of a call at once.
    for frames in [&b""[..], b"\0\0\0\x04\0\0\0\0\0", &[0; 6000]] {
        let mut stream = server.connect().await;
        stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frames].concat()).await.unwrap();
        let refused = read(&mut stream).await.unwrap();
        refused.is_error(400, "not valid HTTP");
        assert!(refused.closes());
    }
    let many = "a: b\r\n".repeat(200);
    let large = format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    server.send(large.as_bytes()).await.is_error(431, "head of the request is too large");
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(70_000));
    server.send(long.as_bytes()).await.is_error(414, "URI of the request is too long");
    server.stop().await;
}

#[tokio::test]
async fn port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder);
    settings.http.address = Some(taken.local_addr().unwrap());
    let error = Server::bind(settings.clone()).err().unwrap();
    assert!(matches!(error, ServerError::Listen { what: "REST", .. }), "{error}");
    (settings.http.address, settings.grpc.address) = (None, None);
    assert!(matches!(Server::bind(settings).err().unwrap(), ServerError::NoPort));
}
