//! What the rest of tf-persist relies on: nothing is lost, nothing is copied, and no input hurts.

use std::fmt::Debug;

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::protobuf::{EnumOrUnknown, Message, text_format};
use tf_persist_proto::serving::{
    self, BatchingParameters, ModelServerConfig, PredictRequest, PredictionLog, SSLConfig, SessionBundleConfig,
};
use tf_persist_proto::tensorflow::{
    self, AttrValue, ConfigProto, DataType, FullTypeDef, GraphDef, MetaGraphDef, NodeDef, SavedModel, StructuredValue,
    TensorProto, attr_value::attr_value,
};
use tf_persist_proto::{parse, protobuf};

/// A varint, as the wire has it.
fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field of wire type `wire_type`, with everything behind its tag.
fn field(number: u64, wire_type: u64, rest: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | wire_type), rest].concat()
}

/// A length-delimited field.
fn delimited(number: u64, content: &[u8]) -> Vec<u8> {
    field(number, 2, &[&varint(content.len() as u64), content].concat())
}

/// `depth` messages in one another, each the field `numbers` leads to in turn. Built from the inside, in linear time.
fn nested(numbers: &[u64], depth: usize) -> Bytes {
    let mut reversed = Vec::new();
    for level in (0..depth).rev() {
        let head = [varint(numbers[level % numbers.len()] << 3 | 2), varint(reversed.len() as u64)].concat();
        reversed.extend(head.iter().rev());
    }
    reversed.reverse();
    reversed.into()
}

fn constant(name: &str, content: &'static [u8]) -> NodeDef {
    let mut tensor = TensorProto::new();
    tensor.dtype = DataType::DT_UINT8.into();
    tensor.tensor_content = Bytes::from_static(content);
    tensor.string_val.push(Bytes::from_static(b"a string"));
    let mut value = AttrValue::new();
    value.set_tensor(tensor);
    let mut node = NodeDef::new();
    node.name = name.into();
    node.op = "Const".into();
    node.attr.insert("value".into(), value);
    node
}

fn saved_model(nodes: Vec<NodeDef>) -> SavedModel {
    let mut meta_graph = MetaGraphDef::new();
    meta_graph.graph_def.mut_or_insert_default().node = nodes;
    let mut model = SavedModel::new();
    model.saved_model_schema_version = 1;
    model.meta_graphs.push(meta_graph);
    model
}

fn write(message: &impl Message) -> Bytes {
    message.write_to_bytes().expect("written").into()
}

#[test]
fn unknown_fields_survive_a_rewrite() {
    let unknown = [
        field(1000, 0, &varint(u64::MAX)),
        field(1001, 5, &7_u32.to_le_bytes()),
        field(1002, 1, &8_u64.to_le_bytes()),
        delimited(1003, b"of a newer TensorFlow"),
        delimited(1003, b"twice"),
    ]
    .concat();
    let node = [delimited(1, b"old name"), unknown.clone()].concat();
    let graph = [delimited(1, &node), unknown.clone()].concat();

    let mut graph: GraphDef = parse(&graph.into()).expect("parsed");
    graph.node[0].name = "new name".into();

    let expected_node = [delimited(1, b"new name"), unknown.clone()].concat();
    let expected = Bytes::from([delimited(1, &expected_node), unknown].concat());
    // Unknown fields of different numbers may change places, always in the same way.
    assert_eq!(write(&graph).len(), expected.len());
    assert_eq!(write(&graph), write(&graph.clone()));
    assert_eq!(parse::<GraphDef>(&write(&graph)).expect("parsed"), parse(&expected).expect("parsed"));
}

#[test]
fn unknown_enum_values_survive_a_rewrite() {
    let wire = Bytes::from(field(1, 0, &varint(12_345)));
    let tensor: TensorProto = parse(&wire).expect("parsed");
    assert_eq!(tensor.dtype, EnumOrUnknown::from_i32(12_345));
    assert_eq!(tensor.dtype.enum_value(), Err(12_345));
    assert_eq!(write(&tensor), wire);
}

