//! `run --requests`: many requests through one session, an answer a line.

use serde_json::json;

use crate::recorded::Recorded;
use crate::support::Dir;

#[test]
fn every_recorded_case_of_every_model_is_answered_as_python_did() {
    let dir = Dir::new();
    for model in Recorded::all() {
        let cases = model.cases();
        let mut tag_sets: Vec<&str> = cases.iter().map(|case| case.tags.as_str()).collect();
        tag_sets.dedup();
        for tags in tag_sets {
            let cases: Vec<_> = cases.iter().filter(|case| case.tags == tags && case.fits_json()).collect();
            let requests: Vec<String> = cases.iter().map(|case| case.request()).collect();
            dir.write("requests.jsonl", requests.join("\n"));
            let line = format!("run models/{}/model --requests requests.jsonl --tags", model.name);
            let ran = dir.cmd(&line).arg(tags).run().ok();
            let answers: Vec<&str> = ran.out().lines().collect();
            ran.check(answers.len() == cases.len(), "there is not one answer for each request");
            for (number, (case, answer)) in cases.iter().zip(answers).enumerate() {
                let about = format!("{} {tags}, case {number}, `{}`", model.name, case.signature);
                model.compare(&about, &case.answer(answer), &case.outputs);
            }
        }
    }
}

#[test]
fn requests_are_answered_in_order_by_one_session_that_keeps_its_state() {
    let dir = Dir::new();
    // A blank line is none; the last need not be ended; lines may end as on Windows.
    let requests = concat!(
        "{\"signature_name\": \"increment\", \"inputs\": {\"delta\": 5}}\n",
        "\n",
        "{\"signature_name\": \"increment\", \"inputs\": {\"delta\": -2}}\r\n",
        "  \t\n",
        "{\"signature_name\": \"value\", \"inputs\": {}}\n",
        "{\"inputs\": {\"delta\": 9007199254740993}, \"signature_name\": \"increment\"}\n",
        "{\"signature_name\": \"reset\", \"inputs\": {}}\n",
        "{\"signature_name\": \"value\", \"inputs\": {}}",
    );
    let fresh = dir.cmd("run models/counter/model --signature value --format json").run().ok().json();
    let start = fresh["outputs"]["total"].as_i64().unwrap();
    let ran = dir.cmd("run models/counter/model --requests -").stdin(requests).run().ok();
    let answers = ran.json_lines();
    ran.check(answers.len() == 6, "there should be six answers");
    let total = |index: usize| answers[index]["outputs"]["total"].as_i64().unwrap();
    let calls = |index: usize| answers[index]["outputs"]["calls"].as_i64().unwrap();
    assert_eq!((total(0), total(1), total(2)), (start + 5, start + 3, start + 3));
    assert_eq!((total(3), calls(3) - calls(0)), (start + 3 + 9_007_199_254_740_993, 2));
    assert_eq!(answers[4], json!({ "outputs": { "before": total(3) } }));
    assert_eq!(total(5), 0);
}

#[test]
fn a_failed_request_is_answered_and_the_others_run() {
    let dir = Dir::new();
    let requests = [
        "{\"inputs\": {\"x\": [1]}}",
        "this is not JSON",
        "{\"instances\": [1, 2]}",
        "{\"inputs\": {\"x\": [1], \"z\": [2]}}",
        "{\"inputs\": {}}",
        "{\"inputs\": {\"x\": [[1], [1, 2]]}}",
        "{\"inputs\": {\"x\": [\"text\"]}}",
        "{\"inputs\": [1], \"signature_name\": \"nope\"}",
        "[]",
        "{\"instances\": [{\"x\": 1}, {\"x\": 3}]}",
        "\u{feff}{\"inputs\": [1]}",
        "{\"inputs\": [4], \"signature_name\": \"serving_default\"}",
    ];
    dir.write("requests.jsonl", requests.join("\n") + "\n");
    let ran = dir.cmd("run models/half_plus_two/model --requests requests.jsonl").run().fails();
    let ran = ran.says("8 of 12 requests of `requests.jsonl` failed");
    let answers = ran.json_lines();
    ran.check(answers.len() == requests.len(), "each request has an answer");
    assert_eq!(answers[0], json!({ "outputs": { "y": [2.5] } }));
    assert_eq!(answers[2], json!({ "predictions": [2.5, 3.0] }));
    assert_eq!(answers[9], json!({ "predictions": [2.5, 3.5] }));
    assert_eq!(answers[11], json!({ "outputs": { "y": [4.0] } }));
    let said =
        [(1, "line 2"), (3, "`z`"), (4, "`x`"), (5, "[1][1]"), (6, "string"), (7, "`nope`"), (8, "list"), (10, "11")];
    for (index, text) in said {
        let error = answers[index]["error"].as_str().unwrap_or_default();
        ran.check(error.contains(text), format_args!("answer {index} should be an error with `{text}`: {error}"));
        ran.check(answers[index].as_object().unwrap().len() == 1, "an error has nothing beside it");
    }
}

