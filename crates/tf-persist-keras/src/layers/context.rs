//! What a layer has at hand while it adds its nodes to a graph.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;
use tf_persist_proto::bytes::Bytes;
use tf_persist_savedmodel::{DType, Tensor};

use super::{NamedLayer, Rules, WeightRules};
use crate::config::{Dialect, Policy};
use crate::graph::{Graph, Resource, Shape, Table, TensorRef, Variable};
use crate::reason::{Result, refuse};
use crate::source::WeightLayout;
use crate::weights;

/// Where the layer stands in the model, which tells the names of its variables and where a file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The folders in a `.keras` file, each with the names that it may have.
    pub(crate) folders: Vec<Vec<String>>,
    /// The names of the layers from the outermost to this one. The first has a group in an `.h5` file.
    pub(crate) layers: Vec<String>,
}

/// A variable of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    pub(crate) resource: Resource,
    pub(crate) place: Place,
    /// The number among the variables of its layer, by which a `.keras` file has it.
    pub(crate) index: usize,
    /// Such as `kernel`.
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) trainable: bool,
    /// Whether files have it. If not, it is zero before the first call.
    pub(crate) is_saved: bool,
    pub(crate) rules: WeightRules,
    /// Whether training changes it where no layer is frozen.
    pub(crate) is_trained: bool,
    /// The depths in `place.layers` of the layers that are frozen, each counted with the layers around it.
    pub(crate) frozen: Rc<[usize]>,
    /// Where else in the model its layer is. A file may have it at any of the places.
    pub(crate) other_places: Vec<Place>,
}

/// A call of a layer, for a summary.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// The names of the layers from the outermost to this one.
    pub(crate) layers: Vec<String>,
    pub(crate) class: String,
    pub(crate) is_operation: bool,
    pub(crate) outputs: Vec<Shape>,
}

/// What all layers of a model share while it is built.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// In the order of their first use.
    pub(crate) weights: RefCell<Vec<Weight>>,
    by_path: RefCell<HashMap<String, usize>>,
    names: Rc<RefCell<HashSet<String>>>,
    /// What the names of all weights begin with, in a model of another file.
    around: Vec<String>,
    /// Models of other files that are custom layers, by their paths.
    parts: RefCell<HashMap<PathBuf, Rc<Self>>>,
    tables: RefCell<HashMap<String, Resource>>,
    /// The text files of vocabularies, by their paths in the `.keras` file.
    pub(crate) vocabularies: HashMap<String, Bytes>,
    /// The weights of the file, for layers whose graph depends on a value.
    pub(crate) file: Option<WeightLayout>,
    /// The tensors whose masks a layer took away.
    unmasked: RefCell<HashSet<(u32, usize, usize)>>,
    /// In order, those of inner layers before those of the layers around them.
    pub(crate) calls: RefCell<Vec<Called>>,
    /// The new values of variables that a training step computes besides the optimizer's.
    pub(crate) updates: RefCell<Vec<(Resource, TensorRef)>>,
    /// The results that are regularized, each with its regularizer.
    pub(crate) activities: RefCell<Vec<(Value, TensorRef)>>,
    /// The first values of variables that no file has, such as the seeds of dropout.
    pub(crate) initial: RefCell<HashMap<Resource, Tensor>>,
    /// The layers of Keras 2 that merge inputs with different masks, which Keras 3 does otherwise.
    pub(crate) merges_masks: RefCell<BTreeSet<String>>,
    /// The seeds of layers, by their paths.
    pub(super) seeds: RefCell<HashMap<String, Resource>>,
}

impl Shared {
    /// Of a model in a file.
    pub(crate) fn of_file(vocabularies: HashMap<String, Bytes>, weights: WeightLayout) -> Self {
        Self { vocabularies, file: Some(weights), ..Self::default() }
    }

    /// Whether the file has low-rank adaptations beside the kernels, as `.h5` files do; else they are merged into them.
    pub(crate) fn has_adaptations(&self) -> bool {
        matches!(self.file, Some(WeightLayout::Layers(_)))
    }