#[test]
fn bytes_fields_are_slices_of_the_parsed_buffer() {
    let wire = write(&saved_model(vec![constant("c", &[7; 1 << 16])]));
    let inside = wire.as_ptr_range();

    let model: SavedModel = parse(&wire).expect("parsed");
    let tensor = model.meta_graphs[0].graph_def.node[0].attr["value"].tensor();
    for bytes in [&tensor.tensor_content, &tensor.string_val[0]] {
        let slice = bytes.as_ptr_range();
        assert!(inside.start <= slice.start && slice.end <= inside.end, "copied: {slice:?} is not in {inside:?}");
    }

    // The slice keeps the buffer.
    let content = tensor.tensor_content.clone();
    drop((model, wire));
    assert_eq!(content, vec![7; 1 << 16]);
}

#[test]
fn maps_are_written_in_the_order_of_their_keys() {
    let names = ["dtype", "T", "_output_shapes", "value", "N"];
    let node = |names: &mut dyn Iterator<Item = &&str>| {
        let mut node = NodeDef::new();
        node.attr.extend(names.map(|name| (name.to_string(), AttrValue::new())));
        write(&node)
    };
    assert_eq!(node(&mut names.iter()), node(&mut names.iter().rev()));

    let sorted = ["N", "T", "_output_shapes", "dtype", "value"];
    let entries = sorted.map(|name| delimited(5, &[delimited(1, name.as_bytes()), delimited(2, b"")].concat()));
    assert_eq!(node(&mut names.iter()), entries.concat());
}

#[test]
fn text_format_reads_a_models_config() {
    let config: ModelServerConfig = text_format::parse_from_str(
        r#"
        # Two models.
        model_config_list {
          config {
            name: "digits"
            base_path: '/models/digits'
            model_platform: "tensorflow"
            model_version_policy { specific { versions: 3 versions: 4 } }
            version_labels { key: "stable" value: 3 }
            version_labels { key: "canary" value: 4 }
          }
          config { name: "half_plus_two" base_path: "/models/half_plus_two" }
        }
        "#,
    )
    .expect("parsed");
    let [digits, half_plus_two] = &config.model_config_list().config[..] else { panic!("{config}") };
    assert_eq!(digits.name, "digits");
    assert_eq!(digits.base_path, "/models/digits");
    assert_eq!(digits.model_version_policy.specific().versions, [3, 4]);
    assert_eq!(digits.version_labels["stable"], 3);
    assert_eq!(digits.version_labels["canary"], 4);
    assert_eq!(half_plus_two.name, "half_plus_two");

    let mistake = text_format::parse_from_str::<ModelServerConfig>("model_config_list {\n  confg {} }").unwrap_err();
    assert_eq!(mistake.to_string(), "2:3: Unknown field: `confg`");
}

#[test]
fn text_format_reads_the_files_whose_schema_is_hand_written() {
    let batching: BatchingParameters = text_format::parse_from_str(
        "max_batch_size { value: 32 } batch_timeout_micros { value: 0 } num_batch_threads { value: 2 }
         max_enqueued_batches { value: 100 } allowed_batch_sizes: 8 allowed_batch_sizes: 32
         enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }",
    )
    .expect("parsed");
    assert_eq!(batching.max_batch_size.value, 32);
    assert_eq!(batching.allowed_batch_sizes, [8, 32]);
    // A wrapper that holds 0 is not one that is absent.
    assert!(batching.batch_timeout_micros.is_some());
    assert!(batching.thread_pool_name.is_none());

    let ssl: SSLConfig =
        text_format::parse_from_str(r#"server_key: "-----BEGIN\nKEY" client_verify: true"#).expect("parsed");
    assert_eq!(ssl.server_key, "-----BEGIN\nKEY");
    assert!(ssl.client_verify);
}

#[test]
fn deep_nesting_is_an_error() {
    fn check<M: Message + Debug>(numbers: &[u64]) {
        parse::<M>(&nested(numbers, 90)).expect("90 deep");
        for depth in [160, 10_000] {
            let error = parse::<M>(&nested(numbers, depth)).expect_err("too deep");
            assert!(format!("{error:?}").contains("OverRecursionLimit"), "{}: {error:?}", M::NAME);
        }
    }
    check::<FullTypeDef>(&[2]);
    check::<StructuredValue>(&[51, 1]); // list_value, values
    check::<AttrValue>(&[10, 2, 2]); // func, an entry of attr, its value; the entry does not count

    // Groups are skipped, also level by level.
    for groups in [102, 10_000] {
        let (start, end) = (field(1000, 3, &[]).repeat(groups), field(1000, 4, &[]).repeat(groups));
        let error = parse::<NodeDef>(&[start, end].concat().into()).expect_err("too deep");
        assert!(format!("{error:?}").contains("OverRecursionLimit"), "{error:?}");
    }
}

