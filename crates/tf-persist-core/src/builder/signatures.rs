//! Checks the signatures of a new model against its graph.

use std::collections::{BTreeMap, BTreeSet};

use tf_persist_proto::protobuf::{EnumOrUnknown, MessageField};
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
use tf_persist_proto::tensorflow::tensor_shape::tensor_shape_proto::Dim;
use tf_persist_proto::tensorflow::{NodeDef, SignatureDef, TensorInfo, TensorShapeProto};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::PartialShape;
use tf_persist_savedmodel::internals::attr::{self, node};
use tf_persist_savedmodel::saved_model::parse_tensor_name;

use super::nodes::{FreeNames, Nodes, is_placeholder};
use super::signature::{Bound, GraphSignature};
use crate::error::{Error, ModelError, Result, TensorError};
use crate::ffi::{ImportedGraph, TensorType};

/// Names of signatures that are reserved for operations (`tensorflow/cc/saved_model/constants.h` and
/// `tensorflow/python/saved_model/constants.py`).
pub(super) const INIT_OP: &str = "__saved_model_init_op";
const RESERVED: [&str; 2] = [INIT_OP, "__saved_model_train_op"];

/// Checks names, and that every placeholder behind an output is fed. Needs no TensorFlow.
pub(super) fn check(signatures: &[GraphSignature], nodes: &Nodes<'_>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for signature in signatures {
        let name = || format!("signature `{}`", signature.name.escape_debug());
        let refuse = |reason: String| Err(Error::data(name(), reason));
        if signature.name.is_empty() {
            return refuse("it has no name".into());
        }
        if RESERVED.contains(&signature.name.as_str()) {
            return refuse("TensorFlow reserves this name for an operation".into());
        }
        if !seen.insert(&signature.name) {
            return refuse("there are two with this name".into());
        }
        if signature.outputs.is_empty() {
            return refuse("it has no outputs, and TensorFlow does not run such signatures".into());
        }
        for (what, all) in [("input", &signature.inputs), ("output", &signature.outputs)] {
            let mut keys = BTreeSet::new();
            for bound in all {
                if bound.key.is_empty() || !keys.insert(&bound.key) {
                    return refuse(format!("it has two {what}s `{}`, or one without a name", bound.key.escape_debug()));
                }
            }
        }
        check_tensors(signature, nodes, name)?;
    }
    Ok(())
}

fn check_tensors(signature: &GraphSignature, nodes: &Nodes<'_>, name: impl Fn() -> String) -> Result<()> {
    let mut fed: BTreeMap<(&str, u32), &str> = BTreeMap::new();
    for input in &signature.inputs {
        let tensor = parse_tensor_name(&input.tensor)?;
        nodes.required(tensor.0, || format!("input `{}` of {}", input.key, name()))?;
        if let Some(other) = fed.insert(tensor, &input.key) {
            let reason = format!("its inputs `{other}` and `{}` are one tensor, `{}`", input.key, input.tensor);
            return Err(Error::data(name(), reason));
        }
    }
    let mut wanted = Vec::new();
    for output in &signature.outputs {
        let tensor = parse_tensor_name(&output.tensor)?;
        nodes.required(tensor.0, || format!("output `{}` of {}", output.key, name()))?;
        if !fed.contains_key(&tensor) {
            wanted.push(tensor.0);
        }
    }
    for operation in &signature.runs {
        nodes.required(operation, || format!("what {} runs", name()))?;
        wanted.push(operation);
    }
    let fed: Vec<(&str, u32)> = fed.into_keys().collect();
    let unfed = nodes.behind(wanted, &fed).into_iter().find(|node| is_placeholder(node));
    match unfed {
        None => Ok(()),
        Some(placeholder) => Err(Error::Model(ModelError::Tensor(TensorError::InvalidData {
            source_name: name(),
            reason: format!("it depends on the placeholder `{}`, which no input feeds", placeholder.name),
            hint: Some("make it an input".into()),
        }))),
    }
}

