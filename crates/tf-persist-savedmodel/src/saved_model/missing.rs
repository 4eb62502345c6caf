//! Ops that a model uses and that TensorFlow lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::op_uses::op_uses;
use super::{MetaGraph, SavedModel};
use crate::error::{MissingOp, MissingOps, OpUse, Result, SavedModelError};
use crate::ops::{OPS_VERSION, is_known_op, runs_python, usual_package};

/// The ops of a TensorFlow, each with the names of its attributes.
pub(crate) type KnownOps = BTreeMap<String, BTreeSet<String>>;

/// The most ops that are searched in the graph.
const PLACED: usize = 1000;

impl SavedModel {
    /// The ops of a meta graph, functions included, that TensorFlow [`OPS_VERSION`] lacks, sorted by name: each with
    /// its first use and the package that usually provides it. Does not need TensorFlow.
    #[must_use]
    pub fn missing_ops(&self, meta_graph: &MetaGraph) -> Vec<MissingOp> {
        self.ops_without(meta_graph, is_known_op)
    }

    /// The reachable ops of a meta graph that call Python functions of the exporting process (`tf.py_function`,
    /// `tf.numpy_function`). A SavedModel does not contain the functions, and TensorFlow has no kernel for these ops
    /// outside of Python.
    #[must_use]
    pub fn python_ops(&self, meta_graph: &MetaGraph) -> Vec<MissingOp> {
        let mut found = self.ops_without(meta_graph, |op| !runs_python(op));
        found.retain(|op| op.used.reached);
        found
    }

    /// Refuses a meta graph with ops of packages other than TensorFlow.
    ///
    /// A newer TensorFlow may have other unknown ops: those are checked when it is open. This check comes before,
    /// because opening TensorFlow takes a third of a second, and only if no op library will be loaded.
    ///
    /// # Errors
    /// [`SavedModelError::MissingOps`].
    pub fn check_ops(&self, meta_graph: &MetaGraph) -> Result<()> {
        let foreign =
            |op: &String| !is_known_op(op) && usual_package(op).is_some_and(|package| !package.is_tensorflow());
        if meta_graph.ops().keys().any(foreign) {
            self.refuse(self.missing_ops(meta_graph), OPS_VERSION)
        } else {
            Ok(())
        }
    }

    /// Refuses a meta graph with ops that this TensorFlow lacks.
    #[doc(hidden)]
    pub fn check_ops_with(&self, meta_graph: &MetaGraph, ops: &KnownOps, version: &str) -> Result<()> {
        self.refuse(self.ops_without(meta_graph, |op| ops.contains_key(op)), version)
    }

    fn refuse(&self, mut ops: Vec<MissingOp>, version: &str) -> Result<()> {
        ops.retain(|op| op.used.reached);
        if ops.is_empty() {
            return Ok(());
        }
        let missing = MissingOps { path: self.path().to_path_buf(), version: version.to_owned(), ops };
        Err(SavedModelError::from(Box::new(missing)).into())
    }

    fn ops_without(&self, meta_graph: &MetaGraph, is_there: impl Fn(&str) -> bool) -> Vec<MissingOp> {
        let missing: Vec<(&str, u64)> =
            meta_graph.ops().iter().filter(|(op, _)| !is_there(op)).map(|(op, count)| (op.as_str(), *count)).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let wanted: BTreeSet<&str> = missing.iter().take(PLACED).map(|(op, _)| *op).collect();
        let mut uses = op_uses(&self.bytes()[meta_graph.range()], meta_graph, &wanted);
        let of = |(op, count): (&str, u64)| MissingOp {
            name: op.to_owned(),
            count,
            package: usual_package(op),
            tensorflow: is_known_op(op).then_some(OPS_VERSION),
            // Ops beyond the limit count as used.
            used: uses.remove(op).unwrap_or_else(|| OpUse { reached: true, ..OpUse::default() }),
        };
        missing.into_iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use tf_persist_proto::protobuf::Message;
    use tf_persist_proto::tensorflow as pb;

    use super::*;
    use crate::error::Error;

    fn node(name: &str, op: &str, inputs: &[&str]) -> pb::NodeDef {
        let mut node = pb::NodeDef::new();
        node.name = name.into();
        node.op = op.into();
        node.input = inputs.iter().map(|input| (*input).to_owned()).collect();
        node
    }

    /// A model with these nodes and functions, and a signature for each of `outputs`.
    fn model(nodes: Vec<pb::NodeDef>, functions: Vec<(&str, Vec<pb::NodeDef>)>, outputs: &[&str]) -> SavedModel {
        let mut meta_graph = pb::MetaGraphDef::new();
        let graph = meta_graph.graph_def.mut_or_insert_default();
        graph.node = nodes;
        for (name, nodes) in functions {
            let mut function = pb::FunctionDef::new();
            function.signature.mut_or_insert_default().name = name.into();
            function.node_def = nodes;
            graph.library.mut_or_insert_default().function.push(function);
        }
        for output in outputs {
            let mut signature = pb::SignatureDef::new();
            let mut info = pb::TensorInfo::new();
            info.set_name(format!("{output}:0"));
            info.dtype = pb::DataType::DT_FLOAT.into();
            signature.outputs.insert("y".into(), info);
            meta_graph.signature_def.insert(format!("to_{output}"), signature);
        }
        let mut saved_model = pb::SavedModel::new();
        saved_model.meta_graphs.push(meta_graph);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("saved_model.pb"), saved_model.write_to_bytes().unwrap()).unwrap();
        SavedModel::open(folder.path()).unwrap()
    }

