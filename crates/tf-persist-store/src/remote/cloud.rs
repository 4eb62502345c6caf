//! S3, Google Cloud Storage, Azure and HTTP, by the crate `object_store`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpErrorKind;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::address::{Kind, RemoteAddress, Scheme};
use super::client::{Connector, NotFollowed, Redirects, RemoteOptions, count_received, count_sent, runtime};
use super::error::{RemoteError, RemoteErrorKind};
use super::objects::{Answer, Body, Listed, Objects, Tag, Written};
use crate::error::{Result, StoreError};
use crate::layout::STORE_FILE;

/// A bucket, or a place on a web server.
#[derive(Clone)]
pub(crate) struct Cloud {
    address: RemoteAddress,
    prefix: String,
    store: Arc<dyn ObjectStore>,
    /// `None` for what can only be read.
    multipart: Option<Arc<dyn MultipartStore>>,
    /// `None` for what cannot be listed.
    lister: Option<Arc<dyn PaginatedListStore>>,
}

/// More objects than this are not read from a list.
const MAX_LISTED: usize = 1 << 20;

/// The interfaces of a bucket. Those of a web server are fewer.
type Interfaces = (String, Arc<dyn ObjectStore>, Option<Arc<dyn MultipartStore>>, Option<Arc<dyn PaginatedListStore>>);

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cloud({})", self.address)
    }
}

impl Cloud {
    /// Sets the client up; nothing is sent. Credentials and endpoints come from the environment, by the names that the
    /// tools of each service have.
    pub(crate) fn open(address: &RemoteAddress, options: &RemoteOptions) -> Result<Self> {
        // Clients need what this sets up.
        runtime().map_err(StoreError::io("start threads for", address.to_string()))?;
        let failed = |error: Error| {
            let reason = settings_reason(&error);
            StoreError::from(RemoteError::new(address, RemoteErrorKind::Settings { reason }))
        };
        let connector =
            |redirects: Redirects| -> Connector { Connector { redirects, timeout: options.timeout, basic: None } };
        let address = address.clone();
        let (prefix, store, multipart, lister): Interfaces = match &address.kind {
            Kind::Bucket { scheme: Scheme::S3, bucket, prefix } => {
                let builder = super::credentials::s3(AmazonS3Builder::from_env())
                    .with_bucket_name(bucket)
                    // One request for each key, which every server knows.
                    .with_disable_bulk_delete(true)
                    .with_retry(options.retry())
                    .with_http_connector(connector(Redirects::SameHost));
                let store = Arc::new(builder.build().map_err(failed)?);
                (prefix.clone(), Arc::clone(&store) as _, Some(Arc::clone(&store) as _), Some(store as _))
            }
            Kind::Bucket { scheme: Scheme::Gcs, bucket, prefix } => {
                let builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(options.retry())
                    .with_http_connector(connector(Redirects::SameHost));
                let store = Arc::new(builder.build().map_err(failed)?);
                (prefix.clone(), Arc::clone(&store) as _, Some(Arc::clone(&store) as _), Some(store as _))
            }
            Kind::Bucket { scheme: Scheme::Azure, bucket, prefix } => {
                let builder = MicrosoftAzureBuilder::from_env()
                    .with_container_name(bucket)
                    .with_retry(options.retry())
                    .with_http_connector(connector(Redirects::SameHost));
                let store = Arc::new(builder.build().map_err(failed)?);
                (prefix.clone(), Arc::clone(&store) as _, Some(Arc::clone(&store) as _), Some(store as _))
            }
            Kind::Http(url) => {
                let (url, basic) = without_password(url);
                let builder = HttpBuilder::new()
                    .with_url(url.as_str())
                    .with_retry(options.retry())
                    .with_http_connector(Connector { basic, ..connector(Redirects::Any) });
                (String::new(), Arc::new(builder.build().map_err(failed)?), None, None)
            }
            Kind::Folder(_) => {
                let reason = "it is a folder".to_owned();
                return Err(RemoteError::new(&address, RemoteErrorKind::InvalidAddress { reason }).into());
            }
        };
        Ok(Self { address, prefix, store, multipart, lister })
    }

    fn path(&self, key: &str) -> Result<Path> {
        let whole = if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        Path::parse(whole.trim_end_matches('/')).map_err(|error| {
            let reason = format!("it cannot be stored there: {error}");
            self.refuse(key, RemoteErrorKind::InvalidAddress { reason })
        })
    }

    fn wait<T>(&self, key: &str, request: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let runtime = runtime().map_err(StoreError::io("start threads for", self.place(key)))?;
        runtime.block_on(request).map_err(|error| self.refuse(key, kind(&error)))
    }

    fn multipart(&self, key: &str) -> Result<&dyn MultipartStore> {
        self.multipart.as_deref().ok_or_else(|| self.refuse(key, RemoteErrorKind::ReadOnly))
    }

    fn write(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<Written> {
        self.multipart(key)?;
        let path = self.path(key)?;
        let length = bytes.len();
        let request = async {
            let options = PutOptions { mode, ..PutOptions::default() };
            match self.store.put_opts(&path, bytes.into(), options).await {
                Ok(_) => Ok(Written::Yes),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Written::Refused),
                Err(error) => Err(error),
            }
        };
        let written = self.wait(key, request)?;
        count_sent(length);
        Ok(written)
    }
}