/// The `SignatureDef`, with the dtypes and shapes of TensorFlow, and the nodes to add to the graph.
pub(super) fn define(
    signature: &GraphSignature,
    graph: &ImportedGraph,
    names: &mut FreeNames,
) -> Result<(SignatureDef, Vec<NodeDef>)> {
    let (mut definition, mut added) = (SignatureDef::default(), Vec::new());
    definition.method_name.clone_from(&signature.method);
    for input in &signature.inputs {
        let what = format!("input `{}` of signature `{}`", input.key, signature.name);
        let found = find(input, graph, &what)?;
        if found.is_reference {
            return Err(Error::data(what, format!("`{}` is a variable, which cannot be fed", input.tensor)));
        }
        definition.inputs.insert(input.key.clone(), info(full_name(&input.tensor)?, &found));
    }
    for output in &signature.outputs {
        let what = format!("output `{}` of signature `{}`", output.key, signature.name);
        let found = find(output, graph, &what)?;
        let mut tensor = full_name(&output.tensor)?;
        // A run only fetches tensors, so copies with control inputs run the operations; a variable is read at that
        // time.
        if found.is_reference || !signature.runs.is_empty() {
            let runs = signature.runs.iter().map(|operation| format!("^{operation}"));
            let inputs: Vec<String> = std::iter::once(tensor).chain(runs).collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let copy = node(
                names.node(&format!("{}/{}", signature.name, output.key)),
                "Identity",
                &inputs,
                [("T", attr::dtype(found.dtype))],
            );
            tensor = format!("{}:0", copy.name);
            added.push(copy);
        }
        definition.outputs.insert(output.key.clone(), info(tensor, &found));
    }
    Ok((definition, added))
}

/// The dtype of a tensor, and its shape in the graph or the declared one.
fn find(bound: &Bound, graph: &ImportedGraph, what: &str) -> Result<TensorType> {
    let (op, index) = parse_tensor_name(&bound.tensor)?;
    let missing = || Error::data(what, format!("the operation `{op}` has no output {index}"));
    let mut found = graph.tensor(op, index)?.ok_or_else(missing)?;
    if matches!(found.dtype, DType::Resource | DType::Variant | DType::Invalid) {
        return Err(Error::Model(ModelError::Tensor(TensorError::UnsupportedDType {
            name: Some(what.to_owned()),
            dtype: found.dtype,
        })));
    }
    if let Some(declared) = &bound.shape {
        if !agree(declared, &found.shape) {
            let reason = format!("the shape {declared} is declared, and the graph has {}", found.shape);
            return Err(Error::data(what, reason));
        }
        found.shape = declared.clone();
    }
    Ok(found)
}

/// Whether a tensor can have both shapes.
fn agree(a: &PartialShape, b: &PartialShape) -> bool {
    let (Some(a), Some(b)) = (a.sizes(), b.sizes()) else { return true };
    let may = |(a, b): (&Option<u64>, &Option<u64>)| a.is_none() || b.is_none() || a == b;
    a.len() == b.len() && a.iter().zip(b).all(may)
}

/// Completes `op` to `op:0`.
pub(super) fn full_name(tensor: &str) -> Result<String> {
    let (op, index) = parse_tensor_name(tensor)?;
    Ok(format!("{op}:{index}"))
}

fn info(name: String, tensor: &TensorType) -> TensorInfo {
    TensorInfo {
        dtype: EnumOrUnknown::from_i32(tensor.dtype.number()),
        tensor_shape: MessageField::some(shape_proto(&tensor.shape)),
        encoding: Some(Encoding::Name(name)),
        ..TensorInfo::default()
    }
}

/// The entry by which loaders find the init op: an output without dtype and shape.
pub(super) fn init_op(operation: &str) -> SignatureDef {
    let name = TensorInfo {
        tensor_shape: MessageField::some(shape_proto(&PartialShape::unknown())),
        encoding: Some(Encoding::Name(operation.to_owned())),
        ..TensorInfo::default()
    };
    SignatureDef { outputs: BTreeMap::from([(INIT_OP.to_owned(), name)]), ..SignatureDef::default() }
}

fn shape_proto(shape: &PartialShape) -> TensorShapeProto {
    let Some(sizes) = shape.sizes() else {
        return TensorShapeProto { unknown_rank: true, ..TensorShapeProto::default() };
    };
    let size = |size: &Option<u64>| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    let dim = sizes.iter().map(|open| Dim { size: size(open), ..Dim::default() }).collect();
    TensorShapeProto { dim, ..TensorShapeProto::default() }
}
