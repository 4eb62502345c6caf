//! A small HTTP server for a folder, which may be told to misbehave.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// The lines of the head, in lower case.
    pub(crate) head: Vec<String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What the server does instead of its duty.
type Trick = Arc<dyn Fn(&Request) -> Option<Vec<u8>> + Send + Sync>;

/// A server, for as long as the process runs.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves a folder with ranges and tags. `trick` may answer in its place.
    pub(crate) fn start(folder: &Path, trick: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (folder, trick, seen): (PathBuf, Trick, _) = (folder.to_path_buf(), Arc::new(trick), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, trick, seen) = (folder.clone(), Arc::clone(&trick), Arc::clone(&seen));
                thread::spawn(move || serve(&stream, &folder, &trick, &seen));
            }
        });
        Self { address, requests }
    }
}

fn serve(stream: &TcpStream, folder: &Path, trick: &Trick, seen: &Mutex<Vec<Request>>) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) => head.push(line.trim().to_owned()),
            }
        }
        let mut words = head[0].split(' ').map(str::to_owned);
        let path = words.nth(1).unwrap();
        let head = head.iter().skip(1).map(|line| line.to_ascii_lowercase()).collect();
        let request = Request { path, head };
        seen.lock().unwrap().push(request.clone());
        let (answer, close) = match trick(&request) {
            Some(answer) => (answer, true),
            None => (file(folder, &request), false),
        };
        if writer.write_all(&answer).is_err() || close {
            return;
        }
    }
}

/// The answer to a request for a file.
pub(crate) fn file(folder: &Path, request: &Request) -> Vec<u8> {
    let path = folder.join(request.path.trim_start_matches('/'));
    let Ok(bytes) = fs::read(path) else { return answer("404 Not Found", &[], b"") };
    let tag =
        format!("\"{:x}\"", bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte)));
    if request.header("if-none-match") == Some(&tag) {
        return answer("304 Not Modified", &[], b"");
    }
    let range = request.header("range").and_then(|it| it.strip_prefix("bytes=")?.split_once('-'));
    let tag = format!("ETag: {tag}");
    match range.map(|(from, to)| (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap())) {
        None => answer("200 OK", &[&tag], &bytes),
        Some((from, to)) => {
            let to = to.min(bytes.len() - 1);
            let range = format!("Content-Range: bytes {from}-{to}/{}", bytes.len());
            answer("206 Partial Content", &[&tag, &range], &bytes[from..=to])
        }
    }
}

/// An answer with a right length.
pub(crate) fn answer(status: &str, lines: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let date = "Last-Modified: Sat, 28 Nov 2026 12:00:00 GMT".to_owned();
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).chain([length, date]).collect();
    [format!("HTTP/1.1 {status}\r\n{}\r\n\r\n", lines.join("\r\n")).as_bytes(), body].concat()
}
