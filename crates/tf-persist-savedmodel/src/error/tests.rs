use super::*;

#[test]
fn sentences_list_the_available_names() {
    let error = SavedModelError::UnknownSignature {
        path: "m".into(),
        name: "serve".into(),
        available: vec!["serving_default".into(), "train".into()],
    };
    assert_eq!(error.to_string(), "`m` has no signature `serve`; it has `serving_default` and `train`");
    let error = SavedModelError::UnknownTags { path: "m".into(), asked: vec!["gpu".into()], available: vec![vec![]] };
    assert_eq!(error.to_string(), "`m` has no meta graph with the tag set `gpu`; it has `` (empty)");
    assert_eq!(Error::from(error).kind(), ErrorKind::UnknownTags);
}

#[test]
fn debug_is_the_sentence_and_the_hint() {
    let error = SavedModelError::NotASavedModel { path: "m".into(), reason: "it does not exist".into(), hint: None };
    assert_eq!(format!("{:?}", Error::from(error)), "`m` is not a SavedModel: it does not exist");
    let error = Error::Exists { path: "m".into() };
    let text = "`m` exists already and is not empty\nhint: name another target, or let this one be replaced";
    assert_eq!(format!("{error:?}"), text);
    assert_eq!(error.hint().unwrap().settings(), [Setting::Set("overwrite")]);
    let hint = Hint::new("change it").set("a").set_to("b", "1").unset("c");
    assert_eq!(format!("{hint} {hint:#}"), "change it change it (a, b = 1, without c)");
}

#[test]
fn long_lists_stay_readable() {
    let all: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    assert!(names(&all).ends_with("and 9988 more"));
}
