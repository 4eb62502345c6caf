use super::*;

#[test]
fn sentences_list_what_exists() {
    let error = Error::UnknownSignature {
        path: "m".into(),
        name: "serve".into(),
        available: vec!["serving_default".into(), "train".into()],
    };
    assert_eq!(error.to_string(), "`m` has no signature `serve`; it has `serving_default` and `train`");
    let error = Error::UnknownTags { path: "m".into(), asked: vec!["gpu".into()], available: vec![vec![]] };
    assert_eq!(error.to_string(), "`m` has no meta graph with the tag set `gpu`; it has `` (empty)");
}

#[test]
fn debug_is_the_sentence_and_the_hint() {
    let error = Error::NotASavedModel { path: "m".into(), reason: "it does not exist".into(), hint: None };
    assert_eq!(format!("{error:?}"), "`m` is not a SavedModel: it does not exist");
    let error = Error::TensorFlow {
        action: "run signature `f` of `m`".into(),
        code: Code::InvalidArgument,
        message: "Incompatible shapes: [2] vs. [3]\n\t [[{{node Add}}]]".into(),
        hint: Some("give both the same shape".into()),
    };
    let said = "TensorFlow could not run signature `f` of `m`: Incompatible shapes: [2] vs. [3]\nTensorFlow says further:\n  \
                [[{{node Add}}]]\nhint: give both the same shape";
    assert_eq!(format!("{error:?}"), said);
    assert_eq!(format!("{error:#?}"), said);
}

#[test]
fn long_lists_stay_readable() {
    let all: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    assert!(names(&all).ends_with("and 9988 more"));
}

#[test]
fn codes_go_by_their_numbers() {
    assert_eq!(Code::from_number(0), None);
    assert_eq!(Code::from_number(3), Some(Code::InvalidArgument));
    assert_eq!(Code::from_number(16), Some(Code::Unauthenticated));
    assert_eq!(Code::from_number(77), Some(Code::Unknown));
}
