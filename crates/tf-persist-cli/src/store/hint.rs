//! Hints for errors of the store, in terms of the command line.

use tf_persist_store::StoreError;

pub(crate) fn hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::NotAStore { path } => {
            format!("make one with `tf-persist store init --store {}`, or name another with --store", path.display())
        }
        StoreError::Foreign { path, model, .. } => {
            format!("if it is as it should be, adopt it with `tf-persist store publish {} {model}`", path.display())
        }
        StoreError::Labelled { model, labels, .. } => match labels.as_slice() {
            [label, ..] => format!(
                "move the label first, or take it away with `tf-persist store label {model} {label} --remove`; `gc` keeps \
                 such versions with --keep-labelled"
            ),
            [] => return None,
        },
        StoreError::NoLabels { model } => {
            format!("label a version with `tf-persist store label {model}@latest production`")
        }
        StoreError::ChooseLabel { .. } => "name it with --label".to_owned(),
        StoreError::NothingBefore { .. } => "name the version with --to REF".to_owned(),
        StoreError::VersionExists { .. } | StoreError::VersionUsed { .. } => {
            "leave out --version to take the next number".to_owned()
        }
        StoreError::Changed { model, version, .. } => format!(
            "`tf-persist store verify {model}@{version}` lists every change; do not use this version, and publish the \
             model again"
        ),
        StoreError::UnknownModel { .. } => "`tf-persist store list` lists the models".to_owned(),
        _ => return None,
    })
}
