use std::fs;
use std::path::Path;

use pb::meta_graph::collection_def::{AnyList, NodeList};
use pb::meta_graph::tensor_info::{CooSparse, Encoding};
use proptest::prelude::*;
use tempfile::TempDir;
use tf_persist_proto::protobuf::{EnumOrUnknown, Message, MessageField};

use super::*;
use crate::checkpoint::index_path;
use crate::checkpoint::shard_path;
use crate::checkpoint::testing::{delimited, entry, header, number, table};
use crate::error::SavedModelError;
use crate::{DType, PartialShape, Tensor};

fn info(dtype: i32, shape: &[i64], name: &str) -> pb::TensorInfo {
    let dim = |size: &i64| pb::tensor_shape::tensor_shape_proto::Dim { size: *size, ..Default::default() };
    let shape = pb::TensorShapeProto { dim: shape.iter().map(dim).collect(), ..Default::default() };
    pb::TensorInfo {
        dtype: EnumOrUnknown::from_i32(dtype),
        tensor_shape: MessageField::some(shape),
        encoding: Some(Encoding::Name(name.into())),
        ..Default::default()
    }
}

fn node(name: &str, op: &str) -> pb::NodeDef {
    pb::NodeDef { name: name.into(), op: op.into(), ..Default::default() }
}

fn node_list(names: &[&str]) -> pb::CollectionDef {
    let value = names.iter().map(|name| (*name).to_owned()).collect();
    let list = NodeList { value, ..Default::default() };
    pb::CollectionDef { kind: Some(pb::meta_graph::collection_def::Kind::NodeList(list)), ..Default::default() }
}

/// A meta graph with something of everything: a variable, a function, a custom op, a table, an asset, an init op.
fn meta_graph(tags: &[&str]) -> pb::MetaGraphDef {
    let mut graph = pb::MetaGraphDef::new();
    let meta = graph.meta_info_def.mut_or_insert_default();
    meta.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    meta.tensorflow_version = "2.21.0".into();
    let def = graph.graph_def.mut_or_insert_default();
    def.node = vec![node("x", "Placeholder"), node("w", "VarHandleOp"), node("y", "f"), node("z", "MyOp")];
    def.versions.mut_or_insert_default().producer = 2474;
    let mut function = pb::FunctionDef { node_def: vec![node("a", "Add"), node("b", "MyOp")], ..Default::default() };
    function.signature.mut_or_insert_default().name = "f".into();
    def.library.mut_or_insert_default().function.push(function);
    let saver = graph.saver_def.mut_or_insert_default();
    saver.filename_tensor_name = "saver_filename:0".into();
    saver.save_tensor_name = "save:0".into();
    saver.restore_op_name = "restore".into();
    saver.version = EnumOrUnknown::from_i32(2);

    let mut signature = pb::SignatureDef { method_name: "tensorflow/serving/predict".into(), ..Default::default() };
    signature.inputs.insert("image".into(), info(1, &[-1, 8], "x:0"));
    let sparse = CooSparse {
        values_tensor_name: "v:0".into(),
        indices_tensor_name: "i:0".into(),
        dense_shape_tensor_name: "s:0".into(),
        ..Default::default()
    };
    let sparse = pb::TensorInfo { encoding: Some(Encoding::CooSparse(sparse)), ..info(109, &[], "") };
    signature.inputs.insert("ids".into(), sparse);
    signature.outputs.insert("y".into(), info(1, &[-1], "y:0"));
    let default = crate::tensor::proto::to_proto(&Tensor::from_slice(&[1, 2], &[1.0_f32, 2.0]).unwrap());
    signature.defaults.insert("image".into(), default);
    graph.signature_def.insert("serving_default".into(), signature.clone());
    graph.signature_def.insert("train".into(), signature);
    let mut init = pb::SignatureDef::new();
    init.outputs.insert("__saved_model_init_op".into(), info(0, &[], "init"));
    graph.signature_def.insert("__saved_model_init_op".into(), init);

    graph.collection_def.insert("saved_model_main_op".into(), node_list(&["main"]));
    graph.collection_def.insert("table_initializer".into(), node_list(&["t1", "t2"]));
    let tensor_info = MessageField::some(info(7, &[], "asset:0"));
    graph.asset_file_def.push(pb::AssetFileDef { tensor_info, filename: "vocab.txt".into(), ..Default::default() });
    graph
}

