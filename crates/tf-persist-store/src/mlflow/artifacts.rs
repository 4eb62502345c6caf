//! The files of a logged model: behind the MLflow server, or in a bucket that the server names.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::server::{Reply, Server};
use crate::error::{Result, StoreError};
use crate::files::{MAX_DEPTH, is_safe};
use crate::remote::api::{MAX_ANSWER, Wanted, limited, short, wait};
use crate::remote::client::count_sent;
use crate::remote::cloud::Cloud;
use crate::remote::download::{Chunks, content_range, is_as_wanted};
use crate::remote::file_body::FileBody;
use crate::remote::objects::{Answer, Body, Listed, Objects, Tag};
use crate::remote::push::{SMALL, plan};
use crate::remote::{Progress, RemoteAddress, RemoteErrorKind, RemoteOptions};

/// The interface for files.
const ARTIFACTS: &str = "api/2.0/mlflow-artifacts/artifacts";

/// The scheme of what is behind the server.
const PROXIED: &str = "mlflow-artifacts:";

/// More files and folders than these are no model.
const MAX_ENTRIES: usize = 100_000;

/// Where the files of a model are.
#[derive(Debug)]
pub(super) enum Place<'a> {
    Server(Proxied<'a>),
    Bucket(Cloud),
}

impl<'a> Place<'a> {
    /// The place that the server names.
    pub(super) fn of(server: &'a Server, uri: &str, options: &RemoteOptions) -> Result<Self> {
        let elsewhere = |what: &str| Err(server.failed(format!("its files are at `{}`, {what}", short(uri))));
        if let Some(path) = uri.strip_prefix(PROXIED) {
            let path = match path.strip_prefix("//") {
                Some(rest) => {
                    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                    if host != server.address.host() {
                        return elsewhere("on another server, which would get the credentials");
                    }
                    path
                }
                None => path,
            };
            let root = path.trim_matches('/');
            return match is_safe(root) {
                true => Ok(Self::Server(Proxied { server, root: root.to_owned() })),
                false => elsewhere("which is not a path"),
            };
        }
        match uri.split_once(':').map_or("", |(scheme, _)| scheme) {
            "s3" | "gs" => Ok(Self::Bucket(Cloud::open(&uri.parse::<RemoteAddress>()?, options)?)),
            "wasb" | "wasbs" | "abfs" | "abfss" => elsewhere("and buckets of Azure are read behind the server only"),
            "file" | "" => elsewhere("in a folder of the server's machine, and not behind the server"),
            _ => elsewhere("where only MLflow can read them"),
        }
    }

    pub(super) fn objects(&self) -> &dyn Objects {
        match self {
            Self::Server(proxied) => proxied,
            Self::Bucket(bucket) => bucket,
        }
    }

    /// Sends a file.
    pub(super) fn upload(&self, key: &str, path: &Path, size: u64, progress: &Arc<dyn Progress>) -> Result<()> {
        match self {
            Self::Server(proxied) => {
                proxied.send(key, |wanted| wanted.file(FileBody::new(path, size, Arc::clone(progress))))
            }
            Self::Bucket(bucket) => {
                let file = File::open(path).map_err(StoreError::io("open", path))?;
                let read = |part: Range<u64>| -> Result<Bytes> {
                    let mut bytes = vec![0; usize::try_from(part.end - part.start).unwrap_or(usize::MAX)];
                    file.read_exact_at(&mut bytes, part.start).map_err(StoreError::io("read", path))?;
                    progress.advance(part.end - part.start);
                    Ok(bytes.into())
                };
                if size <= SMALL {
                    return bucket.put(key, read(0..size)?);
                }
                let upload = bucket.begin(key)?;
                let parts = plan(size)
                    .into_iter()
                    .enumerate()
                    .map(|(index, part)| bucket.part(key, &upload, index, read(part.start..part.end)?));
                bucket.finish(key, &upload, parts.collect::<Result<_>>()?)
            }
        }
    }
}

/// Files behind the server.
#[derive(Debug)]
pub(super) struct Proxied<'a> {
    server: &'a Server,
    /// Their folder there.
    root: String,
}

/// An entry of a folder.
#[derive(Deserialize)]
struct Entry {
    /// Relative to the folder.
    path: String,
    #[serde(default)]
    is_dir: bool,
    /// Left out if it is 0.
    #[serde(default)]
    file_size: u64,
}

#[derive(Deserialize)]
struct Entries {
    #[serde(default)]
    files: Vec<Entry>,
}