    /// The model of another file, if it was called before.
    pub(crate) fn part(&self, path: &Path) -> Option<Rc<Self>> {
        self.parts.borrow().get(path).cloned()
    }

    /// Adds the model of another file, which is first called at a place of this one.
    pub(crate) fn add_part(
        &self,
        path: &Path,
        place: &Place,
        vocabularies: HashMap<String, Bytes>,
        weights: WeightLayout,
    ) -> Rc<Self> {
        let around = self.around.iter().chain(&place.layers).cloned().collect();
        let names = Rc::clone(&self.names);
        let part = Rc::new(Self { around, names, ..Self::of_file(vocabularies, weights) });
        self.parts.borrow_mut().insert(path.to_path_buf(), Rc::clone(&part));
        part
    }

    /// Forgets what belongs to the graph before, when the model is called in another.
    pub(crate) fn begin_graph(&self) {
        self.calls.borrow_mut().clear();
        self.updates.borrow_mut().clear();
        self.activities.borrow_mut().clear();
    }
}

impl Shared {
    /// Takes the mask of a tensor away, for all later calls.
    pub(crate) fn unmask(&self, tensor: &TensorRef) {
        self.unmasked.borrow_mut().insert(tensor.key());
    }

    /// Whether a layer took the mask of a tensor away.
    pub(crate) fn is_unmasked(&self, tensor: &TensorRef) -> bool {
        self.unmasked.borrow().contains(&tensor.key())
    }
}

/// The graph, the place, the dtypes of the layer that is being called.
#[derive(Debug, Clone)]
pub(crate) struct Context<'a> {
    pub(crate) g: &'a Graph,
    pub(crate) dialect: Dialect,
    pub(crate) shared: &'a Shared,
    pub(crate) place: Rc<Place>,
    pub(crate) policy: Policy,
    /// Whether the layer and all around it are trainable.
    pub(crate) trainable: bool,
    /// Whether the graph is that of a training step.
    pub(crate) training: bool,
    /// How training treats the layer's weights.
    pub(crate) rules: Arc<Rules>,
    frozen: Rc<[usize]>,
    /// If the layer, or one around it, is at several places of the model: what tells it from others, and the number of
    /// folders around it.
    identity: Option<(u64, usize)>,
    /// The number of variables declared so far.
    declared: Rc<Cell<usize>>,
}

impl<'a> Context<'a> {
    /// At the root of a model.
    pub(crate) fn new(g: &'a Graph, dialect: Dialect, shared: &'a Shared) -> Self {
        Self {
            g,
            dialect,
            shared,
            place: Rc::default(),
            policy: Policy::default(),
            trainable: true,
            training: false,
            rules: Arc::default(),
            frozen: Rc::default(),
            identity: None,
            declared: Rc::default(),
        }
    }

    pub(crate) fn is_keras2(&self) -> bool {
        self.dialect == Dialect::Keras2
    }

    /// The context of a call of a layer that stands here.
    #[must_use]
    pub(crate) fn of_layer(&self, layer: &NamedLayer) -> Self {
        let mut frozen = Rc::clone(&self.frozen);
        if !layer.trainable {
            frozen = frozen.iter().copied().chain([self.place.layers.len()]).collect();
        }
        Self {
            policy: layer.policy.clone(),
            trainable: self.trainable && layer.trainable,
            rules: Arc::clone(&layer.rules),
            frozen,
            identity: layer.identity.shared().map(|id| (id, self.place.folders.len())).or(self.identity),
            declared: Rc::default(),
            ..self.clone()
        }
    }

    /// The context of a part with its own variables: `folders` are the names that its folder may have in a `.keras`
    /// file, and `name` that of the layer.
    #[must_use]
    pub(crate) fn child(&self, folders: &[&str], name: &str) -> Self {
        self.nested(&[folders], name)
    }