fn write(meta_graphs: Vec<pb::MetaGraphDef>) -> TempDir {
    let model = pb::SavedModel { saved_model_schema_version: 1, meta_graphs, ..Default::default() };
    write_bytes(&model.write_to_bytes().unwrap())
}

fn write_bytes(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("saved_model.pb"), bytes).unwrap();
    folder
}

/// Adds variables: these keys, each a float32 of shape [2].
fn write_variables(folder: &Path, keys: &[&str]) {
    let prefix = folder.join("variables/variables");
    fs::create_dir_all(folder.join("variables")).unwrap();
    let (header, value) = (header(1), entry(1, &[2], 0, 0, 8));
    let mut rows: Vec<(&[u8], &[u8])> = vec![(b"", &header)];
    rows.extend(keys.iter().map(|key| (key.as_bytes(), value.as_slice())));
    fs::write(index_path(&prefix), table(&rows)).unwrap();
    fs::write(shard_path(&prefix, 0, 1), [0; 8]).unwrap();
}

fn refusal(bytes: &[u8]) -> String {
    let folder = write_bytes(bytes);
    let error = SavedModel::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn gathers_what_there_is_to_say() {
    let folder = write(vec![meta_graph(&["serve"])]);
    let model = SavedModel::open(folder.path()).unwrap();
    let graph = model.meta_graph(None).unwrap();
    assert_eq!(
        (graph.tags(), graph.tensorflow_version(), graph.producer()),
        (&["serve".to_owned()][..], "2.21.0", 2474)
    );
    assert_eq!((graph.nodes(), graph.functions(), graph.function_nodes()), (4, 1, 2));
    assert_eq!(graph.ops().get("MyOp"), Some(&2));
    assert_eq!(graph.custom_ops().into_iter().collect::<Vec<_>>(), [("MyOp", 2)]);
    assert_eq!(graph.calls().get("f"), Some(&1));
    assert_eq!(graph.variable_nodes()[0].op, "VarHandleOp");
    assert_eq!(graph.saver().unwrap().restore_op, "restore");
    let init: Vec<_> = graph.init_ops().iter().map(|init| (init.source.name(), init.operation.as_str())).collect();
    assert_eq!(init, [("__saved_model_init_op", "init"), ("saved_model_main_op", "main")]);
    assert_eq!(graph.table_initializers(), ["t1", "t2"]);
    assert_eq!(graph.collections(), ["saved_model_main_op", "table_initializer"]);
    assert_eq!(graph.assets()[0].tensor, "asset:0");
    assert_eq!(graph.object_graph_nodes(), None);
    assert_eq!(model.training(graph).others, [("train".to_owned(), "gives no loss")]);

    let signature = model.signature("serving_default").unwrap();
    let image = signature.input("image").unwrap();
    assert_eq!((image.dtype, image.tensor_names()), (DType::Float32, vec!["x:0"]));
    assert_eq!(image.shape, PartialShape::new(vec![None, Some(8)]));
    let ids = signature.input("ids").unwrap();
    assert_eq!((ids.dtype, ids.tensor_names()), (DType::Int64, vec!["v:0", "i:0", "s:0"]));
    let Some(DefaultValue::Tensor(default)) = signature.default_value("image") else { panic!("no default") };
    assert_eq!(default.view::<f32>().unwrap(), [1.0, 2.0]);
}

#[test]
fn a_signature_trains_that_writes_variables_and_gives_a_loss() {
    let mut graph = meta_graph(&["serve"]);
    let def = graph.graph_def.mut_or_insert_default();
    let after = |name: &str, op: &str, input: &str| pb::NodeDef { input: vec![input.into()], ..node(name, op) };
    def.node.push(after("write", "AssignAddVariableOp", "w"));
    def.node.push(after("loss", "Identity", "^write"));
    def.node.push(after("draw", "StatefulUniform", "w"));
    let giving = |tensor: &str, shape: &[i64]| {
        let outputs = [("loss".to_owned(), info(1, shape, tensor))].into();
        pb::SignatureDef { outputs, ..Default::default() }
    };
    graph.signature_def.insert("train".into(), giving("loss:0", &[]));
    graph.signature_def.insert("constrained".into(), giving("x:0", &[]));
    graph.signature_def.insert("train_rows".into(), giving("loss:0", &[-1]));
    graph.signature_def.insert("trained_draw".into(), giving("draw:0", &[]));
    graph.signature_def.insert("update".into(), giving("loss:0", &[]));
    let folder = write(vec![graph]);
    let model = SavedModel::open(folder.path()).unwrap();
    let training = model.training(&model.meta_graphs()[0]);
    assert_eq!((training.kind(), training.signatures.join(" ")), (TrainingKind::Signature, "train".into()));
    let others = [
        ("constrained", "writes no variable"),
        ("train_rows", "gives no loss"),
        ("trained_draw", "writes no variable"),
    ];
    assert_eq!(training.others, others.map(|(name, reason)| (name.to_owned(), reason)));
}

/// The graph determines dtypes and shapes; the signature fills the gaps.
#[test]
fn the_graph_decides_on_dtypes() {
    let mut graph = meta_graph(&["serve"]);
    let attribute = |field: u64, number: u8| {
        // `AttrValue` with a type, or with a list of one.
        let value = if field == 6 { vec![0x30, number] } else { vec![0x0a, 3, 0x32, 1, number] };
        pb::AttrValue::parse_from_bytes(&value).unwrap()
    };
    let with = |name: &str, op: &str, key: &str, value| pb::NodeDef {
        attr: [(key.to_owned(), value)].into(),
        ..node(name, op)
    };
    let nodes = &mut graph.graph_def.mut_or_insert_default().node;
    nodes.retain(|node| node.name != "x" && node.name != "y");
    nodes.push(with("x", "Placeholder", "dtype", attribute(6, 7)));
    nodes.push(with("y", "StatefulPartitionedCall", "Tout", attribute(1, 9)));
    nodes.push(with("v", "Placeholder", "dtype", attribute(6, 101)));
    let signature = graph.signature_def.get_mut("serving_default").unwrap();
    signature.outputs.insert("undeclared".into(), info(0, &[], "y:0"));
    signature.outputs.insert("beyond".into(), info(1, &[], "y:1"));
    let folder = write(vec![graph]);
    let model = SavedModel::open(folder.path()).unwrap();
    let signature = model.signature("serving_default").unwrap();
    let types = |info: Option<&TensorInfo>| info.map(|info| (info.dtype, info.declared_dtype)).unwrap();
    assert_eq!(types(signature.input("image")), (DType::String, DType::Float32));
    assert_eq!(types(signature.input("ids")), (DType::Float32, DType::Int64));
    assert_eq!(types(signature.output("undeclared")), (DType::Int64, DType::Invalid));
    assert_eq!(types(signature.output("beyond")), (DType::Float32, DType::Float32));
    let shown = signature.to_string();
    assert!(shown.contains("string (declared float32)") && !shown.contains("invalid"), "{shown}");
    // The contents of the file are passed on unchanged.
    let definition = &model.signature_defs(&model.meta_graphs()[0]).unwrap()["serving_default"];
    assert_eq!(definition.inputs["image"].dtype.value(), 1);
}

#[test]
fn composite_outputs_are_shown_as_one() {
    use pb::struct_::type_spec_proto::TypeSpecClass;
    let mut graph = meta_graph(&["serve"]);
    let composite = |class: TypeSpecClass, name: &str, state: Option<&[u8]>| {
        let mut info = pb::TensorInfo::new();
        let composite = info.mut_composite_tensor();
        let spec = composite.type_spec.mut_or_insert_default();
        spec.type_spec_class = class.into();
        spec.type_spec_class_name = name.into();
        if let Some(state) = state {
            spec.type_state = MessageField::some(pb::StructuredValue::parse_from_bytes(state).unwrap());
        }
        composite.components.extend([self::info(9, &[-1], "y:1"), self::info(9, &[-1], "y:2")]);
        info
    };
    // `StructuredValue.tuple_value` of a shape of two open sizes, a dtype, a ragged rank, and a dtype.
    let open = u64::MAX;
    let mut dim = Vec::new();
    number(&mut dim, 1, open);
    let mut shape = Vec::new();
    delimited(&mut shape, 2, &dim);
    delimited(&mut shape, 2, &dim);
    let mut tuple = Vec::new();
    let mut values = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    delimited(&mut values[0], 31, &shape);
    number(&mut values[1], 32, 9);
    number(&mut values[2], 12, 1);
    number(&mut values[3], 32, 9);
    values.iter().for_each(|value| delimited(&mut tuple, 1, value));
    let mut state = Vec::new();
    delimited(&mut state, 52, &tuple);
    let outputs = [
        ("r".to_owned(), composite(TypeSpecClass::RAGGED_TENSOR_SPEC, "RaggedTensorSpec", Some(&state))),
        ("m".to_owned(), composite(TypeSpecClass::EXTENSION_TYPE_SPEC, "shop.Masked.Spec", None)),
    ];
    graph.signature_def.insert("s".into(), pb::SignatureDef { outputs: outputs.into(), ..Default::default() });
    let folder = write(vec![graph]);
    let model = SavedModel::open(folder.path()).unwrap();
    let shown = model.signature("s").unwrap().to_string();
    let lines: Vec<String> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[3], "m - [] composite shop.Masked.Spec, its tensors: m.0 y:1, m.1 y:2");
    assert_eq!(lines[4], "r int64 [-1, -1] ragged int64, values and row splits: r.0 y:1, r.1 y:2");
}

