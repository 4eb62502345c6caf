use std::fmt::Debug;

use crate::serving::{BatchingParameters, ModelServerConfig, PlatformConfigMap, SavedModelBundleSourceAdapterConfig};
use crate::tensorflow::{
    AssetFileDef, AttrValue, ConfigProto, DataType, GraphDef, MetaGraphDef, NodeDef, SavedModel, TensorProto,
};
use proptest::prelude::*;
use protobuf::MessageFull;
use protobuf::descriptor::{FieldDescriptorProto, FileDescriptorProto, UninterpretedOption};
use protobuf::well_known_types::any::Any;

use super::schema::Seen;
use super::{MAX_DEPTH, Options, TextError, UnknownFields, parse, parse_with};

fn ok<M: MessageFull>(text: impl AsRef<[u8]>) -> M {
    let text = text.as_ref();
    parse(text).unwrap_or_else(|error| panic!("{}: {error}", text.escape_ascii()))
}

/// What is wrong with a text that must be refused.
fn refused<M: MessageFull + Debug>(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    match parse::<M>(text) {
        Err(error) => error.to_string(),
        Ok(message) => panic!("{} is taken for {message:?}", text.escape_ascii()),
    }
}

fn skipping<M: MessageFull>(text: &str) -> Result<super::Parsed<M>, TextError> {
    parse_with(text, &Options { unknown_fields: UnknownFields::Skip, ..Options::default() })
}

fn int(text: &str) -> i64 {
    ok::<AttrValue>(format!("i: {text}")).i()
}

fn float(text: &str) -> f32 {
    ok::<AttrValue>(format!("f: {text}")).f()
}

fn bytes(literals: impl AsRef<[u8]>) -> Vec<u8> {
    ok::<AttrValue>([b"s: ", literals.as_ref()].concat()).s().to_vec()
}

#[test]
fn a_model_is_read() {
    let model: SavedModel = ok(r#"
        # As `tf.saved_model.save(..., as_text=True)` writes it, with less in it.
        saved_model_schema_version: 1
        meta_graphs {
          meta_info_def { tags: "serve" tensorflow_version: "1.1.0" stripped_default_attrs: true }
          graph_def {
            node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
                   attr { key: "shape" value { shape { dim { size: -1 } } } } }
            node { name: "y" op: "Const" attr { key: "value" value { tensor {
                     dtype: DT_FLOAT tensor_shape { } tensor_content: "\000\000\200?" float_val: 0.5 } } } }
            versions { producer: 24 }
          }
          signature_def { key: "serving_default" value {
            inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT } } method_name: "tensorflow/serving/predict" } }
        }"#);
    let graph = &model.meta_graphs[0].graph_def;
    assert_eq!(graph.node.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(graph.node[0].attr["shape"].shape().dim[0].size, -1);
    let tensor = graph.node[1].attr["value"].tensor();
    assert_eq!((&*tensor.tensor_content, &*tensor.float_val), (&1f32.to_le_bytes()[..], &[0.5][..]));
    assert_eq!(model.meta_graphs[0].signature_def["serving_default"].inputs["x"].name(), "x:0");
    assert_eq!(ok::<SavedModel>(""), SavedModel::new());
}

