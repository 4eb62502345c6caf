//! Features of small and large tensors.

use super::*;
use crate::log::{Exchange, read_line};

fn plan_of(lines: &[&str]) -> (Plan, Vec<Exchange>) {
    let exchanges: Vec<Exchange> = lines.iter().map(|line| read_line(line.as_bytes()).unwrap()).collect();
    let mut inference = Inference::new(None);
    exchanges.iter().for_each(|exchange| inference.see(exchange));
    (inference.plan().unwrap().0, exchanges)
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.features.iter().map(|feature| feature.name.as_str()).collect()
}

#[test]
fn rows_and_elements_become_features() {
    let (plan, exchanges) = plan_of(&[
        r#"{"inputs": {"x": [[1.5, 2.0], [3.0, NaN]], "kind": ["a", "b"]}, "outputs": {"y": [[0.1, 0.9], [0.7, 0.3]]}}"#,
    ]);
    assert!(plan.is_batched);
    assert_eq!(names(&plan), ["kind", "x[0]", "x[1]", "y[0]", "y[1]", "y.argmax", "y.largest"]);
    let views = Views::new(&plan, &exchanges[0]).unwrap();
    assert_eq!(views.rows(), 2);
    let mut cells = Vec::new();
    views.row(&plan, 0, &mut cells);
    let number = Cell::Number;
    assert_eq!(
        cells,
        [Cell::Text(b"a"), number(1.5), number(2.0), number(0.1), number(0.9), Cell::Integer(1), number(0.9)]
    );
    views.row(&plan, 1, &mut cells);
    assert!(matches!(cells[2], Cell::Number(value) if value.is_nan()));
    assert_eq!(cells[5], Cell::Integer(0));
}

#[test]
fn larger_tensors_are_summarised() {
    let pixels: Vec<String> = (0..64).map(|pixel| format!("{pixel}.0")).collect();
    let line = format!("{{\"inputs\": {{\"image\": [[{}]]}}}}", pixels.join(","));
    let (plan, exchanges) = plan_of(&[&line]);
    assert_eq!(plan.features.len(), 4 + PROJECTIONS);
    let mut cells = Vec::new();
    Views::new(&plan, &exchanges[0]).unwrap().row(&plan, 0, &mut cells);
    assert_eq!(cells[0], Cell::Number(31.5));
    assert_eq!(cells[2..4], [Cell::Number(0.0), Cell::Number(63.0)]);
    // Two directions are not one.
    assert!(cells[4..].windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn integers_are_categories_if_they_are_few() {
    let lines: Vec<String> =
        (0..50).map(|index| format!("{{\"inputs\": {{\"age\": [{index}], \"kind\": [{}]}}}}", index % 3)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (plan, _) = plan_of(&lines);
    let kinds: Vec<_> = plan.features.iter().map(|feature| (feature.name.as_str(), feature.is_category)).collect();
    assert_eq!(kinds, [("age", false), ("kind", true)]);
}

#[test]
fn lengths_that_change_are_a_feature() {
    let (plan, _) = plan_of(&[r#"{"inputs": {"x": [[1.5, 2.0]]}}"#, r#"{"inputs": {"x": [[1.5, 2.0, 3.0]]}}"#]);
    assert_eq!(names(&plan), ["x.mean", "x.deviation", "x.min", "x.max", "x.length"]);
}

#[test]
fn inputs_without_common_rows_are_one_row() {
    let (plan, exchanges) = plan_of(&[r#"{"inputs": {"x": [1.5, 2.0], "y": 3.5}}"#]);
    assert!(!plan.is_batched);
    assert_eq!(names(&plan), ["x[0]", "x[1]", "y"]);
    assert_eq!(Views::new(&plan, &exchanges[0]).unwrap().rows(), 1);
}

#[test]
fn a_tensor_of_another_size_differs() {
    let (plan, _) = plan_of(&[r#"{"inputs": {"x": [[1.5, 2.0]]}}"#]);
    let other = read_line(br#"{"inputs": {"x": [[1.5, 2.0, 3.0]]}}"#).unwrap();
    let views = Views::new(&plan, &other).unwrap();
    assert_eq!(views.differing().collect::<Vec<_>>(), [0]);
    let mut cells = Vec::new();
    views.row(&plan, 0, &mut cells);
    assert_eq!(cells, [Cell::Absent, Cell::Absent]);
}
