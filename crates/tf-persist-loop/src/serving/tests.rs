//! Pages of servers, and files of rules.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::state::{Counts, Traffic};

const PAGE: &str = r#"# HELP tf_persist_version_requests_total requests
# TYPE tf_persist_version_requests_total counter
tf_persist_version_requests_total{model="m",version="1",status="OK"} 95
tf_persist_version_requests_total{model="m",version="2",status="OK"} 4 1700000000000
tf_persist_version_requests_total{model="m",version="2",status="INTERNAL"} 1
tf_persist_version_requests_total{model="m",version="2",status="INVALID_ARGUMENT"} 7
tf_persist_version_requests_total{model="a \"quoted\", \\ name",version="2",status="OK"} 9
tf_persist_version_latency_seconds_bucket{model="m",version="2",le="+Inf"} 5
tf_persist_version_latency_seconds_sum{model="m",version="2"} 0.5
tf_persist_version_latency_seconds_count{model="m",version="2"} 5
tf_persist_shadow_requests_total{model="m",version="1",shadow="2",outcome="differs"} 3
tf_persist_shadow_largest_difference{model="m",version="1",shadow="2"} 0.25
tf_persist_traffic_share{model="m",version="2"} 0.05
half a line{
"#;

#[test]
fn counts_of_versions() {
    let page = Page::parse(PAGE);
    assert!(page.counts_versions());
    assert_eq!(page.share("m", 2), Some(0.05));
    let counts = page.counts("m", 2, 1);
    assert_eq!(counts.candidate, Traffic { requests: 5.0, failures: 1.0, refused: 7.0, seconds: 0.5, timed: 5.0 });
    assert_eq!(
        (counts.production.requests, counts.shadow.differs, counts.shadow.largest_difference),
        (95.0, 3.0, 0.25)
    );
    assert_eq!(counts.candidate.mean_seconds(), Some(0.1));
    assert_eq!(page.counts("a \"quoted\", \\ name", 2, 1).candidate.requests, 9.0);
    assert_eq!(page.counts("other", 2, 1), Counts::default());
}

#[test]
fn a_server_that_was_started_anew_counts_from_0() {
    let traffic = |requests: f64| Counts { candidate: Traffic { requests, ..Traffic::default() }, ..Counts::default() };
    assert!(!traffic(12.0).is_anew(&traffic(10.0)));
    assert_eq!(traffic(12.0).since(&traffic(10.0)).candidate.requests, 2.0);
    // All counts are those of a new server as soon as one is.
    assert!(traffic(3.0).is_anew(&traffic(10.0)));
    let mut later = traffic(20.0);
    later.production.requests = 5.0;
    assert!(traffic(30.0).is_anew(&later));
}

#[test]
fn only_a_difference_may_be_infinite() {
    let page = Page::parse(
        "tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"OK\"} NaN\n\
         tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"OK\"} +Inf\n\
         tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"OK\"} -4\n\
         tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"OK\"} 3\n\
         tf_persist_shadow_largest_difference{model=\"m\",version=\"1\",shadow=\"2\"} +Inf\n",
    );
    let counts = page.counts("m", 2, 1);
    assert_eq!((counts.candidate.requests, counts.shadow.largest_difference), (3.0, INFINITE));
    let text = serde_json::to_string(&counts).unwrap();
    assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
}

#[test]
fn rules_are_written_once_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic.toml");
    let rules = |share: u8| Rules {
        weights: vec![("production".into(), 100 - share), ("candidate".into(), share)],
        shadows: Vec::new(),
    };
    assert!(write(&path, "m", &rules(0)).unwrap());
    assert!(!write(&path, "m", &rules(0)).unwrap());
    std::fs::write(&path, "[other]\nshadows = [\"next\"]\n").unwrap();
    assert!(write(&path, "m", &rules(5)).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(table["m"]["weights"]["candidate"].as_integer(), Some(5));
    assert_eq!(table["other"]["shadows"][0].as_str(), Some("next"));
    std::fs::write(&path, "[m\n").unwrap();
    let error = write(&path, "m", &rules(5)).unwrap_err().to_string();
    assert!(error.contains("is no file of traffic rules"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[m\n");
}

/// A server that sends this answer.
fn answered(answer: &'static str) -> Result<serde_json::Value, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let found = server.model("m").map_err(|error| error.to_string());
    thread.join().unwrap();
    found
}

#[test]
fn pages_are_read_whole_and_in_chunks() {
    let page = "{\"models\": [{\"name\": \"m\", \"labels\": {\"production\": \"1\"}}]}";
    let plain: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\n\r\n{page}").into_boxed_str());
    assert_eq!(answered(plain).unwrap()["labels"]["production"], "1");
    let chunks = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &page[..10],
        page.len() - 10,
        &page[10..]
    );
    assert_eq!(answered(Box::leak(chunks.into_boxed_str())).unwrap()["name"], "m");
    let refused = |answer| answered(answer).unwrap_err();
    assert!(refused("HTTP/1.1 200 OK\r\n\r\n{\"models\": []}").ends_with("does not serve the model `m`"));
    assert!(refused("HTTP/1.1 401 Unauthorized\r\n\r\n").ends_with("answers `/models` with 401"));
    assert!(refused("HTTP/1.1 200 OK\r\n\r\n{").contains("is no JSON"));
    assert!(refused("SSH-2.0").contains("does not answer: "));
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{";
    assert!(refused(cut).contains("does not answer: "));
}

#[test]
fn addresses() {
    assert!(Server::parse("http://127.0.0.1:8501").is_ok() && Server::parse("http://host/").is_ok());
    for url in ["https://host", "host:1", "http://", "http://a b", "http://user@host", "http://h/path"] {
        assert!(Server::parse(url).is_err(), "{url}");
    }
}
