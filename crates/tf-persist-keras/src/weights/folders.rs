//! Weights in folders named after classes: `layers/dense_1/vars/0`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tf_persist_savedmodel::{Result, printable};

use crate::archive::hdf5::{Dataset, Group};
use crate::layers::{Place, Weight};
use crate::reason::refuse;

/// The folder of a model's layers, and its name in files of TensorFlow 2.12 and 2.13.
const LAYERS: &str = "layers";
pub(crate) const OLD_LAYERS: &str = "_layer_checkpoint_dependencies";

/// The folders below a layer whose variables are not its weights: seeds, and what compiling a model adds.
const NO_WEIGHTS: &[&str] = &[
    "seed_generator",
    "random_generator",
    "_random_generator",
    "generator",
    "optimizer",
    "metrics",
    "_metrics",
    "compile_metrics",
    "_compile_metrics",
    "loss_tracker",
    "_loss_tracker",
    "compile_loss",
    "_compile_loss",
];

/// The folders of a file, or of the files that one was split into.
struct Folders {
    roots: Vec<Group>,
    /// By their paths.
    datasets: BTreeMap<String, Dataset>,
    /// The paths that have datasets below them.
    folders: HashSet<String>,
    /// The folders of layers by the path around them and the class, by their numbers.
    numbered: HashMap<String, HashMap<String, Vec<String>>>,
}

/// The dataset of each weight. What is wrong with the file is added to `findings`.
pub(super) fn locate(roots: &[Group], weights: &[Weight], findings: &mut Vec<String>) -> Result<Vec<Option<Dataset>>> {
    let mut folders = Folders::of(roots)?;
    let mut found = Vec::with_capacity(weights.len());
    let mut taken = HashSet::new();
    for weight in weights {
        let mut dataset = None;
        for place in std::iter::once(&weight.place).chain(&weight.other_places) {
            if let Some(folder) = folders.folder(place)? {
                for path in paths(&folder, weight.index, &weight.name) {
                    dataset = dataset.or_else(|| folders.datasets.get(&path).cloned());
                    taken.insert(path);
                }
            }
        }
        found.push(dataset);
    }
    // A wrapper saves the weight of its layer once more, before its own.
    let is_repeated = |path: &str| {
        let Some((folder, Ok(index))) = path.rsplit_once('/').map(|(folder, index)| (folder, index.parse::<usize>()))
        else {
            return false;
        };
        taken.contains(&format!("{folder}/{}", index.saturating_add(1)))
    };
    for path in folders.datasets.keys().filter(|path| is_weight(path) && !taken.contains(*path) && !is_repeated(path)) {
        findings.push(format!("the file has a weight `{}` that the model does not have", printable(path)));
    }
    Ok(found)
}

/// The dataset of one variable of a layer.
pub(super) fn find(roots: &[Group], place: &Place, index: usize, name: &str) -> Result<Option<Dataset>> {
    let mut folders = Folders::of(roots)?;
    let Some(folder) = folders.folder(place)? else { return Ok(None) };
    Ok(paths(&folder, index, name).iter().find_map(|path| folders.datasets.get(path).cloned()))
}

/// The folders between that of a custom layer and that of the model in it, if the file has weights of it.
pub(super) fn model_folders(
    roots: &[Group],
    place: &Place,
    attribute: Option<&[String]>,
) -> crate::reason::Result<Option<Vec<String>>> {
    let mut folders = Folders::of(roots)?;
    let Some(around) = folders.folder(place)? else { return Ok(None) };
    if let Some(names) = attribute {
        return Ok(folders.folders.contains(&joined(&around, &names.join("/"))).then(|| names.to_vec()));
    }
    let mut found = BTreeSet::new();
    for path in folders.datasets.keys().filter_map(|path| path.strip_prefix(&around)?.strip_prefix('/')) {
        let names: Vec<&str> = path.split('/').collect();
        if let Some(end) = names.iter().position(|name| [LAYERS, OLD_LAYERS].contains(name)) {
            found.insert(names[..end].to_vec());
        }
    }
    let shown = || found.iter().map(|names| names.join("/")).collect::<Vec<_>>().join("`, `");
    match found.len() {
        1 => Ok(found.into_iter().next().map(|names| names.into_iter().map(str::to_owned).collect())),
        0 => refuse!("the file has weights of it, but not of a model in it"),
        _ => refuse!("the file has models `{}` in it: name one as `attribute`", printable(&shown())),
    }
}