#[test]
fn what_is_opened_can_be_decoded() {
    let folder = write(vec![meta_graph(&["serve"]), meta_graph(&["train"])]);
    let model = SavedModel::open(folder.path()).unwrap();
    let decode = |place: usize| model.decode_meta_graph(&model.meta_graphs()[place]).unwrap();
    assert_eq!([decode(0), decode(1)], [meta_graph(&["serve"]), meta_graph(&["train"])]);
    // The bytes of a constant are the file's.
    let content = &decode(0).signature_def["train"].defaults["image"].tensor_content;
    assert!(model.bytes().as_ptr_range().contains(&content.as_ptr()));
}

#[test]
fn meta_graphs_are_chosen_by_their_tags() {
    let folder = write(vec![meta_graph(&["serve", "gpu"]), meta_graph(&["serve"]), meta_graph(&[])]);
    let model = SavedModel::open(folder.path()).unwrap();
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    assert_eq!(model.meta_graph(None).unwrap().tags(), ["serve"]);
    assert_eq!(model.meta_graph(Some(&tags(&["gpu", "serve"]))).unwrap().tags(), ["serve", "gpu"]);
    assert!(model.meta_graph(Some(&[])).unwrap().tags().is_empty());
    let error = model.meta_graph(Some(&tags(&["tpu"]))).unwrap_err().to_string();
    assert!(
        error.ends_with("no meta graph with the tag set `tpu`; it has `serve,gpu`, `serve`, `` (empty)"),
        "{error}"
    );

    let folder = write(vec![meta_graph(&["a"]), meta_graph(&["b"])]);
    let error = SavedModel::open(folder.path()).unwrap().signature("train").unwrap_err();
    assert!(matches!(error, Error::SavedModel(SavedModelError::UnknownTags { .. })));
}