#[test]
fn configuration_files_are_read_as_people_write_them() {
    let config: ModelServerConfig = ok("model_config_list: {
        config: { name: 'a', base_path: '/models/a'; model_version_policy { specific { versions: [1, 0x2] } } }
        config < name: 'b'  # comment
          version_labels: [{ key: 'stable' value: 1 }, { key: 'canary'; value: 2 }] >
        config [ { name: 'c' } ],
      };");
    let list = &config.model_config_list().config;
    assert_eq!(list.iter().map(|config| &*config.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(list[0].model_version_policy.specific().versions, [1, 2]);
    assert_eq!(list[1].version_labels["canary"], 2);
    let batching: BatchingParameters = ok("max_batch_size { value: 128 } allowed_batch_sizes: []");
    assert_eq!(batching.max_batch_size.value, 128);
}

#[test]
fn numbers() {
    assert_eq!(
        [int("010"), int("0x1F"), int("0Xff"), int("00"), int("-0x10"), int("- # here\n 5")],
        [8, 31, 255, 0, -16, -5]
    );
    assert_eq!((int("9223372036854775807"), int("-9223372036854775808")), (i64::MAX, i64::MIN));
    let floats = ["1.5f", "1.", ".5", "1.e1", "2F", "1E-2", "-.5", "7", "-0", "1e400", "-1e400", "3.4028235e38"];
    let values = [1.5, 1.0, 0.5, 10.0, 2.0, 0.01, -0.5, 7.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
    assert_eq!(floats.map(float), values);
    assert_eq!(["inf", "-INF", "Infinity", "-infinity"].map(float).map(f32::is_infinite), [true; 4]);
    assert!(["nan", "-nan", "NaN"].iter().all(|text| float(text).is_nan()));
    assert!(float("-0").is_sign_negative() && float("-nan").is_sign_negative());
    assert_eq!(float("99999999999999999999999999"), 1e26);

    for text in [
        "08",
        "0x",
        "0xg",
        "1f",
        "1.0",
        "1e5",
        "+5",
        "9223372036854775808",
        "-9223372036854775809",
        "5x",
        "0x1.",
        "1_0",
    ] {
        refused::<AttrValue>(format!("i: {text}"));
    }
    for text in ["0x10", "010", "00", "1.5.5", "1e", "1e+", "1f5", "inff", "-", "--1", "\"1\"", "."] {
        refused::<AttrValue>(format!("f: {text}"));
    }
    let number = "9".repeat(10_000_000);
    assert_eq!(float(&number), f32::INFINITY);
    assert!(refused::<AttrValue>(format!("i: {number}")).len() < 200);
    for text in ["intra_op_parallelism_threads: 2147483648", "intra_op_parallelism_threads: -2147483649"] {
        refused::<ConfigProto>(text);
    }
    let option = "positive_int_value: 18446744073709551615 negative_int_value: -1";
    assert_eq!(ok::<UninterpretedOption>(option).positive_int_value(), u64::MAX);
    refused::<UninterpretedOption>("positive_int_value: 18446744073709551616");
    refused::<UninterpretedOption>("positive_int_value: -0");
}

#[test]
fn bools_and_enums() {
    let bool = |text| ok::<AttrValue>(format!("b: {text}")).b();
    assert_eq!(["true", "True", "t", "1", "0x1", "01"].map(bool), [true; 6]);
    assert_eq!(["false", "False", "f", "0", "00"].map(bool), [false; 5]);
    for text in ["TRUE", "2", "-1", "1.0", "\"true\"", "yes"] {
        refused::<AttrValue>(format!("b: {text}"));
    }
    let dtype = |text| ok::<AttrValue>(format!("type: {text}")).type_();
    assert_eq!(["DT_FLOAT", "1", "0x1"].map(dtype), [DataType::DT_FLOAT; 3]);
    // Open enums keep numbers that nobody knows; closed ones do not.
    let list = ok::<AttrValue>("list { type: [DT_INT32, 9999, -1] }");
    assert_eq!(list.list().type_.iter().map(|dtype| dtype.value()).collect::<Vec<_>>(), [3, 9999, -1]);
    assert!(ok::<FieldDescriptorProto>("type: 5").has_type());
    assert!(
        refused::<FieldDescriptorProto>("type: 99")
            .contains("takes a value of `google.protobuf.FieldDescriptorProto.Type`")
    );
    for text in ["DT_NONE", "2147483648", "1.0", "\"DT_FLOAT\"", "-DT_FLOAT"] {
        refused::<AttrValue>(format!("type: {text}"));
    }
}

#[test]
fn strings() {
    assert_eq!(bytes(r#""\a\b\f\n\r\t\v\\\'\"\?""#), b"\x07\x08\x0c\n\r\t\x0b\\'\"?");
    assert_eq!(bytes(r"'\1\12\1234\377\779\08'"), b"\x01\x0a\x534\xff\x3f9\x008");
    assert_eq!(bytes(r"'\xf\xffff\Xa0'"), b"\x0f\xffff\xa0");
    assert_eq!(bytes(r"'\u00e9\U0001F600\ud83d\ude00'"), "é😀😀".as_bytes());
    assert_eq!(
        bytes(
            r#" "it's" ' "so" ' # and on
        "" 'far'"#
        ),
        b"it's \"so\" far"
    );
    assert_eq!(bytes(b"'\xff\r\t\x01'"), b"\xff\r\t\x01");
    for text in [
        r"'\400'",
        r"'\777'",
        r"'\x'",
        r"'\xg'",
        r"'\u12'",
        r"'\U0001F60'",
        r"'\U00110000'",
        r"'\ud83d'",
        r"'\ud83d\u0041'",
        r"'\ude00'",
        r"'\q'",
        r"'\8'",
        "'a\nb'",
        "'\\\n'",
        "'",
        "'a",
        "'a\\",
        "'a\\'",
        "'a\"",
        "'\0'",
        "abc",
        "5",
        "''5",
    ] {
        refused::<AttrValue>(format!("s: {text}"));
    }
    // A `string` is UTF-8, a `bytes` is anything, as `Bytes` and as `Vec`.
    assert_eq!(ok::<NodeDef>(r"name: '\303\251'").name, "é");
    assert!(refused::<NodeDef>(r"name: '\377'").contains("field `name` of `tensorflow.NodeDef` is not UTF-8"));
    assert_eq!(ok::<UninterpretedOption>(r"string_value: '\377\000'").string_value(), b"\xff\0");
    assert_eq!(ok::<TensorProto>("string_val: ['a' 'b', '\\xff']").string_val, [&b"ab"[..], b"\xff"]);
}

#[test]
fn lists_and_separators() {
    let list = ok::<AttrValue>("list { i: [1, 2] i: 3, i: []; i: [4] shape [{}, <>] shape {} b: [t, 0] s: ['a'] }");
    assert_eq!(list.list().i, [1, 2, 3, 4]);
    assert_eq!((list.list().shape.len(), list.list().b.len()), (3, 2));
    for text in [
        "i: [1]",
        "list [{}]",
        "list { i: [1,] }",
        "list { i: [,] }",
        "list { i: [1 2] }",
        "list { i: [1; 2] }",
        "list { i: [[1]] }",
        "list { i [1] }",
        "list { i: [1",
        "i 1",
        "i: 1,,",
        ",",
        "i: 1 }",
        "list { i: 1",
        "list { i: 1 >",
        "list < i: 1 }",
        "list",
        "list: 5",
        "{}",
        "1: 2",
        "\"i\": 1",
        "i: 1 $",
        "i: 1 \x07",
        "é: 1",
        "\0",
        "i: 1 # \0",
        "// no comment",
        "\u{feff}i: 1",
    ] {
        refused::<AttrValue>(text);
    }
}

#[test]
fn maps() {
    let node: NodeDef =
        ok("attr { key: 'a' value { i: 1 } } attr: [{ value: { i: 2 } key: 'b' }, <key: 'c'>] attr { value { i: 4 } }
        attr {} attr { key: 'a' value { i: 3 } }");
    assert_eq!(node.attr.keys().collect::<Vec<_>>(), ["", "a", "b", "c"]);
    assert_eq!((node.attr["a"].i(), node.attr["b"].i()), (3, 2));
    assert_eq!((&node.attr["c"], &node.attr[""]), (&AttrValue::new(), &AttrValue::new()));
    assert_eq!(ok::<ConfigProto>("device_count { key: 'CPU' }").device_count["CPU"], 0);
    for text in [
        "attr { key: 'a' key: 'b' }",
        "attr { value {} value {} }",
        "attr { other: 1 }",
        "attr { [key]: 'a' }",
        "attr { key 'a' }",
        "attr { key: ['a'] }",
        "attr { value: [{}] }",
        "attr { key: 'a' >",
        "attr: 'a'",
    ] {
        refused::<NodeDef>(text);
    }
}

#[test]
fn fields_are_given_once() {
    assert_eq!(
        refused::<NodeDef>("name: 'a'\n\n  name: 'b'"),
        "line 3, column 3: field `name` of `tensorflow.NodeDef` is specified multiple times"
    );
    assert_eq!(
        refused::<AttrValue>("i: 1 s: ''"),
        "line 1, column 6: field `s` of `tensorflow.AttrValue` is specified along with `i`, and only one of them can be"
    );
    for text in ["list {} list {}", "list {} i: 1", "s: '' s: ''", "i: 0 i: 1"] {
        refused::<AttrValue>(text);
    }
    // As in C++, a field without presence is not set by its default.
    assert_eq!(ok::<NodeDef>("name: '' name: 'b'").name, "b");
    refused::<FileDescriptorProto>("name: '' name: 'b'");

    let mut seen = Seen::default();
    for slot in [3, 63, 64, 200] {
        assert!(!seen.contains(slot));
        seen.insert(slot);
        assert!(seen.contains(slot) && !seen.contains(slot + 1) && !seen.contains(slot + 64));
    }
}

#[test]
fn unknown_fields_are_refused_or_skipped() {
    assert_eq!(refused::<GraphDef>("node {\n  é: 1 }"), "line 2, column 3: unexpected character `é`");
    assert_eq!(refused::<GraphDef>("node { foo: 1 }"), "line 1, column 8: unknown field `foo` of `tensorflow.NodeDef`");
    assert_eq!(refused::<GraphDef>("[a.b]: 1"), "line 1, column 1: unknown extension `a.b` of `tensorflow.GraphDef`");
    assert_eq!(refused::<GraphDef>("12: 1"), "line 1, column 1: expected the name of a field, found `12`");
    // A name that is reserved in the schema is skipped, whatever it holds.
    let text = "graph_options { skip_common_subexpression_elimination: [-1, 'a' 'b', {b <c: -inf>}] timeline_step: 3 }";
    assert_eq!(ok::<ConfigProto>(text).graph_options.timeline_step, 3);

    let text = "a: 1 b {} c: { d: [1, 'x' \"y\", {e: -nan}, [f]] } [g.h]: 2 12 < 1: 0x5; 2: 1.5 > node { i: TRUE name: 'n' a: 1 }
        node { attr { other {} key: 'k' [o.p]: 1 } }";
    let parsed = skipping::<GraphDef>(text).unwrap();
    assert_eq!(parsed.message.node.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["n", ""]);
    assert!(parsed.message.node[1].attr.contains_key("k"));
    assert_eq!(parsed.skipped.len(), 9);
    assert_eq!(parsed.skipped[0], "extension `g.h` of `tensorflow.GraphDef`");
    for text in [
        "a",
        "a 1",
        "a: ",
        "a: -",
        "a: -b",
        "a: [1",
        "a: [1,]",
        "a {",
        "a { b }",
        "a { b: 1 >",
        "a: '",
        "a: '\\q'",
        "a: {]",
        "[]: 1",
    ] {
        skipping::<GraphDef>(text).unwrap_err();
    }
    let many: String = (0..1000).map(|index| format!("a{index}: 1 ")).collect();
    assert_eq!(skipping::<GraphDef>(&many).unwrap().skipped.len(), 32);
}

#[test]
fn any_messages_are_written_out() {
    let model = "collection_def { key: 'saved_model_assets' value { any_list { value {
        [type.googleapis.com/tensorflow.AssetFileDef] { tensor_info { name: 'x:0' } filename: 'words.txt' } } } } }";
    let graph: MetaGraphDef = ok(model);
    let asset = &graph.collection_def["saved_model_assets"].any_list().value[0];
    assert_eq!(asset.unpack::<AssetFileDef>().unwrap().unwrap().filename, "words.txt");

    let text = "platform_configs { key: 'tensorflow' value { source_adapter_config {
        [ type.googleapis.com / tensorflow.serving.SavedModelBundleSourceAdapterConfig ]: < legacy_config {} > } } }";
    assert!(refused::<PlatformConfigMap>(text).contains("unknown type `type.googleapis.com/tensorflow.serving.Saved"));
    let types = [SavedModelBundleSourceAdapterConfig::descriptor()];
    let options = Options { any_types: &types, ..Options::default() };
    let config = parse_with::<PlatformConfigMap>(text, &options).unwrap().message;
    let adapter = &config.platform_configs["tensorflow"].source_adapter_config;
    assert!(adapter.unpack::<SavedModelBundleSourceAdapterConfig>().unwrap().unwrap().legacy_config.is_some());
    assert_eq!(skipping::<PlatformConfigMap>(text).unwrap().skipped.len(), 1);

    assert_eq!(ok::<Any>("type_url: 'a/b' value: '\\xff'").value, b"\xff");
    for text in [
        "[a.B] {}",
        "[/a.B] {}",
        "[a/] {}",
        "[a/B.] {}",
        "[a/5] {}",
        "[] {}",
        "[a/google.protobuf.Any",
        "[a/google.protobuf.Any]",
        "[a/google.protobuf.Any]: 5",
        "[a/google.protobuf.Any] {} [a/google.protobuf.Any] {}",
        "[a/'b'] {}",
        "type_url: 'x' [a/google.protobuf.Any] {}",
        "[a/google.protobuf.Any] {} type_url: 'x'",
        "[a/google.protobuf.Any] { x: 1 }",
    ] {
        refused::<Any>(text);
    }
    assert_eq!(ok::<Any>("[a/google.protobuf.Any] {}").type_url, "a/google.protobuf.Any");
    // Map entries are messages in the schema, and cannot be made.
    refused::<MetaGraphDef>("meta_info_def { any_info { [a/tensorflow.NodeDef.AttrEntry] {} } }");
}

