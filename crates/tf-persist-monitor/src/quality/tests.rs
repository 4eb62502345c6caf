//! Figures of scikit-learn, and labels that do not fit.

use std::fs;

use super::*;

fn target(task: Task, is_logits: bool) -> Target {
    Target { output: "y".to_owned(), task, is_logits }
}

fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-3, "{found} instead of {expected}");
}

#[test]
fn classes_are_scikit_learns() {
    let rows = [([0.7, 0.2, 0.1], 0), ([0.1, 0.6, 0.3], 2), ([0.2, 0.5, 0.3], 1), ([0.1, 0.1, 0.8], 2)];
    let mut quality = Quality::default();
    for (scores, class) in rows {
        let label = Label::Number(f64::from(class));
        quality.add(&target(Task::Classes, false), Answer::Numbers(&scores), &label, &mut Vec::new());
    }
    let figures = quality.figures(Task::Classes).unwrap();
    close(figures.accuracy, 0.75);
    // log_loss and roc_auc_score(multi_class="ovr")
    close(figures.log_loss, 0.619_241);
    close(figures.auc, 0.847_222);
    // (0.3 + |0.6 - 0| + 0.5 + 0.2) / 4
    close(figures.calibration_error, 0.4);
    // Logits give the same.
    let mut logits = Quality::default();
    for (scores, class) in rows {
        let scores = scores.map(|score: f64| score.ln() + 3.0);
        let label = Label::Text(class.to_string().into());
        logits.add(&target(Task::Classes, true), Answer::Numbers(&scores), &label, &mut Vec::new());
    }
    close(logits.figures(Task::Classes).unwrap().log_loss, 0.619_241);
}

#[test]
fn binary_and_numbers() {
    let mut quality = Quality::default();
    for (score, class) in [(0.9, 1), (0.8, 0), (0.3, 0), (0.2, 1), (0.7, 1)] {
        let label = Label::Number(f64::from(class));
        quality.add(&target(Task::Binary, false), Answer::Numbers(&[score]), &label, &mut Vec::new());
    }
    let figures = quality.figures(Task::Binary).unwrap();
    close(figures.accuracy, 0.6);
    close(figures.auc, 0.5);
    close(figures.log_loss, 0.807_5);
    let mut quality = Quality::default();
    let label = Label::Many([1.0, 5.0].map(Label::Number).into());
    quality.add(&target(Task::Regression, false), Answer::Numbers(&[2.0, 2.0]), &label, &mut Vec::new());
    let figures = quality.figures(Task::Regression).unwrap();
    close(figures.mae, 2.0);
    close(figures.rmse, 5.0_f64.sqrt());
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut quality = Quality::default();
    let mut add = |scores: &[f64], label: Label| {
        quality.add(&target(Task::Classes, false), Answer::Numbers(scores), &label, &mut Vec::new());
    };
    add(&[0.5, 0.5], Label::Number(2.0));
    add(&[0.5, 0.5], Label::Text("cat".into()));
    add(&[f64::NAN, 0.5], Label::Number(0.0));
    add(&[3.0, 0.5], Label::Number(0.0));
    assert_eq!((quality.rows, quality.unusable, quality.not_probabilities), (1, 3, 1));
    let figures = quality.figures(Task::Classes).unwrap();
    assert_eq!((figures.accuracy, figures.log_loss), (Some(1.0), None));
    assert_eq!(Quality::default().figures(Task::Binary), None);
}

#[test]
fn labels_are_read_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, table) = (folder.path().join("a.jsonl"), folder.path().join("b.csv"));
    fs::write(
        &lines,
        "{\"id\": \"a\", \"label\": 3}\n{\"id\": \"b\", \"label\": [1, 2]}\nno\n{\"id\": \"a\", \"label\": 3}\n",
    )
    .unwrap();
    fs::write(&table, "when,id,label\n1,c,0.5\n2,\"d,e\",cat\n3,c,0.7\n4,f\n").unwrap();
    let labels = Labels::read(&[lines, table]).unwrap();
    assert!(matches!(labels.get("a"), Found::Label(Label::Number(3.0))));
    assert!(matches!(labels.get("a"), Found::Repeated));
    assert!(matches!(labels.get("c"), Found::Nothing) && matches!(labels.get("z"), Found::Nothing));
    assert!(matches!(labels.get("d,e"), Found::Label(label) if label.is_text(b"cat")));
    let (counts, notes) = labels.finish();
    let expected =
        LabelCounts { given: 3, doubled: 1, contradictory: 1, unreadable: 2, unknown: 1, ..LabelCounts::default() };
    assert_eq!(counts, expected);
    assert_eq!(notes[0], "labels with ids that no answered request of the log has: 1 (`b`)");
    let bad = folder.path().join("bad.jsonl");
    fs::write(&bad, "nothing\n").unwrap();
    assert!(Labels::read(&[bad]).is_err());
}

#[test]
fn many_scores_keep_the_area() {
    let mut state = 3_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut scores = Scores::default();
    let mut rows = Vec::new();
    for _ in 0..3000 {
        let is_class = random() < 0.3;
        let logit = random() * 12.0 - 6.0 + if is_class { 2.0 } else { 0.0 };
        let score = 1.0 / (1.0 + (-logit).exp());
        scores.add(0, score, is_class);
        rows.push((score, is_class));
    }
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (own, _) in rows.iter().filter(|(_, is_class)| *is_class) {
        for (other, _) in rows.iter().filter(|(_, is_class)| !is_class) {
            pairs += 1.0;
            wins += if own > other { 1.0 } else { 0.0 };
        }
    }
    close(scores.auc(), wins / pairs);
}
