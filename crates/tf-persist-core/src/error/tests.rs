use super::*;

#[test]
fn debug_is_the_sentence_the_detail_and_the_hint() {
    let error = Error::TensorFlow {
        action: "run signature `f` of `m`".into(),
        code: Code::InvalidArgument,
        message: "Incompatible shapes: [2] vs. [3]\n\t [[{{node Add}}]]".into(),
        hint: Some("give both the same shape".into()),
    };
    let text = "TensorFlow could not run signature `f` of `m`: Incompatible shapes: [2] vs. [3]\nTensorFlow says further:\n  \
                [[{{node Add}}]]\nhint: give both the same shape";
    assert_eq!(format!("{error:?}"), text);
    assert_eq!(format!("{error:#?}"), text);
}

#[test]
fn an_error_of_a_session_passes_through_model_errors() {
    let failed = || Error::TensorFlow { action: "run".into(), code: Code::Internal, message: "no".into(), hint: None };
    let carried = ModelError::from(failed());
    assert_eq!(format!("{carried:?}"), format!("{:?}", failed()));
    assert_eq!(Error::from(carried).kind(), ErrorKind::TensorFlow);
    let own = Error::from(ModelError::from(Error::from(ModelError::OutOfMemory { bytes: 1 })));
    assert_eq!(own.kind(), ErrorKind::Model(ModelErrorKind::OutOfMemory));
}

/// The library is used by programs with options of their own: only the command line names its flags and commands.
#[test]
fn no_string_names_a_flag_or_a_command() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = ["tf-persist-core", "tf-persist-savedmodel"].map(|name| crates.join(name).join("src")).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            if entry.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code.filter(|line| !line.contains("no_string")) {
                let flag = line.split(" --").skip(1).any(|rest| rest.starts_with(|it: char| it.is_ascii_lowercase()));
                let command = ["run", "train", "verify", "export", "scan", "inspect", "runtime"]
                    .iter()
                    .any(|name| line.contains(&format!("tf-persist {name}")));
                assert!(!flag && !command, "{}: {line}", entry.display());
            }
        }
    }
}
