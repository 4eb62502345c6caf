//! Models with recorded answers: a folder with `model/`, `meta.json` and `io.npz`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tf_persist_core::tensor::{npy, npz};
use tf_persist_core::{DType, LoadOptions, LoadedModel, Tensor};
use tf_persist_testing::root;

use crate::compare::{Tolerance, largest_difference};

/// A model and Python's answers.
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) model: PathBuf,
    pub(crate) meta: Meta,
    arrays: Arrays,
}

/// The arrays of an `io.npz`.
pub(crate) struct Arrays(BTreeMap<String, Tensor>);

/// The fields of `meta.json` that tests need.
#[derive(Deserialize)]
pub(crate) struct Meta {
    pub(crate) tags: Vec<String>,
    pub(crate) cases: Vec<Case>,
    pub(crate) tolerance: Tolerance,
    #[serde(default)]
    pub(crate) custom_op_libs: Vec<String>,
    /// Signatures that must be refused, with the reason.
    #[serde(default)]
    pub(crate) refused: BTreeMap<String, String>,
}

/// One run.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) signature: String,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) inputs: BTreeMap<String, Value>,
    pub(crate) outputs: BTreeMap<String, Value>,
}

/// Named tensors.
pub(crate) type Tensors = Vec<(String, Tensor)>;

impl Recorded {
    pub(crate) fn read(folder: &Path) -> Self {
        let meta = fs::read_to_string(folder.join("meta.json")).unwrap();
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            model: folder.join("model"),
            meta: serde_json::from_str(&meta).unwrap_or_else(|error| panic!("{}: {error}", folder.display())),
            arrays: Arrays::read(folder),
        }
    }

    /// Every SavedModel with recorded answers in a folder.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let mut folders: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("model").is_dir() && path.join("meta.json").is_file())
            .collect();
        folders.sort();
        assert!(!folders.is_empty(), "no models in {}", folder.display());
        folders.iter().map(|folder| Self::read(folder)).collect()
    }

    pub(crate) fn tags_of(&self, case: &Case) -> Vec<String> {
        case.tags.clone().unwrap_or_else(|| self.meta.tags.clone())
    }

    pub(crate) fn inputs(&self, case: &Case) -> Tensors {
        self.decode(&case.inputs)
    }

    pub(crate) fn outputs(&self, case: &Case) -> Tensors {
        self.decode(&case.outputs)
    }

    /// Load options with the model's op libraries.
    pub(crate) fn options(&self) -> LoadOptions {
        let libraries = self.meta.custom_op_libs.iter();
        libraries.fold(LoadOptions::default(), |options, library| options.op_library(op_library(library)))
    }

    /// Runs every case in order, one session for each tag set, and returns the outputs of each.
    pub(crate) fn run(&self, model: &Path) -> Vec<Tensors> {
        self.run_with(model, &self.options())
    }

    /// As [`Recorded::run`], with these options of loading.
    pub(crate) fn run_with(&self, model: &Path, options: &LoadOptions) -> Vec<Tensors> {
        let mut sessions: BTreeMap<Vec<String>, LoadedModel> = BTreeMap::new();
        let run = |case: &Case| {
            let tags = self.tags_of(case);
            let session = sessions.entry(tags.clone()).or_insert_with(|| {
                LoadedModel::load(model, options.clone().tags(tags))
                    .unwrap_or_else(|error| panic!("{}: {error}", self.name))
            });
            let inputs = self.inputs(case);
            let outputs = session
                .signature(&case.signature)
                .and_then(|signature| signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))))
                .unwrap_or_else(|error| panic!("{}, `{}`: {error}\n{:?}", self.name, case.signature, error.detail()));
            outputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
        };
        self.meta.cases.iter().map(run).collect()
    }

    /// Runs every case of `model` and compares the answers; returns the largest difference.
    pub(crate) fn check(&self, model: &Path) -> f64 {
        self.check_with(model, &self.options())
    }

    /// As [`Recorded::check`], with these options of loading.
    pub(crate) fn check_with(&self, model: &Path, options: &LoadOptions) -> f64 {
        let mut largest = 0.0_f64;
        for (case, fresh) in self.meta.cases.iter().zip(self.run_with(model, options)) {
            let about = format!("{}, `{}`", self.name, case.signature);
            largest = largest.max(largest_difference(&about, &fresh, &self.outputs(case), self.meta.tolerance));
        }
        largest
    }

    /// The tensors of a case's entries; a sparse entry has three.
    fn decode(&self, entries: &BTreeMap<String, Value>) -> Tensors {
        let mut tensors = Vec::new();
        for (key, entry) in entries {
            if entry.get("npz").is_some() {
                tensors.push((key.clone(), self.arrays.dense(entry)));
            } else {
                for part in ["indices", "values", "dense_shape"] {
                    tensors.push((format!("{key}.{part}"), self.arrays.dense(&entry[part])));
                }
            }
        }
        tensors
    }
}

impl Arrays {
    /// Those of a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        Self(npz::read_file(folder.join("io.npz")).unwrap().into_iter().collect())
    }

    /// The tensor that an entry of `meta.json` describes.
    pub(crate) fn dense(&self, entry: &Value) -> Tensor {
        let dtype = DType::from_name(entry["dtype"].as_str().unwrap()).unwrap();
        let name = entry["npz"].as_str().unwrap();
        if dtype == DType::String {
            self.strings(name)
        } else {
            npy::into_dtype(self.array(name).clone(), dtype).unwrap()
        }
    }

    fn strings(&self, name: &str) -> Tensor {
        let bytes = self.array(&format!("{name}.bytes")).view::<u8>().unwrap();
        let offsets = self.array(&format!("{name}.offsets")).view::<i64>().unwrap();
        let shape = self.array(&format!("{name}.shape")).view::<i64>().unwrap();
        let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
        let strings = offsets.windows(2).map(|ends| &bytes[ends[0] as usize..ends[1] as usize]);
        Tensor::from_strings(&shape, strings).unwrap()
    }

    fn array(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("io.npz has no `{name}`"))
    }
}

/// The library behind an entry of `custom_op_libs`: one of `examples/`, or a package as in `tensorflow-text==2.21.1:
/// FILES`.
fn op_library(entry: &str) -> PathBuf {
    match entry {
        "moving_average_op" => crate::op_libraries::moving_average(),
        "haversine_op" => crate::op_libraries::haversine(),
        package => package.split("==").next().unwrap_or(package).into(),
    }
}

/// The models of the repository.
pub(crate) fn models() -> Vec<Recorded> {
    Recorded::all(&root().join("models"))
}
