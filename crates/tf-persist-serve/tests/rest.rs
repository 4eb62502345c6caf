//! The REST interface over real connections. Nothing is served: what is asked of models is refused as TensorFlow Serving refuses it.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use tf_persist_serve::{
    HttpSettings, Limits, MetricsSettings, ModelSettings, SecuritySettings, Server, ServerError, Settings,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose models never come.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<Result<(), ServerError>>,
    folder: TempDir,
}

/// A reply: its code, its head in lower case, its body.
#[derive(Debug)]
struct Answer {
    code: u16,
    head: String,
    body: String,
}

fn settings(folder: &TempDir, limits: Limits) -> Settings {
    Settings::default()
        .models(ModelSettings::default().base_path("m", folder.path().join("m")))
        .http(HttpSettings::default().address(SocketAddr::from(([127, 0, 0, 1], 0))))
        .security(SecuritySettings::default().limits(limits))
        .metrics(MetricsSettings::default().prometheus_path(MetricsSettings::DEFAULT_PATH.to_owned()))
}

impl Running {
    async fn start(change: impl FnOnce(&mut Settings, &TempDir)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("m")).unwrap();
        let mut settings = settings(&folder, Limits::default());
        change(&mut settings, &folder);
        let server = Server::bind(settings).unwrap();
        let address = server.rest_address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), done, folder }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes on a connection of their own, and reads one reply.
    async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read(&mut stream).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.send(request.as_bytes()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, "", body).await
    }

    async fn stop(mut self) -> Result<(), ServerError> {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(PATIENCE, self.done).await.unwrap().unwrap()
    }
}