impl Objects for Cloud {
    fn place(&self, key: &str) -> String {
        if key.is_empty() { self.address.to_string() } else { format!("{}/{key}", self.address) }
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, unless: Option<&Tag>) -> Result<Answer> {
        let path = self.path(key)?;
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            if_none_match: unless.and_then(|tag| tag.e_tag.clone()),
            ..GetOptions::default()
        };
        let request = async {
            match self.store.get_opts(&path, options).await {
                Err(Error::NotFound { source, .. }) if !is_no_bucket(source.as_ref()) => Ok(None),
                Err(Error::NotModified { .. }) => Ok(Some(None)),
                Err(error) => Err(error),
                Ok(found) => Ok(Some(Some(found))),
            }
        };
        let Some(found) = self.wait(key, request)? else { return Ok(Answer::Absent) };
        let Some(found) = found else { return Ok(Answer::Unchanged) };
        let tag = Tag { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let size = found.meta.size;
        let chunks = Chunks { stream: found.into_stream(), place: self.place(key) };
        Ok(Answer::Found(Body { size, tag, chunks: Box::new(chunks) }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.multipart.as_ref().ok_or_else(|| self.refuse(prefix, RemoteErrorKind::NoListing))?;
        let path = self.path(prefix)?;
        let skipped = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let request = async {
            let mut found = Vec::new();
            let mut stream = self.store.list(Some(&path));
            while let Some(object) = stream.next().await {
                let object = object?;
                let Some(key) = object.location.as_ref().get(skipped..) else { continue };
                let state = object.e_tag.unwrap_or_else(|| object.last_modified.to_rfc3339());
                found.push(Listed { key: key.to_owned(), size: object.size, state });
                if found.len() > MAX_LISTED {
                    return Ok(None);
                }
            }
            Ok(Some(found))
        };
        let too_many = || self.refuse(prefix, RemoteErrorKind::TooMany { limit: MAX_LISTED });
        self.wait(prefix, request)?.ok_or_else(too_many)
    }

    fn folders(&self) -> Result<Vec<String>> {
        let lister = self.lister.as_ref().ok_or_else(|| self.refuse("", RemoteErrorKind::NoListing))?;
        let prefix = (!self.prefix.is_empty()).then(|| format!("{}/", self.prefix));
        let (mut folders, mut page_token) = (Vec::new(), None);
        loop {
            let options =
                PaginatedListOptions { delimiter: Some("/".into()), page_token, ..PaginatedListOptions::default() };
            let page = self.wait("", lister.list_paginated(prefix.as_deref(), options))?;
            let found = page.result.common_prefixes.iter();
            folders.extend(found.filter_map(|path| path.filename().map(str::to_owned)));
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(folders);
            }
            if folders.len() > MAX_LISTED {
                return Err(self.refuse("", RemoteErrorKind::TooMany { limit: MAX_LISTED }));
            }
        }
    }

    fn store_nearby(&self) -> Option<String> {
        /// More folders are not looked at.
        const MOST: usize = 20;
        let bucket = self.address.bucket()?;
        let is_store = |prefix: &str| {
            let place = Self { prefix: prefix.to_owned(), ..self.clone() };
            matches!(place.get(STORE_FILE, None, None), Ok(Answer::Found(_)))
        };
        let above = (!self.prefix.is_empty()).then(|| self.prefix.rsplit_once('/').map_or("", |(above, _)| above));
        let above = above.map(str::to_owned).filter(|above| is_store(above));
        let inside = || {
            let folders = self.folders().ok()?.into_iter().take(MOST);
            let mut places = folders.map(|name| format!("{}/{name}", self.prefix).trim_start_matches('/').to_owned());
            places.find(|place| is_store(place))
        };
        let found = above.or_else(inside)?;
        Some(format!("{bucket}/{found}").trim_end_matches('/').to_owned())
    }

    fn is_writable(&self) -> bool {
        self.multipart.is_some()
    }

    fn create(&self, key: &str, bytes: Bytes) -> Result<Written> {
        self.write(key, bytes, PutMode::Create)
    }

    fn replace(&self, key: &str, bytes: Bytes, unchanged: &Tag) -> Result<Written> {
        let Tag { e_tag, version } = unchanged.clone();
        self.write(key, bytes, PutMode::Update(UpdateVersion { e_tag, version }))
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.write(key, bytes, PutMode::Overwrite).map(|_| ())
    }

    fn begin(&self, key: &str) -> Result<String> {
        let path = self.path(key)?;
        self.wait(key, self.multipart(key)?.create_multipart(&path))
    }

    fn part(&self, key: &str, upload: &str, index: usize, bytes: Bytes) -> Result<String> {
        let (path, upload, length) = (self.path(key)?, upload.to_owned(), bytes.len());
        let part = self.wait(key, self.multipart(key)?.put_part(&path, &upload, index, bytes.into()))?;
        count_sent(length);
        Ok(part.content_id)
    }

    fn finish(&self, key: &str, upload: &str, parts: Vec<String>) -> Result<()> {
        let (path, upload) = (self.path(key)?, upload.to_owned());
        let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
        self.wait(key, self.multipart(key)?.complete_multipart(&path, &upload, parts)).map(|_| ())
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (from, path) = (self.path(from)?, self.path(to)?);
        self.wait(to, self.store.copy_opts(&from, &path, CopyOptions::default()))
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let request = async {
            match self.store.delete(&path).await {
                Err(Error::NotFound { .. }) => Ok(()),
                deleted => deleted,
            }
        };
        self.wait(key, request)
    }
}

/// The bytes of an answer as they come.
struct Chunks {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    place: String,
}

impl Iterator for Chunks {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return Some(Err(StoreError::io("start threads for", &self.place)(error))),
        };
        let chunk = runtime.block_on(self.stream.next())?;
        Some(match chunk {
            Ok(bytes) => {
                count_received(bytes.len());
                Ok(bytes)
            }
            Err(error) => Err(RemoteError::new(&self.place, kind(&error)).into()),
        })
    }
}

