//! Servers that do not behave. Each is a sentence, and changes nothing.

use std::fs;

use tf_persist_store::remote::{Cache, PullOptions, PushOptions, Remote, RemoteErrorKind, RemoteOptions};
use tf_persist_store::{PublishOptions, StoreError, Why};

use super::server::{Request, Server, answer, file};
use super::{TestStore, label, model, open, reference};

/// A store with one version, whose data file is too large for one request.
fn with_version() -> TestStore {
    let here = TestStore::new();
    let source = here.folder.path().join("large");
    super::tensors::write_model(&source, &[("a", 3 << 20), ("b", 10)], 1.0);
    let options = PublishOptions::default().label(label("production"));
    here.store.publish(&model("m"), &source, options).unwrap();
    here
}

/// Pulls from a server with this trick. If that fails, nothing has changed.
fn pull(trick: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> Result<(), StoreError> {
    let here = with_version();
    let server = Server::start(here.store.path(), trick);
    let other = TestStore::new();
    let remote = open(&server.address);
    let pulled = remote.pull(&reference("m@production"), &other.store, &PullOptions::default());
    let overview = other.store.overview(&model("m"));
    match &pulled {
        Ok(pulled) => assert_eq!(other.store.verify(pulled.version()).unwrap(), []),
        Err(error) => {
            assert!(overview.is_err() || overview.unwrap().folders.is_empty());
            assert!(!error.to_string().contains('\n') && error.to_string().len() < 400, "{error}");
        }
    }
    pulled.map(|_| ())
}

fn kind(pulled: Result<(), StoreError>) -> RemoteErrorKind {
    match pulled {
        Err(StoreError::Remote(error)) => error.kind().clone(),
        other => panic!("{other:?}"),
    }
}

fn is_data(request: &Request) -> bool {
    request.path.contains("variables.data")
}

#[test]
fn a_web_server_is_read() {
    pull(|_| None).unwrap();
    let here = with_version();
    let server = Server::start(here.store.path(), |_| None);
    let remote = open(&server.address);
    assert!(matches!(remote.models(), Err(StoreError::Remote(error)) if *error.kind() == RemoteErrorKind::NoListing));
    assert_eq!(remote.overview(&model("m")).unwrap().latest(), Some(1));
    let read_only = |error| matches!(error, StoreError::Remote(error) if *error.kind() == RemoteErrorKind::ReadOnly);
    assert!(read_only(remote.label(&reference("m@1"), &label("a"), Why::Label).unwrap_err()));
    let version = here.store.resolve(&reference("m@1")).unwrap();
    assert!(read_only(remote.push(&here.store, &version, &PushOptions::default()).unwrap_err()));
    let mut watch = remote.watch(&model("m"));
    assert!(watch.poll().unwrap().is_some() && watch.poll().unwrap().is_none());
    assert!(server.requests.lock().unwrap().iter().any(|it| it.header("if-none-match").is_some()));
}

#[test]
fn servers_without_ranges_send_whole_files() {
    let here = with_version();
    let folder = here.store.path().to_path_buf();
    let whole = move |request: &Request| {
        let mut request = request.clone();
        request.head.retain(|line| !line.starts_with("range"));
        Some(file(&folder, &request))
    };
    let server = Server::start(here.store.path(), whole);
    let other = TestStore::new();
    let pulled = open(&server.address).pull(&reference("m"), &other.store, &PullOptions::default()).unwrap();
    assert_eq!(other.store.verify(pulled.version()).unwrap(), []);
}

#[test]
fn failing_servers_are_named() {
    let failed = kind(pull(|request| is_data(request).then(|| answer("500 Oops", &[], b"<Code>InternalError</Code>"))));
    assert!(matches!(failed, RemoteErrorKind::Failed { reason } if reason.contains("500")));
    let denied = kind(pull(|request| is_data(request).then(|| answer("403 Forbidden", &[], b"secret"))));
    assert_eq!(denied, RemoteErrorKind::Denied { code: "403".to_owned() });
    let gone = kind(pull(|request| is_data(request).then(|| answer("404 Not Found", &[], b""))));
    assert_eq!(gone, RemoteErrorKind::Absent);
    let cut = kind(pull(|request| is_data(request).then(Vec::new)));
    assert!(matches!(cut, RemoteErrorKind::Unreachable { .. }), "{cut:?}");
    let address = "http://127.0.0.1:1";
    let error = open(address).find(&reference("m")).unwrap_err().to_string();
    assert!(error.starts_with("cannot reach `http://127.0.0.1:1/m/.store/labels.json`: "), "{error}");
}

#[test]
fn bodies_that_are_too_short_or_too_long_are_refused() {
    let here = with_version();
    let folder = here.store.path().to_path_buf();
    let truncated = move |request: &Request| {
        is_data(request).then(|| {
            let whole = file(&folder, request);
            whole[..whole.len() - 100].to_vec()
        })
    };
    assert!(matches!(kind(pull(truncated)), RemoteErrorKind::Unreachable { .. }));
    let folder = with_version();
    let lie = move |request: &Request| {
        is_data(request).then(|| {
            let answer = file(folder.store.path(), request);
            let head = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
            let text = String::from_utf8_lossy(&answer[..head]);
            let (start, rest) = text.split_once("Content-Range: ").unwrap();
            let (range, rest) = rest.split_once('/').unwrap();
            let rest = rest.split_once("\r\n").unwrap().1;
            let head = format!("{start}Content-Range: {range}/99999999999\r\n{rest}");
            [head.as_bytes(), &answer[text.len()..]].concat()
        })
    };
    assert!(matches!(kind(pull(lie)), RemoteErrorKind::WrongSize { found: 99_999_999_999, .. }));
    let small = |request: &Request| request.path.ends_with("saved_model.pb").then(|| answer("200 OK", &[], b"short"));
    assert!(matches!(kind(pull(small)), RemoteErrorKind::WrongSize { found: 5, .. }));
}

#[test]
fn wrong_bytes_are_found() {
    let here = with_version();
    let folder = here.store.path().to_path_buf();
    let flipped = move |request: &Request| {
        (is_data(request) || request.path.ends_with(".index")).then(|| {
            let mut whole = file(&folder, request);
            let last = whole.len() - 1;
            whole[last] ^= 1;
            whole
        })
    };
    assert_eq!(kind(pull(flipped)), RemoteErrorKind::WrongContents);
}

/// Changes the manifest on its way.
fn with_manifest(change: impl Fn(&str) -> String + Send + Sync + 'static) -> Result<(), StoreError> {
    let here = with_version();
    let folder = here.store.path().to_path_buf();
    pull(move |request| {
        if request.path.ends_with("/labels.json") {
            // Without the events, which note the manifest.
            let labels = fs::read_to_string(folder.join("m/.store/labels.json")).unwrap();
            let labels = labels.split("\"recent\"").next().unwrap().to_owned() + "\"recent\": []}";
            return Some(answer("200 OK", &[], labels.as_bytes()));
        }
        request.path.ends_with("/1.json").then(|| {
            let manifest = fs::read_to_string(folder.join("m/.store/1.json")).unwrap();
            answer("200 OK", &[], change(&manifest).as_bytes())
        })
    })
}

#[test]
fn manifests_are_not_trusted() {
    let refused = |from: &'static str, to: &'static str| {
        with_manifest(move |manifest| manifest.replace(from, to)).unwrap_err().to_string()
    };
    assert!(refused("saved_model.pb", "../../saved_model.pb").contains("leads out of the version's folder"));
    assert!(refused("\"saved_model.pb\"", "\"/etc/passwd\"").contains("leads out of the version's folder"));
    assert!(refused("\"version\": 1", "\"version\": 2").contains("it is of version 2"));
    assert!(refused("\"saved_model.pb\"", "\"model.sig.new\"").contains("the name of a signature"));
    assert!(refused("\"size\": ", "\"size\": 99999999").contains("have more than 17592186044416 bytes"));
    assert!(refused("\"format\": 1", "\"format\": 9").contains("format 9"));
    assert!(refused("\"format\": 1", "").contains("is damaged"));
    let huge = with_manifest(|_| String::new());
    assert!(huge.unwrap_err().to_string().contains("is damaged"));
    let edited = pull(|request| request.path.ends_with("/1.json").then(|| answer("200 OK", &[], b"{\"format\": 1}")));
    assert!(edited.unwrap_err().to_string().contains("is damaged"));
    let endless = |request: &Request| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\nLast-Modified: Sat, 28 Nov 2026 12:00:00 GMT\r\n\r\n";
        request.path.ends_with("/1.json").then(|| head.to_vec())
    };
    assert!(matches!(kind(pull(endless)), RemoteErrorKind::TooLarge { .. }));
}