#[test]
fn lengths_that_lead_out_of_the_buffer_are_errors() {
    fn check<M: Message>(what: &str, number: u64) {
        for length in [2, u64::from(u32::MAX), 1 << 32, 1 << 60, u64::MAX] {
            let wire = Bytes::from(field(number, 2, &[varint(length), vec![0]].concat()));
            assert!(parse::<M>(&wire).is_err(), "{what} of {length} bytes");
            // The same one level down, where the outer length is right.
            assert!(parse::<SavedModel>(&delimited(2, &wire).into()).is_err(), "{what} of {length} bytes, nested");
        }
    }
    check::<SavedModel>("a message", 2);
    check::<NodeDef>("a string", 1);
    check::<NodeDef>("a map entry", 5);
    check::<TensorProto>("bytes", 4);
    check::<TensorProto>("packed floats", 5);
    check::<TensorProto>("packed integers", 10);
    check::<TensorProto>("an unknown field", 1000);
}

#[test]
fn a_truncated_model_is_an_error() {
    let wire = write(&saved_model(vec![constant("a", b"content"), constant("b", b"content")]));
    let meta_graph = 2; // Behind the schema version, which makes a whole message by itself.
    for length in meta_graph + 1..wire.len() {
        assert!(parse::<SavedModel>(&wire.slice(..length)).is_err(), "{length} of {} bytes", wire.len());
    }
    parse::<SavedModel>(&wire).expect("whole");

    // Why `parse` exists. Where this fails, protobuf has mended it.
    let cut = wire.slice(..meta_graph + 2);
    assert_eq!(SavedModel::parse_from_tokio_bytes(&cut).expect("taken for whole").meta_graphs, [MetaGraphDef::new()]);
}

#[test]
fn invalid_utf8_in_a_string_is_an_error() {
    assert!(parse::<NodeDef>(&delimited(1, b"\xff").into()).is_err());
}

#[test]
fn one_value_is_kept_of_a_oneof() {
    let attr: AttrValue = parse(&[field(3, 0, &[5]), delimited(2, b"s")].concat().into()).expect("parsed");
    assert_eq!(attr.value, Some(attr_value::Value::S(Bytes::from_static(b"s"))));
}

#[test]
fn descriptors_find_their_imports() {
    fn name<M: protobuf::MessageFull>() -> String {
        M::descriptor().full_name().to_owned()
    }
    assert_eq!(name::<ConfigProto>(), "tensorflow.ConfigProto");
    assert_eq!(name::<PredictRequest>(), "tensorflow.serving.PredictRequest");
    assert_eq!(name::<PredictionLog>(), "tensorflow.serving.PredictionLog");
    assert_eq!(name::<SessionBundleConfig>(), "tensorflow.serving.SessionBundleConfig");
    assert_eq!(name::<serving::StatusProto>(), "tensorflow.serving.StatusProto");
    assert_eq!(name::<tensorflow::RPCOptions>(), "tensorflow.RPCOptions");

    let service = |file: &protobuf::reflect::FileDescriptor, name: &str| {
        let service = file.services().find(|service| service.proto().name() == name).expect("a service");
        service.methods().map(|method| method.proto().name().to_owned()).collect::<Vec<_>>()
    };
    let prediction = service(serving::prediction_service::file_descriptor(), "PredictionService");
    for method in ["Classify", "Regress", "Predict", "MultiInference", "GetModelMetadata"] {
        assert!(prediction.iter().any(|name| name == method), "{prediction:?}");
    }
    let model = service(serving::model_service::file_descriptor(), "ModelService");
    assert_eq!(model, ["GetModelStatus", "HandleReloadConfigRequest"]);
}
