//! Hostile graphs: a scan ends, and soon.

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tf_persist_proto::protobuf::Message;

use super::graphs::{Model, constant, func, funcs, function, node, text};
use crate::saved_model::SavedModel;
use crate::scan::{EntryPoint, FindingKind, Level};

/// More than a dev build takes for any of these, and far less than exponential growth would.
const DEADLINE: Duration = Duration::from_secs(180);

#[test]
fn recursive_functions_end() {
    let call =
        |f: &str| vec![node("c", "PartitionedCall", &["a"], [("f", func(f))]), node("w", "WriteFile", &["a", "a"], [])];
    let circle = |name: &str, next: &str| function(name, &["a"], call(next), &[("r", "c:output:0")]);
    let nodes = vec![node("y", "PartitionedCall", &["x"], [("f", func("f"))]), node("r", "ReadFile", &["y"], [])];
    let functions = vec![circle("f", "g"), circle("g", "h"), circle("h", "f")];
    let lines = Model::serving("r:0", nodes).functions(functions).lines();
    // Nothing comes out of the recursion, and the caller chooses what goes in.
    let expected =
        ["WriteFile writes a file: whatever the input `x` names", "ReadFile reads a file whose name is computed"];
    let found = |what: &str| lines.iter().any(|line| line == &format!("danger {what} [`serving_default`]"));
    assert!(expected.into_iter().all(found) && lines.len() == 2, "{lines:?}");
}

#[test]
fn deep_chains_end() {
    const DEEP: usize = 20_000;
    let started = Instant::now();
    let name = |number: usize| format!("f{number}");
    let mut functions: Vec<_> = (0..DEEP)
        .map(|number| {
            let call = node("c", "PartitionedCall", &["a"], [("f", func(&name(number + 1)))]);
            function(&name(number), &["a"], vec![call], &[("r", "c:output:0")])
        })
        .collect();
    functions.push(function(&name(DEEP), &["a"], vec![node("w", "WriteFile", &["a", "a"], [])], &[("r", "a")]));
    let mut nodes = vec![node("call", "PartitionedCall", &["x"], [("f", func("f0"))])];
    let chain = |number: usize| if number == 0 { "call".into() } else { format!("n{number}") };
    nodes.extend((0..DEEP).map(|number| node(&chain(number + 1), "Identity", &[&chain(number)], [])));
    let report = Model::serving(&chain(DEEP), nodes).functions(functions).scan();
    let found = report.of_level(Level::Danger).next().unwrap();
    assert_eq!(found.what, "writes a file whose name is computed");
    assert_eq!((found.functions.len(), found.functions[8].as_str()), (17, "… 19985 more …"));
    assert!(report.to_string().len() < 2_000);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

#[test]
fn missing_and_duplicate_names_end() {
    let nodes = vec![
        node(
            "y",
            "PartitionedCall",
            &["nobody", "^nobody", "", "^", ":", "y:9999999999", "x:0:0"],
            [("f", func("none"))],
        ),
        node("y", "ReadFile", &["x"], []),
        node("", "", &[""], []),
        node("lone", "ReadFile", &[], []),
        node("z", "While", &["y"], [("cond", func("")), ("body", funcs(&["", "f", "f"]))]),
        node("_gradient", "Identity", &["x"], [("_gradient_op_type", text("f"))]),
    ];
    let evil = || function("f", &["a"], vec![node("w", "WriteFile", &["a", "w:0", "a:b:c"], [])], &[("r", "gone:0:0")]);
    let functions = vec![evil(), evil(), function("", &[], vec![], &[])];
    let report = Model::serving("z:0", nodes).functions(functions).signature("none", "", "").scan();
    assert_eq!(report.of_level(Level::Danger).count(), 2, "{report}");
    let write = report.findings.iter().find(|finding| finding.op.as_deref() == Some("WriteFile")).unwrap();
    assert_eq!((write.count, write.what.as_str()), (2, "writes a file whose name is computed"));
}

/// Every function calls every other, a hundred thousand times by one name, and joins of joins double each step.
#[test]
fn exponential_growth_is_bounded() {
    let started = Instant::now();
    let mut nodes = vec![constant("j0", &["aa"]), node("y", "ReadFile", &["j60"], [])];
    nodes.extend((0..60).map(|number| {
        let before = format!("j{number}");
        node(&format!("j{}", number + 1), "StringJoin", &[&before, &before], [])
    }));
    let all: Vec<String> = (0..200).map(|number| format!("f{number}")).collect();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut functions: Vec<_> = all
        .iter()
        .map(|name| {
            let nodes = vec![
                node("c", "Case", &["a", "a"], [("branches", funcs(&names))]),
                node("w", "ReadFile", &["c:output:0"], []),
            ];
            function(name, &["a"], nodes, &[("r", "c:output:0")])
        })
        .collect();
    for _ in 0..2_000 {
        let mut same = function("same", &[], vec![node("c", "same", &[], [])], &[]);
        same.attr.insert("api_implements".into(), text("one"));
        functions.push(same);
    }
    nodes.push(node("call", "PartitionedCall", &["x"], [("f", func("f0"))]));
    let mut model = Model::serving("y:0", nodes).functions(functions);
    for number in 0..500 {
        model = model.signature(&format!("s{number}"), "x:0", "call:0");
    }
    let report = model.scan();
    let found = report.of_level(Level::Danger).next().unwrap();
    assert_eq!(found.what, "reads a file whose name is computed");
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Graph));
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

