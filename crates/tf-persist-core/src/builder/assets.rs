//! The asset files of a new model.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
use tf_persist_proto::tensorflow::{AssetFileDef, TensorInfo};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::Staging;
use tf_persist_savedmodel::saved_model::parse_tensor_name;

use super::nodes::Nodes;
use super::signatures::full_name;
use crate::error::{Error, Result};
use crate::ffi::ImportedGraph;

/// The folder of assets in a model (`kSavedModelAssetsDirectory`).
const FOLDER: &str = "assets";

/// A file, and the tensor to which its path is fed.
#[derive(Debug, Clone)]
pub(super) struct GivenAsset {
    pub(super) tensor: String,
    pub(super) file: PathBuf,
}

/// Maps names in the model to files. Fails if a file cannot be read, two files have the same name, or a tensor is
/// unknown.
pub(super) fn check<'g>(given: &'g [GivenAsset], nodes: &Nodes<'_>) -> Result<BTreeMap<String, &'g Path>> {
    let mut files: BTreeMap<String, &Path> = BTreeMap::new();
    for asset in given {
        let what = || format!("asset `{}`", asset.file.display());
        let (op, _) = parse_tensor_name(&asset.tensor)?;
        nodes.required(op, what)?;
        let is_file = File::open(&asset.file).and_then(|file| file.metadata()).map(|found| found.is_file());
        if !is_file.map_err(Error::io("read", &asset.file))? {
            return Err(Error::data(what(), "it is not a file"));
        }
        let name = asset.name()?;
        if let Some(other) = files.insert(name, &asset.file).filter(|other| *other != asset.file) {
            return Err(Error::data(
                what(),
                format!("`{}` has the same name, and both belong in one folder", other.display()),
            ));
        }
    }
    Ok(files)
}

impl GivenAsset {
    /// The name of the file in the model.
    fn name(&self) -> Result<String> {
        let name = self.file.file_name().and_then(|name| name.to_str());
        let missing = || Error::data(format!("asset `{}`", self.file.display()), "its name is not UTF-8");
        name.map(str::to_owned).ok_or_else(missing)
    }

    /// The `AssetFileDef`. Fails unless the tensor is a string.
    pub(super) fn define(&self, graph: &ImportedGraph) -> Result<AssetFileDef> {
        let (op, index) = parse_tensor_name(&self.tensor)?;
        let what = || format!("asset `{}`", self.file.display());
        let found = graph.tensor(op, index)?;
        let found = found.ok_or_else(|| Error::data(what(), format!("`{op}` has no output {index}")))?;
        if found.dtype != DType::String || found.is_reference {
            let reason = format!("`{}` is {}, and a path is a string", self.tensor, found.dtype);
            return Err(Error::data(what(), reason));
        }
        let encoding = Some(Encoding::Name(full_name(&self.tensor)?));
        let tensor_info = MessageField::some(TensorInfo { encoding, ..TensorInfo::default() });
        Ok(AssetFileDef { tensor_info, filename: self.name()?, ..AssetFileDef::default() })
    }
}

/// Copies the files.
pub(super) fn copy(files: &BTreeMap<String, &Path>, to: &Staging) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    fs::create_dir(to.path().join(FOLDER)).map_err(Error::io("create", to.shown(FOLDER)))?;
    for (name, file) in files {
        let name_in_model = Path::new(FOLDER).join(name);
        fs::copy(file, to.path().join(&name_in_model)).map_err(Error::io("write", to.shown(&name_in_model)))?;
    }
    Ok(())
}
