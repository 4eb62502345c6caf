//! Models for tests.

use std::fs;

use tempfile::TempDir;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::NameAttrList;
use tf_persist_proto::tensorflow::attr_value::attr_value::{ListValue, Value};

use crate::saved_model::SavedModel;
use crate::scan::{Finding, Level, Report};

/// A model under construction.
#[derive(Default)]
pub(super) struct Model {
    pub(super) proto: pb::MetaGraphDef,
}

pub(super) fn attr(value: Value) -> pb::AttrValue {
    pb::AttrValue { value: Some(value), ..Default::default() }
}

/// An attribute that names a function.
pub(super) fn func(name: &str) -> pb::AttrValue {
    attr(Value::Func(NameAttrList { name: name.into(), ..Default::default() }))
}

/// An attribute that is a list of functions.
pub(super) fn funcs(names: &[&str]) -> pb::AttrValue {
    let func = names.iter().map(|name| NameAttrList { name: (*name).into(), ..Default::default() });
    attr(Value::List(ListValue { func: func.collect(), ..Default::default() }))
}

pub(super) fn text(text: &str) -> pb::AttrValue {
    attr(Value::S(text.as_bytes().to_vec().into()))
}

/// A `Const` of texts.
pub(super) fn constant(name: &str, texts: &[&str]) -> pb::NodeDef {
    let mut tensor = pb::TensorProto::new();
    tensor.dtype = pb::DataType::DT_STRING.into();
    tensor.string_val = texts.iter().map(|text| text.as_bytes().to_vec().into()).collect();
    node(name, "Const", &[], [("value", attr(Value::Tensor(tensor)))])
}

pub(super) fn node<const N: usize>(
    name: &str,
    op: &str,
    inputs: &[&str],
    attrs: [(&str, pb::AttrValue); N],
) -> pb::NodeDef {
    pb::NodeDef {
        name: name.into(),
        op: op.into(),
        input: inputs.iter().map(|input| (*input).into()).collect(),
        attr: attrs.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        ..Default::default()
    }
}

/// A function. `returns` are pairs of output and tensor.
pub(super) fn function(
    name: &str,
    arguments: &[&str],
    nodes: Vec<pb::NodeDef>,
    returns: &[(&str, &str)],
) -> pb::FunctionDef {
    let mut function = pb::FunctionDef::new();
    let signature = function.signature.mut_or_insert_default();
    signature.name = name.into();
    let arg = |name: &&str| pb::op_def::op_def::ArgDef { name: (*name).into(), ..Default::default() };
    signature.input_arg = arguments.iter().map(arg).collect();
    signature.output_arg = returns.iter().map(|(name, _)| arg(name)).collect();
    function.node_def = nodes;
    function.ret = returns.iter().map(|(name, tensor)| ((*name).into(), (*tensor).into())).collect();
    function
}

impl Model {
    /// A model whose signature `serving_default` takes the tensor `x` as its input `x`.
    pub(super) fn serving(fetch: &str, nodes: Vec<pb::NodeDef>) -> Self {
        let mut model = Self::default();
        model.proto.meta_info_def.mut_or_insert_default().tags.push("serve".into());
        model.nodes(vec![node("x", "Placeholder", &[], [])]).nodes(nodes).signature("serving_default", "x:0", fetch)
    }

    pub(super) fn nodes(mut self, nodes: Vec<pb::NodeDef>) -> Self {
        self.proto.graph_def.mut_or_insert_default().node.extend(nodes);
        self
    }

    pub(super) fn functions(mut self, functions: Vec<pb::FunctionDef>) -> Self {
        let graph = self.proto.graph_def.mut_or_insert_default();
        graph.library.mut_or_insert_default().function.extend(functions);
        self
    }

    pub(super) fn signature(mut self, name: &str, feed: &str, fetch: &str) -> Self {
        let mut signature = pb::SignatureDef::new();
        let info = |tensor: &str| {
            let mut info = pb::TensorInfo::new();
            info.set_name(tensor.into());
            info.dtype = pb::DataType::DT_STRING.into();
            info
        };
        signature.inputs.insert("x".into(), info(feed));
        signature.outputs.insert("y".into(), info(fetch));
        self.proto.signature_def.insert(name.into(), signature);
        self
    }

    /// An init op of this name.
    pub(super) fn init(mut self, operation: &str) -> Self {
        let mut list = pb::CollectionDef::new();
        list.mut_node_list().value.push(operation.into());
        self.proto.collection_def.insert("saved_model_main_op".into(), list);
        self
    }

    pub(super) fn saver(mut self, filename: &str, save: &str, restore: &str) -> Self {
        let saver = self.proto.saver_def.mut_or_insert_default();
        (saver.filename_tensor_name, saver.save_tensor_name) = (filename.into(), save.into());
        saver.restore_op_name = restore.into();
        self
    }

    pub(super) fn asset(mut self, tensor: &str, file: &str) -> Self {
        let mut asset = pb::AssetFileDef::new();
        asset.tensor_info.mut_or_insert_default().set_name(tensor.into());
        asset.filename = file.into();
        self.proto.asset_file_def.push(asset);
        self
    }

    pub(super) fn write(self) -> TempDir {
        let mut model = pb::SavedModel::new();
        model.meta_graphs.push(self.proto);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("saved_model.pb"), model.write_to_bytes().unwrap()).unwrap();
        folder
    }

    pub(super) fn open(self) -> (TempDir, SavedModel) {
        let folder = self.write();
        let model = SavedModel::open(folder.path()).unwrap();
        (folder, model)
    }

    pub(super) fn scan(self) -> Report {
        let (_folder, model) = self.open();
        model.scan().unwrap()
    }

    /// The findings about ops as lines: level, op, description and entry points.
    pub(super) fn lines(self) -> Vec<String> {
        lines(&self.scan())
    }
}

/// The findings of a report about ops, as lines.
pub(super) fn lines(report: &Report) -> Vec<String> {
    report.findings.iter().filter(|finding| finding.op.is_some()).map(line).collect()
}

fn line(finding: &Finding) -> String {
    let entry_points: Vec<String> = finding.reached_from.iter().map(ToString::to_string).collect();
    let (op, what) = (finding.op.as_deref().unwrap_or_default(), &finding.what);
    format!("{} {op} {what} [{}]", finding.level, entry_points.join(", "))
}

/// The only danger of a report.
#[track_caller]
pub(super) fn danger(report: &Report) -> &Finding {
    let dangers: Vec<&Finding> = report.of_level(Level::Danger).collect();
    assert_eq!(dangers.len(), 1, "{report}");
    dangers[0]
}