#[test]
fn many_entry_points_are_counted() {
    let mut model = Model::serving("y:0", vec![node("y", "ReadFile", &["x"], [])]);
    for number in 0..500 {
        model = model.signature(&format!("s{number}"), "x:0", "y:0");
    }
    let report = model.scan();
    let found = report.of_level(Level::Danger).next().unwrap();
    assert_eq!((found.count, found.reached_from.len(), found.more_entry_points), (1, 64, 437));
    assert!(report.to_string().contains("`s0`, `s1`, `s10`, `s100` and 497 more → node `y`"), "{report}");
}

#[test]
fn too_many_signatures_over_a_large_graph_are_refused() {
    let chain = |number: usize| format!("n{number}");
    let mut nodes = vec![node("n0", "ReadFile", &["x"], [])];
    nodes.extend((0..3_000).map(|number| node(&chain(number + 1), "Identity", &[&chain(number)], [])));
    let mut model = Model::serving(&chain(3_000), nodes);
    for number in 0..40_000 {
        model = model.signature(&format!("s{number}"), "x:0", "n3000:0");
    }
    let (_folder, model) = model.open();
    let started = Instant::now();
    let report = model.scan().unwrap();
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Graph && finding.level == Level::Danger));
    assert!(started.elapsed() < 3 * DEADLINE, "{:?}", started.elapsed());
}

#[test]
fn ten_thousand_unknown_ops_are_readable() {
    let mut nodes: Vec<_> =
        (0..10_100).map(|number| node(&format!("n{number}"), &format!("Op{number}"), &[], [])).collect();
    let long = "a".repeat(1 << 20);
    nodes.push(node("long", "ReadFile", &[&long], []));
    nodes.push(node(&long, &long, &["x"], []));
    nodes.push(node("y", "ReadFile", &["x", &long], []));
    let report = Model::serving("y:0", nodes).scan();
    assert_eq!(report.findings.iter().filter(|finding| finding.level == Level::Warning).count(), 10_000);
    assert_eq!(report.left_out, 102);
    let text = report.to_string();
    assert!(text.lines().count() < 60 && text.len() < 8_000, "{text}");
    assert!(
        text.contains("warning  … and 9980 more") && text.ends_with("and 102 more, which were only counted"),
        "{text}"
    );
}

