//! Tells by their names which dataset of a layer's group in an `.h5` file is which weight.

use std::collections::{HashMap, HashSet};

use crate::layers::Weight;

/// The most datasets with a common part of their names among which other parts decide.
const MOST_ALIKE: usize = 64;

/// A dataset of the group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    /// Such as `dense/kernel:0`.
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
}

impl<'a> Named<'a> {
    /// The scopes of the name, and the name without its number: `dense` and `kernel`.
    fn split(&self) -> (&'a str, &'a str) {
        let (owner, last) = self.name.rsplit_once('/').unwrap_or(("", self.name));
        (owner, last.split(':').next().unwrap_or(last))
    }

    fn is_named(&self, weight: &Weight) -> bool {
        self.split().1 == weight.name
    }
}

/// The index of the dataset of each weight; `None` if a weight has none. `weights` are in the order of the file.
///
/// The order decides where names do not tell: names of scopes are those of the program that saved the file, which may
/// have numbers of their own.
pub(super) fn assign(weights: &[&Weight], datasets: &[Named<'_>]) -> Vec<Option<usize>> {
    if weights.len() != datasets.len() {
        let named = by_last_name(weights, datasets);
        return by_owner(weights, datasets).map_or(named, |found| found.into_iter().map(Some).collect());
    }
    let fits = |found: &[usize]| {
        found.iter().zip(weights).all(|(dataset, weight)| datasets[*dataset].shape == weight.shape.as_slice())
    };
    let in_order: Vec<usize> = (0..datasets.len()).collect();
    let has_names = datasets.iter().zip(weights).all(|(dataset, weight)| dataset.is_named(weight));
    let named: Option<Vec<usize>> = by_last_name(weights, datasets).into_iter().collect();
    let ways =
        [by_owner(weights, datasets), has_names.then(|| in_order.clone()), named.clone(), Some(in_order.clone())];
    let whole = ways.into_iter().flatten().find(|found| fits(found));
    // If none fits, the caller reports shapes, of the weights with the same names where possible.
    whole.or(named).unwrap_or(in_order).into_iter().map(Some).collect()
}

/// Each weight takes the first free dataset with its name.
fn by_last_name(weights: &[&Weight], datasets: &[Named<'_>]) -> Vec<Option<usize>> {
    let mut free: HashMap<&str, std::collections::VecDeque<usize>> = HashMap::new();
    for (index, dataset) in datasets.iter().enumerate() {
        free.entry(dataset.split().1).or_default().push_back(index);
    }
    weights.iter().map(|weight| free.get_mut(weight.name.as_str())?.pop_front()).collect()
}

/// Layers are told by the scopes in the names, and weights of a layer by their names. `None` if that leaves a doubt.
fn by_owner(weights: &[&Weight], datasets: &[Named<'_>]) -> Option<Vec<usize>> {
    let scopes = Scopes::of(datasets);
    let mut owners: HashMap<&[String], usize> = HashMap::new();
    let mut taken = HashSet::new();
    for weight in weights {
        let layers = weight.place.layers.as_slice();
        if !owners.contains_key(layers) {
            let scope = scopes.of_layers(layers)?;
            if !taken.insert(scope) {
                return None;
            }
            owners.insert(layers, scope);
        }
    }
    let found = weights.iter().map(|weight| {
        let scope = *owners.get(weight.place.layers.as_slice())?;
        scopes.datasets.get(&(scope, weight.name.as_str())).copied()
    });
    found.collect()
}

/// The scopes in the names of a group's datasets.
struct Scopes<'a> {
    all: Vec<&'a str>,
    /// The scopes that have a part, by the part.
    by_part: HashMap<&'a str, Vec<usize>>,
    /// The datasets by scope and name.
    datasets: HashMap<(usize, &'a str), usize>,
}

impl<'a> Scopes<'a> {
    fn of(named: &[Named<'a>]) -> Self {
        let (mut all, mut numbers, mut by_part) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut datasets = HashMap::new();
        for (index, dataset) in named.iter().enumerate() {
            let (owner, name) = dataset.split();
            let number = *numbers.entry(owner).or_insert_with(|| {
                all.push(owner);
                for part in owner.split('/') {
                    let scopes: &mut Vec<usize> = by_part.entry(part).or_default();
                    if scopes.last() != Some(&(all.len() - 1)) {
                        scopes.push(all.len() - 1);
                    }
                }
                all.len() - 1
            });
            datasets.insert((number, name), index);
        }
        Self { all, by_part, datasets }
    }

    /// The only scope that the names of a layer and of those around it lead to. The innermost name comes first; a name
    /// that no scope has, such as that of a cell, tells nothing.
    fn of_layers(&self, layers: &[String]) -> Option<usize> {
        if self.all.len() == 1 {
            return Some(0);
        }
        let mut left: Option<Vec<usize>> = None;
        for layer in layers.iter().rev() {
            let Some(with) = self.by_part.get(layer.as_str()) else { continue };
            let narrowed = match &left {
                None if with.len() > MOST_ALIKE => continue,
                None => with.clone(),
                Some(left) => left.iter().copied().filter(|scope| with.binary_search(scope).is_ok()).collect(),
            };
            if !narrowed.is_empty() {
                left = Some(narrowed);
            }
            if left.as_ref().is_some_and(|left| left.len() == 1) {
                break;
            }
        }
        left.filter(|left| left.len() == 1).map(|left| left[0])
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::graph::Resource;
    use crate::layers::Place;
    use tf_persist_savedmodel::DType;

    fn weight(path: &str, shape: &[usize]) -> Weight {
        let (layers, name) = path.rsplit_once('/').unwrap();
        let layers = layers.split('/').map(str::to_owned).collect();
        Weight {
            resource: Resource::Variable(0),
            place: Place { folders: Vec::new(), layers },
            index: 0,
            name: name.to_owned(),
            dtype: DType::Float32,
            shape: shape.to_vec(),
            trainable: true,
            is_saved: true,
            is_trained: true,
            frozen: Rc::default(),
            other_places: Vec::new(),
            rules: Default::default(),
        }
    }

    fn assigned(weights: &[(&str, &[usize])], datasets: &[(&str, &[usize])]) -> Vec<Option<usize>> {
        let weights: Vec<Weight> = weights.iter().map(|(path, shape)| weight(path, shape)).collect();
        let datasets: Vec<Named<'_>> = datasets.iter().map(|(name, shape)| Named { name, shape }).collect();
        assign(&weights.iter().collect::<Vec<_>>(), &datasets)
    }

    const S: &[usize] = &[2];

    #[test]
    fn scopes_tell_layers_of_a_nested_model() {
        let weights = [("m/a/kernel", S), ("m/a/bias", S), ("m/b/kernel", S), ("m/b/bias", S)];
        let datasets = [("b/kernel:0", S), ("b/bias:0", S), ("a/kernel:0", S), ("a/bias:0", S)];
        assert_eq!(assigned(&weights, &datasets), [Some(2), Some(3), Some(0), Some(1)]);
    }

    #[test]
    fn the_order_decides_where_scopes_have_other_numbers() {
        let weights = [("m/dense/kernel", S), ("m/dense_1/kernel", S)];
        let datasets = [("dense_1/kernel:0", S), ("dense_1_1/kernel:0", S)];
        assert_eq!(assigned(&weights, &datasets), [Some(0), Some(1)]);
    }

    #[test]
    fn names_of_cells_tell_nothing() {
        let weights = [
            ("bi/forward_lstm/lstm_cell/kernel", S),
            ("bi/forward_lstm/lstm_cell/bias", S),
            ("bi/backward_lstm/lstm_cell/kernel", S),
            ("bi/backward_lstm/lstm_cell/bias", S),
        ];
        let datasets = [
            ("bi/backward_lstm/lstm_cell_5/kernel:0", S),
            ("bi/backward_lstm/lstm_cell_5/bias:0", S),
            ("bi/forward_lstm/lstm_cell_4/kernel:0", S),
            ("bi/forward_lstm/lstm_cell_4/bias:0", S),
        ];
        assert_eq!(assigned(&weights, &datasets), [Some(2), Some(3), Some(0), Some(1)]);
    }

    #[test]
    fn parts_with_the_same_names_are_told_by_their_owners() {
        let weights = [("mha/query/kernel", S), ("mha/key/kernel", S), ("mha/attention_output/kernel", S)];
        let datasets = [("mha/attention_output/kernel:0", S), ("mha/key/kernel:0", S), ("mha/query/kernel:0", S)];
        assert_eq!(assigned(&weights, &datasets), [Some(2), Some(1), Some(0)]);
    }

    #[test]
    fn frozen_weights_that_moved_are_found_by_name() {
        let weights = [("bn/gamma", S), ("bn/beta", S), ("bn/moving_mean", S), ("bn/moving_variance", S)];
        let datasets = [("x/y/moving_mean:0", S), ("x/y/moving_variance:0", S), ("x/y/gamma:0", S), ("x/y/beta:0", S)];
        assert_eq!(assigned(&weights, &datasets), [Some(2), Some(3), Some(0), Some(1)]);
    }

    #[test]
    fn shapes_decide_between_a_name_and_the_order() {
        let weights = [("m/a/kernel", S), ("m/b/kernel", &[3][..])];
        let datasets = [("b/kernel", S), ("a/kernel", &[3][..])];
        assert_eq!(assigned(&weights, &datasets), [Some(0), Some(1)]);
        let datasets = [("dense_W:0", S), ("dense_b:0", &[3][..])];
        assert_eq!(assigned(&weights, &datasets), [Some(0), Some(1)]);
    }

    #[test]
    fn a_weight_too_few_is_told_by_name() {
        let weights = [("d/kernel", S), ("d/bias", S)];
        assert_eq!(assigned(&weights, &[("d/bias:0", S)]), [None, Some(0)]);
    }
}