    /// The context of a part that lies several folders deeper.
    #[must_use]
    pub(crate) fn nested(&self, folders: &[&[&str]], name: &str) -> Self {
        let mut place = (*self.place).clone();
        place.folders.extend(folders.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()));
        place.layers.push(name.to_owned());
        Self { place: Rc::new(place), declared: Rc::default(), ..self.clone() }
    }

    /// The context of a model of another file, at its root. Training does not change it.
    #[must_use]
    pub(crate) fn apart<'b>(&self, shared: &'b Shared, dialect: Dialect) -> Context<'b>
    where
        'a: 'b,
    {
        Context { trainable: false, ..Context::new(self.g, dialect, shared) }
    }

    /// Counts a weight of a model of another file among those of this one, which does not have its value.
    pub(crate) fn adopt(&self, weight: &Weight) {
        let place = Place {
            folders: [self.place.folders.as_slice(), &weight.place.folders].concat(),
            layers: [self.place.layers.as_slice(), &weight.place.layers].concat(),
        };
        let adopted = Weight { place, is_saved: false, trainable: false, other_places: Vec::new(), ..weight.clone() };
        self.shared.weights.borrow_mut().push(adopted);
    }

    /// The same in another graph, such as the body of a loop.
    #[must_use]
    pub(crate) fn in_graph<'b>(&self, g: &'b Graph) -> Context<'b>
    where
        'a: 'b,
    {
        Context { g, ..self.clone() }
    }

    /// The next variable of the layer, in Keras's order, trainable and of the layer's dtype: its value, cast to the
    /// dtype in which the layer computes.
    pub(crate) fn weight(&self, name: &str, shape: &[u64]) -> Result<TensorRef> {
        let resource = self.declare(name, shape, self.policy.variable, true)?;
        self.g.cast(&self.g.read(resource)?, self.policy.compute)
    }

    /// The next variable of the layer, one that training does not change, as it is.
    pub(crate) fn state(&self, name: &str, shape: &[u64], dtype: DType) -> Result<TensorRef> {
        let resource = self.declare(name, shape, dtype, false)?;
        self.g.read(resource)
    }

    /// Tells that files have the variables of `part`, a part of this layer, in the folder of this layer, too.
    pub(crate) fn repeats_variables_of(&self, part: &Self) {
        for weight in self.shared.weights.borrow_mut().iter_mut().filter(|weight| weight.place == *part.place) {
            if !weight.other_places.contains(&self.place) {
                weight.other_places.push((*self.place).clone());
            }
        }
    }

    /// Counts a variable of another layer that a `.keras` file has among those of this layer, too.
    pub(crate) fn skip_variable(&self) {
        self.declared.set(self.declared.get() + 1);
    }

    /// Declares the next variable of the layer.
    pub(crate) fn declare(&self, name: &str, shape: &[u64], dtype: DType, trainable: bool) -> Result<Resource> {
        let index = self.declared.get();
        self.declared.set(index + 1);
        self.variable(format!("{}/{index}", self.own_path()), Some(index), name, shape, dtype, trainable)
    }

    /// A variable of the layer that no file has, because it is zero before the first call. The number is one among
    /// those.
    pub(crate) fn memory(&self, number: usize, name: &str, shape: &[u64]) -> Result<Resource> {
        let elements = shape.iter().fold(1_u64, |product, size| product.saturating_mul(*size));
        self.g.program.afford(elements.saturating_mul(8))?;
        self.variable(format!("{}/memory/{number}", self.own_path()), None, name, shape, self.policy.variable, false)
    }

    /// The variable at a path, declared if it is new. Files have those with an index.
    fn variable(
        &self,
        path: String,
        index: Option<usize>,
        name: &str,
        shape: &[u64],
        dtype: DType,
        trainable: bool,
    ) -> Result<Resource> {
        let shape = sizes(name, shape)?;
        if let Some(known) = self.shared.by_path.borrow().get(&path) {
            let weight = &mut self.shared.weights.borrow_mut()[*known];
            if (&weight.shape, weight.dtype) != (&shape, dtype) {
                refuse!("its calls need `{name}` of shapes {:?} and {shape:?}", weight.shape);
            }
            if weight.place != *self.place && !weight.other_places.contains(&self.place) {
                weight.other_places.push((*self.place).clone());
            }
            return Ok(weight.resource);
        }
        let is_trained = trainable;
        let trainable = trainable && self.trainable;
        let rules = self.rules.of_weight(name);
        let layers = self.shared.around.iter().chain(&self.place.layers).map(String::as_str);
        let wanted = ["weights"].into_iter().chain(layers).chain([name]);
        let full_name = self.free_name(&wanted.collect::<Vec<_>>().join("/"));
        let variable = Variable { name: full_name, dtype, shape: shape.clone(), trainable };
        let resource = self.g.program.add_variable(variable);
        let (place, name, is_saved) = ((*self.place).clone(), name.to_owned(), index.is_some());
        let index = index.unwrap_or_default();
        let (frozen, other_places) = (Rc::clone(&self.frozen), Vec::new());
        let weight = Weight {
            resource,
            place,
            index,
            name,
            dtype,
            shape,
            trainable,
            is_saved,
            is_trained,
            frozen,
            other_places,
            rules,
        };
        let mut weights = self.shared.weights.borrow_mut();
        self.shared.by_path.borrow_mut().insert(path, weights.len());
        weights.push(weight);
        Ok(resource)
    }

    /// The value of the next variable in the file, for layers whose graph depends on it. None if the file does not have
    /// it.
    pub(crate) fn early_value(&self, name: &str) -> Result<Option<Tensor>> {
        match &self.shared.file {
            Some(file) => Ok(weights::early_value(file, &self.place, self.declared.get(), name)?),
            None => Ok(None),
        }
    }

    /// The path and the text of the layer's vocabulary in a `.keras` file. The layer may have a folder of its own in
    /// that of another layer, and its vocabulary in either.
    pub(crate) fn vocabulary_file(&self) -> Option<(&str, &[u8])> {
        let is_here = |path: &str| {
            let folders: Option<Vec<&str>> = path
                .strip_prefix("assets/")
                .and_then(|path| path.strip_suffix("/vocabulary.txt"))
                .map(|path| path.split('/').collect());
            let mine = &self.place.folders;
            folders.is_some_and(|folders| {
                folders.len() == mine.len()
                    && folders.iter().zip(mine).all(|(folder, names)| names.iter().any(|name| name == folder))
            })
        };
        let found = self.shared.vocabularies.iter().find(|(path, _)| is_here(path));
        found.map(|(path, bytes)| (path.as_str(), &bytes[..]))
    }

    /// A table of the layer, made once.
    pub(crate) fn table(&self, make: impl FnOnce(String) -> Result<Table>) -> Result<Resource> {
        let path = self.own_path();
        if let Some(table) = self.shared.tables.borrow().get(&path) {
            return Ok(*table);
        }
        let layers: Vec<&str> = self.shared.around.iter().chain(&self.place.layers).map(String::as_str).collect();
        let table = make(format!("tables/{}", layers.join("/")))?;
        let table = self.g.program.add_table(table);
        self.shared.tables.borrow_mut().insert(path, table);
        Ok(table)
    }

    /// The folder of the layer in a `.keras` file, by the first of its possible names.
    pub(crate) fn path(&self) -> String {
        self.place.folders.iter().filter_map(|names| names.first()).cloned().collect::<Vec<_>>().join("/")
    }

    /// What tells the layer from others: its path, which a layer at several places of the model has only once.
    fn own_path(&self) -> String {
        let Some((id, around)) = self.identity else { return self.path() };
        let inside = self.place.folders.iter().skip(around).filter_map(|names| names.first());
        inside.fold(format!("shared {id}"), |path, name| format!("{path}/{name}"))
    }

    /// A name that no other weight has.
    pub(super) fn free_name(&self, wanted: &str) -> String {
        let mut names = self.shared.names.borrow_mut();
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !names.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }
}

/// A shape as sizes in memory.
fn sizes(name: &str, shape: &[u64]) -> Result<Vec<usize>> {
    let sizes: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    match sizes.filter(|sizes| tf_persist_savedmodel::element_count(sizes).is_ok()) {
        Some(sizes) => Ok(sizes),
        None => refuse!("`{name}` of shape {shape:?} is too large"),
    }
}
