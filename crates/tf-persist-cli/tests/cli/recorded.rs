//! The repository's models with the answers that Python recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tf_persist_core::tensor::json::{ExtraInputs, Form, Layout, Request, write_outputs};
use tf_persist_core::tensor::{npy, npz};
use tf_persist_core::{DType, Element, Tensor};
use tf_persist_testing::root;

/// Named tensors.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// A model of `models/`.
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) meta: Value,
    arrays: BTreeMap<String, Tensor>,
}

/// One run.
pub(crate) struct Case {
    pub(crate) signature: String,
    pub(crate) tags: String,
    pub(crate) inputs: Tensors,
    pub(crate) outputs: Tensors,
}

impl Recorded {
    pub(crate) fn read(name: &str) -> Self {
        let folder = root().join("models").join(name);
        let meta = serde_json::from_str(&fs::read_to_string(folder.join("meta.json")).unwrap()).unwrap();
        let arrays = npz::read_file(folder.join("io.npz")).unwrap().into_iter().collect();
        Self { name: name.to_owned(), meta, arrays }
    }

    pub(crate) fn all() -> Vec<Self> {
        let entries = fs::read_dir(root().join("models")).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("meta.json").is_file()).collect();
        folders.sort();
        assert!(folders.len() >= 14, "models are missing: {folders:?}");
        folders.iter().map(|path| Self::read(path.file_name().unwrap().to_str().unwrap())).collect()
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        self.meta["cases"].as_array().unwrap().iter().map(|case| self.case(case)).collect()
    }

    fn case(&self, case: &Value) -> Case {
        let tags = case.get("tags").unwrap_or(&self.meta["tags"]).as_array().unwrap();
        let tags: Vec<&str> = tags.iter().map(|tag| tag.as_str().unwrap()).collect();
        Case {
            signature: case["signature"].as_str().unwrap().to_owned(),
            tags: tags.join(","),
            inputs: self.decode(&case["inputs"]),
            outputs: self.decode(&case["outputs"]),
        }
    }

    /// The tensors behind the entries of a case; a sparse one gives three.
    fn decode(&self, entries: &Value) -> Tensors {
        let mut tensors = Vec::new();
        for (key, entry) in entries.as_object().unwrap() {
            if entry.get("npz").is_some() {
                tensors.push((key.clone(), self.dense(entry)));
            } else {
                let part = |part: &str| (format!("{key}.{part}"), self.dense(&entry[part]));
                tensors.extend(["indices", "values", "dense_shape"].map(part));
            }
        }
        tensors
    }

    fn dense(&self, entry: &Value) -> Tensor {
        let dtype = DType::from_name(entry["dtype"].as_str().unwrap()).unwrap();
        let name = entry["npz"].as_str().unwrap();
        if dtype != DType::String {
            return npy::into_dtype(self.arrays[name].clone(), dtype).unwrap();
        }
        let bytes = self.arrays[&format!("{name}.bytes")].view::<u8>().unwrap();
        let offsets = self.arrays[&format!("{name}.offsets")].view::<i64>().unwrap();
        let shape = self.arrays[&format!("{name}.shape")].view::<i64>().unwrap();
        let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
        let strings = offsets.windows(2).map(|ends| &bytes[ends[0] as usize..ends[1] as usize]);
        Tensor::from_strings(&shape, strings).unwrap()
    }

    /// Panics where one of these tensors is not as recorded: floats within the model's tolerance, all else equal.
    pub(crate) fn compare(&self, about: &str, fresh: &Tensors, recorded: &Tensors) {
        let tolerance = |name: &str| self.meta["tolerance"][name].as_f64().unwrap();
        let (atol, rtol) = (tolerance("atol"), tolerance("rtol"));
        let sorted = |tensors: &Tensors| tensors.iter().cloned().collect::<BTreeMap<_, _>>();
        let (fresh, recorded) = (sorted(fresh), sorted(recorded));
        assert_eq!(fresh.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>(), "{about}");
        for (name, recorded) in &recorded {
            let fresh = &fresh[name];
            assert_eq!((fresh.dtype(), fresh.shape()), (recorded.dtype(), recorded.shape()), "{about}, `{name}`");
            let (Some(ours), Some(theirs)) = (numbers(fresh), numbers(recorded)) else {
                assert_eq!(fresh, recorded, "{about}, `{name}`");
                continue;
            };
            for (ours, theirs) in ours.into_iter().zip(theirs) {
                let near = (ours - theirs).abs() <= atol + rtol * theirs.abs();
                let same = ours == theirs || ours.is_nan() && theirs.is_nan();
                assert!(near || same, "{about}, `{name}`: {ours} instead of {theirs}");
            }
        }
    }
}

