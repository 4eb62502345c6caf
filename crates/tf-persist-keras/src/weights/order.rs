//! The order in which `.h5` files have the weights of a layer: those that are trained before the others, by rules that
//! differ between the versions of Keras where layers are frozen.

use std::collections::{HashMap, HashSet};

use crate::config::Dialect;
use crate::layers::{NamedLayer, Place, Weight};

/// The weights of one layer of a model, which has a group in an `.h5` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerWeights {
    pub(crate) layer: String,
    /// The indices of the weights, in the order of the file.
    pub(crate) weights: Vec<usize>,
}

/// The weights of each layer of a model, in the model's order.
pub(crate) fn by_layer(model: &NamedLayer, dialect: Dialect, weights: &[Weight]) -> Vec<LayerWeights> {
    let mut root = Node::of(model);
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| weight.is_saved) {
        for place in std::iter::once(&weight.place).chain(&weight.other_places) {
            root.insert(place, index, weight);
        }
    }
    let layer = |node: &Node| {
        let mut all = match dialect {
            Dialect::Keras2 => node.weights(weights),
            Dialect::Keras3 => node.variables(weights),
        };
        if dialect == Dialect::Keras3 {
            // Stable: within both halves the order stays.
            all.sort_by_key(|index| !weights[*index].trainable);
        }
        let mut seen = HashSet::new();
        all.retain(|index| seen.insert(*index));
        LayerWeights { layer: node.name.clone(), weights: all }
    };
    root.children.iter().map(layer).collect()
}

/// A layer and the layers in it.
#[derive(Default)]
struct Node {
    name: String,
    is_model: bool,
    is_frozen: bool,
    own: Vec<usize>,
    /// In the order of a model's layers, else in that of their first calls.
    children: Vec<Self>,
    by_name: HashMap<String, usize>,
}

impl Node {
    fn of(layer: &NamedLayer) -> Self {
        let mut node = Self { name: layer.name.clone(), is_frozen: !layer.trainable, ..Self::default() };
        if let Some(model) = layer.layer.as_model() {
            node.is_model = true;
            for inner in model.layers() {
                node.add(Self::of(inner));
            }
        }
        node
    }

    fn add(&mut self, child: Self) -> usize {
        let index = self.children.len();
        self.by_name.entry(child.name.clone()).or_insert(index);
        self.children.push(child);
        index
    }

    fn insert(&mut self, place: &Place, index: usize, weight: &Weight) {
        let mut node = self;
        for (depth, name) in place.layers.iter().enumerate() {
            let child = match node.by_name.get(name) {
                Some(child) => *child,
                None => node.add(Self { name: name.clone(), ..Self::default() }),
            };
            node = &mut node.children[child];
            node.is_frozen |= *place == weight.place && weight.frozen.contains(&(depth + 1));
        }
        node.own.push(index);
    }

    /// Its own weights that are trained, and its others.
    fn own(&self, weights: &[Weight]) -> (Vec<usize>, Vec<usize>) {
        let mut own = self.own.clone();
        own.sort_by_key(|index| weights[*index].index);
        own.into_iter().partition(|index| weights[*index].is_trained)
    }

    /// All weights, as `layer.variables` of Keras 3 lists them.
    fn variables(&self, weights: &[Weight]) -> Vec<usize> {
        let (mut all, others) = self.own(weights);
        all.extend(others);
        all.extend(self.children.iter().flat_map(|child| child.variables(weights)));
        all
    }

    /// All weights, as `layer.weights` of Keras 2 lists them.
    fn weights(&self, weights: &[Weight]) -> Vec<usize> {
        let (mut all, others) = self.split(weights);
        all.extend(others);
        all
    }

    /// `layer.trainable_weights` and `layer.non_trainable_weights` of Keras 2.
    fn split(&self, weights: &[Weight]) -> (Vec<usize>, Vec<usize>) {
        let (mut trained, mut others) = self.own(weights);
        if self.is_frozen && !self.is_model {
            trained.append(&mut others);
            trained.extend(self.children.iter().flat_map(|child| child.weights(weights)));
            return (Vec::new(), trained);
        }
        for child in &self.children {
            let (of_child, others_of_child) = child.split(weights);
            trained.extend(of_child);
            others.extend(others_of_child);
        }
        if self.is_frozen {
            // A model tells apart what its layers tell apart, also if it is frozen as a whole.
            trained.append(&mut others);
            return (Vec::new(), trained);
        }
        (trained, others)
    }
}
