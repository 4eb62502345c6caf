//! A model in memory, with its variables as constants.

use super::SaveOptions;
use super::save::{encode, finish_pruned};
use crate::checkpoint::CheckpointReader;
use crate::error::Result;
use crate::rewrite::prune::{self, Pruned};
use crate::rewrite::{Asserts, freeze, simplify};
use crate::saved_model::{MetaGraph, SavedModel};

/// The file of a model whose variables are constants, and the assets that it reads.
#[derive(Debug, Clone)]
pub struct FrozenModel {
    /// The contents of `saved_model.pb`.
    pub bytes: Vec<u8>,
    /// The names of the files in `assets`.
    pub assets: Vec<String>,
    /// The simplifications that failed by a mistake of this library, by what they would have changed. The graph is as
    /// it would be without them.
    pub failed: Vec<&'static str>,
}

impl SavedModel {
    /// What [`SavedModel::save`] with [`SaveOptions::optimized`] would write as `saved_model.pb`. With `None`, nothing
    /// is done but to make constants.
    ///
    /// # Errors
    /// As [`SavedModel::save`]: a signature writes a variable, the constants exceed the limit of protobuf, and others.
    pub fn freeze(&self, meta_graph: &MetaGraph, simplified: Option<Asserts>) -> Result<FrozenModel> {
        let rewrite = SaveOptions::default().optimized(true).rewrite_of(meta_graph);
        let Pruned { mut definition, kept, dropped_assets, functions, .. } =
            prune::prune(self, meta_graph, None, &rewrite)?;
        definition.object_graph_def = None.into();
        if let Some(index) = &self.variables()?.index {
            let reader = CheckpointReader::new(index.clone());
            freeze::freeze(self.path(), &mut definition, kept.as_deref().unwrap_or_default(), &reader)?;
        }
        let failed = simplified.map_or_else(Vec::new, |asserts| simplify(&mut definition, asserts).failed);
        finish_pruned(self, &mut definition, &functions)?;
        let assets = definition.asset_file_def.iter().map(|asset| asset.filename.clone());
        let assets = assets.filter(|name| !dropped_assets.contains(name)).collect();
        Ok(FrozenModel { bytes: encode(self, definition)?, assets, failed })
    }
}
