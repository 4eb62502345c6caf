//! Which models load with which trust.

use super::graphs::{Model, constant, node};
use crate::error::{ErrorKind, Result, Setting};
use crate::scan::Trust;

fn evil() -> Model {
    let nodes = vec![
        constant("path", &["/tmp/owned"]),
        node("write", "WriteFile", &["path", "x"], []),
        node("read", "ReadFile", &["path"], []),
        node("y", "Identity", &["read", "^write"], []),
    ];
    Model::serving("y:0", nodes)
}

/// The check that loading makes before it opens TensorFlow.
fn check(model: Model, trust: &Trust) -> Result<()> {
    let (_folder, model) = model.open();
    trust.check(&model, model.meta_graph(None)?)
}

#[test]
fn dangers_are_refused() {
    let error = check(evil(), &Trust::Nothing).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "is not trusted: the op `WriteFile`, reached by `serving_default`, writes a file: `/tmp/owned` (and 1 more)"
        ) || error.to_string().ends_with(
            "is not trusted: the op `ReadFile`, reached by `serving_default`, reads a file: `/tmp/owned` (and 1 more)"
        ),
        "{error}"
    );
    assert_eq!(error.hint().unwrap().settings(), [Setting::SetTo("trust", "ReadFile,WriteFile".into())]);
    for trust in [Trust::ops(["WriteFile"]), Trust::ops(["ReadFile"]), Trust::ops(["MatMul"])] {
        assert_eq!(check(evil(), &trust).unwrap_err().kind(), ErrorKind::Untrusted);
    }
    // Ops that are already trusted are listed again.
    let error = check(evil(), &Trust::ops(["ReadFile"])).unwrap_err();
    assert_eq!(error.hint().unwrap().settings(), [Setting::SetTo("trust", "ReadFile,WriteFile".into())]);
    for trust in [Trust::ops(["WriteFile", "ReadFile"]), Trust::Everything] {
        assert!(check(evil(), &trust).is_ok());
    }
}

#[test]
fn asset_outside_the_model_needs_full_trust() {
    let model = || Model::serving("x:0", vec![constant("a", &[""])]).asset("a:0", "../../x");
    for trust in [Trust::Nothing, Trust::ops(["ReadFile"])] {
        let error = check(model(), &trust).unwrap_err();
        assert!(error.to_string().ends_with("the graph reads an asset outside of the model: `../../x`"), "{error}");
        assert_eq!(error.hint().unwrap().settings(), [Setting::Set("trust")]);
    }
    assert!(check(model(), &Trust::Everything).is_ok());
}

#[test]
fn warnings_and_unreached_ops_do_not_refuse_a_model() {
    let nodes =
        vec![constant("path", &["words.txt"]), node("y", "ReadFile", &["path"], []), node("c", "Custom", &["y"], [])];
    assert!(check(Model::serving("c:0", nodes), &Trust::Nothing).is_ok());
    let model = evil().signature("serving_default", "x:0", "path:0");
    assert!(check(model, &Trust::Nothing).is_ok());
}

/// A graph without dangerous ops is not walked: this one is too large
/// (`too_many_signatures_over_a_large_graph_are_refused`).
#[test]
fn graph_without_dangerous_ops_is_not_walked() {
    let name = |number: usize| format!("n{number}");
    let nodes = (0..3_000).map(|number| node(&name(number + 1), "Identity", &[&name(number)], [])).collect();
    let mut model = Model::serving(&name(3_000), nodes).nodes(vec![node("n0", "Identity", &["x"], [])]);
    for number in 0..40_000 {
        model = model.signature(&format!("s{number}"), "x:0", "n3000:0");
    }
    let (_folder, model) = model.open();
    Trust::Nothing.check(&model, model.meta_graph(None).unwrap()).unwrap();
}
