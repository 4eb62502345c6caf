//! What a graph may do is checked before TensorFlow is opened.

use std::fs;

use tf_persist_core::runtime::Search;
use tf_persist_core::scan::Trust;
use tf_persist_core::{Error, ErrorKind, LoadOptions, LoadSavedModel, ModelErrorKind, SavedModel};

/// A signature that writes its input to a file.
const MODEL: &str = r#"
saved_model_schema_version: 1
meta_graphs {
  meta_info_def { tags: "serve" }
  graph_def {
    node { name: "x" op: "Placeholder" }
    node {
      name: "path" op: "Const"
      attr { key: "value" value { tensor { dtype: DT_STRING tensor_shape { } string_val: "/tmp/owned" } } }
    }
    node { name: "write" op: "WriteFile" input: "path" input: "x" }
    node { name: "y" op: "Identity" input: "x" input: "^write" }
  }
  signature_def {
    key: "serving_default"
    value {
      inputs { key: "x" value { name: "x:0" dtype: DT_STRING } }
      outputs { key: "y" value { name: "y:0" dtype: DT_STRING } }
    }
  }
}
"#;

#[test]
fn dangers_are_refused_before_tensorflow_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("saved_model.pbtxt"), MODEL).unwrap();
    let model = SavedModel::open(folder.path()).unwrap();
    // There is no TensorFlow: a model that passes the check fails for that reason.
    let load = |trust: Trust| {
        let nowhere = Search::only(folder.path());
        model.load(LoadOptions::default().search(nowhere).trust(trust)).unwrap_err()
    };
    for trust in [Trust::Nothing, Trust::ops(["ReadFile"])] {
        assert_eq!(load(trust).kind(), ErrorKind::Model(ModelErrorKind::Untrusted));
    }
    for trust in [Trust::ops(["WriteFile"]), Trust::Everything] {
        assert!(matches!(load(trust), Error::Runtime(_)));
    }
}
