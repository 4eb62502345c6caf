//! What a manifest says of a model.

use std::path::Path;

use anyhow::Context;
use tf_persist_store::Selector;
use tf_persist_store::image::model_size;
use tf_persist_store::oci::OciAddress;

use super::args::CommonArgs;
use super::names::Name;
use crate::error::{Hinted, UsageError};
use crate::version_path;

/// What a pod needs beside the model, and the steps in which its memory grows.
const BASE_MEMORY: u64 = 1 << 30;
const STEP: u64 = 256 << 20;

/// A version of a model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) number: u64,
    /// The SHA-256 of its manifest in the store.
    pub(super) digest: Option<String>,
    /// The bytes of its files.
    pub(super) bytes: u64,
}

impl Model {
    pub(super) fn find(path: &Path) -> anyhow::Result<Self> {
        if let Some(version) = version_path::version_at(path)? {
            return Ok(Self {
                name: version.model().to_string(),
                number: version.number(),
                digest: Some(version.digest().to_owned()),
                bytes: version.manifest().bytes(),
            });
        }
        let absolute = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let own = name(&absolute);
        let (name, number) = match own.parse() {
            Ok(Selector::Number(number)) => (absolute.parent().map(name).unwrap_or_default(), number),
            _ => (own, 1),
        };
        Ok(Self { name, number, digest: None, bytes: model_size(&absolute)? })
    }

    /// `digits@3`.
    pub(super) fn reference(&self) -> String {
        format!("{}@{}", self.name, self.number)
    }

    /// The name of the objects.
    pub(super) fn object_name(&self, args: &CommonArgs) -> anyhow::Result<Name> {
        let name = args.name.clone().or_else(|| Name::of_model(&self.name));
        name.ok_or_else(|| {
            let error = anyhow::anyhow!("`{}` cannot be the name of an object in Kubernetes", self.name);
            Hinted { error, hint: "name it with --name NAME: lower case letters, digits and `-`".to_owned() }.into()
        })
    }

    /// The memory of a pod, as Kubernetes writes it.
    pub(super) fn memory(&self, args: &CommonArgs) -> String {
        let wanted = BASE_MEMORY.saturating_add(self.bytes.saturating_mul(2));
        let steps = wanted.div_ceil(STEP);
        args.memory.clone().unwrap_or_else(|| format!("{}Mi", steps.saturating_mul(STEP >> 20)))
    }
}

/// The name of an image as pods have it.
pub(super) fn image(text: &str) -> anyhow::Result<String> {
    let address = OciAddress::image(text).map_err(|error| UsageError(format!("--image: {error}")))?;
    let name = address.to_string();
    Ok(name.strip_prefix("oci://").unwrap_or(&name).to_owned())
}
