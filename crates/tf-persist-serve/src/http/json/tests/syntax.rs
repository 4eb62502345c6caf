use super::*;

/// The syntax error of a body.
fn syntax(body: impl AsRef<[u8]>) -> String {
    let status = PredictBody::parse(body.as_ref()).err().unwrap();
    assert_eq!(status.code, Code::InvalidArgument);
    let examples = ExamplesBody::parse(body.as_ref()).unwrap_err();
    assert_eq!(examples, status);
    status.message.strip_prefix("JSON Parse error: ").unwrap().to_owned()
}

#[test]
fn empty_bodies() {
    assert_eq!(syntax(""), "The document is empty");
    assert_eq!(syntax("  \n"), "The document is empty. at offset: 3");
    assert_eq!(syntax("\u{feff}"), "The document is empty. at offset: 3");
    assert_eq!(syntax("\0"), "The document is empty. at offset: 0");
    assert_eq!(syntax("]"), "The document is empty. at offset: 0");
    assert_eq!(syntax(" , {}"), "The document is empty. at offset: 1");
}

#[test]
fn syntax_errors_have_an_offset() {
    for (body, expected) in [
        ("xyz", "Invalid value. at offset: 0"),
        ("{", "Missing a name for object member. at offset: 1"),
        ("{1:2}", "Missing a name for object member. at offset: 1"),
        ("{\"a\":1,}", "Missing a name for object member. at offset: 7"),
        ("{\"a\"", "Missing a colon after a name of object member. at offset: 4"),
        ("{\"a\" 1}", "Missing a colon after a name of object member. at offset: 5"),
        ("{\"a\":", "Invalid value. at offset: 5"),
        ("{\"a\":}", "Invalid value. at offset: 5"),
        ("{\"a\":1", "Missing a comma or '}' after an object member. at offset: 6"),
        ("{\"a\":1 2}", "Missing a comma or '}' after an object member. at offset: 7"),
        ("{\"a\":{\"b\":1]}", "Missing a comma or '}' after an object member. at offset: 11"),
        ("{\"a\":[", "Invalid value. at offset: 6"),
        ("{\"a\":[,1]}", "Invalid value. at offset: 6"),
        ("{\"a\":[1,]}", "Invalid value. at offset: 8"),
        ("{\"a\":[1", "Missing a comma or ']' after an array element. at offset: 7"),
        ("{\"a\":[1 2]}", "Missing a comma or ']' after an array element. at offset: 8"),
        ("{\"a\":[1}", "Missing a comma or ']' after an array element. at offset: 7"),
        ("{\"a\":nul}", "Invalid value. at offset: 8"),
        ("{\"a\":trUe}", "Invalid value. at offset: 7"),
        ("{\"a\":falsy}", "Invalid value. at offset: 9"),
        ("{\"a\":\"b}", "Missing a closing quotation mark in string. at offset: 8"),
        ("{\"a\":\"b\0\"}", "Missing a closing quotation mark in string. at offset: 7"),
        ("{\"a\":\"b\n\"}", "Invalid encoding in string. at offset: 7"),
        ("{\"a\":\"0123456789\u{1f}\"}", "Invalid encoding in string. at offset: 16"),
        ("{\"a\":\"b\\x\"}", "Invalid escape character in string. at offset: 7"),
        ("{\"a\":\"\\u12g4\"}", "Incorrect hex digit after \\u escape in string. at offset: 6"),
        ("{\"a\":\"\\ud800\"}", "The surrogate pair in string is invalid. at offset: 6"),
        ("{\"a\":\"\\ud800\\u0041\"}", "The surrogate pair in string is invalid. at offset: 6"),
        ("{\"a\":\"\\udc00\"}", "The surrogate pair in string is invalid. at offset: 6"),
        ("{\"a\\q\":1}", "Invalid escape character in string. at offset: 3"),
        // Other members are checked too, also those after the last one that matters.
        ("{\"instances\":[1],\"x\":[1 2]}", "Missing a comma or ']' after an array element. at offset: 24"),
    ] {
        assert_eq!(syntax(body), expected, "{body}");
    }
}

/// In a value that is decoded while parsing, and in one that is skipped.
#[test]
fn malformed_numbers() {
    for (number, expected, at) in [
        ("+1", "Invalid value.", 0),
        (".5", "Invalid value.", 0),
        ("-", "Invalid value.", 1),
        ("-a", "Invalid value.", 1),
        ("1.", "Miss fraction part in number.", 2),
        ("1.e5", "Miss fraction part in number.", 2),
        ("12345678901234567890.", "Miss fraction part in number.", 21),
        ("1e", "Miss exponent in number.", 2),
        ("1e+", "Miss exponent in number.", 3),
        ("1.5E-x", "Miss exponent in number.", 5),
        ("01", "Missing a comma or ']' after an array element.", 1),
        ("-01", "Missing a comma or ']' after an array element.", 2),
        ("1x", "Missing a comma or ']' after an array element.", 1),
        ("nan", "Invalid value.", 1),
        ("NaNa", "Missing a comma or ']' after an array element.", 3),
        ("Nan", "Invalid value.", 2),
        ("infinity", "Invalid value.", 0),
        ("Infinit", "Invalid value.", 7),
        ("In", "Invalid value.", 2),
        ("1e400", "Number too big to be stored in double.", 0),
        ("-1e400", "Number too big to be stored in double.", 0),
        ("0e400", "Number too big to be stored in double.", 0),
        ("1.8e308", "Number too big to be stored in double.", 0),
        ("1e99999999999999999999", "Number too big to be stored in double.", 0),
    ] {
        for name in ["instances", "other"] {
            let body = format!("{{\"{name}\":[1,{number}]}}");
            let offset = body.find('[').unwrap() + 3 + at;
            assert_eq!(syntax(&body), format!("{expected} at offset: {offset}"), "{body}");
        }
    }
    let long = format!("{{\"instances\":[{}]}}", "9".repeat(310));
    assert_eq!(syntax(long), "Number too big to be stored in double. at offset: 14");
}

