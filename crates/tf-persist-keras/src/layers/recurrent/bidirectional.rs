//! `Bidirectional`.

use serde_json::{Map, Value};

use super::is_recurrent;
use super::layer::sequence;
use crate::config::Config;
use crate::graph::TensorRef;
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, NamedLayer};
use crate::parse::{Parser, class_and_config};
use crate::reason::{Reason, Result, refuse, shown_name};

/// Two recurrent layers, of which one runs backwards.
#[derive(Debug)]
pub(super) struct Bidirectional {
    forward: NamedLayer,
    backward: NamedLayer,
    merge: Merge,
    return_sequences: bool,
    return_state: bool,
    time_axis: i64,
}

/// How the outputs of both directions become one.
#[derive(Debug, Clone, Copy)]
enum Merge {
    Concat,
    Sum,
    Mean,
    Product,
    Separate,
}

impl Bidirectional {
    pub(super) fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        config.only("num_constants", &[Value::from(0)])?;
        let merge = match (config.has("merge_mode"), config.get("merge_mode").map(Value::as_str)) {
            (false, _) | (true, Some(Some("concat"))) => Merge::Concat,
            (true, None) => Merge::Separate,
            (true, Some(Some("sum"))) => Merge::Sum,
            (true, Some(Some("ave"))) => Merge::Mean,
            (true, Some(Some("mul"))) => Merge::Product,
            _ => refuse!("`merge_mode` should be `concat`, `sum`, `ave`, `mul` or null"),
        };
        let layer = config.required("layer")?;
        let (class, inner) = class_and_config(layer)?;
        let flag = |config: &Map<String, Value>, key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
        let return_sequences = flag(inner, "return_sequences");
        let time_major = flag(inner, "time_major");
        let runs_backwards = flag(inner, "go_backwards");
        let forward = direction(layer, "forward_", config.is_keras2(), runs_backwards)?;
        let backward = match config.get("backward_layer") {
            Some(backward) => {
                let (_, inner) = class_and_config(backward)?;
                direction(backward, "backward_", config.is_keras2(), flag(inner, "go_backwards"))?
            }
            None => direction(layer, "backward_", config.is_keras2(), !runs_backwards)?,
        };
        let (class_back, inner_back) = class_and_config(&backward)?;
        for class in [class, class_back] {
            if !is_recurrent(class) {
                let class = shown_name(class);
                refuse!("it wraps a `{class}`, which is not a recurrent layer of Keras");
            }
        }
        if flag(inner_back, "go_backwards") == runs_backwards {
            refuse!("both of its layers have the same `go_backwards`");
        }
        for key in ["return_sequences", "return_state", "stateful", "time_major"] {
            if flag(inner, key) != flag(inner_back, key) {
                refuse!("its layers have different `{key}`");
            }
        }
        let return_state = flag(inner, "return_state");
        let (forward, backward) = match (parser.layer(&forward), parser.layer(&backward)) {
            (Ok(forward), Ok(backward)) => (forward, backward),
            (Err(reason), _) | (_, Err(reason)) => return Err(reason),
        };
        let time_axis = i64::from(!time_major);
        Ok(Self { forward, backward, merge, return_sequences, return_state, time_axis })
    }

    /// The outputs of both directions in one, or side by side.
    fn merged(&self, cx: &Context<'_>, y: TensorRef, reverse: TensorRef) -> Result<Vec<TensorRef>> {
        let g = cx.g;
        Ok(match self.merge {
            Merge::Concat => vec![g.concat(&[&y, &reverse], -1)?],
            Merge::Sum => vec![g.add_v2(&y, &reverse)?],
            Merge::Mean => vec![g.with_scalar(&g.add_v2(&y, &reverse)?, 2.0, |g, sum, two| g.real_div(sum, two))?],
            Merge::Product => vec![g.mul(&y, &reverse)?],
            Merge::Separate => vec![y, reverse],
        })
    }
}

/// A layer's entry as that of one direction. Keras names it, and makes masked outputs zero if all are returned.
fn direction(entry: &Value, prefix: &str, is_keras2: bool, go_backwards: bool) -> Result<Value> {
    let mut entry = entry.clone();
    // Both directions are made from one entry, and are not the same layer.
    if let Some(entry) = entry.as_object_mut() {
        entry.remove("shared_object_id");
    }
    let Some(config) = entry.get_mut("config").and_then(Value::as_object_mut) else {
        refuse!("its layer has no config")
    };
    let name = config.get("name").and_then(Value::as_str).unwrap_or_default();
    let name = if is_keras2 { name } else { name.strip_prefix(prefix).unwrap_or(name) };
    let name = format!("{prefix}{name}");
    config.insert("name".into(), name.into());
    config.insert("go_backwards".into(), go_backwards.into());
    let zero = config.get("return_sequences").and_then(Value::as_bool).unwrap_or(false);
    config.insert("zero_output_for_mask".into(), zero.into());
    Ok(entry)
}

/// The output and the states that a direction returns.
fn results(result: Argument) -> Result<(Masked, Vec<Argument>)> {
    match result {
        Argument::List(items) => match items.as_slice() {
            [output, states @ ..] => Ok((output.tensor()?.clone(), states.to_vec())),
            [] => Err(Reason::from("one of its layers returns nothing")),
        },
        output => Ok((output.tensor()?.clone(), Vec::new())),
    }
}

impl Layer for Bidirectional {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let (mut x, given) = sequence(arguments)?;
        if let Some(mask) = arguments.take(2, "mask") {
            x.mask = Some(mask.tensor()?.tensor.clone());
        }
        let mask = x.mask.clone();
        let (forward_states, backward_states) = match given {
            Some(states) => {
                let (forward, backward) = states.split_at(states.len() / 2);
                (Some(forward.to_vec()), Some(backward.to_vec()))
            }
            None => (None, None),
        };
        let run = |layer: &NamedLayer, folder: &str, states: Option<Vec<TensorRef>>| {
            let states = states.map(|states| Argument::List(states.into_iter().map(Argument::from).collect()));
            let keyword = states.into_iter().map(|states| ("initial_state".to_owned(), states)).collect();
            let arguments = Arguments::new(vec![x.clone().into()], keyword);
            let cx = cx.child(&[folder], &layer.name);
            results(cx.g.scoped(&layer.name, || layer.call(&cx, arguments))?)
        };
        let (y, mut states) = run(&self.forward, "forward_layer", forward_states)?;
        let (reverse, more) = run(&self.backward, "backward_layer", backward_states)?;
        states.extend(more);
        let g = cx.g;
        let y = g.cast(&y, cx.policy.compute)?;
        let mut reverse = g.cast(&reverse, cx.policy.compute)?;
        if self.return_sequences {
            reverse = g.reverse(&reverse, &[self.time_axis])?;
        }
        let mask = mask.filter(|_| self.return_sequences);
        let outputs = self.merged(cx, y, reverse)?.into_iter();
        let mut outputs: Vec<Argument> =
            outputs.map(|tensor| Argument::Tensor(Masked { tensor, mask: mask.clone() })).collect();
        if self.return_state {
            outputs.extend(states);
        }
        Ok(if outputs.len() == 1 { outputs.remove(0) } else { Argument::List(outputs) })
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn ignores_training(&self) -> bool {
        self.forward.layer.ignores_training() && self.backward.layer.ignores_training()
    }
}