#[test]
fn signatures_are_chosen_by_their_names() {
    let mut graph = meta_graph(&["serve"]);
    let open = |graph: &pb::MetaGraphDef| SavedModel::open(write(vec![graph.clone()]).path()).unwrap();
    assert_eq!(open(&graph).meta_graphs()[0].default_signature().unwrap().name, "serving_default");
    let error = open(&graph).signature("__saved_model_init_op").unwrap_err().to_string();
    assert!(error.ends_with("no signature `__saved_model_init_op`; it has `serving_default` and `train`"), "{error}");
    graph.signature_def.remove("serving_default");
    assert_eq!(open(&graph).meta_graphs()[0].default_signature().unwrap().name, "train");
    let train = graph.signature_def["train"].clone();
    graph.signature_def.insert("eval".into(), train);
    assert!(matches!(
        open(&graph).meta_graphs()[0].default_signature(),
        Err(Error::SavedModel(SavedModelError::UnknownSignature { .. }))
    ));
}

#[test]
fn refuses_files_that_are_no_model() {
    assert!(refusal(b"").contains("it is empty"));
    assert!(refusal(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n").contains("a pointer of Git LFS"));
    assert!(refusal(b"<!DOCTYPE html>\n<html>").contains("a web page"));
    assert!(refusal(b"\x08\x01").contains("it has no meta graph"));
    // A length of 2^60.
    assert!(refusal(&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]).contains("beyond the end"));
    let nested = (0..10_000).fold(Vec::new(), |inner, depth| {
        let mut outer = Vec::new();
        let field = match depth {
            9_996 => 7,
            9_997 => 1,
            _ => 2,
        };
        delimited(&mut outer, field, &inner);
        outer
    });
    assert!(refusal(&nested).contains("nested more than 100 deep"));
}

#[test]
fn a_bare_graph_is_called_one() {
    let graph = pb::GraphDef { node: vec![node("x", "Add")], ..Default::default() };
    let binary = write_bytes(&graph.write_to_bytes().unwrap());
    let text = tempfile::tempdir().unwrap();
    fs::write(text.path().join("saved_model.pbtxt"), "node {\n  name: \"x\"\n}\nversions {\n}\n").unwrap();
    for folder in [binary, text] {
        let error = SavedModel::open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, Error::SavedModel(SavedModelError::NotASavedModel { reason, .. }) if reason.contains("a bare graph (GraphDef)"))
        );
        assert!(error.hint().unwrap().text().contains("export a SavedModel"), "{error:?}");
    }
}

