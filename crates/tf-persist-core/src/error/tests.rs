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
