//! Blobs and manifests of a repository.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use sha2::{Digest, Sha256};

use super::address::{OciAddress, Target};
use super::manifest::{ACCEPTED, Descriptor, OCI_MANIFEST};
use super::registry::Registry;
use crate::error::{Result, StoreError};
use crate::manifest::hex;
use crate::remote::api::{Wanted, limited};
use crate::remote::client::{count_received, count_sent};
use crate::remote::download::is_as_wanted;
use crate::remote::{RemoteError, RemoteErrorKind};

/// The most bytes of a manifest. Registries take 4 MiB.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;

/// The bytes of a file that are sent with one request.
const PART: u64 = 16 << 20;

/// The header with the digest of what a registry sends or has stored.
const DIGEST: &str = "docker-content-digest";

/// What became of a part of an upload.
enum Sent {
    /// It was the last, and the registry has the blob.
    All,
    /// The next part goes there.
    Part(Url),
    /// It may not have arrived.
    Failed(StoreError),
}

impl Registry {
    /// The manifest of an address as it is, and its SHA-256; `None` if there is none.
    pub(crate) async fn manifest(&self, address: &OciAddress) -> Result<Option<(Bytes, String)>> {
        let mut wanted = Wanted::new(Method::GET, self.url(&manifest_path(address))?);
        for media_type in ACCEPTED {
            wanted = wanted.header("accept", media_type);
        }
        let response = self.send(&wanted).await?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(self.refusal(&address.to_string(), response).await),
        }
        let said = digest_header(response.headers());
        let bytes = limited(response, MAX_MANIFEST).await.map_err(|reason| self.failed(reason))?;
        count_received(bytes.len());
        let digest = hex(&Sha256::digest(&bytes));
        let is_wanted = match address.target() {
            Target::Digest(wanted) => *wanted == digest,
            Target::Tag(_) => true,
        };
        if !is_wanted || said.is_some_and(|said| said != digest) {
            return Err(RemoteError::new(address, RemoteErrorKind::WrongContents).into());
        }
        Ok(Some((bytes, digest)))
    }

    /// Where a tag points; `None` if there is no such tag.
    pub(crate) async fn digest_of(&self, address: &OciAddress) -> Result<Option<String>> {
        Ok(self.manifest(address).await?.map(|(_, digest)| digest))
    }

    /// Puts a manifest under the tag of the address.
    pub(crate) async fn put_manifest(&self, bytes: Bytes) -> Result<()> {
        let digest = hex(&Sha256::digest(&bytes));
        let url = self.url(&manifest_path(&self.address))?;
        let wanted = Wanted::new(Method::PUT, url).header("content-type", OCI_MANIFEST).body(bytes.clone()).repeated();
        let response = self.send(&wanted).await?;
        if response.status() != StatusCode::CREATED {
            return Err(self.refusal(&self.address.to_string(), response).await);
        }
        count_sent(bytes.len());
        match digest_header(response.headers()).is_some_and(|said| said != digest) {
            true => Err(RemoteError::new(&self.address, RemoteErrorKind::WrongContents).into()),
            false => Ok(()),
        }
    }

    /// Whether the repository has a blob.
    pub(crate) async fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        let response = self.send(&Wanted::new(Method::HEAD, self.url(&format!("blobs/{}", blob.digest))?)).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(&self.blob_name(blob), response).await),
        }
    }

    /// Takes a blob over from another repository of the same registry. Returns whether that was possible.
    pub(crate) async fn mount(&self, blob: &Descriptor, from: &OciAddress) -> Result<bool> {
        if from.host() != self.address.host() {
            return Ok(false);
        }
        let mut url = self.url("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &blob.digest).append_pair("from", from.repository());
        let response = self.send(&Wanted::new(Method::POST, url)).await?;
        if response.status() == StatusCode::ACCEPTED {
            // It has begun an upload instead.
            let _ = self.send(&Wanted::new(Method::DELETE, self.location(&response)?)).await;
        }
        Ok(response.status() == StatusCode::CREATED)
    }

    /// Sends a blob that is a file.
    pub(crate) async fn upload(&self, blob: &Descriptor, path: &Path) -> Result<()> {
        let mut file = File::open(path).map_err(StoreError::io("open", path))?;
        let part = |offset: u64, length: u64| -> Result<Bytes> {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.seek(SeekFrom::Start(offset)).map_err(StoreError::io("read", path))?;
            file.read_exact(&mut bytes).map_err(StoreError::io("read", path))?;
            Ok(bytes.into())
        };
        self.upload_parts(blob, part).await
    }

    /// Sends a blob that is in memory.
    pub(crate) async fn upload_bytes(&self, blob: &Descriptor, bytes: Bytes) -> Result<()> {
        let part = |offset: u64, length: u64| Ok(bytes.slice(offset as usize..(offset + length) as usize));
        self.upload_parts(blob, part).await
    }

    /// Sends a blob part by part. After a failure it goes on with what has not arrived.
    async fn upload_parts(&self, blob: &Descriptor, mut part: impl FnMut(u64, u64) -> Result<Bytes>) -> Result<()> {
        let mut upload = self.begin_upload(blob).await?;
        let (mut offset, mut tries) = (0, 0);
        loop {
            let left = blob.size - offset;
            let bytes = part(offset, left.min(PART))?;
            let sent = match left > PART {
                true => self.send_part(blob, &upload, offset, bytes).await?,
                false => self.end_upload(blob, &upload, bytes).await?,
            };
            match sent {
                Sent::All => return Ok(()),
                Sent::Part(next) => {
                    upload = next;
                    offset += PART;
                    tries = 0;
                }
                Sent::Failed(_) if self.waits(&mut tries).await => {
                    (upload, offset) = self.resume_upload(blob, &upload).await?;
                }
                Sent::Failed(error) => return Err(error),
            }
        }
    }

    async fn send_part(&self, blob: &Descriptor, upload: &Url, offset: u64, bytes: Bytes) -> Result<Sent> {
        let length = bytes.len();
        let range = format!("{offset}-{}", offset + length as u64 - 1);
        let wanted = Wanted::new(Method::PATCH, upload.clone())
            .header("content-type", "application/octet-stream")
            .header("content-range", &range)
            .body(bytes);
        match self.send(&wanted).await {
            Ok(response) if response.status() == StatusCode::ACCEPTED => {
                count_sent(length);
                self.location(&response).map(Sent::Part)
            }
            sent => self.failed_upload(blob, sent).await,
        }
    }

    async fn end_upload(&self, blob: &Descriptor, upload: &Url, last: Bytes) -> Result<Sent> {
        let mut url = upload.clone();
        url.query_pairs_mut().append_pair("digest", &blob.digest);
        let length = last.len();
        let wanted = Wanted::new(Method::PUT, url).header("content-type", "application/octet-stream").body(last);
        let sent = self.send(&wanted).await;
        // The answer may have been lost.
        let is_done = match &sent {
            Ok(response) if response.status() == StatusCode::CREATED => true,
            Ok(response) if response.status().is_client_error() => false,
            _ => self.has_blob(blob).await.unwrap_or(false),
        };
        if is_done {
            count_sent(length);
            return Ok(Sent::All);
        }
        self.failed_upload(blob, sent).await
    }

    /// Whether an upload that failed may go on.
    async fn failed_upload(&self, blob: &Descriptor, sent: Result<Response>) -> Result<Sent> {
        match sent {
            Err(error) => Ok(Sent::Failed(error)),
            Ok(response) => {
                let status = response.status();
                let goes_on = status.is_server_error()
                    || matches!(status, StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::TOO_MANY_REQUESTS);
                let error = self.refusal(&self.blob_name(blob), response).await;
                if goes_on { Ok(Sent::Failed(error)) } else { Err(error) }
            }
        }
    }

    async fn begin_upload(&self, blob: &Descriptor) -> Result<Url> {
        let response = self.send(&Wanted::new(Method::POST, self.url("blobs/uploads/")?).repeated()).await?;
        match response.status() {
            StatusCode::ACCEPTED => self.location(&response),
            _ => Err(self.refusal(&self.blob_name(blob), response).await),
        }
    }

    /// Where an upload goes on, and how many bytes have arrived.
    async fn resume_upload(&self, blob: &Descriptor, upload: &Url) -> Result<(Url, u64)> {
        let response = self.send(&Wanted::new(Method::GET, upload.clone())).await?;
        let last = response
            .headers()
            .get(RANGE)
            .and_then(|range| range.to_str().ok()?.rsplit('-').next()?.parse::<u64>().ok());
        match response.status() {
            StatusCode::NO_CONTENT => {
                let arrived = last.map_or(0, |last| last.saturating_add(1));
                // Docker's registry says `0-0` where nothing has arrived. It cannot have more than was sent.
                match (2..=blob.size).contains(&arrived) {
                    true => Ok((self.location(&response)?, arrived)),
                    false => {
                        let _ = self.send(&Wanted::new(Method::DELETE, self.location(&response)?)).await;
                        Ok((self.begin_upload(blob).await?, 0))
                    }
                }
            }
            // It was forgotten.
            StatusCode::NOT_FOUND => Ok((self.begin_upload(blob).await?, 0)),
            _ => Err(self.refusal(&self.blob_name(blob), response).await),
        }
    }

    /// A blob in memory.
    pub(crate) async fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Bytes> {
        let wrong = |kind| StoreError::from(RemoteError::new(self.blob_name(blob), kind));
        if blob.size > limit {
            return Err(wrong(RemoteErrorKind::TooLarge { limit }));
        }
        let response = self.get_blob(blob, None).await?;
        let bytes = limited(response, blob.size).await.map_err(|reason| self.failed(reason))?;
        count_received(bytes.len());
        match Some(hex(&Sha256::digest(&bytes)).as_str()) == blob.sha256() {
            true => Ok(bytes),
            false => Err(wrong(RemoteErrorKind::WrongContents)),
        }
    }

    /// The answer with the bytes of a blob, or with a range of them.
    pub(crate) async fn get_blob(&self, blob: &Descriptor, range: Option<Range<u64>>) -> Result<Response> {
        let mut wanted = Wanted::new(Method::GET, self.url(&format!("blobs/{}", blob.digest))?);
        if let Some(range) = &range {
            wanted = wanted.header("range", &format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let response = self.send(&wanted).await?;
        match is_as_wanted(&response, range.as_ref()) {
            Some(true) => Ok(response),
            Some(false) => Err(RemoteError::new(self.blob_name(blob), RemoteErrorKind::IgnoresRanges).into()),
            None => Err(self.refusal(&self.blob_name(blob), response).await),
        }
    }

    /// Where an upload goes on: at the registry, or at any host with TLS, which gets no credentials. Registries that
    /// keep blobs elsewhere do send uploads to other hosts.
    fn location(&self, response: &Response) -> Result<Url> {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let url = location.and_then(|location| response.url().join(location).ok());
        let url = url.ok_or_else(|| self.failed("it does not say where the upload goes".to_owned()))?;
        match self.may_upload_to(&url) {
            true => Ok(url),
            false => {
                let host = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
                Err(RemoteError::new(&self.address, RemoteErrorKind::UploadRedirected { host }).into())
            }
        }
    }

    pub(crate) fn blob_name(&self, blob: &Descriptor) -> String {
        let name = blob.file().unwrap_or(&blob.digest);
        format!("{}, {name}", self.address)
    }
}

fn manifest_path(address: &OciAddress) -> String {
    match address.target() {
        Target::Tag(tag) => format!("manifests/{tag}"),
        Target::Digest(digest) => format!("manifests/sha256:{digest}"),
    }
}

/// The SHA-256 in a header.
fn digest_header(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(DIGEST)?.to_str().ok()?.strip_prefix("sha256:")?.to_owned())
}
