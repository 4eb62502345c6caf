//! Chooses how many threads share the work of one op, if the settings do not.
//!
//! Dividing an op among cores takes some tens of microseconds. For a large matrix product that is negligible, and a
//! single client is answered sooner. For small ops it is a large part of the run, and the cores are taken from other
//! requests.

use std::sync::OnceLock;

use tf_persist_core::saved_model::TensorKind;
use tf_persist_core::{SavedModel, SignatureDef, TensorInfo};

/// Weights of at least this size, in bytes, have ops that are worth dividing: reading and multiplying two million
/// floats per row takes about a millisecond.
const LARGE_WEIGHT: u64 = 8 << 20;

/// The same for an input, in elements per row: ops on every pixel of a large image take long, however small the weights
/// are.
const LARGE_ROW: usize = 512 << 10;

/// The number of threads within an op. The first session of a process decides it for all later ones.
#[derive(Default)]
pub(super) struct IntraOpThreads(OnceLock<i32>);

impl IntraOpThreads {
    /// The number for a version that is about to be loaded: 1, or 0 for one per core. And whether another number would
    /// be better for it, which an earlier version has decided against.
    pub(super) fn decide(&self, saved_model: &SavedModel) -> (i32, bool) {
        let wanted = if has_large_ops(saved_model) { 0 } else { 1 };
        let decided = *self.0.get_or_init(|| wanted);
        (decided, decided != wanted)
    }
}

/// Whether the model may have ops that are worth dividing, judged by its weights and inputs. Unknown counts as yes.
fn has_large_ops(saved_model: &SavedModel) -> bool {
    // Weights of a frozen model are constants.
    if saved_model.largest_node() as u64 >= LARGE_WEIGHT {
        return true;
    }
    let Ok(variables) = saved_model.variables() else { return true };
    let has_large_weight = variables.all.iter().any(|variable| variable.entry.bytes() >= LARGE_WEIGHT);
    let mut signatures = saved_model.meta_graphs().iter().flat_map(|meta_graph| meta_graph.signatures());
    has_large_weight || signatures.any(has_large_input)
}

fn has_large_input(signature: &SignatureDef) -> bool {
    signature.inputs.iter().any(|(_, info)| row_elements(info).is_none_or(|elements| elements >= LARGE_ROW))
}

/// The elements per row of an input; `None` if unknown.
fn row_elements(info: &TensorInfo) -> Option<usize> {
    let (TensorKind::Dense { .. }, Some(sizes)) = (&info.kind, info.shape.sizes()) else { return None };
    let inner = sizes.get(1..).unwrap_or_default();
    inner.iter().try_fold(1_usize, |product, size| product.checked_mul(usize::try_from((*size)?).ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tf_persist_core::DType;
    use tf_persist_core::checkpoint::CheckpointWriter;

    use super::*;

    fn model(name: &str) -> SavedModel {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        SavedModel::open(models.join(name).join("model")).unwrap()
    }

    #[test]
    fn small_ops_are_not_divided() {
        for name in ["half_plus_two", "digits"] {
            assert!(!has_large_ops(&model(name)), "{name}");
        }
    }

    /// A model with an input of this shape and a variable of this many floats.
    fn made(folder: &Path, shape: &str, floats: usize) -> SavedModel {
        let text = format!(
            "saved_model_schema_version: 1 meta_graphs {{ meta_info_def {{ tags: 'serve' }} graph_def {{}}
             signature_def {{ key: 'serving_default' value {{
                 inputs {{ key: 'x' value {{ name: 'x:0' dtype: DT_FLOAT tensor_shape {{ {shape} }} }} }}
                 outputs {{ key: 'y' value {{ name: 'x:0' dtype: DT_FLOAT }} }} }} }} }}"
        );
        fs::write(folder.join("saved_model.pbtxt"), text).unwrap();
        let mut writer = CheckpointWriter::create(folder.join("variables/variables")).unwrap();
        writer.add_bytes("w", DType::Float32, &[floats], &vec![0; floats * 4]).unwrap();
        writer.finish().unwrap();
        SavedModel::open(folder).unwrap()
    }

    #[test]
    fn large_and_unknown_ops_are_divided() {
        const IMAGE: &str = "dim { size: -1 } dim { size: 224 } dim { size: 224 } dim { size: 3 }";
        for (shape, floats, divided) in [
            (IMAGE, 1280 * 1000, false),
            (IMAGE, 2 << 20, true),
            ("dim { size: -1 } dim { size: 1024 } dim { size: 1024 } dim { size: 3 }", 100, true),
            ("dim { size: -1 } dim { size: -1 }", 100, true),
            ("unknown_rank: true", 100, true),
            ("", 100, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(has_large_ops(&made(folder.path(), shape, floats)), divided, "{shape}, {floats}");
        }
    }

    #[test]
    fn first_version_decides() {
        let threads = IntraOpThreads::default();
        assert_eq!(threads.decide(&model("half_plus_two")), (1, false));
        assert_eq!(threads.decide(&model("digits")), (1, false));
        let decided = IntraOpThreads(OnceLock::from(0));
        assert_eq!(decided.decide(&model("digits")), (0, true));
    }
}
