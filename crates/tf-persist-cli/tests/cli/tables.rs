//! Mutable tables whose contents are in the checkpoint: shown, compared and restored as tables.

use std::fmt::Write;
use std::fs;

use serde_json::json;
use tf_persist_core::Tensor;
use tf_persist_core::checkpoint::CheckpointWriter;

use crate::support::Dir;

/// An entry of the dense table: its bucket, which is the key's lowest bits, the key, and the value.
type Bucket = (usize, i64, f32);

/// What is in the checkpoint.
struct Contents<'a> {
    words: &'a [(&'a str, i64)],
    buckets: &'a [Bucket],
    scale: f32,
}

const BEFORE: Contents<'static> =
    Contents { words: &[("a", 0), ("b", 1)], buckets: &[(0, 0, 5.0), (1, 1, 6.0)], scale: 2.0 };

/// More of each, in another order; the dense table has another number of buckets.
const AFTER: Contents<'static> = Contents {
    words: &[("c", 2), ("b", 1), ("a", 0)],
    buckets: &[(1, 1, 6.0), (2, 2, 7.0), (0, -200, 9.0)],
    scale: 10.0,
};

const EMPTY: i64 = -100;
const DELETED: i64 = -200;

/// The buckets of a dense table: the empty key and NaN where there is no entry.
fn dense(size: usize, buckets: &[Bucket]) -> (Tensor, Tensor) {
    let (mut keys, mut values) = (vec![EMPTY; size], vec![f32::NAN; size]);
    for (place, key, value) in buckets {
        (keys[*place], values[*place]) = (*key, *value);
    }
    (Tensor::from_slice(&[size, 1], &keys).unwrap(), Tensor::from_slice(&[size, 1], &values).unwrap())
}

fn checkpoint(dir: &Dir, prefix: &str, size: usize, contents: &Contents<'_>) {
    let path = dir.path(prefix);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = CheckpointWriter::create(path).unwrap();
    let (keys, values): (Vec<&str>, Vec<i64>) = contents.words.iter().copied().unzip();
    writer.add("words-keys", &Tensor::from_strings(&[keys.len()], &keys).unwrap()).unwrap();
    writer.add("words-values", &Tensor::from_slice(&[values.len()], &values).unwrap()).unwrap();
    let (keys, values) = dense(size, contents.buckets);
    writer.add("vectors-keys", &keys).unwrap();
    writer.add("vectors-values", &values).unwrap();
    writer.add("scale", &Tensor::scalar(contents.scale).unwrap()).unwrap();
    writer.finish().unwrap();
}

fn attr(name: &str, value: &str) -> String {
    format!("attr {{ key: \"{name}\" value {{ {value} }} }} ")
}

fn node(name: &str, op: &str, inputs: &[&str], attrs: &[(&str, &str)]) -> String {
    let mut text = format!("node {{ name: \"{name}\" op: \"{op}\" ");
    inputs.iter().for_each(|input| write!(text, "input: \"{input}\" ").unwrap());
    attrs.iter().for_each(|(name, value)| text += &attr(name, value));
    text + "}\n"
}

fn int64(name: &str, value: i64) -> String {
    let tensor = format!("tensor {{ dtype: DT_INT64 tensor_shape {{ }} int64_val: {value} }}");
    node(name, "Const", &[], &[("dtype", "type: DT_INT64"), ("value", &tensor)])
}

fn strings(name: &str, all: &[&str]) -> String {
    let values: String = all.iter().map(|it| format!("string_val: \"{it}\" ")).collect();
    let tensor = format!("tensor {{ dtype: DT_STRING tensor_shape {{ dim {{ size: {} }} }} {values} }}", all.len());
    node(name, "Const", &[], &[("dtype", "type: DT_STRING"), ("value", &tensor)])
}