    fn refusal(model: &SavedModel) -> MissingOps {
        let none = KnownOps::from([("Const".to_owned(), BTreeSet::new()), ("If".to_owned(), BTreeSet::new())]);
        match model.check_ops_with(&model.meta_graphs()[0], &none, "2.21.0") {
            Err(Error::SavedModel(SavedModelError::MissingOps(missing))) => *missing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_op_is_found_through_calls_and_attributes() {
        let mut branch = node("if", "If", &["c"]);
        let mut value = pb::AttrValue::new();
        value.mut_func().name = "then".into();
        branch.attr.insert("then_branch".into(), value);
        let mut value = pb::AttrValue::new();
        value.mut_list().func.push({
            let mut function = pb::NameAttrList::new();
            function.name = "other".into();
            function
        });
        branch.attr.insert("branches".into(), value);
        let nodes =
            vec![node("c", "Const", &[]), branch, node("direct", "Mine", &["^if"]), node("plain", "Const", &[])];
        let functions = vec![
            ("then", vec![node("call", "inner", &[])]),
            ("inner", vec![node("deep", "TFText>Own", &[])]),
            ("other", vec![node("there", "Yours", &[])]),
            ("never", vec![node("lost", "Lost", &[])]),
        ];
        let model = model(nodes, functions, &["if", "direct", "plain"]);
        let missing = refusal(&model);
        let of = |name: &str| missing.ops().iter().find(|op| op.name == name).unwrap();
        assert_eq!(of("TFText>Own").used.signatures, ["to_direct", "to_if"]);
        assert_eq!(of("TFText>Own").used.function.as_deref(), Some("inner"));
        assert_eq!(of("Yours").used.signatures, ["to_direct", "to_if"]);
        assert_eq!(of("Mine").used.signatures, ["to_direct"]);
        // An unreachable op is missing, but the model can be loaded.
        assert!(missing.ops().iter().all(|op| op.name != "Lost"));
        let all = model.missing_ops(&model.meta_graphs()[0]);
        let lost = all.iter().find(|op| op.name == "Lost").unwrap();
        assert!(!lost.used.reached && lost.used.signatures.is_empty() && lost.used.node == "lost");
        assert_eq!(
            of("TFText>Own").to_string(),
            "`TFText>Own` (1 node, `deep` in function `inner`, of signature `to_direct` and 1 more)"
        );
        assert!(missing.hint().text().starts_with("`pip install tensorflow-text` and load its op library; load the"));
        // Without TensorFlow the op of a known package is enough to refuse.
        assert!(matches!(
            model.check_ops(&model.meta_graphs()[0]),
            Err(Error::SavedModel(SavedModelError::MissingOps(_)))
        ));
    }

    #[test]
    fn an_op_that_a_newer_tensorflow_may_have_is_not_refused_without_one() {
        let model = model(vec![node("n", "FutureOp", &[])], vec![], &["n"]);
        assert!(model.check_ops(&model.meta_graphs()[0]).is_ok());
        assert_eq!(model.missing_ops(&model.meta_graphs()[0])[0].name, "FutureOp");
        // Builds of TensorFlow have ops that this one lacks, and may be the one that will be opened.
        let build = super::tests::model(vec![node("n", "TRTEngineOp", &[])], vec![], &["n"]);
        assert!(build.check_ops(&build.meta_graphs()[0]).is_ok());
        assert!(refusal(&build).hint().text().starts_with("use `tensorflow` (a build for Linux"));
        // An older TensorFlow may lack ops of this list.
        let older = super::tests::model(vec![node("n", "MatMul", &[])], vec![], &["n"]);
        assert!(refusal(&older).hint().text().contains("use TensorFlow 2.21"));
    }

    #[test]
    fn ten_thousand_unknown_ops_stay_readable() {
        let nodes = (0..10_000).map(|number| node("n", &format!("Own{number:05}"), &[])).collect();
        let missing = refusal(&model(nodes, vec![], &[]));
        let text = missing.to_string();
        assert!(text.len() < 600 && text.ends_with("and 9990 more"), "{text}");
        assert!(missing.hint().text().len() < 100 && missing.places().len() == 10);
        let long = refusal(&model(vec![node(&"n".repeat(5000), &"Ö".repeat(5000), &[])], vec![], &[])).to_string();
        assert!(long.chars().count() < 400 && long.contains('…'));
    }
}