#[test]
fn bodies_that_are_not_objects() {
    for (body, shown) in [
        ("[1, 2]", "[1, 2]"),
        ("1e5", "100000.0"),
        ("\"a\"", "\"a\""),
        ("null", "null"),
        (" [[], {}, {\"a\": [true, false]}]", "[[], {}, {\n        \"a\": [true, false]\n    }]"),
    ] {
        let status = PredictBody::parse(body.as_bytes()).err().unwrap();
        assert_eq!(status.message, format!("JSON Value: {shown} Is not object"));
    }
}

#[test]
fn text_after_the_object_is_ignored() {
    for tail in ["}", "X", " {]", "\0", "\n\n"] {
        let tensor = one(format!("{{\"instances\": [1]}}{tail}"), DType::Int32).1;
        assert_eq!(tensor.view::<i32>().unwrap(), [1]);
    }
}

#[test]
fn byte_order_mark_is_skipped() {
    assert_eq!(one("\u{feff}{\"instances\": [1]}", DType::Int32).1.view::<i32>().unwrap(), [1]);
}

#[test]
fn white_space_is_allowed_everywhere() {
    let tensor = one(" \t\r\n{ \"inputs\"\n:\t[ [ 1 ,\r2 ] , [ 3 , 4 ]\n] , \"x\" : { } }", DType::Float32).1;
    assert_eq!(tensor, Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap());
}

#[test]
fn first_member_of_a_name_counts() {
    assert_eq!(one("{\"inputs\": 1, \"inputs\": 2}", DType::Int32).1.view::<i32>().unwrap(), [1]);
    assert_eq!(one("{\"inp\\u0075ts\": 1, \"inputs\": [2]}", DType::Int32).1.view::<i32>().unwrap(), [1]);
    assert_eq!(one("{\"inputs\": [1.5], \"inputs\": [2, 3]}", DType::Float32).1.view::<f32>().unwrap(), [1.5]);
}

#[test]
fn signature_names() {
    let name = |body: &str| PredictBody::parse(body.as_bytes()).map(|body| body.signature_name().map(str::to_owned));
    assert_eq!(name("{\"signature_name\": \"a\\n\\u00e9\\ud83d\\ude00\"}").unwrap().unwrap(), "a\né😀");
    assert_eq!(name("{}").unwrap(), None);
    assert_eq!(name("{\"signature_name\": \"\"}").unwrap(), None);
    let status = name("{\"signature_name\": 5, \"instances\": [[1,2],NaN, 3]}").unwrap_err();
    // RapidJSON cannot write NaN, so the text ends there.
    assert_eq!(
        status.message,
        "JSON Value: {\n    \"signature_name\": 5,\n    \"instances\": [[1, 2],  not formatted correctly. \
         'signature_name' key must be a string value."
    );
}

/// As in TensorFlow Serving's own test: 500,000 levels, in an ignored member and in others.
#[test]
fn deep_nesting_is_read() {
    const DEPTH: usize = 500_000;
    let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let tensor = one(format!("{{\"instances\":[1], \"nested\":{deep}}}"), DType::Int32).1;
    assert_eq!(tensor.view::<i32>().unwrap(), [1]);
    let status = PredictBody::parse(format!("{{\"signature_name\":{deep}}}").as_bytes()).err().unwrap();
    assert!(status.message.ends_with("key must be a string value."), "{}", status.message);
    assert!(status.message.len() < 400);
    let objects = format!("{{\"inputs\":{}1{}}}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    assert!(refusal(&objects, &[("x", DType::Int32)]).1.contains("Missing named input: x"));
    for format in ["instances", "inputs"] {
        for dtype in [DType::Float32, DType::String] {
            let (code, message) = refusal(format!("{{\"{format}\":{deep}}}"), &[("x", dtype)]);
            assert_eq!(code, Code::InvalidArgument);
            assert!(message.ends_with("tensor parsing error: x"), "{message}");
        }
    }
    let unclosed = format!("{{\"instances\":{}", "[".repeat(DEPTH));
    assert_eq!(syntax(unclosed), format!("Invalid value. at offset: {}", 13 + DEPTH));
}