#[test]
fn only_bytes_that_are_missing_or_wrong_are_copied_again() {
    let hint = |bytes: &[u8]| SavedModel::open(write_bytes(bytes).path()).unwrap_err().hint();
    assert!(hint(b"").unwrap().text().contains("copy the model again"));
    assert!(hint(b"\x12\x05").unwrap().text().contains("copy the model again"));
    assert!(hint(b"version https://git-lfs.github.com/spec/v1\n").unwrap().text().contains("git lfs pull"));
    assert!(hint(b"<html>").unwrap().text().contains("download it again"));
    assert_eq!(hint(b"\x08\x01"), None);
}

#[test]
fn refuses_every_truncation() {
    let folder = write(vec![meta_graph(&["serve"])]);
    let whole = fs::read(folder.path().join("saved_model.pb")).unwrap();
    // The last that is whole is the schema version by itself, which has no meta graph.
    for length in 0..whole.len() {
        refusal(&whole[..length]);
    }
}

#[test]
fn refuses_random_bytes() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..300)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        refusal(&bytes);
    }
}

#[test]
fn refuses_what_is_no_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("saved_model.pb")).unwrap();
    assert!(SavedModel::open(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("saved_model.pb")).unwrap();
    assert!(SavedModel::open(folder.path()).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn refuses_files_above_the_limit_of_protobuf() {
    let folder = tempfile::tempdir().unwrap();
    // Sparse: it takes no room on disk.
    fs::File::create(folder.path().join("saved_model.pb")).unwrap().set_len(1 << 31).unwrap();
    let error = SavedModel::open(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { reason, .. } if reason.contains("protobuf's limit is 2147483647")));
}

#[test]
fn text_is_read_where_there_is_no_binary() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"saved_model_schema_version: 1 meta_graphs { meta_info_def { tags: "serve" } graph_def { node { op: "Add" } } }"#;
    fs::write(folder.path().join("saved_model.pbtxt"), text).unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    assert!(model.is_text());
    assert_eq!(model.meta_graphs()[0].ops().get("Add"), Some(&1));
    fs::write(folder.path().join("saved_model.pbtxt"), "meta_graphs {".repeat(20_000)).unwrap();
    assert!(SavedModel::open(folder.path()).unwrap_err().to_string().contains("nested more than 100 deep"));
}

