//! Every reader of a graph sees what C++ protobuf, and so TensorFlow, sees, whatever the encoding of the graph.
//!
//! Each test changes the encoding of a model in a way that TensorFlow 2.21 (`TF_GraphImportGraphDef`) reads as the same
//! graph, and compares what all readers find in the two.

use tempfile::TempDir;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::NameAttrList;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value as Attr};

use super::attr;
use crate::checkpoint::testing::{delimited, varint};
use crate::diff::{DiffOptions, diff};
use crate::dtype::DType;
use crate::saved_model::SavedModel;
use crate::tensor::{Tensor, proto};
use crate::{prove_rows_independent, warmup};
use tf_persist_proto::wire::{Value, fields};

const META_GRAPH: &[u32] = &[];
const GRAPH: &[u32] = &[2];
const NODE: &[u32] = &[2, 1];
const LIBRARY: &[u32] = &[2, 2];
const FUNCTION: &[u32] = &[2, 2, 1];
const SIGNATURE: &[u32] = &[2, 2, 1, 1];
const NODE_OF_FUNCTION: &[u32] = &[2, 2, 1, 3];

fn float() -> pb::AttrValue {
    attr::dtype(DType::Float32)
}

fn value(value: Attr) -> pb::AttrValue {
    pb::AttrValue { value: Some(value), ..Default::default() }
}

fn call(name: &str) -> pb::AttrValue {
    value(Attr::Func(NameAttrList { name: name.into(), ..Default::default() }))
}

fn texts(items: &[&str]) -> pb::AttrValue {
    let s = items.iter().map(|item| item.as_bytes().to_vec().into()).collect();
    value(Attr::List(ListValue { s, ..Default::default() }))
}

fn types(items: &[DType]) -> pb::AttrValue {
    attr::dtypes(items.iter().map(|dtype| attr::proto_dtype(*dtype)))
}

/// A function of one tensor.
fn function(name: &str, nodes: Vec<pb::NodeDef>, returns: &str) -> pb::FunctionDef {
    let mut function = pb::FunctionDef::new();
    let signature = function.signature.mut_or_insert_default();
    signature.name = name.into();
    let arg = |name: &str| pb::op_def::op_def::ArgDef {
        name: name.into(),
        type_: attr::proto_dtype(DType::Float32),
        ..Default::default()
    };
    signature.input_arg.push(arg("a"));
    signature.output_arg.push(arg("o"));
    function.node_def = nodes;
    function.ret.insert("o".into(), returns.into());
    function
}

fn signature(input: (&str, DType), output: (&str, DType)) -> pb::SignatureDef {
    let info = |(tensor, dtype): (&str, DType)| {
        let mut info = pb::TensorInfo::new();
        info.set_name(tensor.into());
        info.dtype = attr::proto_dtype(dtype);
        let sizes = [-1, 3].map(|size| pb::tensor_shape::tensor_shape_proto::Dim { size, ..Default::default() });
        info.tensor_shape.mut_or_insert_default().dim = sizes.into();
        info
    };
    let mut signature = pb::SignatureDef::new();
    signature.inputs.insert("in".into(), info(input));
    signature.outputs.insert("out".into(), info(output));
    signature
}

