//! Files that this module writes, read again.

use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};

use super::*;
use crate::archive::hdf5::{self, Hdf5};

fn written(root: &Group) -> Hdf5 {
    Hdf5::open(Bytes::from(root.to_bytes().unwrap()), Path::new("a.h5")).unwrap()
}

/// A tree with everything that the writer has.
pub(in crate::archive) fn everything() -> Group {
    let mut root = Group::default();
    let tensors = [
        ("f16", Tensor::from_slice(&[2], &[f16::from_f32(0.5), f16::from_f32(-2.0)])),
        ("f32", Tensor::from_slice(&[2, 3], &[1.0_f32, -2.0, f32::NAN, 4.0, 5.0, 6.0])),
        ("f64", Tensor::scalar(0.1_f64)),
        ("bf16", Tensor::from_slice(&[3], &[bf16::from_f32(1.0), bf16::from_f32(-3.0), bf16::MAX])),
        ("i8", Tensor::from_slice(&[3], &[-1_i8, 0, 1])),
        ("i16", Tensor::from_slice(&[1], &[i16::MIN])),
        ("i32", Tensor::from_slice(&[1, 1, 1], &[i32::MAX])),
        ("i64", Tensor::scalar(-7_i64)),
        ("u8", Tensor::from_slice(&[5], &[1_u8, 2, 3, 4, 255])),
        ("u16", Tensor::from_slice(&[1], &[u16::MAX])),
        ("u32", Tensor::from_slice(&[1], &[u32::MAX])),
        ("u64", Tensor::from_slice(&[1], &[u64::MAX])),
        ("bool", Tensor::from_slice(&[2, 2], &[true, false, false, true])),
        ("text", Tensor::from_strings(&[2, 2], ["a", "", "zwölf", &"long".repeat(300)])),
        ("one text", Tensor::from_strings(&[], ["x"])),
        ("no text", Tensor::from_strings(&[0], [""; 0])),
        ("empty", Tensor::zeros(DType::Float32, &[0, 3])),
    ];
    for (name, tensor) in tensors {
        root.insert(&format!("layers/dense/vars/{name}"), tensor.unwrap()).unwrap();
    }
    let dense = root.group("layers/dense").unwrap();
    dense.set("name", Attribute::Text("dense".into()));
    dense.set("größe", Attribute::Numbers(Tensor::from_slice(&[2], &[1_i64, 2]).unwrap()));
    root.set("model_config", Attribute::Text("{\"ü\": 1}".repeat(20_000)));
    root.set("backend", Attribute::FixedText("tensorflow".into()));
    root.set("names", Attribute::Texts(vec!["a".into(), String::new(), "bcd".into()]));
    root.set("fixed", Attribute::FixedTexts(vec!["a".into(), "ü".into(), String::new()]));
    root.set("none", Attribute::Texts(Vec::new()));
    root.set("pi", Attribute::Numbers(Tensor::scalar(3.25_f64).unwrap()));
    root.set("yes", Attribute::Numbers(Tensor::scalar(true).unwrap()));
    root.group("empty group").unwrap();
    let with_attribute = root.insert("with attribute", Tensor::scalar(1.0_f32).unwrap()).unwrap();
    with_attribute.set("k", Attribute::Text("v".into()));
    root
}

/// The tree of a file.
fn tree(group: &hdf5::Group) -> Group {
    let members = group.members().unwrap();
    let dataset = |name: &String| {
        let dataset = group.dataset(name).unwrap().unwrap();
        let attributes = dataset.attributes().unwrap();
        (name.clone(), Member::Dataset(Dataset { tensor: dataset.read().unwrap(), attributes }))
    };
    let subgroup = |name: &String| (name.clone(), Member::Group(tree(&group.group(name).unwrap().unwrap())));
    let members = members.datasets.iter().map(dataset).chain(members.groups.iter().map(subgroup)).collect();
    Group { attributes: group.attributes().unwrap(), members }
}

