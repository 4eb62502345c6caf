//! Changes of the configuration, by request and by file.

use std::fs;
use std::time::Duration;

use tf_persist_core::Code;
use tf_persist_proto::serving::ModelServerConfig;
use tf_persist_testing::TIMEOUT;

use super::harness::{Harness, answer, latest, states, wait, wait_for_config_polls, wait_states};
use crate::models::State::{Available, End, Loading};
use crate::models::handle::Handle;
use crate::models::view::Readiness;
use crate::models::{LabelRule, ModelSettings, Version};
use crate::status::Status;

#[test]
fn reloads_change_policies_and_labels() {
    let harness = Harness::new();
    for version in 1..=3 {
        harness.put("m", version, &version.to_string());
    }
    let models = harness.serve(harness.several(&[("m", "")]));
    let all = "model_version_policy { all {} }";
    harness.reload(&models, harness.config(&[("m", all)])).unwrap();
    wait_states(&models, "m", &[(3, Available), (2, Available), (1, Available)]);
    let label = |label: &str| answer(&models, "m", &Version::Label(label.into()));
    let labelled = |version: i64| format!("{all} version_labels {{ key: 'stable' value: {version} }}");
    for version in [1, 3, 2] {
        harness.reload(&models, harness.config(&[("m", &labelled(version))])).unwrap();
        wait("the label", || label("stable") == Ok(version.to_string()));
    }
    assert_eq!(models.view().list()[0].labels, [("stable".to_owned(), 2)]);
    // A label of a missing version changes nothing.
    let status = harness.reload(&models, harness.config(&[("m", &labelled(777))])).unwrap_err();
    assert_eq!(status.code, Code::FailedPrecondition);
    let text = "Request to assign label to version 777 of model m, which is not currently available for inference";
    assert_eq!(status.message, text);
    assert_eq!(label("stable"), Ok("2".into()));
    for (name, label) in [("m", "canary"), ("nothing", "stable")] {
        let status = answer(&models, name, &Version::Label(label.into())).unwrap_err();
        assert_eq!(status, Status::invalid_argument(format!("Unrecognized servable version label: {label}")));
    }
    // The version is unloaded, but the label stays.
    harness
        .reload(&models, harness.config(&[("m", &labelled(2).replace("all {}", "specific { versions: 1 }"))]))
        .unwrap();
    wait_states(&models, "m", &[(3, End), (2, End), (1, Available)]);
    assert_eq!(label("stable").unwrap_err().message, "Servable not found for request: Specific(m, 2)");
}

#[test]
fn labels_may_name_unavailable_versions_if_allowed() {
    let harness = Harness::new();
    harness.put("m", 1, "1");
    let labels = |text: &str| format!("version_labels {{ {text} }}");
    let started = labels("key: 'a' value: 1");
    let settings = ModelSettings { labels: LabelRule::Available, ..harness.several(&[("m", &started)]) };
    let refused = Handle::start(settings, harness.texts.clone()).err().unwrap();
    assert_eq!(refused.code, Code::FailedPrecondition);
    let settings = ModelSettings { labels: LabelRule::Any, ..harness.several(&[("m", &started)]) };
    let models = harness.serve(settings);
    assert_eq!(answer(&models, "m", &Version::Label("a".into())), Ok("1".into()));
    let both = format!("{started} {}", labels("key: 'new' value: 777"));
    harness.reload(&models, harness.config(&[("m", &both)])).unwrap();
    let status = answer(&models, "m", &Version::Label("new".into())).unwrap_err();
    assert_eq!(status.message, "Servable not found for request: Specific(m, 777)");
    let moved = labels("key: 'a' value: 777");
    let status = harness.reload(&models, harness.config(&[("m", &moved)])).unwrap_err();
    assert_eq!(status.code, Code::FailedPrecondition);
}

#[test]
fn first_labels_wait_for_versions_that_are_being_loaded() {
    let harness = Harness::new();
    let slow = harness.put("m", 1, "slow");
    harness.put("m", 2, "2");
    let labelled = |version: i64, policy: &str| {
        format!("model_version_policy {{ {policy} }} version_labels {{ key: 'stable' value: {version} }}")
    };
    let both = labelled(1, "latest { num_versions: 2 }");
    let models = harness.start(harness.several(&[("m", &both)]));
    wait_states(&models, "m", &[(2, Available), (1, Loading)]);
    assert!(models.view().readiness == Readiness::Waiting);
    // An awaited label may be requested again.
    harness.reload(&models, harness.config(&[("m", &both)])).unwrap();
    let status = harness.reload(&models, harness.config(&[("m", &labelled(3, "all {}"))])).unwrap_err();
    assert_eq!(status.code, Code::FailedPrecondition);
    fs::write(slow.join("go"), "").unwrap();
    harness.ready(&models).unwrap();
    assert_eq!(answer(&models, "m", &Version::Label("stable".into())), Ok("slow".into()));
    models.stop();

    // A label whose version cannot come fails with the reason.
    harness.put("m", 3, "broken");
    for (version, policy, why) in [
        (1, "latest {}", "label `stable` needs it, and the version policy selects [3]"),
        (777, "all {}", "label `stable` needs it, and the version policy selects ["),
    ] {
        harness.change(&harness.base("m").join("3"), "3");
        let models = harness.start(harness.several(&[("m", &labelled(version, policy))]));
        let status = harness.ready(&models).unwrap_err();
        let text = format!(
            "Request to assign label to version {version} of model m, which is not currently available for inference: {why}"
        );
        assert!(status.code == Code::FailedPrecondition && status.message.starts_with(&text), "{status}");
    }
    harness.change(&harness.base("m").join("3"), "broken");
    let models = harness.start(harness.several(&[("m", &labelled(3, "all {}"))]));
    let status = harness.ready(&models).unwrap_err();
    assert!(status.message.ends_with("and it failed to load: DATA_LOSS: it is broken"), "{status}");
}