#[test]
fn required_fields_are_required() {
    ok::<UninterpretedOption>("name { name_part: 'a' is_extension: false }");
    assert!(refused::<UninterpretedOption>("name { name_part: 'a' }").contains("a required field is missing"));
}

#[test]
fn depth_is_limited() {
    /// `depth` messages in one another.
    fn nested(open: &[&str], close: &[&str], depth: usize) -> String {
        let opened: String = (0..depth).map(|level| open[level % open.len()]).collect();
        opened + &(0..depth).rev().map(|level| close[level % close.len()]).collect::<String>()
    }
    // How many of the brackets make the levels that are allowed: map entries make none, list elements do.
    let ways: [(&[&str], &[&str], usize); 3] = [
        (&["func{", "attr{value{"], &["}", "}}"], 100),
        (&["list{func:[", "<attr:[{value:{"], &["]}", "}}]>"], 67),
        (&["foo{", "[bar]<"], &["}", ">"], 100),
    ];
    for (open, close, allowed) in ways {
        let options = Options { unknown_fields: UnknownFields::Skip, ..Options::default() };
        let read = |depth| parse_with::<AttrValue>(nested(open, close, depth), &options).map(drop);
        assert_eq!(read(allowed), Ok(()), "{open:?}");
        for depth in [allowed + 1, 1_000_000] {
            let error = read(depth).unwrap_err();
            assert!(error.message.contains(&format!("nested more than {MAX_DEPTH} deep")), "{error}");
        }
    }
    assert_eq!(skipping::<AttrValue>(&format!("foo: {}{}", "[".repeat(100), "]".repeat(100))).map(drop), Ok(()));
    skipping::<AttrValue>(&format!("foo: {}", "[".repeat(1_000_000))).unwrap_err();
    let any = "[a/google.protobuf.Any] {";
    ok::<Any>(any.repeat(100) + &"}".repeat(100));
    refused::<Any>(any.repeat(101) + &"}".repeat(101));
}