#[test]
fn variables_may_be_missing_where_none_are_restored() {
    let with = |change: &dyn Fn(&mut pb::MetaGraphDef)| {
        let mut graph = meta_graph(&["serve"]);
        change(&mut graph);
        let folder = write(vec![graph]);
        let model = SavedModel::open(folder.path()).unwrap();
        assert!(model.variables().unwrap().index.is_none());
        model.check(&model.meta_graphs()[0]).map_err(|error| error.to_string())
    };
    let error = with(&|_| {}).unwrap_err();
    assert!(error.contains("`variables/variables.index` is missing: the graph has a variable, `w`"), "{error}");
    assert!(
        with(&|graph| graph.graph_def.as_mut().unwrap().node.push(node("v", "VariableV2")))
            .unwrap_err()
            .contains("2 variables, `w` and others")
    );
    assert_eq!(with(&|graph| graph.saver_def = MessageField::none()), Ok(()));
    assert_eq!(with(&|graph| graph.graph_def.as_mut().unwrap().node.clear()), Ok(()));

    let folder = write(vec![meta_graph(&["serve"])]);
    fs::create_dir_all(folder.path().join("variables")).unwrap();
    fs::write(folder.path().join("variables/variables"), "of the first format").unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    let error = model.check(&model.meta_graphs()[0]).unwrap_err();
    assert!(error.to_string().contains("a checkpoint of TensorFlow's first format"), "{error}");
}

#[test]
fn damaged_variables_leave_the_signatures() {
    let folder = write(vec![meta_graph(&["serve"])]);
    write_variables(folder.path(), &["save_counter/.ATTRIBUTES/VARIABLE_VALUE", "w/.ATTRIBUTES/VARIABLE_VALUE"]);
    let model = SavedModel::open(folder.path()).unwrap();
    let graph = &model.meta_graphs()[0];
    model.check(graph).unwrap();
    assert_eq!(model.variables().unwrap().total_bytes, 16);

    fs::write(folder.path().join("variables/variables.data-00000-of-00001"), [0; 7]).unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    assert!(model.signature("serving_default").is_ok());
    // The same sentence however often it is asked.
    for _ in 0..2 {
        let error = model.check(&model.meta_graphs()[0]).unwrap_err().to_string();
        assert!(error.contains("too few for the 8 bytes of `save_counter"), "{error}");
    }
    assert_eq!(model.training(&model.meta_graphs()[0]).optimizer_variables, 0);
    fs::write(folder.path().join("variables/variables.index"), b"").unwrap();
    assert!(matches!(model.variables(), Err(Error::Damaged { .. })));
}

#[test]
fn fingerprints_are_compared_with_the_variables() {
    let folder = write(vec![meta_graph(&["serve"])]);
    write_variables(folder.path(), &["w"]);
    let open = || SavedModel::open(folder.path()).unwrap();
    assert_eq!(open().fingerprint().unwrap(), None);
    let index = fs::read(folder.path().join("variables/variables.index")).unwrap();
    let with = |hash: u64| {
        let mut bytes = Vec::new();
        number(&mut bytes, 1, 7);
        number(&mut bytes, 5, hash);
        delimited(&mut bytes, 6, &[0x08, 4]);
        delimited(&mut bytes, 7, b"uuid");
        fs::write(folder.path().join("fingerprint.pb"), bytes).unwrap();
        open().fingerprint().unwrap().unwrap()
    };
    let right = with(farmhash::fingerprint64(&index));
    assert_eq!((right.saved_model_checksum, right.version, right.uuid.as_str()), (7, 4, "uuid"));
    assert_eq!(right.checkpoint, CheckpointMatch::Matches);
    assert_eq!(with(5).checkpoint, CheckpointMatch::Differs);
    assert_eq!(with(0).checkpoint, CheckpointMatch::Unknown);
    fs::write(folder.path().join("fingerprint.pb"), [0xff]).unwrap();
    assert!(matches!(open().fingerprint(), Err(Error::Damaged { .. })));
}

#[test]
fn digest_covers_graph_and_assets() {
    let digest = |model: &SavedModel| model.digest(&model.meta_graphs()[0]).unwrap();
    let mut graph = meta_graph(&["serve"]);
    graph.asset_file_def.push(pb::AssetFileDef { filename: "vocab.txt".into(), ..Default::default() });
    let folder = write(vec![graph]);
    let mut digests = Vec::new();
    fs::create_dir_all(folder.path().join("assets")).unwrap();
    for words in ["a b", "a c", "a b"] {
        fs::write(folder.path().join("assets/vocab.txt"), words).unwrap();
        digests.push(digest(&SavedModel::open(folder.path()).unwrap()));
    }
    assert!(digests[0].len() == 64 && digests[0] == digests[2] && digests[0] != digests[1]);
    let other = write(vec![meta_graph(&["serve", "other"])]);
    assert_ne!(digests[0], digest(&SavedModel::open(other.path()).unwrap()));
}