/// The elements as wide floats, if they are floats or complex numbers.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    fn wide<T: Element + Copy, const N: usize>(tensor: &Tensor, widen: impl Fn(T) -> [f64; N]) -> Option<Vec<f64>> {
        Some(tensor.view::<T>().unwrap().iter().flat_map(|value| widen(*value)).collect())
    }
    match tensor.dtype() {
        DType::Float16 => wide(tensor, |value: half::f16| [f64::from(value)]),
        DType::BFloat16 => wide(tensor, |value: half::bf16| [f64::from(value)]),
        DType::Float32 => wide(tensor, |value: f32| [f64::from(value)]),
        DType::Float64 => wide(tensor, |value: f64| [value]),
        DType::Complex64 => wide(tensor, |value: num_complex::Complex<f32>| [value.re, value.im].map(f64::from)),
        DType::Complex128 => wide(tensor, |value: num_complex::Complex<f64>| [value.re, value.im]),
        _ => None,
    }
}

impl Case {
    /// The request as a line of JSON, in the form `inputs`.
    pub(crate) fn request(&self) -> String {
        let layout = Layout { form: Form::Column, bare_single: false };
        let mut line = Vec::new();
        let inputs = self.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_outputs("request", &mut line, inputs, layout).unwrap();
        // An answer is a request by another name.
        let line = String::from_utf8(line).unwrap().replacen("\"outputs\"", "\"inputs\"", 1);
        line.replacen('{', &format!("{{\"signature_name\": \"{}\", ", self.signature), 1)
    }

    /// Whether JSON can express the shapes of all tensors: nested lists cannot express the sizes after a size of 0.
    pub(crate) fn fits_json(&self) -> bool {
        let mut tensors = self.inputs.iter().chain(&self.outputs);
        tensors.all(|(_, tensor)| !tensor.shape().iter().rev().skip(1).any(|size| *size == 0))
    }

    /// Whether numpy can carry the strings: none ends in NUL.
    pub(crate) fn fits_npz(&self) -> bool {
        let tensors = self.inputs.iter().chain(&self.outputs);
        tensors.filter_map(|(_, tensor)| tensor.strings().ok()).flat_map(|all| all.iter()).all(|s| s.last() != Some(&0))
    }

    /// The inputs as an archive.
    pub(crate) fn npz(&self) -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        npz::write("inputs", &mut file, self.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        file.into_inner()
    }

    /// Reads an answer, a line of JSON in the form `outputs`, with the dtypes that were recorded.
    pub(crate) fn answer(&self, line: &str) -> Tensors {
        let request = line.replacen("\"outputs\"", "\"inputs\"", 1);
        let wanted: Vec<(String, DType)> =
            self.outputs.iter().map(|(name, tensor)| (name.clone(), tensor.dtype())).collect();
        Request::parse("the answer", request.as_bytes())
            .and_then(|request| request.tensors(&self.signature, &wanted, ExtraInputs::Refuse))
            .unwrap_or_else(|error| panic!("{error}\n{line}"))
    }

    /// Reads an archive, with the dtypes that were recorded: bfloat16 is stored as uint16.
    pub(crate) fn archive(&self, path: &std::path::Path) -> Tensors {
        let dtype = |name: &str| self.outputs.iter().find(|(other, _)| other == name).unwrap().1.dtype();
        let tensors = npz::read_file(path).unwrap().into_iter();
        tensors.map(|(name, array)| (name.clone(), npy::into_dtype(array, dtype(&name)).unwrap())).collect()
    }
}