/// Where the dataset of a variable may be: by its number, or by its name, for the variables that Keras does not count.
fn paths(folder: &str, index: usize, name: &str) -> [String; 2] {
    [joined(folder, &format!("vars/{index}")), joined(folder, &format!("vars/{name}"))]
}

/// Whether a dataset is the weight of a layer or a model.
fn is_weight(path: &str) -> bool {
    let mut parts = path.split('/');
    matches!(parts.next(), Some(LAYERS | OLD_LAYERS | "vars")) && !parts.any(|part| NO_WEIGHTS.contains(&part))
}

impl Folders {
    fn of(roots: &[Group]) -> Result<Self> {
        let (mut datasets, mut folders) = (BTreeMap::new(), HashSet::new());
        for root in roots {
            let around = root.path();
            for dataset in root.file().datasets()? {
                let path = dataset.path().strip_prefix(around).unwrap_or(dataset.path()).trim_start_matches('/');
                let mut folder = path;
                while let Some((around, _)) = folder.rsplit_once('/') {
                    folder = around;
                    if !folders.insert(folder.to_owned()) {
                        break;
                    }
                }
                datasets.insert(path.to_owned(), dataset);
            }
        }
        Ok(Self { roots: roots.to_vec(), datasets, folders, numbered: HashMap::new() })
    }

    /// The path of a layer's folder. `None` if there is nothing in it.
    fn folder(&mut self, place: &Place) -> Result<Option<String>> {
        let mut folder = String::new();
        for names in &place.folders {
            let mut found = None;
            for name in names {
                let path = match folder.rsplit('/').next() == Some(OLD_LAYERS) {
                    true => self.old_folder(&folder, name)?.map(|name| joined(&folder, &name)),
                    false => Some(joined(&folder, name)),
                };
                found = found.or(path.filter(|path| self.folders.contains(path)));
            }
            match found {
                Some(path) => folder = path,
                None => return Ok(None),
            }
        }
        Ok(Some(folder))
    }

    /// The folder of a layer in files of TensorFlow 2.12 and 2.13, which count a layer twice if it has weights: the
    /// folders of the second and third `Dense` are `dense_2` and `dense_4`.
    fn old_folder(&mut self, around: &str, name: &str) -> Result<Option<String>> {
        if !self.numbered.contains_key(around) {
            let mut by_class: HashMap<String, Vec<(usize, String)>> = HashMap::new();
            for root in &self.roots {
                for folder in root.group(around)?.map(|group| group.members()).transpose()?.unwrap_or_default().groups {
                    let (class, number) = numbered(&folder);
                    by_class.entry(class.to_owned()).or_default().push((number, folder));
                }
            }
            let sorted = by_class.into_iter().map(|(class, mut folders)| {
                folders.sort();
                (class, folders.into_iter().map(|(_, folder)| folder).collect())
            });
            let sorted = sorted.collect();
            self.numbered.insert(around.to_owned(), sorted);
        }
        let (class, number) = numbered(name);
        Ok(self.numbered.get(around).and_then(|classes| classes.get(class)?.get(number).cloned()))
    }
}

/// The class and the number of a folder: `dense` and 1 for `dense_1`.
fn numbered(folder: &str) -> (&str, usize) {
    match folder.rsplit_once('_').map(|(class, number)| (class, number.parse())) {
        Some((class, Ok(number))) if number > 0 => (class, number),
        _ => (folder, 0),
    }
}

fn joined(around: &str, name: &str) -> String {
    if around.is_empty() { name.to_owned() } else { format!("{around}/{name}") }
}