#[test]
fn memory_is_limited() {
    let text = "node{attr{}}".repeat(1000);
    let read = |memory| parse_with::<GraphDef>(&text, &Options { memory, ..Options::default() });
    read(10_000_000).unwrap();
    assert!(read(1_000_000).unwrap_err().message.contains("take more than 1000000 bytes of memory"));
}

/// Pieces that texts are made of, right and wrong.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = proptest::sample::select(vec![
        "node",
        "attr",
        "key",
        "value",
        "name",
        "i",
        "f",
        "s",
        "b",
        "type",
        "list",
        "func",
        "shape",
        "tensor",
        "foo",
        "placeholder",
        ":",
        ":",
        "{",
        "}",
        "<",
        ">",
        "[",
        "]",
        ",",
        ";",
        "-",
        "#",
        "\n",
        " ",
        "\"",
        "'",
        "\\",
        "'a\\n'",
        "\"\\377\"",
        "'\\u00e9'",
        "0",
        "1",
        "-1",
        "010",
        "0x1f",
        "1.5f",
        "1e5",
        ".5",
        "nan",
        "-inf",
        "true",
        "t",
        "DT_FLOAT",
        "[a/tensorflow.NodeDef]",
        "é",
        "attr { key: 'k' value { i: 1 } }",
        "node { name: 'n' }",
        "99999999999999999999",
    ]);
    let word = words.prop_map(|word| word.as_bytes().to_vec());
    let piece = prop_oneof![9 => word, 1 => any::<u8>().prop_map(|byte| vec![byte])];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(&b' '))
}