fn assert_same(a: &Group, b: &Group, path: &str) {
    assert_eq!(a.attributes, b.attributes, "{path}");
    assert_eq!(a.members.keys().collect::<Vec<_>>(), b.members.keys().collect::<Vec<_>>(), "{path}");
    for ((name, a), b) in a.members.iter().zip(b.members.values()) {
        let path = format!("{path}/{name}");
        match (a, b) {
            (Member::Group(a), Member::Group(b)) => assert_same(a, b, &path),
            (Member::Dataset(a), Member::Dataset(b)) => {
                assert_eq!(a.tensor, b.tensor, "{path}");
                if a.tensor.dtype() != DType::BFloat16 {
                    assert_eq!(a.attributes, b.attributes, "{path}");
                }
            }
            _ => panic!("{path} is a group and a dataset"),
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let root = everything();
    assert_same(&root, &tree(&written(&root).root().unwrap()), "");
    assert_eq!(root.to_bytes().unwrap(), everything().to_bytes().unwrap());
    assert_eq!(root.to_bytes().unwrap().len() as u64, root.plan().unwrap().len());
}

#[test]
fn groups_with_many_members_have_trees_of_several_levels() {
    // Nodes of 8 symbols under nodes of 32: one, two and three levels.
    for count in [0, 1, 8, 9, 256, 257, 3000, 8193] {
        let mut root = Group::default();
        for number in 0..count {
            root.insert(&format!("layers/dense_{number}/vars/0"), Tensor::scalar(number as f32).unwrap()).unwrap();
        }
        let file = written(&root);
        let group = file.group("layers").unwrap();
        assert_eq!(group.map_or(0, |group| group.members().unwrap().groups.len()), count);
        for number in (0..count).step_by(7) {
            let dataset = file.dataset(&format!("layers/dense_{number}/vars/0")).unwrap().unwrap();
            assert_eq!(dataset.read().unwrap().view::<f32>().unwrap(), [number as f32]);
        }
    }
}

#[test]
fn long_lists_are_split() {
    for (count, length, parts) in [(700, 100, 2), (4100, 3, 2), (10, 64_512, 10), (4, 1000, 0), (4032, 16, 0)] {
        let texts: Vec<String> = (0..count).map(|number| format!("{number:0length$}")).collect();
        let mut root = Group::default();
        root.set_texts("layer_names", texts.clone()).unwrap();
        let root = written(&root).root().unwrap();
        assert_eq!(root.texts("layer_names").unwrap().unwrap(), texts);
        assert_eq!(root.attributes().unwrap().len(), parts.max(1));
        assert_eq!(root.attribute("layer_names0").unwrap().is_some(), parts > 0);
    }
    let mut root = Group::default();
    root.set_texts("weight_names", Vec::new()).unwrap();
    assert!(root.set_texts("weight_names", vec!["x".repeat(64_513)]).is_err());
    let root = written(&root).root().unwrap();
    let empty = Attribute::Numbers(Tensor::zeros(DType::Float64, &[0]).unwrap());
    assert_eq!(root.attribute("weight_names").unwrap(), Some(empty));
    assert_eq!(root.texts("weight_names").unwrap(), Some(Vec::new()));
    assert_eq!(root.texts("layer_names").unwrap(), None);
}

#[test]
fn many_texts_take_several_collections() {
    let texts: Vec<String> = (0..200_000).map(|number| number.to_string()).collect();
    let mut root = Group::default();
    root.insert("vocabulary", Tensor::from_strings(&[texts.len()], &texts).unwrap()).unwrap();
    let read = written(&root).dataset("vocabulary").unwrap().unwrap().read().unwrap();
    assert!(read.strings().unwrap().iter().eq(texts.iter().map(String::as_bytes)));
}

#[test]
fn what_the_format_does_not_have_is_refused() {
    let refusal = |change: &dyn Fn(&mut Group)| {
        let mut root = Group::default();
        change(root.group("a/b").unwrap());
        root.to_bytes().unwrap_err().to_string()
    };
    let complex = Tensor::from_bytes(DType::Complex64, &[], &[0; 8]).unwrap();
    let error = refusal(&|group| drop(group.insert("c", complex.clone())));
    assert_eq!(error, "`/a/b/c`: complex64 cannot be written to a Keras file");
    let error = refusal(&|group| group.set("x", Attribute::FixedText("y".repeat(70_000))));
    assert_eq!(error, "`/a/b`: attribute `x`: 70000 bytes are more than 65528");
    let error = refusal(&|group| group.set("x", Attribute::Texts(vec!["y".into(); 5000])));
    assert!(error.contains("the attribute `x` has 80"), "{error}");
    let error = refusal(&|group| group.set("x", Attribute::Text("y\0".into())));
    assert!(error.contains("has a NUL"), "{error}");
    assert!(refusal(&|group| group.set("", Attribute::Text(String::new()))).contains("the name of an attribute"));
    let deep = Tensor::zeros(DType::Float32, &[1; 33]).unwrap();
    assert!(refusal(&|group| drop(group.insert("c", deep.clone()))).contains("33 dimensions"));
    assert!(refusal(&|group| drop(group.group(&"x/".repeat(128)))).contains("nested deeper than 128"));

    let mut root = Group::default();
    let tensor = Tensor::scalar(1.0_f32).unwrap();
    root.insert("a/b", tensor.clone()).unwrap();
    assert_eq!(root.insert("a/b", tensor.clone()).unwrap_err().to_string(), "`a/b` is written twice");
    assert!(root.group("a/b/c").is_err() && root.insert("a", tensor.clone()).is_err());
    for name in ["", "a/", ".", "a/x\0"] {
        assert!(root.insert(name, tensor.clone()).is_err(), "{name}");
    }
}