/// A model of TensorFlow 1: words to numbers, numbers to values, times a variable.
fn model(dir: &Dir, name: &str, size: usize, contents: &Contents<'_>) {
    checkpoint(dir, &format!("{name}/variables/variables"), size, contents);
    let (float, long, string) = ("type: DT_FLOAT", "type: DT_INT64", "type: DT_STRING");
    let keys = ["words-keys", "words-values", "vectors-keys", "vectors-values", "scale"];
    let dtypes = "list { type: DT_STRING type: DT_INT64 type: DT_INT64 type: DT_FLOAT type: DT_FLOAT }";
    let import = |table: &str, from: &str, to: &str, [key, value]: [&str; 2]| {
        let name = format!("import_{table}");
        node(&name, "LookupTableImportV2", &[table, key, value], &[("Tin", from), ("Tout", to)])
    };
    let find = |name: &str, inputs: &[&str], from: &str, to: &str| {
        node(name, "LookupTableFindV2", inputs, &[("Tin", from), ("Tout", to)])
    };
    let nodes = [
        node(
            "words",
            "MutableHashTableV2",
            &[],
            &[("key_dtype", string), ("value_dtype", long), ("shared_name", "s: \"words\"")],
        ),
        int64("empty", EMPTY),
        int64("deleted", DELETED),
        node(
            "vectors",
            "MutableDenseHashTableV2",
            &["empty", "deleted"],
            &[("key_dtype", long), ("value_dtype", float), ("shared_name", "s: \"vectors\"")],
        ),
        node("scale", "VarHandleOp", &[], &[("dtype", float), ("shape", "shape { }"), ("shared_name", "s: \"scale\"")]),
        node("text", "Placeholder", &[], &[("dtype", string), ("shape", "shape { dim { size: -1 } }")]),
        int64("missing", -1),
        node("none", "Cast", &["missing"], &[("SrcT", long), ("DstT", float)]),
        find("number", &["words", "text", "missing"], string, long),
        find("value", &["vectors", "number", "none"], long, float),
        node("factor", "ReadVariableOp", &["scale"], &[("dtype", float)]),
        node("score", "Mul", &["value", "factor"], &[("T", float)]),
        node("file", "Placeholder", &[], &[("dtype", string), ("shape", "shape { }")]),
        strings("keys", &keys),
        strings("slices", &[""; 5]),
        node("restore", "RestoreV2", &["file", "keys", "slices"], &[("dtypes", dtypes)]),
        import("words", string, long, ["restore", "restore:1"]),
        import("vectors", long, float, ["restore:2", "restore:3"]),
        node("assign", "AssignVariableOp", &["scale", "restore:4"], &[("dtype", float)]),
        node("restore_all", "NoOp", &["^import_words", "^import_vectors", "^assign"], &[]),
        node("saved", "Identity", &["file"], &[("T", string)]),
    ];
    let tensor = |key: &str, name: &str, dtype: &str| {
        format!(
            "{{ key: \"{key}\" value {{ name: \"{name}:0\" dtype: {dtype} tensor_shape {{ dim {{ size: -1 }} }} }} }}"
        )
    };
    let graph = format!(
        "saved_model_schema_version: 1\nmeta_graphs {{ meta_info_def {{ tags: \"serve\" }}\n\
         graph_def {{ {} versions {{ producer: 26 }} }}\n\
         saver_def {{ filename_tensor_name: \"file:0\" save_tensor_name: \"saved:0\" restore_op_name: \"restore_all\" version: V2 }}\n\
         signature_def {{ key: \"serving_default\" value {{ inputs {} outputs {} outputs {} \
         method_name: \"tensorflow/serving/predict\" }} }} }}",
        nodes.concat(),
        tensor("text", "text", "DT_STRING"),
        tensor("id", "number", "DT_INT64"),
        tensor("score", "score", "DT_FLOAT"),
    );
    dir.write(format!("{name}/saved_model.pbtxt"), graph);
}

#[test]
fn tables_are_shown_with_their_entries() {
    let dir = Dir::new();
    model(&dir, "m", 4, &AFTER_FEW);
    let inspected = dir.cmd("inspect m").without_tensorflow().run().ok();
    inspected
        .prints("1 variable, 2 tables, ")
        .prints("vectors  table of int64 -> float32  1 entry  ")
        .prints("words  table of string -> int64  2 entries  ");
    let ran = dir.cmd("inspect m --stats").without_tensorflow().run().ok();
    ran.prints("keys min 7  max 7  mean 7  values min 1.5  max 1.5  mean 1.5\n");
    let report = dir.cmd("inspect m --stats --format json").without_tensorflow().run().ok().json();
    assert_eq!(report["variables"]["count"], 1);
    let tables = report["variables"]["tables"].as_array().unwrap();
    assert_eq!((&tables[0]["name"], &tables[0]["entries"]), (&json!("vectors"), &json!(1)));
    assert_eq!(tables[0]["values"]["stats"], json!({"min": 1.5, "max": 1.5, "mean": 1.5, "nan": 0, "infinite": 0}));
    assert_eq!((&tables[1]["name"], &tables[1]["entries"]), (&json!("words"), &json!(2)));
    assert_eq!(tables[1]["values"]["stats"]["max"], json!(1));
}