/// A model with something for every reader.
fn model() -> Vec<u8> {
    let axis = proto::to_proto(&Tensor::from_slice(&[1], &[1_i32]).unwrap());
    let one = proto::to_proto(&Tensor::from_slice(&[3], &[1_f32; 3]).unwrap());
    let features = [
        ("sparse_keys", texts(&["words"])),
        ("sparse_types", types(&[DType::String])),
        ("dense_keys", texts(&["age", "size"])),
        ("Tdense", types(&[DType::Int64, DType::Float32])),
    ];
    let variable = [("dtype", float()), ("shape", attr::shape(&[3])), ("shared_name", value(Attr::S("w".into())))];
    let lists = || [("Tin", types(&[DType::Float32])), ("Tout", types(&[DType::Float32]))];
    let nodes = vec![
        attr::node("x", "Placeholder", &[], [("dtype", float())]),
        attr::node("serialized", "Placeholder", &[], [("dtype", attr::dtype(DType::String))]),
        attr::const_node("one", one),
        attr::const_node("axis", axis),
        attr::node("w", "VarHandleOp", &[], variable),
        attr::node("add", "AssignAddVariableOp", &["w", "one"], [("dtype", float())]),
        attr::node("read", "ReadVariableOp", &["w", "^add"], [("dtype", float())]),
        attr::node("custom", "MyOp", &["read"], []),
        attr::node("mean", "Mean", &["x", "axis"], [("keep_dims", attr::boolean(true)), ("T", float())]),
        attr::node("called", "PartitionedCall", &["x"], lists().into_iter().chain([("f", call("negate"))])),
        attr::node("drawn", "StatefulPartitionedCall", &["x"], lists().into_iter().chain([("f", call("draw"))])),
        attr::strings_node("path", &["/etc/hostname"]).unwrap(),
        attr::node("file", "ReadFile", &["path"], [("unheard", float())]),
        attr::node("parsed", "ParseSingleExample", &["serialized"], features),
    ];
    let negate = vec![
        attr::node("inner", "Neg", &["a"], [("T", float())]),
        attr::node("again", "MyOp", &["inner:y:0"], [("T", float())]),
    ];
    let draw = vec![attr::node("normal", "StatefulStandardNormalV2", &["a"], [("dtype", float())])];
    let mut meta_graph = pb::MetaGraphDef::new();
    meta_graph.meta_info_def.mut_or_insert_default().tags.push("serve".into());
    let graph = meta_graph.graph_def.mut_or_insert_default();
    graph.node = nodes;
    graph.versions.mut_or_insert_default().producer = 1882;
    graph.library.mut_or_insert_default().function =
        vec![function("negate", negate, "inner:y:0"), function("draw", draw, "normal:output:0")];
    for output in ["read", "custom", "mean", "called", "drawn", "file"] {
        let signature = signature(("x:0", DType::Float32), (&format!("{output}:0"), DType::Invalid));
        meta_graph.signature_def.insert(output.into(), signature);
    }
    let example = signature(("serialized:0", DType::String), ("parsed:2", DType::Int64));
    meta_graph.signature_def.insert("parsed".into(), example);
    meta_graph.write_to_bytes().unwrap()
}

fn write(meta_graph: &[u8]) -> TempDir {
    let mut bytes = vec![0x08, 1];
    delimited(&mut bytes, 2, meta_graph);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("saved_model.pb"), bytes).unwrap();
    folder
}

fn open(meta_graph: &[u8]) -> (TempDir, SavedModel) {
    let folder = write(meta_graph);
    let model = SavedModel::open(folder.path()).unwrap();
    (folder, model)
}

/// What all readers find in a model.
fn readings((_folder, model): &(TempDir, SavedModel)) -> Vec<String> {
    let meta_graph = &model.meta_graphs()[0];
    let mut all = vec![
        format!("{:?} {:?}", meta_graph.ops(), meta_graph.calls()),
        format!("{:?} {}", meta_graph.variable_nodes(), meta_graph.producer()),
        format!("{} {} {}", meta_graph.nodes(), meta_graph.functions(), meta_graph.function_nodes()),
        format!("missing: {:?}", model.missing_ops(meta_graph)),
        format!("attributes: {:?}", model.unknown_attributes(meta_graph, None)),
        format!("read at load: {:?}", model.files_read_at_load(meta_graph)),
    ];
    let ops = model.scan().unwrap().findings.into_iter().filter(|finding| finding.op.is_some());
    all.extend(ops.map(|finding| format!("scan: {finding:?}")));
    for signature in meta_graph.signatures() {
        all.push(format!("{}: {:?}", signature.name, signature.outputs));
        all.push(format!("writes: {:?}", warmup::first_state_write(model, meta_graph, signature)));
        all.push(format!("rows: {:?}", prove_rows_independent(model, meta_graph, signature)));
        all.push(format!("examples: {:?}", model.example_inputs(meta_graph, signature)));
    }
    all
}

