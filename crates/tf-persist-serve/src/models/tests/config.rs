use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;

use crate::models::ModelSource;
use crate::models::config::{BasePath, ModelConfigs, Policy, check, read};
use crate::status::Status;

/// An entry of the list of models.
fn model(name: &str, base_path: &str, more: &str) -> String {
    format!("config {{ name: '{name}' base_path: '{base_path}' {more} }}")
}

fn parse(text: &str) -> Result<ModelServerConfig, Status> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.config");
    fs::write(&path, text).unwrap();
    read(Some(&ModelSource::ConfigFile { path, poll: None }))
}

fn checked(models: &[String], old: Option<&ModelConfigs>) -> Result<ModelConfigs, Status> {
    check(&parse(&format!("model_config_list {{ {} }}", models.concat())).unwrap(), old, None)
}

fn refused(models: &[String], old: Option<&ModelConfigs>) -> String {
    let status = checked(models, old).unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument, "{status}");
    status.message
}

const TF: &str = "model_platform: 'tensorflow'";

#[test]
fn valid_configurations_are_read() {
    let labels = "version_labels { key: 'stable' value: 7 } version_labels { key: 'canary' value: 8 }";
    let models = checked(
        &[
            model("a", "/m/a", &format!("{TF} {labels} logging_config {{ }}")),
            model("b", "file:///m/b", &format!("{TF} model_version_policy {{ latest {{ num_versions: 2 }} }}")),
            model("c", "file://localhost/m/c", &format!("{TF} model_version_policy {{ all {{ }} }}")),
            model("d", "/m/d", &format!("{TF} model_version_policy {{ specific {{ versions: [3, 1, 3] }} }}")),
            model("e", "/m/e", "model_type: TENSORFLOW model_version_policy { latest { } }"),
        ],
        None,
    )
    .unwrap();
    let paths: Vec<String> = models.values().map(|model| model.base_path.as_ref().unwrap().to_string()).collect();
    assert_eq!(paths, ["/m/a", "/m/b", "/m/c", "/m/d", "/m/e"]);
    let policies: Vec<&Policy> = models.values().map(|model| &model.policy).collect();
    let specific = Policy::Specific(BTreeSet::from([1, 3]));
    assert_eq!(policies, [&Policy::Latest(1), &Policy::Latest(2), &Policy::All, &specific, &Policy::Latest(1)]);
    assert_eq!(models["a"].labels, BTreeMap::from([("canary".into(), 8), ("stable".into(), 7)]));
}

#[test]
fn invalid_configurations_are_refused() {
    let ok = model("a", "/m/a", TF);
    assert_eq!(refused(&[ok.clone(), ok.clone()], None), "Illegal to list model a multiple times in config list");
    for path in ["", "some/relative", "file:", "file://", "file://host", "://x"] {
        let message = refused(&[model("a", path, TF)], None);
        assert_eq!(message, format!("Expected model a to have an absolute path or URI; got base_path()={path}"));
    }
    for (path, scheme) in [("gs://bucket/m", "gs"), ("s3://bucket/m", "s3"), ("hdfs://host/m", "hdfs")] {
        let message = refused(&[model("a", path, TF)], None);
        assert!(
            message.contains(path) && message.contains(&format!("file system scheme '{scheme}' is not supported")),
            "{message}"
        );
    }
    assert!(refused(&[model("a", "/a\\0b", TF)], None).contains("zero byte"));
    assert!(refused(&[model("a", "/m", "model_platform: 'other'")], None).contains("unsupported platform other"));
    assert!(refused(&[model("a", "/m", "")], None).contains("Illegal setting neither"));
    assert!(
        refused(&[model("a", "/m", &format!("{TF} model_type: TENSORFLOW"))], None).contains("Illegal setting both")
    );
    assert!(refused(&[model("a", "/m", "model_type: OTHER")], None).contains("choice 2 not supported"));
    // Changing the platform has another message than an unsupported platform.
    let old = checked(&[ok], None).unwrap();
    let message = refused(&[model("a", "/m/a", "model_platform: 'other'")], Some(&old));
    assert_eq!(
        message,
        "Illegal to change a model's platform. For model a platform was tensorflow and new platform requested is other"
    );
    assert!(refused(&[model("b", "/m", "model_platform: 'other'")], Some(&old)).contains("unsupported platform"));
}

#[test]
fn other_kinds_of_configuration_are_refused() {
    let custom = parse("custom_model_config { type_url: 'type.googleapis.com/x.y' }").unwrap();
    let nothing = ModelServerConfig::new();
    for (config, old) in [(&custom, None), (&custom, Some(ModelConfigs::new())), (&nothing, Some(ModelConfigs::new()))]
    {
        let status = check(config, old.as_ref(), None).unwrap_err();
        assert_eq!(status.code, Code::InvalidArgument);
        assert!(status.message.contains("Only ModelConfigList is currently supported"));
    }
    // A server may start without models.
    assert!(check(&nothing, None, None).unwrap().is_empty());
    assert!(check(&parse("model_config_list {}").unwrap(), Some(&ModelConfigs::new()), None).unwrap().is_empty());
}

#[test]
fn parse_errors_have_a_position() {
    let status = parse("model_config_list {\n  config { name: 'm' no_such_field: 1 } }").unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(
        status.message.starts_with("Error parsing text-format tensorflow.serving.ModelServerConfig: 2:22: "),
        "{status}"
    );
    assert!(status.message.contains("no_such_field") && status.message.contains("models.config"), "{status}");
    parse("this is no config {").unwrap_err();
    let gone = ModelSource::ConfigFile { path: "/no/such/file".into(), poll: None };
    let status = read(Some(&gone)).unwrap_err();
    assert!(status.code == Code::NotFound && status.message.contains("`/no/such/file`"), "{status}");
}

#[test]
fn one_model_needs_no_file() {
    let source = |path: &str| ModelSource::BasePath { name: "default".into(), path: path.into() };
    let models = check(&read(Some(&source("/models/m"))).unwrap(), None, None).unwrap();
    assert_eq!(models["default"].base_path, Some(BasePath::Folder("/models/m".into())));
    assert_eq!(models["default"].policy, Policy::Latest(1));
    assert!(
        check(&read(Some(&source("models/m"))).unwrap(), None, None).unwrap_err().message.contains("absolute path")
    );
    for source in [None, Some(source(""))] {
        assert!(read(source.as_ref()).unwrap_err().message.contains("are empty!"));
    }
}

#[test]
fn policies_choose_versions() {
    let found: BTreeMap<i64, PathBuf> =
        [-1, 2, 9, 10].into_iter().map(|version| (version, PathBuf::from(format!("/{version}")))).collect();
    let chosen = |policy: Policy| policy.choose(&found).into_keys().collect::<Vec<_>>();
    assert_eq!(chosen(Policy::Latest(1)), [10]);
    assert_eq!(chosen(Policy::Latest(2)), [9, 10]);
    assert_eq!(chosen(Policy::Latest(99)), [-1, 2, 9, 10]);
    assert_eq!(chosen(Policy::All), [-1, 2, 9, 10]);
    assert_eq!(chosen(Policy::Specific(BTreeSet::from([2, 77]))), [2]);
    assert_eq!(chosen(Policy::Specific(BTreeSet::new())), [0; 0]);
}