impl Proxied<'_> {
    fn url(&self, key: &str) -> Result<Url> {
        let mut url = self.server.api.url(ARTIFACTS)?;
        let path = format!("{}/{key}", self.root);
        // A server may name anything.
        let extended = url.path_segments_mut().map(|mut segments| {
            segments.extend(path.split('/'));
        });
        match extended.is_ok() && is_safe(&path) {
            true => Ok(url),
            false => Err(self.server.failed(format!("it has a file `{}`, which leads elsewhere", short(key)))),
        }
    }

    /// Puts a file there, whatever is there.
    fn send(&self, key: &str, body: impl FnOnce(Wanted) -> Wanted) -> Result<()> {
        let wanted = Wanted::new(Method::PUT, self.url(key)?).header("content-type", "application/octet-stream");
        let wanted = body(wanted).repeated();
        wait(async {
            let response = self.server.api.send(&wanted).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(());
            }
            let body = limited(response, MAX_ANSWER).await.unwrap_or_default();
            Err(self.refused(key, status, &body))
        })
    }

    fn refused(&self, key: &str, status: StatusCode, body: &[u8]) -> StoreError {
        self.server.refused_with(self.place(key), status, body)
    }

    /// The entries of a folder: the last parts of their names.
    fn entries(&self, folder: &str) -> Result<Vec<Entry>> {
        let path = format!("{}/{folder}", self.root);
        let answer = match self.server.get(ARTIFACTS, &[("path", path.trim_end_matches('/'))])? {
            Reply::Done(answer) => answer,
            Reply::Refused(refusal) => return Err(self.server.refused(self.place(folder), &refusal)),
        };
        let entries: Entries =
            serde_json::from_value(answer).map_err(|_| self.server.failed("its list of files is not one of MLflow"))?;
        for Entry { path, .. } in &entries.files {
            if !is_safe(path) || path.contains('/') {
                let reason = format!("it lists a file `{}`, which leads elsewhere", short(path));
                return Err(self.server.failed(reason));
            }
        }
        Ok(entries.files)
    }

    /// The size of a file, from the list of its folder.
    fn size(&self, key: &str) -> Result<Option<u64>> {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        let entry = self.entries(folder)?.into_iter().find(|entry| entry.path == name && !entry.is_dir);
        Ok(entry.map(|entry| entry.file_size))
    }
}

impl Objects for Proxied<'_> {
    fn place(&self, key: &str) -> String {
        if key.is_empty() { self.server.address.to_string() } else { format!("{}, {key}", self.server.address) }
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, _unless: Option<&Tag>) -> Result<Answer> {
        let mut wanted = Wanted::new(Method::GET, self.url(key)?);
        if let Some(range) = &range {
            wanted = wanted.header("range", &format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let response = wait(self.server.api.send(&wanted))?;
        match is_as_wanted(&response, range.as_ref()) {
            Some(true) => {}
            Some(false) => return Err(self.refuse(key, RemoteErrorKind::IgnoresRanges)),
            None if response.status() == StatusCode::NOT_FOUND => return Ok(Answer::Absent),
            None => {
                let status = response.status();
                let body = wait(async { Ok(limited(response, MAX_ANSWER).await.unwrap_or_default()) })?;
                return Err(self.refused(key, status, &body));
            }
        }
        let e_tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let said = match range {
            Some(_) => content_range(&response).and_then(|(_, size)| size),
            None => response.content_length(),
        };
        // Where the server passes on what it does not know the size of.
        let size = match said {
            Some(size) => Some(size),
            None => self.size(key)?,
        };
        let Some(size) = size else { return Ok(Answer::Absent) };
        let chunks = Box::new(Chunks::new(response, self.place(key)));
        Ok(Answer::Found(Body { size, tag: Tag { e_tag, version: None }, chunks }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let too_many = || self.server.failed(format!("it lists more than {MAX_ENTRIES} files"));
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut open = vec![(prefix.to_owned(), 0)];
        while let Some((folder, depth)) = open.pop() {
            if depth > MAX_DEPTH {
                return Err(self.server.failed(format!("its files are more than {MAX_DEPTH} folders deep")));
            }
            for entry in self.entries(&folder)? {
                seen += 1;
                if seen > MAX_ENTRIES {
                    return Err(too_many());
                }
                let name = format!("{folder}{}", entry.path);
                match entry.is_dir {
                    true => open.push((format!("{name}/"), depth + 1)),
                    // The server gives no tags.
                    false => found.push(Listed { key: name, size: entry.file_size, state: String::new() }),
                }
            }
        }
        Ok(found)
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let length = bytes.len();
        self.send(key, |wanted| wanted.body(bytes))?;
        count_sent(length);
        Ok(())
    }
}

/// The files of a version of a store, which the store names `MODEL/NUMBER/…`.
#[derive(Debug)]
pub(super) struct VersionFiles<'a> {
    pub(super) objects: &'a dyn Objects,
    /// `MODEL/NUMBER/`.
    pub(super) folder: String,
    /// The folder of the SavedModel, with `/` at the end.
    pub(super) there: &'static str,
}

impl VersionFiles<'_> {
    fn key(&self, key: &str) -> Option<String> {
        key.strip_prefix(&self.folder).map(|name| format!("{}{name}", self.there))
    }
}

impl Objects for VersionFiles<'_> {
    fn place(&self, key: &str) -> String {
        match key.strip_prefix(&self.folder) {
            Some(name) => self.objects.place(name),
            None => self.objects.place(""),
        }
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, unless: Option<&Tag>) -> Result<Answer> {
        match self.key(key) {
            Some(key) => self.objects.get(&key, range, unless),
            None => Ok(Answer::Absent),
        }
    }
}