/// One reply, by its length; nothing if the server closed before.
async fn read(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|found| found == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let code = head.split(' ').nth(1).unwrap().parse().unwrap();
            if code == 100 {
                bytes.drain(..end + 4);
                continue;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if bytes.len() >= whole {
                let body = String::from_utf8(bytes[end + 4..whole].to_vec()).unwrap();
                return Some(Answer { code, head, body });
            }
        }
        let mut piece = [0; 4096];
        match timeout(PATIENCE, stream.read(&mut piece)).await.unwrap() {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

/// Sends the head of a request for [`ONE`], and waits until its body is.
async fn begin(stream: &mut TcpStream, path: &str) {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", ONE.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
}

impl Answer {
    /// A refusal with this code and these words.
    #[track_caller]
    fn refuses(&self, code: u16, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["error"].as_str().unwrap().contains(words), "{words}: {self:?}");
    }
}

const ONE: &str = "{\"instances\": [2.0]}";

#[tokio::test]
async fn what_is_wrong_is_told_in_the_peers_order_and_words() {
    let server = Running::start(|_, _| {}).await;
    for (method, path) in
        [("POST", "/v1/foo"), ("GET", "/v1/models/m:predict"), ("PUT", "/v1/models/m"), ("GET", "/v1/models/")]
    {
        server.ask(method, path, "", "").await.refuses(400, &format!("Malformed request: {method} {path}"));
    }
    server.get("/v1/models").await.refuses(400, "Missing model name in request.");
    server.get("/v1/models/versions/1").await.refuses(400, "Missing model name in request.");
    server
        .post("/v1/models/m/versions/18446744073709551615:predict", ONE)
        .await
        .refuses(400, "Failed to convert version");
    server.post("/v1/models/none:predict", "{").await.refuses(400, "JSON");
    server.post("/v1/models/none:predict", "").await.refuses(400, "The document is empty");
    server.post("/v1/models/none:predict", ONE).await.refuses(404, "Servable not found for request: Latest(none)");
    server
        .post("/v1/models/m/versions/7:predict", ONE)
        .await
        .refuses(404, "Servable not found for request: Specific(m, 7)");
    server.post("/v1/models/m/labels/x:predict", ONE).await.refuses(400, "Unrecognized servable version label: x");
    server.get("/v1/models/none").await.refuses(404, "Could not find any versions of model none");
    server.get("/v1/models/none/metadata").await.refuses(404, "Servable not found for request: Latest(none)");
    server.post("/v1/models/none:classify", "{\"examples\": [{\"x\": 1.0}]}").await.refuses(404, "Latest(none)");

    for path in ["/", "/index", "/v1", "/v2/models/m", "/models/m:predict", "/healthz/x"] {
        for method in ["GET", "POST"] {
            let answer = server.ask(method, path, "", "").await;
            assert_eq!(answer.code, 404, "{method} {path}");
            assert!(answer.head.contains("content-type: text/html") && answer.body.contains("<H1>Not Found</H1>"));
        }
    }
    // A reply to HEAD has a length, and no body of it.
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /v1/models/m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.ends_with("\r\n\r\n"), "{reply}");
    assert_eq!(server.ask("BREW", "/v1/models/m", "", "").await.code, 501);

    let page = server.get(MetricsSettings::DEFAULT_PATH).await;
    let line = ":tensorflow:serving:request_count{model_name=\"none\",status=\"NOT_FOUND\"} 4";
    assert!(page.body.lines().any(|found| found == line), "{}", page.body);
    assert!(page.head.contains("content-type: text/plain"), "{page:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn http_in_all_its_forms() {
    let server = Running::start(|_, _| {}).await;
    let unknown = "Servable not found for request: Latest(none)";
    let url = "/v1/models/none:predict";
    server
        .send(format!("POST {url} HTTP/1.0\r\nContent-Length: 20\r\n\r\n{ONE}").as_bytes())
        .await
        .refuses(404, unknown);
    let chunked = format!("7\r\n{}\r\nd\r\n{}\r\n0\r\n\r\n", &ONE[..7], &ONE[7..]);
    let head = format!("POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    server.send((head + &chunked).as_bytes()).await.refuses(404, unknown);
    server.ask("POST", url, "Expect: 100-continue\r\n", ONE).await.refuses(404, unknown);
    server.ask("POST", url, "Content-Type: text/plain\r\n", ONE).await.refuses(404, unknown);
    server.get("/v1/models/m").await;

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(ONE.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let head = |length| {
        format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n")
    };
    server.send(&[head(gzip.len()).as_bytes(), &gzip].concat()).await.refuses(404, unknown);
    server.send((head(4) + "nope").as_bytes()).await.refuses(400, "The document is empty");

    // One connection, one request after another, bad ones among them.
    let mut stream = server.connect().await;
    for body in [ONE, "{", "", ONE] {
        let length = body.len();
        let request = format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        read(&mut stream).await.unwrap().refuses(if body == ONE { 404 } else { 400 }, "");
    }
    // Garbage hurts nobody else.
    for junk in [&b"\x00\xff\x16\x03\x01 nonsense\r\n\r\n"[..], b"GET\r\n\r\n", b"GET /v1/\xff\xfe HTTP/1.1\r\n\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(junk).await.unwrap();
        if let Some(answer) = read(&mut stream).await {
            assert!(answer.code == 400 || answer.code == 404, "{answer:?}");
        }
    }
    server.post(url, ONE).await.refuses(404, unknown);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in_where_they_are_to_be() {
    let origin = "Origin: http://example.com\r\n";
    for cors in [false, true] {
        let server = Running::start(|settings, _| settings.http.cors = cors).await;
        let allowed = server.ask("OPTIONS", "/v1/models/m:predict", origin, "").await;
        assert_eq!((allowed.code, allowed.body.as_str()), (200, ""));
        let refused = server.ask("OPTIONS", "/v1/models/m:predict", "", "").await;
        refused.refuses(400, "Origin header is missing in CORS preflight");
        for answer in [allowed, refused, server.get("/v1/models/none").await, server.get("/v1/foo").await] {
            for header in [
                "access-control-allow-origin: *",
                "access-control-allow-methods: post, get",
                "access-control-allow-headers: content-type",
            ] {
                assert_eq!(answer.head.contains(header), cors, "{answer:?}");
            }
        }
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn the_server_says_that_it_lives_and_what_it_waits_for() {
    let server = Running::start(|_, _| {}).await;
    assert_eq!(server.get("/healthz").await.code, 200);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.code, 503);
    let why: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(why, serde_json::json!({"ready": false, "stopping": false, "waiting_for": ["m"]}));
    let models: serde_json::Value = serde_json::from_str(&server.get("/models").await.body).unwrap();
    assert_eq!(models, serde_json::json!({"models": [{"name": "m", "labels": {}, "versions": []}]}));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn keys_are_asked_for_but_where_health_is_told() {
    let server = Running::start(|settings, folder| {
        let file: PathBuf = folder.path().join("keys");
        fs::write(&file, "secret\n").unwrap();
        settings.security.api_key_file = Some(file);
    })
    .await;
    for path in ["/healthz", "/readyz"] {
        assert_ne!(server.get(path).await.code, 401);
    }
    for path in ["/v1/models/m", "/models", MetricsSettings::DEFAULT_PATH, "/none"] {
        server.get(path).await.refuses(401, "API key");
        server.ask("GET", path, "X-Api-Key: wrong\r\n", "").await.refuses(401, "API key");
        assert_ne!(server.ask("GET", path, "Authorization: Bearer secret\r\n", "").await.code, 401);
    }
    server.ask("POST", "/v1/models/m:predict", "", ONE).await.refuses(401, "API key");
    assert!(server.folder.path().exists());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn large_bodies_come_whole() {
    let server = Running::start(|_, _| {}).await;
    let url = "/v1/models/none:predict";
    // Longer than what is reserved at once; what is wrong with it stands at its end.
    let body = format!("{{\"instances\": [{}oops", "0.25,".repeat(1 << 20));
    let fault = format!("Invalid value. at offset: {}", body.len() - 4);
    server.post(url, &body).await.refuses(400, &fault);
    let mut chunked = format!("POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.as_bytes().chunks(100_000) {
        chunked += &format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap());
    }
    chunked += "0\r\n\r\n";
    server.send(chunked.as_bytes()).await.refuses(400, &fault);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bodies_are_limited_before_they_are_read() {
    let server = Running::start(|settings, _| settings.security.limits.body_bytes = 1000).await;
    let url = "/v1/models/none:predict";
    let long = format!("{{\"instances\": [{}1.0]}}", " ".repeat(2000));
    server.post(url, &long).await.refuses(413, "longer than 1000 bytes");
    // What it only says is enough.
    let lie = format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n{{");
    server.send(lie.as_bytes()).await.refuses(413, "longer than 1000 bytes");
    let chunk = "a".repeat(600);
    let chunked = format!(
        "POST {url} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n0\r\n\r\n"
    );
    server.send(chunked.as_bytes()).await.refuses(413, "longer than 1000 bytes");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(long.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(gzip.len() < 1000);
    let head =
        format!("POST {url} HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", gzip.len());
    server.send(&[head.as_bytes(), &gzip].concat()).await.refuses(413, "longer than 1000 bytes");
    server.post(url, ONE).await.refuses(404, "Latest(none)");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn requests_that_are_too_many_are_refused_before_work() {
    let server = Running::start(|settings, _| settings.security.limits.concurrent_requests = 0).await;
    server.post("/v1/models/none:predict", ONE).await.refuses(503, "Too many requests are under way: 0");
    assert_eq!(server.get("/healthz").await.code, 200);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn slow_clients_are_let_go_and_idle_ones_are_not() {
    let quick = Duration::from_millis(200);
    let server = Running::start(|settings, _| {
        settings.security.limits.head_timeout = quick;
        settings.security.limits.body_timeout = quick;
    })
    .await;
    let mut idle = server.connect().await;
    let mut half_head = server.connect().await;
    half_head.write_all(b"GET /v1/models/m HTTP/1.1\r\nHo").await.unwrap();
    let mut half_body = server.connect().await;
    half_body.write_all(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n{").await.unwrap();
    let began = Instant::now();
    assert!(read(&mut half_head).await.is_none());
    read(&mut half_body).await.unwrap().refuses(408, "did not come in time");
    assert!(began.elapsed() < PATIENCE / 2);
    tokio::time::sleep(3 * quick).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut idle).await.unwrap().code, 200);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn many_idle_and_half_sent_connections_hold_nobody_up() {
    let server =
        Running::start(|settings, _| settings.security.limits.drain_timeout = Duration::from_millis(300)).await;
    let mut held = Vec::new();
    for number in 0..500 {
        let mut stream = server.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 20\r\n\r\n{").await.unwrap();
        }
        held.push(stream);
    }
    server.post("/v1/models/none:predict", ONE).await.refuses(404, "Latest(none)");
    server.stop().await.map_err(|error| error.to_string()).unwrap();
}

#[tokio::test]
async fn stopping_answers_what_is_under_way_and_takes_nothing_more() {
    let mut server =
        Running::start(|settings, _| settings.security.limits.drain_timeout = Duration::from_secs(5)).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    read(&mut idle).await.unwrap();
    let mut under_way = server.connect().await;
    begin(&mut under_way, "/v1/models/none:predict").await;
    under_way.write_all(&ONE.as_bytes()[..5]).await.unwrap();

    server.stop.take().unwrap().send(()).unwrap();
    // The idle one is closed after a moment, and nobody is let in.
    assert!(read(&mut idle).await.is_none());
    assert!(TcpStream::connect(server.address).await.is_err());
    under_way.write_all(&ONE.as_bytes()[5..]).await.unwrap();
    let answer = read(&mut under_way).await.unwrap();
    answer.refuses(404, "Latest(none)");
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    timeout(PATIENCE, server.done).await.unwrap().unwrap().unwrap();
}

/// Asks again and again on one connection: how many answers came, and whether the last one said that it was.
async fn ask_until_the_end(address: SocketAddr, asked: watch::Sender<usize>) -> (usize, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{ONE}", ONE.len());
    let mut answers = 0;
    while stream.write_all(request.as_bytes()).await.is_ok() {
        let Some(answer) = read(&mut stream).await else { return (answers, false) };
        answer.refuses(404, "Latest(m)");
        answers += 1;
        asked.send_modify(|asked| *asked += 1);
        if answer.head.contains("connection: close") {
            return (answers, true);
        }
    }
    (answers, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_connections_lose_no_request() {
    for _ in 0..5 {
        let mut server = Running::start(|_, _| {}).await;
        let (asked, mut seen) = watch::channel(0);
        let clients: Vec<_> = (0..16).map(|_| tokio::spawn(ask_until_the_end(server.address, asked.clone()))).collect();
        timeout(PATIENCE, seen.wait_for(|asked| *asked > 500)).await.unwrap().unwrap();
        server.stop.take().unwrap().send(()).unwrap();
        for client in clients {
            let (answers, was_told) = timeout(PATIENCE, client).await.unwrap().unwrap();
            assert!(was_told, "a request was lost after {answers} answers");
        }
        timeout(PATIENCE, server.done).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_was_sent_together_is_answered_to_its_end() {
    let mut server = Running::start(|_, _| {}).await;
    let (mut probe, mut stream) = (server.connect().await, server.connect().await);
    begin(&mut stream, "/v1/models/none:predict").await;
    server.stop.take().unwrap().send(()).unwrap();
    // It is stopping by the time that it says so.
    let is_stopping = async {
        loop {
            probe.write_all(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            let ready = read(&mut probe).await.unwrap();
            // An answer that was made just before the stop may still be the connection's last.
            let says_so = ready.body.contains("\"stopping\":true");
            assert!(!says_so || ready.head.contains("connection: close"), "{ready:?}");
            if ready.head.contains("connection: close") {
                return;
            }
        }
    };
    timeout(PATIENCE, is_stopping).await.unwrap();
    let together = ONE.to_owned() + &"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3);
    stream.write_all(together.as_bytes()).await.unwrap();
    let mut all = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    let answers: Vec<&str> = all.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.iter().map(|answer| &answer[..3]).collect::<Vec<_>>(), ["404", "200", "200", "200"], "{all}");
    let is_last = |answer: &&str| answer.contains("connection: close");
    assert_eq!(answers.iter().map(is_last).collect::<Vec<_>>(), [false, false, false, true], "{all}");
    timeout(PATIENCE, server.done).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_http_is_refused_with_a_reason() {
    let server = Running::start(|_, _| {}).await;
    for bad in [
        "nonsense\r\n\r\n".to_owned(),
        "GET /healthz HTTP/9.9\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nBad Name: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
    ] {
        server.send(bad.as_bytes()).await.refuses(400, "no HTTP that can be read");
    }
    let many = "a: b\r\n".repeat(200);
    let large = format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    server.send(large.as_bytes()).await.refuses(431, "head of the request is too large");
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(70_000));
    server.send(long.as_bytes()).await.refuses(414, "URI of the request is too long");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_ends_is_not_waited_for_without_end() {
    let server =
        Running::start(|settings, _| settings.security.limits.drain_timeout = Duration::from_millis(300)).await;
    let mut stuck = server.connect().await;
    begin(&mut stuck, "/v1/models/m:predict").await;
    let began = Instant::now();
    server.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder, Limits::default());
    settings.http.address = Some(taken.local_addr().unwrap());
    let error = Server::bind(settings.clone()).err().unwrap();
    assert!(matches!(error, ServerError::Listen { what: "REST", .. }), "{error}");
    settings.http.address = None;
    assert!(matches!(Server::bind(settings).err().unwrap(), ServerError::NoPort));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_dropped_lets_go() {
    let server = Running::start(|_, _| {}).await;
    let (address, mut idle) = (server.address, server.connect().await);
    assert_eq!(server.get("/healthz").await.code, 200);
    server.done.abort();
    timeout(PATIENCE, idle.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}