/// Replaces every message at a path of fields.
fn change(message: &[u8], path: &[u32], with: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some((first, rest)) = path.split_first() else { return with(message) };
    let mut changed = Vec::new();
    for (field, value) in fields(message) {
        match value {
            Value::Bytes(bytes) if field == *first => delimited(&mut changed, field.into(), &change(bytes, rest, with)),
            value => add(&mut changed, field, value),
        }
    }
    changed
}

fn add(message: &mut Vec<u8>, field: u32, value: Value<'_>) {
    let field = u64::from(field);
    match value {
        Value::Varint(number) => {
            varint(message, field << 3);
            varint(message, number);
        }
        Value::Fixed64(bits) => {
            varint(message, field << 3 | 1);
            message.extend(bits.to_le_bytes());
        }
        Value::Bytes(bytes) => delimited(message, field, bytes),
        Value::Fixed32(bits) => {
            varint(message, field << 3 | 5);
            message.extend(bits.to_le_bytes());
        }
    }
}

/// A message of these fields.
fn message(all: &[(u32, Value<'_>)]) -> Vec<u8> {
    let mut message = Vec::new();
    all.iter().for_each(|(field, value)| add(&mut message, *field, *value));
    message
}

/// Checks that changing the encoding of the messages at these paths changes nothing for readers and `diff`.
#[track_caller]
fn same(paths: &[&[u32]], with: impl Fn(&[u8]) -> Vec<u8>) {
    let [plain, changed] = same_to_readers(paths, with);
    let ((_plain, plain), (_changed, changed)) = (open(&plain), open(&changed));
    let diff = diff(&plain, &changed, &DiffOptions::default()).unwrap();
    assert!(diff.is_same(), "{diff:?}");
}

/// Like [`same`], without `diff`, which compares tensors and shapes by their bytes.
#[track_caller]
fn same_to_readers(paths: &[&[u32]], with: impl Fn(&[u8]) -> Vec<u8>) -> [Vec<u8>; 2] {
    let plain = model();
    let changed = paths.iter().fold(plain.clone(), |model, path| change(&model, path, &with));
    assert_ne!(plain, changed);
    let (before, after) = (readings(&open(&plain)), readings(&open(&changed)));
    before.into_iter().zip(after).for_each(|(before, after)| assert_eq!(before, after));
    [plain, changed]
}

/// Checks that mistyped fields behind the real ones change nothing.
#[track_caller]
fn same_with_mistyped(paths: &[&[u32]], numbers: &[u32]) {
    for mistyped in [Value::Varint(1), Value::Fixed32(1), Value::Fixed64(1)] {
        for number in numbers {
            same(paths, |message| [message, &self::message(&[(*number, mistyped)])].concat());
        }
    }
}

#[test]
fn model_has_something_for_every_reader() {
    let (_folder, model) = open(&model());
    let meta_graph = &model.meta_graphs()[0];
    let writes = |name: &str| {
        let found = warmup::first_state_write(&model, meta_graph, meta_graph.signature(name).unwrap());
        found.map(|(op, node)| format!("{op} {node}"))
    };
    assert_eq!(writes("read").as_deref(), Some("AssignAddVariableOp add"));
    assert_eq!(writes("drawn").as_deref(), Some("StatefulStandardNormalV2 normal"));
    assert_eq!(writes("called"), None);
    let rows = |name: &str| prove_rows_independent(&model, meta_graph, meta_graph.signature(name).unwrap());
    assert_eq!(rows("mean"), Ok(()));
    assert_eq!(rows("called").unwrap_err().op, "MyOp");
    assert_eq!(model.missing_ops(meta_graph)[0].used.node, "custom");
    assert_eq!(model.unknown_attributes(meta_graph, None)[0].attribute, "unheard");
    let features = &model.example_inputs(meta_graph, meta_graph.signature("parsed").unwrap())[0].features;
    assert_eq!(features.keys().collect::<Vec<_>>(), ["age", "size", "words"]);
    assert_eq!(model.scan().unwrap().level(), Some(crate::scan::Level::Danger));
    assert_eq!(meta_graph.signature("read").unwrap().outputs[0].1.dtype, DType::Float32);
}

/// A second `op` that is a number does not hide what the node writes.
#[test]
fn mistyped_fields_of_nodes_are_ignored() {
    same_with_mistyped(&[NODE, NODE_OF_FUNCTION], &[1, 2, 3, 4, 5]);
}

#[test]
fn last_value_of_a_text_counts() {
    let wrong = message(&[(1, Value::Bytes(b"wrong")), (2, Value::Bytes(b"NoOp")), (4, Value::Bytes(b"/wrong"))]);
    let right = message(&[(4, Value::Bytes(b""))]);
    same(&[NODE, NODE_OF_FUNCTION], |node| [&wrong, node, &right].concat());
}

#[test]
fn mistyped_fields_of_graphs_and_functions_are_ignored() {
    same_with_mistyped(&[META_GRAPH], &[2]);
    same_with_mistyped(&[GRAPH], &[1, 2, 4]);
    same_with_mistyped(&[LIBRARY], &[1, 2, 3]);
    same_with_mistyped(&[FUNCTION], &[1, 3, 4, 5, 6]);
    same_with_mistyped(&[SIGNATURE], &[1, 2, 3]);
    let arguments = [[SIGNATURE, &[2]].concat(), [SIGNATURE, &[3]].concat()];
    let arguments: Vec<&[u32]> = arguments.iter().map(Vec::as_slice).collect();
    same_with_mistyped(&arguments, &[1, 4, 5, 6]);
    same(&arguments, |argument| [argument, &message(&[(3, Value::Bytes(b"1")), (16, Value::Bytes(b"1"))])].concat());
}

#[test]
fn fields_of_functions_may_be_in_any_order() {
    for index in [1, 2] {
        same(&[FUNCTION], |function| {
            let mut all: Vec<_> = fields(function).collect();
            let signature = all.remove(0);
            all.insert(index, signature);
            message(&all)
        });
    }
}

/// The paths of the entries of attributes, or of fields in them.
fn attrs(further: &[u32]) -> Vec<Vec<u32>> {
    [NODE, NODE_OF_FUNCTION].map(|node| [node, &[5], further].concat()).into()
}

#[track_caller]
fn same_attrs(further: &[u32], with: impl Fn(&[u8]) -> Vec<u8>) {
    let paths = attrs(further);
    same(&paths.iter().map(Vec::as_slice).collect::<Vec<_>>(), with);
}

#[test]
fn mistyped_fields_of_attributes_are_ignored() {
    for mistyped in [Value::Varint(1), Value::Fixed32(1), Value::Fixed64(1)] {
        for field in [1, 2] {
            same_attrs(&[], |entry| [entry, &message(&[(field, mistyped)])].concat());
        }
        for member in [1, 2, 7, 8, 9, 10] {
            same_attrs(&[2], |value| [value, &message(&[(member, mistyped)])].concat());
        }
    }
    for member in [3, 4, 5, 6] {
        same_attrs(&[2], |value| [value, &message(&[(member, Value::Bytes(b"1"))])].concat());
    }
    // The name of a function and attributes for it.
    same_attrs(&[2, 10], |function| [function, &message(&[(1, Value::Varint(1)), (2, Value::Varint(1))])].concat());
    // Elements of a list.
    same_attrs(&[2, 1], |list| [list, &message(&[(2, Value::Varint(1)), (9, Value::Varint(1))])].concat());
    // Dtype, shape, bytes and texts of a tensor.
    let of_tensor = [(1, Value::Bytes(b"7")), (2, Value::Varint(1)), (4, Value::Varint(1)), (8, Value::Varint(1))];
    let of_shape = [(2, Value::Varint(1)), (3, Value::Bytes(b"1"))];
    let of_dim = [(1, Value::Bytes(b"9"))];
    for (path, mistyped) in [(&[2, 8][..], &of_tensor[..]), (&[2, 8, 2], &of_shape), (&[2, 8, 2, 2], &of_dim)] {
        let paths = attrs(path);
        let paths: Vec<&[u32]> = paths.iter().map(Vec::as_slice).collect();
        same_to_readers(&paths, |message| [message, &self::message(mistyped)].concat());
    }
}

/// The last member of an `AttrValue` counts, and the last entry of a map with a key.
#[test]
fn replaced_members_and_entries_are_ignored() {
    for before in [(3, Value::Varint(7)), (2, Value::Bytes(b"s")), (8, Value::Bytes(&[8, 7])), (9, Value::Bytes(b"p"))]
    {
        same_attrs(&[2], |value| {
            // A message would be merged with one that follows.
            let is_same = fields(value).any(|(field, _)| field == before.0);
            if is_same { value.to_vec() } else { [&message(&[before]), value].concat() }
        });
    }
    let replaced = |entry: &[u8]| {
        let key = fields(entry).find(|(field, _)| *field == 1).unwrap();
        message(&[(5, Value::Bytes(&message(&[key, (2, Value::Bytes(&[0x18, 1]))])))])
    };
    same(&[NODE, NODE_OF_FUNCTION], |node| {
        let before = fields(node).filter(|(field, _)| *field == 5).filter_map(|(_, value)| value.bytes());
        [before.flat_map(replaced).collect(), node.to_vec()].concat()
    });
    let wrong = message(&[(1, Value::Bytes(b"o")), (2, Value::Bytes(b"a"))]);
    same(&[FUNCTION], |function| [&message(&[(4, Value::Bytes(&wrong))]), function].concat());
}

/// The parts of a message are merged, wherever they are, and a key may follow its value.
#[test]
fn messages_in_parts_are_merged() {
    let split = |message: &[u8], field: u32, at: &dyn Fn(u32) -> bool| {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        fields(message)
            .for_each(|(number, value)| add(if at(number) { &mut first } else { &mut second }, number, value));
        self::message(&[(field, Value::Bytes(&first)), (field, Value::Bytes(&second))])
    };
    // The graph, the library and a function's signature.
    same(&[META_GRAPH], |meta_graph| {
        let mut all = Vec::new();
        for (field, value) in fields(meta_graph) {
            match value {
                Value::Bytes(graph) if field == 2 => all.extend(split(graph, 2, &|number| number != 1)),
                value => add(&mut all, field, value),
            }
        }
        all
    });
    same(&[FUNCTION], |function| {
        let mut all = Vec::new();
        for (field, value) in fields(function) {
            match value {
                Value::Bytes(signature) if field == 1 => all.extend(split(signature, 1, &|number| number == 3)),
                value => add(&mut all, field, value),
            }
        }
        all
    });
    // The value of an entry: in two values, and in two members of one value.
    let in_values = |entry: &[u8]| {
        let value = |number| fields(entry).find(|(field, _)| *field == number).unwrap().1;
        let (key, value) = (value(1), value(2).bytes().unwrap());
        let mut parts = vec![message(&[(2, Value::Bytes(value))])];
        for (member, content) in fields(value) {
            let is_message = matches!(member, 1 | 7 | 8 | 10);
            if let Some(bytes) = content.bytes().filter(|bytes| is_message && !bytes.is_empty()) {
                // One part for each field of the message.
                parts = fields(bytes)
                    .map(|(field, value)| message(&[(member, Value::Bytes(&message(&[(field, value)])))]))
                    .map(|value| message(&[(2, Value::Bytes(&value))]))
                    .collect();
            }
        }
        [parts.concat(), message(&[(1, key)])].concat()
    };
    same_attrs(&[], in_values);
    // Numbers of a list one by one instead of packed.
    same_attrs(&[2, 1], |list| {
        let mut all = Vec::new();
        for (field, value) in fields(list) {
            match value {
                Value::Bytes(packed) if field == 6 => {
                    packed.iter().for_each(|number| add(&mut all, field, Value::Varint((*number).into())));
                }
                value => add(&mut all, field, value),
            }
        }
        all
    });
}

/// TensorFlow skips groups; this library refuses the file. Both refuse truncated messages.
#[test]
fn groups_and_truncated_messages_are_refused() {
    let refused = |with: &dyn Fn(&[u8]) -> Vec<u8>| {
        let folder = write(&change(&model(), NODE, with));
        SavedModel::open(folder.path()).unwrap_err().to_string()
    };
    assert!(refused(&|node| [node, &[0x13, 0x14]].concat()).contains("group"));
    assert!(refused(&|node| node[..node.len() - 1].to_vec()).contains("beyond the end"));
}