#[test]
fn server_without_models_is_not_ready() {
    let harness = Harness::new();
    harness.put("m", 1, "1");
    let models = harness.serve(harness.several(&[]));
    assert!(!models.view().has_available());
    harness.reload(&models, harness.config(&[("m", "")])).unwrap();
    assert!(models.view().has_available());
    harness.reload(&models, harness.config(&[])).unwrap();
    wait("it is unloaded", || !models.view().has_available());
}

#[test]
fn reloads_wait_for_new_models() {
    let harness = Harness::new();
    harness.put("a", 1, "a");
    let models = harness.serve(harness.several(&[("a", "")]));
    let slow = harness.put("b", 1, "slow");
    harness.runtime.block_on(async {
        let reload = models.reload(harness.config(&[("b", "")]), "a test");
        tokio::pin!(reload);
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut reload).await.is_err(), "it must wait");
        // Other reloads and requests are not delayed.
        assert_eq!(answer(&models, "b", &Version::Latest).unwrap_err().code, Code::NotFound);
        models.reload(harness.config(&[("b", "")]), "a test").await.unwrap();
        fs::write(slow.join("go"), "").unwrap();
        tokio::time::timeout(TIMEOUT, reload).await.unwrap().unwrap();
    });
    assert_eq!(latest(&models, "b").unwrap(), "slow");
    wait_states(&models, "a", &[(1, End)]);
    assert_eq!(
        answer(&models, "a", &Version::Latest).unwrap_err().message,
        "Servable not found for request: Latest(a)"
    );
    // To no models, and back.
    harness.reload(&models, harness.config(&[])).unwrap();
    wait_states(&models, "b", &[(1, End)]);
    harness.reload(&models, harness.config(&[("a", ""), ("b", "")])).unwrap();
    assert!(latest(&models, "a").is_some() && latest(&models, "b").is_some());
}

#[test]
fn reloads_name_models_that_fail() {
    let harness = Harness::new();
    harness.put("a", 1, "a");
    harness.put("bad", 1, "broken");
    let models = harness.serve(harness.several(&[("a", "")]));
    let status = harness.reload(&models, harness.config(&[("a", ""), ("bad", "")])).unwrap_err();
    assert_eq!(status.code, Code::Unknown);
    let text =
        "1 model(s) did not become available: {{{name: bad version: 1} due to error: DATA_LOSS: it is broken}, }";
    assert_eq!(status.message, text);
    assert_eq!((states(&models, "a"), states(&models, "bad")), (vec![(1, Available)], vec![(1, End)]));
    // A missing folder is waited for some seconds, and served when it appears later.
    let status = harness.reload(&models, harness.config(&[("a", ""), ("later", "")])).unwrap_err();
    assert!(status.message.contains("{{name: later} due to error: NOT_FOUND: there is no base path"), "{status}");
    harness.put("later", 1, "late");
    wait("it comes", || latest(&models, "later").as_deref() == Some("late"));
    // Invalid configurations change nothing.
    let status = harness.reload(&models, harness.config(&[("a", ""), ("a", "")])).unwrap_err();
    assert_eq!(status.message, "Illegal to list model a multiple times in config list");
    let status = harness.reload(&models, ModelServerConfig::new()).unwrap_err();
    assert!(status.message.contains("Only ModelConfigList is currently supported"));
    assert!(latest(&models, "a").is_some() && latest(&models, "later").is_some());
}

#[test]
fn base_path_can_be_changed() {
    let harness = Harness::new();
    harness.put("m", 1, "old");
    harness.put("other", 1, "new");
    let models = harness.serve(harness.several(&[("m", "")]));
    let text = harness
        .text(&[("m", "")])
        .replace(harness.base("m").to_str().unwrap(), harness.base("other").to_str().unwrap());
    harness.reload(&models, tf_persist_proto::text_format::parse(text).unwrap()).unwrap();
    wait("the new one", || latest(&models, "m").as_deref() == Some("new"));
    wait_states(&models, "m", &[(1, Available)]);
}

#[test]
fn config_file_is_read_again() {
    let harness = Harness::new();
    harness.put("a", 1, "a");
    harness.put("b", 1, "b");
    let models = harness.serve(harness.several(&[("a", "")]));
    let file = harness.folder.path().join("models.config");
    let write = |text: &str| {
        fs::write(harness.folder.path().join("new"), text).unwrap();
        fs::rename(harness.folder.path().join("new"), &file).unwrap();
    };
    for bad in ["this is no config {", "", &harness.text(&[("a", ""), ("a", "")])] {
        write(bad);
        wait_for_config_polls(&models);
        assert_eq!(latest(&models, "a").unwrap(), "a");
    }
    fs::remove_file(&file).unwrap();
    wait_for_config_polls(&models);
    assert_eq!(latest(&models, "a").unwrap(), "a");
    write(&harness.text(&[("b", "")]));
    wait("b instead of a", || latest(&models, "b").is_some() && latest(&models, "a").is_none());
    // The configuration of a request stays until the file changes.
    harness.reload(&models, harness.config(&[("a", "")])).unwrap();
    wait("a instead of b", || latest(&models, "a").is_some() && latest(&models, "b").is_none());
    wait_for_config_polls(&models);
    assert!(latest(&models, "a").is_some() && latest(&models, "b").is_none());
    // Or until a refresh.
    models.refresh();
    wait("b again", || latest(&models, "b").is_some() && latest(&models, "a").is_none());
}