#[test]
fn an_empty_table_has_no_figures() {
    let dir = Dir::new();
    model(&dir, "m", 4, &Contents { words: &[], buckets: &[], scale: 2.0 });
    let ran = dir.cmd("inspect m --stats").without_tensorflow().run().ok();
    ran.check(!ran.out().contains("keys") && !ran.out().contains("values"), "figures of nothing are shown");
    ran.check(ran.out().lines().all(|line| line.trim_end() == line), "a line ends in spaces");
}

/// One entry in a dense table, one deleted, and a NaN where there is none.
const AFTER_FEW: Contents<'static> =
    Contents { words: &[("a", 0), ("b", 1)], buckets: &[(1, 7, 1.5), (3, DELETED, 3.5)], scale: 2.0 };

#[test]
fn the_order_of_entries_makes_no_difference() {
    let dir = Dir::new();
    model(&dir, "one", 4, &BEFORE);
    let turned = Contents { words: &[("b", 1), ("a", 0)], buckets: &[(1, 1, 6.0), (0, 0, 5.0)], ..BEFORE };
    model(&dir, "same", 8, &turned);
    model(&dir, "other", 8, &AFTER);
    let same = dir.cmd("diff one same").without_tensorflow().run().ok();
    same.prints_only("same: signatures, ops, functions, graph, assets, 1 variable, 2 tables\n");
    let other = dir.cmd("diff one other").without_tensorflow().run();
    other
        .prints("variables: 0 removed, 3 of 3 changed, 0 added\n")
        .prints("~ vectors table of 2 -> 2 entries: 1 removed, 1 added\n")
        .prints("~ words table of 2 -> 3 entries: 0 removed, 1 added\n");
    let changed = Contents { words: &[("a", 0), ("b", 9)], ..BEFORE };
    model(&dir, "changed", 4, &changed);
    let report = dir.cmd("diff one changed --format json").without_tensorflow().run().json();
    let table = &report["variables"]["changed"][0];
    assert_eq!((&table["name"], &table["table"]["entries"]), (&json!("words"), &json!([2, 2])));
    assert_eq!(table["table"]["values"]["differing"], 1);
}

#[test]
fn larger_tables_are_taken_from_a_checkpoint() {
    let dir = Dir::new();
    model(&dir, "m", 4, &BEFORE);
    checkpoint(&dir, "ckpt/c", 8, &AFTER);
    let exported = dir.cmd("export m out --from-checkpoint ckpt").without_tensorflow().run().ok();
    let exported = exported
        .prints("`out`: 1 meta graph, 1 variable, 2 tables with 5 entries (")
        .prints("from the checkpoint: 1 variable, 2 tables\n");
    let note = "note: `ckpt` has no file `checkpoint`: `c`, the only checkpoint in it, was taken";
    exported.check(exported.err().contains(note), "the note is missing");
    let answer = dir.cmd("run out --format json --input text=[\"a\",\"b\",\"c\",\"zz\"]").run().ok().json();
    // 0 is no longer a key of the dense table.
    assert_eq!(answer["outputs"], json!({ "id": [0, 1, 2, -1], "score": [-10.0, 60.0, 70.0, -10.0] }));
    // Of a table that the checkpoint has in part, nothing is taken.
    let mut writer = CheckpointWriter::create(dir.path("less")).unwrap();
    writer.add("scale", &Tensor::scalar(3.0_f32).unwrap()).unwrap();
    writer.add("words-keys", &Tensor::from_strings(&[1], ["a"]).unwrap()).unwrap();
    let (keys, values) = dense(4, BEFORE.buckets);
    writer.add("vectors-keys", &keys).unwrap();
    writer.add("vectors-values", &values).unwrap();
    writer.finish().unwrap();
    let kept = dir.cmd("export m half --from-checkpoint less --keep-missing").without_tensorflow().run();
    kept.ok()
        .prints("from the checkpoint: 1 variable, 1 table\n")
        .prints("kept the model's values: `words`\n")
        .prints("unused in the checkpoint: `words`\n");
}
