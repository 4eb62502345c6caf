//! Compares signatures: inputs, outputs and methods.

use std::collections::BTreeMap;

use crate::saved_model::{InitSource, MetaGraph, SignatureDef, TensorInfo, TensorKind, printable};

/// A signature that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureDiff {
    /// Its name.
    pub name: String,
    /// Whether only the second model has it (`Some(true)`), only the first (`Some(false)`), or both.
    pub added: Option<bool>,
    /// The differences, as sentences; empty if only one model has it.
    pub changes: Vec<String>,
}

/// The signatures that differ, sorted by name, and notes about signatures with other tensor names.
pub(super) fn diff(a: &MetaGraph, b: &MetaGraph) -> (Vec<SignatureDiff>, Vec<String>) {
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    // The init op has another name in every export. It is compared with the rest of the graph.
    let all_of = |meta_graph| {
        let operations = MetaGraph::operations(meta_graph).iter().filter(|it| it.name != InitSource::Signature.name());
        let signatures = meta_graph.signatures().iter().chain(operations);
        signatures.map(|it| (it.name.as_str(), it)).collect::<BTreeMap<_, _>>()
    };
    let [of_a, of_b] = [a, b].map(all_of);
    for (name, signature) in &of_a {
        let name = (*name).to_owned();
        let Some(other) = of_b.get(name.as_str()) else {
            all.push(SignatureDiff { name, added: Some(false), changes: Vec::new() });
            continue;
        };
        let changes = changes(signature, other);
        if changes.is_empty() {
            notes.extend(renamed(signature, other));
        } else {
            all.push(SignatureDiff { name, added: None, changes });
        }
    }
    for name in of_b.keys().filter(|name| !of_a.contains_key(*name)) {
        all.push(SignatureDiff { name: (*name).to_owned(), added: Some(true), changes: Vec::new() });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    (all, notes)
}

fn changes(a: &SignatureDef, b: &SignatureDef) -> Vec<String> {
    let mut changes = Vec::new();
    if a.method_name != b.method_name {
        changes.push(format!("method `{}` -> `{}`", printable(&a.method_name), printable(&b.method_name)));
    }
    for (what, of_a, of_b) in [("input", &a.inputs, &b.inputs), ("output", &a.outputs, &b.outputs)] {
        let find = |all: &[(String, TensorInfo)], name: &str| {
            all.iter().find(|(other, _)| other == name).map(|(_, info)| described(info))
        };
        for (name, info) in of_a {
            let before = described(info);
            match find(of_b, name) {
                None => changes.push(format!("{what} `{}` removed", printable(name))),
                Some(after) if after != before => {
                    changes.push(format!("{what} `{}` {before} -> {after}", printable(name)))
                }
                Some(_) => {}
            }
        }
        for (name, _) in of_b.iter().filter(|(name, _)| find(of_a, name).is_none()) {
            changes.push(format!("{what} `{}` added", printable(name)));
        }
    }
    if a.defaults != b.defaults {
        changes.push("default values of inputs differ".into());
    }
    changes
}

/// Dtype and shape, and the kind of a tensor that is not dense.
fn described(info: &TensorInfo) -> String {
    let kind = match &info.kind {
        TensorKind::Dense { .. } => String::new(),
        TensorKind::CooSparse { .. } => "sparse ".into(),
        TensorKind::Composite { spec, components } => {
            let parts = components.iter().map(described).collect::<Vec<_>>().join(", ");
            let what = if spec.is_ragged() { "ragged" } else { "composite" };
            let class = if spec.is_ragged() { "" } else { &spec.class };
            let space = if class.is_empty() { "" } else { " " };
            format!("{what}{space}{} of {parts} ", printable(class))
        }
    };
    let declared = match info.declared_dtype {
        declared if declared == info.dtype => String::new(),
        declared => format!(" (declared {declared})"),
    };
    format!("{kind}{}{declared} {}", info.dtype, info.shape)
}

/// A note, if the tensors have other names.
fn renamed(a: &SignatureDef, b: &SignatureDef) -> Option<String> {
    let names = |signature: &SignatureDef| {
        let infos = signature.inputs.iter().chain(&signature.outputs);
        infos.map(|(_, info)| info.kind.clone()).collect::<Vec<_>>()
    };
    (names(a) != names(b)).then(|| format!("signature `{}` has other names of tensors", printable(&a.name)))
}
