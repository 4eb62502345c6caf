//! A version as an image with its files in one layer, as KServe takes it (a modelcar).

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::manifest::{Descriptor, IMAGE_CONFIG};
use super::model_pack::{Packed, annotations, packed};
use crate::error::{Result, StoreError};
use crate::manifest::hex;
use crate::signing::SIGNATURE_FILE;
use crate::store::Version;
use crate::verify::Fault;

/// The folder that KServe expects.
const FOLDER: &str = "models";

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The machine that an image without a base is for. Its files run nowhere.
const ARCHITECTURE: &str = "amd64";

/// The layer in a file.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    /// The SHA-256 of the archive before it was compressed.
    diff_id: String,
}

/// An image to which the layer is added.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) layers: Vec<Descriptor>,
    pub(super) config: Value,
}

/// Writes the layer: the files as `models/NUMBER/…`, with nothing in their headers that differs from time to time.
pub(super) fn write_layer(version: &Version, is_signed: bool, target: &Path, gzip: bool) -> Result<Layer> {
    let writing = || StoreError::io("write", target);
    let file = BufWriter::new(File::create(target).map_err(writing())?);
    let blob = Hashing::new(file);
    let sink = match gzip {
        // No name and no time.
        true => Sink::Gzip(Box::new(GzBuilder::new().mtime(0).write(blob, flate2::Compression::default()))),
        false => Sink::Plain(blob),
    };
    let mut archive = tar::Builder::new(Hashing::new(sink));
    let files = version.manifest().files.iter().map(|file| (file.name.as_str(), Some(file.sha256.as_str())));
    let mut files: Vec<(&str, Option<&str>)> = files.chain(is_signed.then_some((SIGNATURE_FILE, None))).collect();
    files.sort_unstable();
    for (name, sha256) in files {
        let path = version.path().join(name);
        let reading = || StoreError::io("read", &path);
        let source = File::open(&path).map_err(reading())?;
        let size = source.metadata().map_err(reading())?.len();
        let mut header = tar::Header::new_ustar();
        let entry = format!("{FOLDER}/{}/{name}", version.number());
        header.set_path(&entry).map_err(|_| StoreError::refused(&path, "its name is too long for a layer"))?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        let mut source = Exactly { source: source.take(size), left: size, hasher: Sha256::new() };
        archive.append(&header, &mut source).map_err(writing())?;
        if sha256.is_some_and(|sha256| sha256 != hex(&source.hasher.finalize())) {
            let (model, number) = (version.model().clone(), version.number());
            let faults = vec![Fault::Contents(name.to_owned())];
            return Err(StoreError::Changed { model, version: number, faults });
        }
    }
    let (sink, diff_id, _) = archive.into_inner().map_err(writing())?.finish();
    let blob = match sink {
        Sink::Plain(blob) => blob,
        Sink::Gzip(encoder) => encoder.finish().map_err(writing())?,
    };
    let (file, sha256, size) = blob.finish();
    file.into_inner().map_err(|error| writing()(error.into_error()))?.sync_all().map_err(writing())?;
    let descriptor = Descriptor::new(if gzip { TAR_GZIP } else { TAR }, &sha256, size);
    Ok(Layer { descriptor, diff_id })
}

/// The image of a version.
pub(super) fn image(version: &Version, text: &str, layer: Layer, base: Option<Base>) -> Result<Packed> {
    let created = version.manifest().published_at.to_string();
    let (mut layers, mut config) = match base {
        Some(base) => (base.layers, base.config),
        None => (Vec::new(), json!({"architecture": ARCHITECTURE, "os": "linux", "config": {}})),
    };
    let invalid = || StoreError::refused("the base image", "its config has no `rootfs` for its layers");
    let Some(object) = config.as_object_mut() else { return Err(invalid()) };
    object.insert("created".into(), created.as_str().into());
    let rootfs = object.entry("rootfs").or_insert_with(|| json!({"type": "layers", "diff_ids": []}));
    let Some(ids) = rootfs.get_mut("diff_ids").and_then(Value::as_array_mut) else { return Err(invalid()) };
    if ids.len() != layers.len() {
        return Err(invalid());
    }
    ids.push(format!("sha256:{}", layer.diff_id).into());
    let history = object.entry("history").or_insert_with(|| json!([]));
    if let Some(history) = history.as_array_mut() {
        history.push(json!({"created": created, "created_by": "tf-persist store push --modelcar"}));
    }
    layers.push(layer.descriptor);
    packed(None, IMAGE_CONFIG, &config, layers, annotations(version, text))
}

/// Where the archive goes.
enum Sink {
    Plain(Hashing<BufWriter<File>>),
    Gzip(Box<GzEncoder<Hashing<BufWriter<File>>>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(sink) => sink.write(bytes),
            Self::Gzip(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.flush(),
            Self::Gzip(sink) => sink.flush(),
        }
    }
}

/// Counts and hashes what it passes on.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// The target, and the SHA-256 and the number of the bytes.
    fn finish(self) -> (W, String, u64) {
        (self.inner, hex(&self.hasher.finalize()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file of a known size. One that has become shorter would damage the archive.
struct Exactly {
    source: io::Take<File>,
    left: u64,
    hasher: Sha256,
}

impl Read for Exactly {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        if read == 0 && self.left > 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(read as u64);
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}
