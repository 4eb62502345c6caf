//! Tables that no initialiser of the meta graph fills.

use std::collections::BTreeMap;
use std::path::Path;

use tf_persist_savedmodel::internals::left_out_initializers;
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel, parse_tensor_name};
use tf_persist_savedmodel::tensor::Tensor;

use super::explain;
use crate::error::{Error, Result};
use crate::ffi::{Port, Session, Target};

/// Runs the ops of the collection `table_initializer`, with the paths of the assets fed, which the meta graph's init op, if it has
/// one, did not run while TensorFlow loaded it. Modules of TensorFlow Hub and graphs of TensorFlow Transform are written so:
/// Python's loaders of them know it.
///
/// `folder` is where TensorFlow finds the model.
pub(super) fn run_orphaned_initializers(
    session: &Session,
    model: &SavedModel,
    meta_graph: &MetaGraph,
    folder: &Path,
) -> Result<()> {
    let left = left_out_initializers(model, meta_graph);
    if left.is_empty() {
        return Ok(());
    }
    let mut targets: Vec<Target> = Vec::new();
    for name in left {
        let missing = || {
            let reason = format!("its collection `table_initializer` names the op `{name}`, which the graph lacks");
            Error::flawed(model.path(), reason)
        };
        match session.target(name) {
            Some(target) => targets.push(target),
            None if meta_graph.init_op().is_some() => {}
            None => return Err(missing()),
        }
    }
    // A list of assets may name a tensor twice. TensorFlow takes a feed once only, and Python what comes last.
    let mut paths: BTreeMap<(&str, u32), (Port, Tensor)> = BTreeMap::new();
    for asset in meta_graph.assets() {
        let (op, index) = parse_tensor_name(&asset.tensor)?;
        // An asset whose tensor was pruned from the graph is nobody's input.
        let Some(port) = session.port(op, index) else { continue };
        let path = folder.join("assets").join(&asset.filename);
        let path = Tensor::from_strings(&[], [path.as_os_str().as_encoded_bytes()])?;
        paths.insert((op, index), (port, path));
    }
    let feeds: Vec<(Port, &Tensor)> = paths.values().map(|(port, path)| (*port, path)).collect();
    let action = || format!("initialise the tables of `{}`", model.path().display());
    let run = |targets: &[Target]| session.run(action, None, &feeds, &[], targets).map(drop);
    if meta_graph.init_op().is_some() {
        // TensorFlow and Python take such a model as it is. What cannot be filled may be a table that nobody asks; who does is told.
        targets.chunks(1).for_each(|target| drop(run(target)));
        return Ok(());
    }
    run(&targets).map_err(explain::failed_run)
}