/// The address of a web server without name and password, and these.
fn without_password(url: &Url) -> (Url, Option<(String, String)>) {
    let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let basic = (!url.username().is_empty()).then(|| (text(url.username()), text(url.password().unwrap_or_default())));
    let mut url = url.clone();
    // An address of HTTP can be without either.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    (url, basic)
}

/// The causes of an error, the error first.
fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether not only an object is absent, but the bucket.
fn is_no_bucket(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(server_code(error).as_deref(), Some("NoSuchBucket" | "ContainerNotFound"))
}

/// The word of the server for what is wrong. Nothing else of its message is shown: S3 repeats there what was signed.
fn server_code(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let text = chain(error).map(ToString::to_string).find(|text| text.contains("<Code>"))?;
    let code = text.split("<Code>").nth(1)?.split('<').next()?;
    (code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| code.to_owned())
}

/// The HTTP status, which `object_store` has in the text of an error only.
fn server_status(error: &(dyn std::error::Error + 'static)) -> Option<u16> {
    let text = chain(error).map(ToString::to_string).find(|text| text.contains("status code: "))?;
    text.split("status code: ").nth(1)?.get(..3)?.parse().ok()
}

fn kind(error: &Error) -> RemoteErrorKind {
    let source = || -> &(dyn std::error::Error + 'static) { error };
    let code = || server_code(source());
    match error {
        Error::NotFound { .. } if !is_no_bucket(error) => RemoteErrorKind::Absent,
        Error::PermissionDenied { .. } => RemoteErrorKind::Denied { code: code().unwrap_or_else(|| "403".to_owned()) },
        Error::Unauthenticated { .. } => RemoteErrorKind::Denied { code: code().unwrap_or_else(|| "401".to_owned()) },
        // Over HTTP, this is the only thing that may not be supported.
        Error::NotSupported { .. } => RemoteErrorKind::IgnoresRanges,
        Error::NotImplemented { .. } => RemoteErrorKind::Failed { reason: "the server does not support it".to_owned() },
        error => other_kind(error),
    }
}

fn other_kind(error: &Error) -> RemoteErrorKind {
    if let Some(other) = chain(error).find_map(|cause| cause.downcast_ref::<NotFollowed>()) {
        return RemoteErrorKind::Redirected { host: other.host.clone() };
    }
    // The type of this one is private.
    if chain(error).any(|cause| cause.to_string().contains("Received non-partial response when range requested")) {
        return RemoteErrorKind::IgnoresRanges;
    }
    if let Some(status) = server_status(error) {
        let code = server_code(error);
        if matches!(status, 401 | 403) {
            return RemoteErrorKind::Denied { code: code.unwrap_or_else(|| status.to_string()) };
        }
        if is_no_bucket(error) {
            return RemoteErrorKind::Failed { reason: "its bucket does not exist".to_owned() };
        }
        let code = code.map_or(String::new(), |code| format!(", {code}"));
        return RemoteErrorKind::Failed { reason: format!("the server answers {status}{code}") };
    }
    let last = chain(error).last().map_or(String::new(), ToString::to_string);
    let http = chain(error).find_map(|cause| cause.downcast_ref::<object_store::client::HttpError>());
    match http.map(object_store::client::HttpError::kind) {
        Some(HttpErrorKind::Connect) => RemoteErrorKind::Unreachable { reason: last },
        Some(HttpErrorKind::Timeout) => RemoteErrorKind::Unreachable { reason: "no answer in time".to_owned() },
        Some(HttpErrorKind::Interrupted | HttpErrorKind::Request) => {
            RemoteErrorKind::Unreachable { reason: "the connection was cut off".to_owned() }
        }
        Some(_) => RemoteErrorKind::Unreachable { reason: last },
        None => RemoteErrorKind::Failed { reason: last },
    }
}

/// The last cause of an error of the settings, which has no values of variables in it.
fn settings_reason(error: &Error) -> String {
    chain(error).last().map_or(String::new(), ToString::to_string)
}