#[test]
fn output_has_no_control_characters() {
    let evil = "\x1b]0;owned\x07\r\n";
    let nodes = vec![constant("a", &[evil]), node(evil, "ReadFile", &["a"], []), node("y", evil, &[evil], [])];
    let text = Model::serving("y:0", nodes).signature(evil, "x:0", "y:0").asset(evil, evil).scan().to_string();
    assert!(!text.contains(['\x1b', '\x07', '\r']), "{text}");
    let entry_point = EntryPoint::Signature(evil.into()).to_string();
    assert!(!entry_point.contains('\x1b'));
}

fn small() -> Vec<u8> {
    let nodes = vec![
        constant("a", &["/a"]),
        node("y", "While", &["a"], [("cond", func("f")), ("body", func("f"))]),
        node("z", "ReadFile", &["y"], []),
        node("v", "VarHandleOp", &[], []),
        node("w", "AssignVariableOp", &["v", "a"], []),
        node("r", "ReadVariableOp", &["v"], []),
        node("s", "SaveV2", &["r"], []),
    ];
    let body = vec![node("j", "StringJoin", &["a", "a"], []), node("p", "PrintV2", &["j:output:0"], [])];
    let model = Model::serving("z:0", nodes).functions(vec![function("f", &["a"], body, &[("r", "j:output:0")])]);
    let folder = model.saver("a:0", "s:0", "w").init("w").asset("a:0", "x").write();
    fs::read(folder.path().join("saved_model.pb")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A model with changed bytes gives an error or a report.
    #[test]
    fn any_change_is_an_error_or_a_report(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = small();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("saved_model.pb"), bytes).unwrap();
        if let Ok(model) = SavedModel::open(folder.path()) {
            let report = model.scan().unwrap();
            prop_assert!(!report.to_string().is_empty());
        }
    }

    /// Arbitrary edges give a report.
    #[test]
    fn any_graph_is_a_report(edges in prop::collection::vec((0..12_usize, 0..12_usize, 0..8_usize), 1..60)) {
        let ops = ["ReadFile", "StringJoin", "Identity", "While", "PartitionedCall", "Pack", "ReadVariableOp", "Custom"];
        let made = |prefix: &str, output: &str| -> Vec<_> {
            edges.iter().enumerate().map(|(place, (from, to, op))| {
                let inputs = [format!("{prefix}{from}{output}"), format!("{prefix}{to}{output}"), "a".to_owned()];
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                let f = || func(&format!("f{}", to % 3));
                node(&format!("{prefix}{place}"), ops[*op], &inputs, [("f", f()), ("cond", f()), ("body", f())])
            }).collect()
        };
        let functions = (0..3).map(|number| function(&format!("f{number}"), &["a"], made("m", ":output:0"), &[("r", "m0:output:0")]));
        let model = Model::serving("n0:0", made("n", "")).functions(functions.collect());
        let bytes = model.proto.write_to_bytes().unwrap();
        prop_assert!(!bytes.is_empty());
        prop_assert!(!model.scan().findings.is_empty());
    }
}

/// Long names are truncated wherever they appear.
#[test]
fn long_names_are_truncated() {
    let long = "n".repeat(100_000);
    let inner = (0..2_000).map(|number| node(&format!("{long}{number}"), &format!("{long}op{number}"), &[], []));
    let evil = function(&long, &["a"], inner.collect(), &[]);
    let nodes = vec![node("y", "PartitionedCall", &["x"], [("f", func(&long))])];
    let report = Model::serving("y:0", nodes).functions(vec![evil]).signature(&long, "x:0", "y:0").scan();
    let custom = report.of_level(Level::Warning).next().unwrap();
    let names = [custom.op.as_deref(), custom.node.as_deref(), custom.functions.first().map(String::as_str)];
    assert!(names.iter().all(|name| name.unwrap().chars().count() == 257), "{}", custom);
    assert!(report.to_string().len() < 20_000);
}
