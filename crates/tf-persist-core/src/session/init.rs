//! Tables that the init op leaves empty.

use std::collections::BTreeMap;
use std::path::Path;

use tf_persist_savedmodel::internals::left_out_initializers;
use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel, parse_tensor_name};
use tf_persist_savedmodel::tensor::Tensor;

use super::explain;
use crate::error::{Error, Result};
use crate::ffi::{Port, Session, Target};

/// Runs the ops of the collection `table_initializer` that the init op did not run, and feeds the paths of the assets.
/// Modules of TensorFlow Hub and graphs of TensorFlow Transform need it; their loaders in Python do the same.
///
/// `folder` is the folder from which TensorFlow loads the model.
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
    // The assets may name a tensor twice. TensorFlow takes each feed once; Python feeds the last one.
    let mut paths: BTreeMap<(&str, u32), (Port, Tensor)> = BTreeMap::new();
    for asset in meta_graph.assets() {
        let (op, index) = parse_tensor_name(&asset.tensor)?;
        // The tensor of an asset may have been pruned from the graph.
        let Some(port) = session.port(op, index) else { continue };
        let path = folder.join("assets").join(&asset.filename);
        let path = Tensor::from_strings(&[], [path.as_os_str().as_encoded_bytes()])?;
        paths.insert((op, index), (port, path));
    }
    let feeds: Vec<(Port, &Tensor)> = paths.values().map(|(port, path)| (*port, path)).collect();
    let action = || format!("initialise the tables of `{}`", model.path().display());
    let run = |targets: &[Target]| session.run(action, None, &feeds, &[], targets).map(drop);
    if meta_graph.init_op().is_some() {
        // TensorFlow and Python load such a model as it is. A table that stays empty is an error of the runs that read
        // it.
        targets.chunks(1).for_each(|target| drop(run(target)));
        return Ok(());
    }
    run(&targets).map_err(explain::failed_run)
}