#[test]
fn an_error_of_tensorflow_is_an_answer() {
    let dir = Dir::new();
    let request = |body: &str| format!("{{\"inputs\": {{\"body\": {body}, \"blood\": [[1, 2, 3, 4, 5, 6]]}}}}\n");
    let requests = [request("[[1, 2]]"), request("[[1, 2, 3, 4]]"), request("1")].concat();
    let ran = dir.cmd("run models/two_in_two_out/model --requests -").stdin(requests).run().fails();
    let answers = ran.json_lines();
    ran.check(answers.len() == 3, "each request has an answer");
    let error = |index: usize| answers[index]["error"].as_str().unwrap_or_default();
    ran.check(error(0).contains("`serving_default`") && error(2).contains("`serving_default`"), "two should fail");
    assert_eq!(answers[1]["outputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["above", "progression"]);
    ran.says("2 of 3 requests of `standard input` failed");
}

#[test]
fn row_requests_get_row_answers() {
    let dir = Dir::new();
    let row = "{\"body\": [0.1, 0.2, 0.3, 0.4], \"blood\": [1, 2, 3, 4, 5, 6]}";
    let requests = format!(
        "{{\"instances\": [{row}, {row}, {row}]}}\n{{\"inputs\": {{\"body\": [[0.1, 0.2, 0.3, 0.4]], \"blood\": [[1, 2, 3, 4, 5, 6]]}}}}\n"
    );
    let answers = dir.cmd("run models/two_in_two_out/model --requests -").stdin(requests).run().ok().json_lines();
    let rows = answers[0]["predictions"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]), (3, &rows[1]));
    for output in ["above", "progression"] {
        assert_eq!(rows[2][output].as_array().unwrap().len(), 1);
        assert!(answers[1]["outputs"][output][0][0].is_number());
    }
}

/// Where the ops check shapes, as those of this model do.
#[test]
fn undeclared_shapes_are_answered_as_by_a_server() {
    let dir = Dir::new();
    let answers = dir
        .cmd("run models/half_plus_two/model --requests -")
        .stdin("{\"inputs\": [[2.0, 4.0]]}\n")
        .run()
        .ok()
        .json_lines();
    assert_eq!(answers[0]["outputs"]["y"], serde_json::json!([[3.0, 4.0]]));
    let image = "{\"inputs\": [[[[0.5]]]]}\n";
    let answers = dir.cmd("run models/digits/model --requests -").stdin(image).run().fails().json_lines();
    assert!(answers[0]["error"].as_str().unwrap().contains("takes the shape [-1, 8, 8, 1]"), "{}", answers[0]);
}

/// As the lines of a request log have it.
#[test]
fn outputs_that_a_line_asks_for_are_computed_alone() {
    let dir = Dir::new();
    let line = |filter: &str| {
        let inputs = "{\"body\": [[0.1, 0.2, 0.3, 0.4]], \"blood\": [[1, 2, 3, 4, 5, 6]]}";
        format!("{{\"inputs\": {inputs}, \"output_filter\": {filter}}}\n")
    };
    let requests = line("[\"above\"]") + &line("[\"nope\"]") + &line("null");
    let answers = dir.cmd("run models/two_in_two_out/model --requests -").stdin(requests).run().fails().json_lines();
    let names = |index: usize| answers[index]["outputs"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((names(0), names(2)), (vec!["above".to_owned()], vec!["above".into(), "progression".into()]));
    assert!(answers[1]["error"].as_str().unwrap().contains("`nope`"), "{}", answers[1]);
}

#[test]
fn the_signature_flag_applies_to_lines_without_one() {
    let dir = Dir::new();
    let requests = concat!(
        "{\"inputs\": {\"text\": [\"a good film\"]}}\n",
        "{\"inputs\": {\"text\": [{\"b64\": \"YSBnb29kIGZpbG0=\"}]}}\n",
        "{\"inputs\": {\"text\": [\"a good film\"]}, \"signature_name\": \"serving_default\"}\n",
    );
    let ran = dir.cmd("run models/text/model --signature tokens --requests -").stdin(requests).run().ok();
    let answers = ran.json_lines();
    assert_eq!(answers[0]["outputs"]["ids"][0].as_array().unwrap().len(), 12);
    assert_eq!(answers[0], answers[1]);
    assert!(["good", "bad"].contains(&answers[2]["outputs"]["label"][0].as_str().unwrap()));
}

#[test]
fn an_empty_file_has_no_answers() {
    let dir = Dir::new();
    dir.write("empty.jsonl", "");
    dir.cmd("run models/half_plus_two/model --requests empty.jsonl").run().ok().prints_only("");
    dir.cmd("run models/half_plus_two/model --requests -").stdin("\n \n\r\n").run().ok().prints_only("");
}

#[test]
fn an_unreadable_file_is_refused_before_tensorflow_is_opened() {
    let dir = Dir::new();
    dir.write("some.jsonl", "{\"inputs\": [1]}");
    let run = |line: &str| dir.cmd(&format!("run models/{line}")).without_tensorflow().run().fails();
    run("half_plus_two/model --requests no.jsonl").says("`no.jsonl`");
    run("half_plus_two/model --requests some.jsonl --tags gpu").says("`gpu`").says("`serve`");
}

#[test]
fn an_unknown_signature_of_the_command_line_is_refused_before_tensorflow_is_opened() {
    let dir = Dir::new();
    dir.write("some.jsonl", "{\"inputs\": [1]}");
    let line = "run models/half_plus_two/model --requests some.jsonl --signature nope";
    dir.cmd(line).without_tensorflow().run().fails().says("`nope`").says("`serving_default`");
}

#[test]
fn a_folder_of_requests_is_refused_before_tensorflow_is_opened() {
    let dir = Dir::new();
    let line = "run models/half_plus_two/model --requests models";
    dir.cmd(line).without_tensorflow().run().fails().says("`models`");
}