#[test]
fn credentials_stay_with_their_host() {
    let here = with_version();
    let other = Server::start(here.store.path(), |_| None);
    let to = other.address.clone();
    let redirect =
        move |request: &Request| Some(answer("302 Found", &[&format!("Location: {to}{}", request.path)], b""));
    let first = Server::start(here.store.path(), redirect);
    let address = first.address.replace("http://", "http://ada:secret@");
    open(&address).find(&reference("m")).unwrap();
    assert!(first.requests.lock().unwrap().iter().all(|it| it.header("authorization").is_some()));
    assert!(other.requests.lock().unwrap().iter().all(|it| it.header("authorization").is_none()));
}

#[test]
fn a_pull_goes_on_where_another_was_cut_off() {
    let here = with_version();
    let other = TestStore::new();
    let cut = Server::start(here.store.path(), |request| {
        let is_late = request.header("range").is_some_and(|range| !range.starts_with("bytes=0-"));
        (is_data(request) && is_late).then(|| answer("500 Oops", &[], b""))
    });
    let options = RemoteOptions::default().retries(0).parallel(1);
    let remote = Remote::open(&cut.address.parse().unwrap(), options).unwrap();
    assert!(remote.pull(&reference("m"), &other.store, &PullOptions::default()).is_err());
    let whole = Server::start(here.store.path(), |_| None);
    let pulled = open(&whole.address).pull(&reference("m"), &other.store, &PullOptions::default()).unwrap();
    assert_eq!(other.store.verify(pulled.version()).unwrap(), []);
    let requests = whole.requests.lock().unwrap();
    let again = requests.iter().filter(|it| is_data(it)).map(|it| it.header("range").unwrap().to_owned());
    let again: Vec<String> = again.collect();
    assert!(!again.is_empty() && again.iter().all(|range| !range.starts_with("bytes=0-")), "{again:?}");
    assert!(requests.iter().all(|it| !it.path.ends_with("saved_model.pb")), "the graph was there");
}

#[test]
fn the_cache_has_whole_versions_only() {
    let here = with_version();
    let cache = Cache::at(here.folder.path().join("cache"));
    let failing = Server::start(here.store.path(), |request| is_data(request).then(|| answer("500 Oops", &[], b"")));
    assert!(cache.get(&open(&failing.address), &reference("m")).is_err());
    let server = Server::start(here.store.path(), |_| None);
    let cached = cache.get(&open(&server.address), &reference("m")).unwrap();
    assert_eq!(here.store.resolve(&reference("m")).unwrap().digest(), cached.version().digest());
    let before = server.requests.lock().unwrap().len();
    cache.get(&open(&server.address), &reference("m")).unwrap();
    let requests = server.requests.lock().unwrap()[before..].iter().map(|it| it.path.clone()).collect::<Vec<_>>();
    assert_eq!(requests, ["/m/.store/labels.json", "/m/.store/1.json", "/m/1/model.sig"]);
}
