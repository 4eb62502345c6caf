//! The dtypes of signatures' tensors in the graph. Some signatures declare others, or none.

use std::collections::HashMap;

use super::signature::{SignatureDef, TensorInfo, TensorKind};
use super::tensor_name::parse_tensor_name;
use crate::dtype::DType;
use crate::graph::view::{GraphView, NodeView};
use crate::ops::outputs;

/// Sets the dtypes of signatures' tensors to those of the nodes of a serialized `MetaGraphDef`. Outputs of custom ops
/// and of calls by a function's name keep the dtype that the signature declares.
pub(super) fn settle<'s>(meta_graph: &[u8], signatures: impl Iterator<Item = &'s mut SignatureDef>) {
    let mut infos: Vec<&mut TensorInfo> = signatures
        .flat_map(|signature| signature.inputs.iter_mut().chain(&mut signature.outputs))
        .map(|(_, info)| info)
        .collect();
    let mut known: HashMap<String, Option<NodeView<'_>>> = HashMap::new();
    for name in infos.iter().flat_map(|info| info.tensor_names()) {
        if let Ok((node, _)) = parse_tensor_name(name) {
            known.insert(node.to_owned(), None);
        }
    }
    for node in GraphView::new(meta_graph).nodes() {
        if let Some(known) = known.get_mut(node.name) {
            *known = Some(node);
        }
    }
    infos.iter_mut().for_each(|info| apply(info, &known));
}

/// Sets the dtypes of a tensor and its components.
fn apply(info: &mut TensorInfo, known: &HashMap<String, Option<NodeView<'_>>>) {
    let tensor = match &mut info.kind {
        TensorKind::Dense { name } => name,
        TensorKind::CooSparse { values, .. } => values,
        TensorKind::Composite { components, .. } => return components.iter_mut().for_each(|part| apply(part, known)),
    };
    let Ok((node, output)) = parse_tensor_name(tensor) else { return };
    let dtype = known.get(node).copied().flatten().and_then(|node| dtype_of(node, output as usize));
    info.dtype = dtype.unwrap_or(info.dtype);
}

/// The dtype of one of a node's outputs.
fn dtype_of(node: NodeView<'_>, mut output: usize) -> Option<DType> {
    for outputs in outputs(node.op)? {
        if let Some(name) = outputs.strip_prefix('[') {
            let dtypes: Vec<i32> = node.attr(name.strip_suffix(']')?)?.dtypes().collect();
            match dtypes.get(output) {
                Some(dtype) => return Some(DType::from_number(*dtype)),
                None => output -= dtypes.len(),
            }
            continue;
        }
        let (dtype, count) = match outputs.split_once('*') {
            Some((dtype, count)) => (dtype, usize::try_from(node.attr(count)?.int()?).ok()?),
            None => (outputs, 1),
        };
        if output >= count {
            output -= count;
            continue;
        }
        let (name, default) = dtype.split_once('=').unwrap_or((dtype, ""));
        let number = match name.strip_prefix('#') {
            Some(number) => number.parse().ok(),
            None => node.type_attr(name).or_else(|| default.parse().ok()),
        };
        return number.map(DType::from_number);
    }
    None
}

#[cfg(test)]
mod tests {
    use tf_persist_proto::protobuf::Message;
    use tf_persist_proto::tensorflow as pb;

    use super::*;
    use crate::graph::attr;

    #[test]
    fn dtype_follows_from_the_op_and_its_attributes() {
        let number = |number: i64| pb::AttrValue {
            value: Some(pb::attr_value::attr_value::Value::I(number)),
            ..Default::default()
        };
        let (half, text) = (|| attr::dtype(DType::Float16), || attr::dtype(DType::String));
        let list = |dtypes: &[DType]| attr::dtypes(dtypes.iter().map(|dtype| attr::proto_dtype(*dtype)));
        let cases = [
            ("SelectV2", vec![("T", half())], 0, Some(DType::Float16)),
            ("AddV2", vec![("T", half())], 0, Some(DType::Float16)),
            ("AddV2", vec![("T", half())], 1, None),
            ("Greater", vec![("T", half())], 0, Some(DType::Bool)),
            ("Cast", vec![("SrcT", text()), ("DstT", half())], 0, Some(DType::Float16)),
            // Attributes that have their default may be left out.
            ("ArgMax", vec![("T", half())], 0, Some(DType::Int64)),
            ("ArgMax", vec![("T", half()), ("output_type", attr::dtype(DType::Int32))], 0, Some(DType::Int32)),
            ("TopKV2", vec![("T", half())], 1, Some(DType::Int32)),
            ("Split", vec![("T", half()), ("num_split", number(3))], 2, Some(DType::Float16)),
            ("Split", vec![("T", half()), ("num_split", number(3))], 3, None),
            ("Split", vec![("T", half()), ("num_split", number(-1))], 0, None),
            ("While", vec![("T", list(&[DType::Int32, DType::String]))], 1, Some(DType::String)),
            (
                "ParseExampleV2",
                vec![
                    ("num_sparse", number(1)),
                    ("sparse_types", list(&[DType::String])),
                    ("Tdense", list(&[DType::Float32])),
                ],
                3,
                Some(DType::Float32),
            ),
            (
                "ParseExampleV2",
                vec![("num_sparse", number(1)), ("sparse_types", list(&[DType::String]))],
                1,
                Some(DType::String),
            ),
            ("MyOp", vec![("T", half())], 0, None),
            ("SelectV2", vec![], 0, None),
        ];
        for (op, attributes, output, expected) in cases {
            let node = attr::node("n", op, &[], attributes).write_to_bytes().unwrap();
            assert_eq!(dtype_of(NodeView::new(&node), output), expected, "{op}:{output}");
        }
    }
}
