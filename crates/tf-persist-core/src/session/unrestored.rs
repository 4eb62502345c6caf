//! Restores variables that the saver of the graph leaves out.

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_savedmodel::checkpoint::{CheckpointReader, CheckpointWriter};
use tf_persist_savedmodel::internals::{HandleKind, attr, free_name};
use tf_persist_savedmodel::saved_model::{FoundVariable, SavedModel};
use tf_persist_savedmodel::tensor::Tensor;

use super::{LoadedModel, explain};
use crate::error::{Error, Hint, ModelError, Result};
use crate::ffi::{Port, Session, Target};

/// The bytes of values that one run assigns: TensorFlow prepares each run first.
const GROUP_BYTES: u64 = 256 << 20;

/// A variable that was restored by us.
pub(crate) struct Restored {
    pub(crate) found: FoundVariable,
    /// The tensor of its value.
    pub(crate) read: Port,
}

/// Adds ops that assign and read these variables to the graph of the session, and restores them.
pub(super) fn restore(session: &Session, model: &SavedModel, found: Vec<FoundVariable>) -> Result<Vec<Restored>> {
    let Some(index) = model.variables()?.index.as_ref().filter(|_| !found.is_empty()) else { return Ok(Vec::new()) };
    let checkpoint = CheckpointReader::new(index.clone());
    let scope = free_name("restored", |scope| {
        ["value_0", "assign_0", "read_0"].iter().any(|name| session.target(&format!("{scope}/{name}")).is_some())
    });
    let missing = |name: &str| Error::flawed(model.path(), format!("its graph lacks the op `{name}`"));
    let mut graph = pb::GraphDef::default();
    let mut holders = Vec::new();
    for (number, item) in found.iter().enumerate() {
        let holder = session.port(&item.variable, 0).ok_or_else(|| missing(&item.variable))?;
        let name = |part: &str| format!("{scope}/{part}_{number}");
        let dtype = attr::proto_type(item.restored.tensors[0].dtype);
        let kind = if item.restored.op == "Assign" { HandleKind::Reference } else { HandleKind::Resource };
        let holder_name = name("holder");
        let type_name = if kind == HandleKind::Reference { "T" } else { "dtype" };
        graph.node.push(attr::node(name("value"), "Placeholder", &[], [("dtype", dtype.clone())]));
        let inputs = [&*holder_name, &*name("value")];
        graph.node.push(attr::node(name("assign"), &item.restored.op, &inputs, [(type_name, dtype.clone())]));
        if kind == HandleKind::Resource {
            graph.node.push(attr::node(name("read"), "ReadVariableOp", &[&*holder_name], [("dtype", dtype)]));
        }
        holders.push((holder_name, holder));
    }
    let bytes = graph.write_to_bytes().map_err(|error| Error::flawed(model.path(), error.to_string()))?;
    session.import(&bytes, &holders)?;

    let port = |name: String| session.port(&name, 0).ok_or_else(|| missing(&name));
    let mut group: Vec<(Port, Tensor, Target)> = Vec::new();
    let mut bytes = 0;
    let mut restored = Vec::new();
    for (number, (item, (_, holder))) in found.into_iter().zip(holders).enumerate() {
        let value = item.restored.tensors[0].read(model.file(), &checkpoint)?;
        bytes += value.bytes().map_or(0, <[u8]>::len) as u64;
        let assign = format!("{scope}/assign_{number}");
        let target = session.target(&assign).ok_or_else(|| missing(&assign))?;
        group.push((port(format!("{scope}/value_{number}"))?, value, target));
        if bytes > GROUP_BYTES {
            assign_all(session, model, &std::mem::take(&mut group))?;
            bytes = 0;
        }
        let read = if item.restored.op == "Assign" { holder } else { port(format!("{scope}/read_{number}"))? };
        restored.push(Restored { found: item, read });
    }
    assign_all(session, model, &group)?;
    Ok(restored)
}

fn assign_all(session: &Session, model: &SavedModel, group: &[(Port, Tensor, Target)]) -> Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    let feeds: Vec<(Port, &Tensor)> = group.iter().map(|(port, value, _)| (*port, value)).collect();
    let targets: Vec<Target> = group.iter().map(|(_, _, target)| *target).collect();
    let action = || format!("restore variables of `{}`", model.path().display());
    session.run(action, None, &feeds, &[], &targets).map(drop).map_err(explain::failed_run)
}

impl LoadedModel {
    /// Whether variables were restored that the saver of the graph does not save.
    pub(crate) fn has_unsaved(&self) -> bool {
        !self.0.restored.is_empty()
    }

    /// Copies a checkpoint, with the current values of the variables that the saver of the graph leaves out.
    ///
    /// # Errors
    /// If the session has changed a part of a partitioned variable, which is not supported.
    pub(crate) fn overlay_unsaved(&self, base: &CheckpointReader, writer: &mut CheckpointWriter) -> Result<()> {
        let action = || format!("save the variables of `{}`", self.saved_model().path().display());
        for entry in &base.index().entries {
            let mut of_key = self.0.restored.iter().filter(|item| item.found.key == entry.key).peekable();
            if of_key.peek().is_none() {
                writer.add_from(&entry.key, base, &entry.key)?;
                continue;
            }
            let mut whole = None;
            for item in of_key {
                let values = self.session().run(action, None, &[], &[item.read], &[])?;
                let Some(value) = values.into_iter().next() else { continue };
                if item.found.restored.tensors[0].slice.is_empty() {
                    whole = Some(value);
                } else if item.found.restored.tensors[0].read(self.saved_model().file(), base)? != value {
                    let reason = format!(
                        "a part of the variable `{}` was changed, which no saver of the graph saves",
                        item.found.key
                    );
                    let hint = Some(
                        Hint::new("export the model for inference first: the result has a saver").set("inference_only"),
                    );
                    return Err(Error::Model(ModelError::CannotExport {
                        path: self.saved_model().path().to_path_buf(),
                        reason,
                        hint,
                    }));
                }
            }
            match whole {
                Some(value) => writer.add(&entry.key, &value)?,
                None => writer.add_from(&entry.key, base, &entry.key)?,
            }
        }
        Ok(())
    }
}