proptest! {
    #[test]
    fn no_text_hurts(text in pieces(), bytes in any::<Vec<u8>>()) {
        let skip = Options { unknown_fields: UnknownFields::Skip, ..Options::default() };
        for text in [&text, &bytes] {
            let _ = parse::<GraphDef>(text);
            let _ = parse_with::<GraphDef>(text, &skip);
            let _ = parse_with::<AttrValue>(text, &skip);
            let _ = parse_with::<Any>(text, &skip);
        }
    }

    #[test]
    fn a_changed_text_does_not_hurt(at in any::<proptest::sample::Index>(), by in any::<u8>(), cut in any::<bool>()) {
        let mut text = br#"node { name: "a\n\303\251" attr { key: "T" value { list { f: [1.5, -inf] type: DT_FLOAT i: 0x1f } } } }"#.to_vec();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = by }
        let _ = parse::<GraphDef>(&text);
    }

    #[test]
    fn values_come_back(value in any::<Vec<u8>>(), number in any::<i64>(), float in any::<f32>(), text in any::<String>()) {
        let octal: String = value.iter().map(|byte| format!("\\{byte:03o}")).collect();
        prop_assert_eq!(bytes(format!("'{octal}'")), &*value);
        let hex: Vec<String> = value.iter().map(|byte| format!("'\\x{byte:x}'")).collect();
        prop_assert_eq!(bytes(format!("''{}", hex.join(" "))), &*value);
        prop_assert_eq!(int(&number.to_string()), number);
        let read = self::float(&format!("{float:e}"));
        prop_assert!(read.to_bits() == float.to_bits() || read.is_nan() && float.is_nan());
        let escaped: String = text.chars().map(|character| format!("\\U{:08X}", u32::from(character))).collect();
        prop_assert_eq!(ok::<NodeDef>(format!("name: \"{escaped}\"")).name, text);
    }
}
