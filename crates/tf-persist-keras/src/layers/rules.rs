//! How training treats the weights and results of a layer.

use serde_json::{Map, Value, json};

/// Regularizers and constraints in the config of a layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// By the name of the weights, such as `kernel`.
    regularizers: Vec<(String, Value)>,
    constraints: Vec<(String, Value)>,
    /// The regularizer of the results.
    pub(crate) activity: Option<Value>,
}

/// The regularizer and the constraint of one weight.
#[derive(Debug, Clone, Default)]
pub(crate) struct WeightRules {
    pub(crate) regularizer: Option<Value>,
    pub(crate) constraint: Option<Value>,
}

impl Rules {
    pub(crate) fn of(class: &str, config: &Map<String, Value>) -> Self {
        let mut rules = Self::default();
        for (key, value) in config.iter().filter(|(_, value)| !value.is_null()) {
            if key == "activity_regularizer" {
                rules.activity = Some(value.clone());
            } else if let Some(weight) = key.strip_suffix("_regularizer") {
                rules.regularizers.push((weight.to_owned(), value.clone()));
            } else if let Some(weight) = key.strip_suffix("_constraint") {
                rules.constraints.push((weight.to_owned(), value.clone()));
            }
        }
        if class == "ActivityRegularization" {
            let factor = |key: &str| config.get(key).cloned().unwrap_or_else(|| json!(0.0));
            let config = json!({"l1": factor("l1"), "l2": factor("l2")});
            rules.activity = Some(json!({"class_name": "L1L2", "config": config}));
        }
        rules
    }

    /// The rules of a weight with this name.
    pub(crate) fn of_weight(&self, name: &str) -> WeightRules {
        let find = |rules: &[(String, Value)]| {
            rules.iter().find(|(weight, _)| names(weight, name)).map(|(_, value)| value.clone())
        };
        WeightRules { regularizer: find(&self.regularizers), constraint: find(&self.constraints) }
    }
}

/// Whether rules for `prefix` are those of a weight: `recurrent` of `recurrent_kernel`, `depthwise` of the kernel of a
/// depthwise convolution.
fn names(prefix: &str, weight: &str) -> bool {
    prefix == weight
        || weight.strip_suffix("_kernel") == Some(prefix)
        || (prefix == "depthwise" && weight == "kernel")
        || (prefix == "embeddings" && weight == "reverse_embeddings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_rules_of_weights() {
        let config = json!({"kernel_regularizer": "l2", "recurrent_constraint": "non_neg", "bias_regularizer": null});
        let rules = Rules::of("LSTM", config.as_object().unwrap());
        assert_eq!(rules.of_weight("kernel").regularizer, Some(json!("l2")));
        assert_eq!(rules.of_weight("recurrent_kernel").constraint, Some(json!("non_neg")));
        assert_eq!(rules.of_weight("recurrent_kernel").regularizer, None);
        assert_eq!(rules.of_weight("bias").regularizer, None);
    }

    #[test]
    fn a_layer_of_activity_regularization_regularizes() {
        let rules = Rules::of("ActivityRegularization", json!({"l1": 0.5}).as_object().unwrap());
        assert_eq!(rules.activity, Some(json!({"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.0}})));
    }
}
