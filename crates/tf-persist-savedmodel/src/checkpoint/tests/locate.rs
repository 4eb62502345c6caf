use std::fs;
use std::path::Path;

use crate::Tensor;
use crate::checkpoint::*;
use crate::error::Error;

fn write(prefix: &Path) {
    let mut writer = CheckpointWriter::create(prefix).unwrap();
    writer.add("w", &Tensor::scalar(1_i32).unwrap()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_checkpoint_has_many_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let prefix = root.join("step.v2-7");
    write(&prefix);
    for name in ["step.v2-7", "step.v2-7.index", "step.v2-7.data-00000-of-00001"] {
        assert_eq!(find_checkpoint(root.join(name)).unwrap(), prefix, "{name}");
    }
    // The latest, by the file that Python's CheckpointManager writes; relative, and absolute.
    let state = |latest: &str| {
        let text = format!(
            "model_checkpoint_path: \"{latest}\"\nall_model_checkpoint_paths: \"old\"\nlast_preserved_timestamp: 1.5\n"
        );
        fs::write(root.join("checkpoint"), text).unwrap();
        find_checkpoint(root)
    };
    assert_eq!(state("step.v2-7").unwrap(), prefix);
    assert_eq!(state(&prefix.display().to_string()).unwrap(), prefix);
    let error = state("step-8").unwrap_err().to_string();
    assert!(error.contains("says, is `step-8`, and there is no"), "{error}");
    assert!(state("").unwrap_err().to_string().contains("names no checkpoint"));
    fs::write(root.join("checkpoint"), "model_checkpoint_path: ").unwrap();
    assert!(matches!(find_checkpoint(root), Err(Error::Damaged { .. })));
    fs::write(root.join("checkpoint"), vec![b' '; 2 << 20]).unwrap();
    assert!(matches!(find_checkpoint(root), Err(Error::Unsupported { .. })));
    // A folder of the same name as a prefix beside it.
    fs::create_dir(&prefix).unwrap();
    assert_eq!(find_checkpoint(&prefix).unwrap(), prefix);
    // A SavedModel.
    let variables = root.join("model/variables/variables");
    write(&variables);
    assert_eq!(find_checkpoint(root.join("model")).unwrap(), variables);
}

/// A folder that was moved, or whose files were removed.
#[test]
fn the_checkpoint_of_that_name_beside_is_taken_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("ckpt-2"));
    let only = locate_checkpoint(root).unwrap();
    assert_eq!(only.prefix, root.join("ckpt-2"));
    assert!(only.note.unwrap().ends_with("has no file `checkpoint`: `ckpt-2`, the only checkpoint in it, was taken"));
    for latest in ["/home/other/run/ckpt-2", "run/ckpt-2", r"C:\\run\\ckpt-2", "gs://bucket/run/ckpt-2"] {
        fs::write(root.join("checkpoint"), format!("model_checkpoint_path: \"{latest}\"\n")).unwrap();
        let found = locate_checkpoint(root).unwrap();
        assert_eq!(found.prefix, root.join("ckpt-2"), "{latest}");
        let note = found.note.unwrap();
        assert!(note.ends_with("which is not there: `ckpt-2` beside that file was taken"), "{note}");
    }
    fs::write(root.join("checkpoint"), "model_checkpoint_path: \"/home/other/ckpt-3\"\n").unwrap();
    let error = locate_checkpoint(root).unwrap_err().to_string();
    assert!(error.ends_with("`/home/other/ckpt-3.index`, nor is there one of that name beside it"), "{error}");
    fs::remove_file(root.join("checkpoint")).unwrap();
    write(&root.join("ckpt-1"));
    let error = locate_checkpoint(root).unwrap_err().to_string();
    assert!(error.ends_with("the checkpoints in it are `ckpt-1`, `ckpt-2`"), "{error}");
}

#[test]
fn what_is_no_checkpoint_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let refuse = |name: &str| find_checkpoint(root.join(name)).unwrap_err();
    let missing = refuse("none");
    assert!(matches!(&missing, Error::Io { path, .. } if path.ends_with("none.index")), "{missing}");
    assert!(matches!(refuse("none.index"), Error::Io { path, .. } if path.ends_with("none.index")));
    let folder = refuse("");
    assert!(folder.to_string().contains("without a file `checkpoint`") && folder.hint().is_some(), "{folder}");
    for (name, bytes) in [("x.weights.h5", &b"\x89HDF\r\n\x1a\n.."[..]), ("x.keras", b"PK\x03\x04..")] {
        fs::write(root.join(name), bytes).unwrap();
        let error = refuse(name);
        assert!(error.to_string().contains("weights in Keras's own format"), "{error}");
        assert!(error.hint().unwrap().text().contains("tf.train.Checkpoint(model=model).write(PREFIX)"));
    }
    for (name, bytes) in [("notes", &b"x"[..]), ("empty", b""), (".index", b""), ("a.data-0-of-1", b"")] {
        fs::write(root.join(name), bytes).unwrap();
        assert!(refuse(name).to_string().contains("it is not a checkpoint"), "{name}");
    }
}
