//! Which variables of an optimizer files have, and in which order.

use serde_json::Value;

use super::optimizers::OptimizerVariable;
use crate::archive::hdf5::Dataset;
use crate::config::Dialect;
use crate::source::{Source, WeightLayout};

/// The indices of an optimizer's variables in the order in which a file has them. Datasets behind them have none: `SGD`
/// of Keras 2 has momentums that it does not use.
pub(super) type Layout = Vec<usize>;

/// The layout of a file that is written: of all variables that the Keras that reads it has.
pub(crate) fn layout(source: &Source, variables: &[OptimizerVariable]) -> Layout {
    layouts(source, variables).swap_remove(0)
}

/// The layout of the datasets in a file. None if they are of another optimizer.
pub(crate) fn layout_of(source: &Source, variables: &[OptimizerVariable], datasets: &[Dataset]) -> Option<Layout> {
    let is_keras2 = source.dialect == Dialect::Keras2;
    let fits = |layout: &Layout| {
        let has_unused = is_keras2 && layout.len() == 1 && datasets.len() > 1;
        (layout.len() == datasets.len() || has_unused)
            && layout.iter().zip(datasets).all(|(index, dataset)| variables[*index].shape == dataset.shape())
    };
    layouts(source, variables).into_iter().find(fits)
}

/// The layouts that a file may have, with all variables first.
fn layouts(source: &Source, variables: &[OptimizerVariable]) -> Vec<Layout> {
    let all: Layout = (0..variables.len()).collect();
    let before_first_step = all.iter().copied().filter(|index| !variables[*index].is_slot).collect();
    if source.dialect == Dialect::Keras3 {
        return vec![all, before_first_step];
    }
    // Keras 2 keeps neither the learning rate nor what `Nadam` counts.
    let is_saved =
        |index: &usize| !matches!(variables[*index].name.as_str(), "optimizer/learning_rate" | "optimizer/variable");
    let saved: Layout = all.iter().copied().filter(is_saved).collect();
    let without_slots = saved
        .iter()
        .copied()
        .filter(|index| !variables[*index].is_slot && variables[*index].name.ends_with("/iteration"));
    let without_slots = without_slots.collect();
    let saved = match (is_legacy(source), &source.weights) {
        (false, _) => saved,
        (true, WeightLayout::Layers(_)) => by_slot(&saved, variables),
        // It does not write the state of such an optimizer to a `.keras` file, and does not read it.
        (true, _) => Layout::new(),
    };
    vec![saved, all, before_first_step, without_slots]
}

/// Whether the optimizer is one of before TensorFlow 2.11, or of `optimizers.legacy`.
fn is_legacy(source: &Source) -> bool {
    let config = source.compile_config.as_ref();
    let optimizer = config.and_then(|config| config.get("optimizer").or_else(|| config.get("optimizer_config")));
    let config = optimizer.and_then(|optimizer| optimizer.get("config"));
    let has = |key: &str| config.is_some_and(|config| config.get(key).is_some());
    let says = |key: &str| config.and_then(|config| config.get(key)).and_then(Value::as_bool).unwrap_or(false);
    has("decay") || says("is_legacy_optimizer")
}

/// The slots of one kind of all weights next to each other, instead of those of one weight.
fn by_slot(layout: &Layout, variables: &[OptimizerVariable]) -> Layout {
    let kind = |index: usize| variables[index].name.rsplit(['_', '/']).next().unwrap_or_default();
    let mut kinds: Vec<&str> = Vec::new();
    for index in layout {
        if !kinds.contains(&kind(*index)) {
            kinds.push(kind(*index));
        }
    }
    let of_kind = |wanted: &&str| layout.iter().copied().filter(|index| kind(*index) == *wanted).collect::<Vec<_>>();
    kinds.iter().flat_map(of_kind).collect()
}
