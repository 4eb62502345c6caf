//! Finds the signature that trains, and checks that the one that evaluates does not train.

use tf_persist_savedmodel::saved_model::{MetaGraph, SavedModel, SignatureDef, TrainingKind};
use tf_persist_savedmodel::warmup::first_state_write;

use super::check_data::quoted_list;
use super::options::{EVALUATE_SIGNATURE, FINALIZE_SIGNATURE, TrainOptions};
use crate::error::{Error, Hint, Result, TrainError};

/// Finds the signature that trains.
pub(super) fn train_signature<'m>(
    saved_model: &SavedModel,
    meta_graph: &'m MetaGraph,
    options: &TrainOptions,
) -> Result<&'m SignatureDef> {
    let found = meta_graph.signature(&options.signature);
    let training = saved_model.training(meta_graph);
    if let Ok(signature) = found
        && (signature.name == options.evaluate || signature.name == EVALUATE_SIGNATURE)
        && !training.signatures.contains(&signature.name)
    {
        let reason = format!("signature `{}` evaluates and does not train", signature.name);
        return Err(not_trainable(saved_model, reason, use_another(&training.signatures)));
    }
    if found.is_ok() || training.kind() == TrainingKind::Signature {
        return Ok(found?);
    }
    let reason = match training.kind() {
        TrainingKind::StateOnly => format!(
            "it has no train signature; its optimizer's state ({} variables) is for Python alone",
            training.optimizer_variables
        ),
        _ => training.to_string(),
    };
    let hint = "export it from Keras with all its state, by `tf-persist-keras-export`; see docs/keras_exporter.md";
    Err(not_trainable(saved_model, reason, Some(hint.into())))
}

/// Checks that a signature trains: by its name, or by a write to a variable.
pub(super) fn check_trains(saved_model: &SavedModel, meta_graph: &MetaGraph, signature: &SignatureDef) -> Result<()> {
    let known = saved_model.training(meta_graph).signatures;
    if known.contains(&signature.name) || first_state_write(saved_model, meta_graph, signature).is_some() {
        return Ok(());
    }
    let reason = format!("signature `{}` writes no variable, so it does not train", signature.name);
    Err(not_trainable(saved_model, reason, use_another(&known)))
}

/// Checks that a signature measures, and does not train on the validation data.
///
/// Writes prove nothing: Keras keeps metrics in variables, and the `evaluate` of the exporter resets them. So names
/// decide, as in `Training` of tf-persist-savedmodel.
pub(super) fn check_evaluates(
    saved_model: &SavedModel,
    meta_graph: &MetaGraph,
    signature: &SignatureDef,
    train: &str,
) -> Result<()> {
    let name = &signature.name;
    let refuse = |reason: String, hint: Hint| Err(not_trainable(saved_model, reason, Some(hint)));
    let other = Hint::new("name a signature that only measures").set("evaluate_signature");
    if name == train {
        return refuse(format!("signature `{name}` trains: it would train on the validation data, too"), other);
    }
    if saved_model.training(meta_graph).signatures.contains(name) {
        let reason = format!("signature `{name}` trains, by its name: it would train on the validation data, too");
        return refuse(reason, other);
    }
    if !signature.outputs.iter().any(|(_, info)| info.is_one_float()) {
        let outputs = quoted_list(signature.outputs.iter().map(|(name, _)| name.as_str()));
        let reason = format!(
            "signature `{name}` has no output that is a single float, so it measures nothing; its outputs are {outputs}"
        );
        return refuse(reason, other);
    }
    Ok(())
}

/// Whether the model has a signature that ends a training. One of this name that takes data, or writes nothing, is
/// something else.
pub(super) fn finalizes(saved_model: &SavedModel, meta_graph: &MetaGraph) -> bool {
    meta_graph.signature(FINALIZE_SIGNATURE).is_ok_and(|signature| {
        signature.inputs.is_empty() && first_state_write(saved_model, meta_graph, signature).is_some()
    })
}

fn use_another(signatures: &[String]) -> Option<Hint> {
    let names = quoted_list(signatures.iter().map(String::as_str));
    (!signatures.is_empty()).then(|| Hint::new(format!("train by {names}")).set("signature"))
}

fn not_trainable(saved_model: &SavedModel, reason: String, hint: Option<Hint>) -> Error {
    Error::Train(TrainError::NotTrainable { path: saved_model.path().to_path_buf(), reason, hint })
}