#[test]
fn assets_that_are_missing_or_climb_out_are_told() {
    let mut graph = meta_graph(&["serve"]);
    for name in ["../../etc/passwd", "there.txt"] {
        graph.asset_file_def.push(pb::AssetFileDef { filename: name.into(), ..Default::default() });
    }
    let folder = write(vec![graph.clone()]);
    fs::create_dir_all(folder.path().join("assets")).unwrap();
    fs::create_dir_all(folder.path().join("assets.extra")).unwrap();
    fs::write(folder.path().join("assets/there.txt"), b"abc").unwrap();
    fs::write(folder.path().join("assets.extra/tf_serving_warmup_requests"), b"").unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    let assets = model.assets(&model.meta_graphs()[0]).unwrap();
    assert_eq!(assets.missing, ["vocab.txt"]);
    assert_eq!(assets.escaping, ["../../etc/passwd"]);
    assert!(assets.files[0].declared && assets.files[0].bytes == 3);
    assert_eq!(assets.extra[0].name, "tf_serving_warmup_requests");

    // TensorFlow 1 keeps them in a collection.
    let value = graph.asset_file_def[2].write_to_bytes().unwrap();
    let any = tf_persist_proto::protobuf::well_known_types::any::Any { value, ..Default::default() };
    let kind = Some(pb::meta_graph::collection_def::Kind::AnyList(AnyList { value: vec![any], ..Default::default() }));
    graph.asset_file_def.clear();
    graph.collection_def.insert("saved_model_assets".into(), pb::CollectionDef { kind, ..Default::default() });
    let model = SavedModel::open(write(vec![graph]).path()).unwrap();
    assert_eq!(model.meta_graphs()[0].assets()[0].filename, "there.txt");
}

#[test]
fn a_default_out_of_all_proportion_is_left_out() {
    let mut graph = meta_graph(&["serve"]);
    let huge = pb::TensorProto {
        dtype: EnumOrUnknown::from_i32(1),
        tensor_shape: info(1, &[1 << 40], "").tensor_shape,
        float_val: vec![1.0],
        ..Default::default()
    };
    graph.signature_def.get_mut("train").unwrap().defaults.insert("image".into(), huge);
    let model = SavedModel::open(write(vec![graph]).path()).unwrap();
    let default = model.signature("train").unwrap().default_value("image");
    assert!(matches!(default, Some(DefaultValue::Unreadable(reason)) if reason.contains("its limit")));
}

#[test]
fn models_may_go_to_other_threads() {
    fn anywhere<T: Send + Sync + Clone + 'static>() {}
    anywhere::<SavedModel>();
    anywhere::<MetaGraph>();
}

/// The file that the mutations below start from.
fn sample() -> Vec<u8> {
    let model = pb::SavedModel { meta_graphs: vec![meta_graph(&["serve"])], ..Default::default() };
    model.write_to_bytes().unwrap()
}

/// Asks everything of a model that may be anything.
fn ask_everything(folder: &Path) {
    let Ok(model) = SavedModel::open(folder) else { return };
    for graph in model.meta_graphs() {
        let _ = model.decode_meta_graph(graph);
        let _ = (model.check(graph), model.training(graph).to_string(), model.assets(graph), graph.custom_ops());
        let _: Vec<String> = graph.signatures().iter().map(SignatureDef::to_string).collect();
    }
    let _ = (model.variables().is_ok(), model.fingerprint());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_mutation_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample();
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        ask_everything(write_bytes(&bytes).path());
    }

    #[test]
    fn no_text_panics(text in "(meta_graphs|graph_def|node|op|tags|[{}<>:\"'#\\\\0-9a ]){0,40}") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("saved_model.pbtxt"), text).unwrap();
        ask_everything(folder.path());
    }
}
