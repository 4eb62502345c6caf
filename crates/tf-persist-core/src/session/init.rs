//! Tables that no initialiser of the meta graph fills.

use std::path::Path;

use super::explain;
use crate::error::{Error, Result};
use crate::ffi::{Port, Session, Target};
use crate::saved_model::{MetaGraph, SavedModel, parse_tensor_name};
use crate::tensor::Tensor;

/// Runs the ops of the collection `table_initializer`, with the paths of the assets fed, where the meta graph has no
/// initialiser of its own that TensorFlow ran while loading. Modules of TensorFlow Hub and graphs of TensorFlow Transform are
/// written so: Python's loaders of them know it.
///
/// `folder` is where TensorFlow finds the model.
pub(super) fn run_orphaned_initializers(
    session: &Session,
    model: &SavedModel,
    meta_graph: &MetaGraph,
    folder: &Path,
) -> Result<()> {
    if meta_graph.init_op().is_some() || meta_graph.table_initializers().is_empty() {
        return Ok(());
    }
    let mut targets: Vec<Target> = Vec::new();
    for name in meta_graph.table_initializers() {
        let missing = || {
            let reason = format!("its collection `table_initializer` names the op `{name}`, which the graph lacks");
            Error::damaged(model.path(), reason)
        };
        targets.push(session.target(name).ok_or_else(missing)?);
    }
    let mut paths: Vec<(Port, Tensor)> = Vec::new();
    for asset in meta_graph.assets() {
        let (op, index) = parse_tensor_name(&asset.tensor)?;
        // An asset whose tensor was pruned from the graph is nobody's input.
        let Some(port) = session.port(op, index) else { continue };
        let path = folder.join("assets").join(&asset.filename);
        let path = Tensor::from_strings(&[], [path.as_os_str().as_encoded_bytes()])?;
        paths.push((port, path));
    }
    let feeds: Vec<(Port, &Tensor)> = paths.iter().map(|(port, path)| (*port, path)).collect();
    let action = || format!("initialise the tables of `{}`", model.path().display());
    session.run(action, None, &feeds, &[], &targets).map(drop).map_err(explain::failed_run)
}
