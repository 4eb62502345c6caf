//! Models that are answered otherwise where the fast path believes too much of a graph: what is refused stays refused,
//! effects stay in order, and an export loads.

use std::path::Path;

use tf_persist_core::{
    ErrorKind, LoadOptions, LoadedModel, ModelErrorKind, Optimize, RunOptions, SaveOptions, SavedModel, Tensor,
};

use crate::python;

/// An answer's tensors, or that there was none.
type Answer = Option<Vec<(Vec<usize>, Vec<f32>)>>;

/// The answer of the default signature to a tensor of any shape, as a server gives it.
fn ask(model: &LoadedModel, input: &Tensor) -> Answer {
    let signature = model.default_signature().unwrap();
    let outputs = signature.run_with([("x", input)], &RunOptions::default().skip_shape_check(true)).ok()?;
    let flat = |(_, tensor): (String, Tensor)| (tensor.shape().to_vec(), tensor.view::<f32>().unwrap().to_vec());
    Some(outputs.into_vec().into_iter().map(flat).collect())
}

fn load(folder: &Path, optimize: Optimize) -> LoadedModel {
    LoadedModel::load(folder, LoadOptions::default().optimize(optimize)).unwrap()
}

fn is_same(found: &Answer, wanted: &Answer) -> bool {
    let (Some(found), Some(wanted)) = (found, wanted) else { return found.is_none() && wanted.is_none() };
    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 + 1e-5 * b.abs();
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|((shape, values), (wanted_shape, wanted))| {
            shape == wanted_shape && values.iter().zip(wanted).all(is_near)
        })
}

fn floats(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|index| ((index * 7) % 11) as f32 / 5.0 - 1.0).collect();
    Tensor::from_slice(shape, &values).unwrap()
}

fn filled(shape: &[usize], value: f32) -> Tensor {
    Tensor::from_slice(shape, &vec![value; shape.iter().product()]).unwrap()
}

#[test]
fn models_that_are_easily_changed_answer_the_same() {
    let work = tempfile::tempdir().unwrap();
    python::run("checks.make_rewrite_models", [work.path()]);
    let int = |value: i32| Tensor::scalar(value).unwrap();
    let cases = [
        ("effects_in_order", vec![filled(&[200, 200], 0.005)]),
        ("two_handles", vec![floats(&[3])]),
        ("growing_loop", vec![int(2), int(1)]),
        (
            "batch_product",
            vec![floats(&[2, 3, 4]), floats(&[4]), floats(&[3, 4]), floats(&[2, 1, 3, 4]), floats(&[2, 3, 8])],
        ),
        ("bias_of_a_vector", vec![floats(&[2, 3, 4]), floats(&[4]), floats(&[3, 4])]),
        ("three_transposes", vec![floats(&[2, 3, 4]), floats(&[2, 3]), floats(&[2, 1, 3, 4])]),
        ("far_mean", vec![filled(&[2, 1, 1, 16], 128.0), floats(&[1, 1, 1, 16])]),
        ("small_images", vec![floats(&[1, 5, 5, 3]), floats(&[1, 3, 50, 3]), floats(&[1, 2, 50, 3])]),
        ("gather_in_a_loop", vec![int(4), int(0)]),
        ("initialised_in_a_loop", vec![int(3)]),
        ("colocated_branches", vec![floats(&[2, 3]), filled(&[1, 3], 1.0)]),
        ("statistics", vec![floats(&[2, 4, 4, 3])]),
    ];
    // Their variables cannot become constants.
    let stay = ["two_handles", "statistics"];
    for (name, requests) in cases {
        let folder = work.path().join(name);
        let (plain, changed) = (load(&folder, Optimize::Off), load(&folder, Optimize::On));
        let done = changed.optimization().unwrap();
        assert_eq!(done.simplified, !stay.contains(&name), "{name}: it {done}");
        let exported = work.path().join(format!("{name}_exported"));
        let saved = SavedModel::open(&folder).unwrap().save(&exported, SaveOptions::default().optimized(true));
        assert_eq!(saved.is_ok(), !stay.contains(&name), "{name}: {saved:?}");
        let mut answers = 0;
        for request in requests {
            let wanted = ask(&plain, &request);
            answers += usize::from(wanted.is_some());
            let found = ask(&changed, &request);
            assert!(is_same(&found, &wanted), "{name} {:?}: {wanted:?} became {found:?}", request.shape());
            if saved.is_ok() {
                let found = ask(&load(&exported, Optimize::Off), &request);
                assert!(
                    is_same(&found, &wanted),
                    "{name} {:?}, exported: {wanted:?} became {found:?}",
                    request.shape()
                );
            }
        }
        assert!(answers > 0, "{name}");
    }
}

/// LSTM layers, and loops that are almost such, with one row, many or none, and with more steps than are taken at once,
/// as many, fewer or none.
#[test]
fn lstm_layers_take_many_steps_at_once() {
    let work = tempfile::tempdir().unwrap();
    let names = ["lstm", "lstm_both_ways", "lstm_loop", "lstm_loop_of_ten"];
    let others = [
        "counts_from_below",
        "every_other_step",
        "longer_list",
        "looks_at_the_length",
        "looks_at_the_list",
        "lstm_of_another_activation",
        "one_row_for_all",
        "only_the_first_is_read",
        "other_gates",
        "second_step_first",
        "two_rows_are_kept",
        "two_rows_are_read",
        "waits_for_a_check",
    ];
    let all = names.iter().chain(&others);
    python::run("checks.make_rewrite_models", std::iter::once(work.path()).chain(all.clone().map(Path::new)));
    let shapes = [
        [1, 1, 3],
        [1, 10, 3],
        [1, 31, 3],
        [4, 32, 3],
        [2, 33, 3],
        [1, 100, 3],
        [3, 12, 3],
        [0, 5, 3],
        [2, 0, 3],
        [1, 10, 4],
        [1, 10, 2],
    ];
    for name in all {
        let folder = work.path().join(name);
        let exported = work.path().join(format!("{name}_exported"));
        SavedModel::open(&folder).unwrap().save(&exported, SaveOptions::default().optimized(true)).unwrap();
        let graph = std::fs::read(exported.join("saved_model.pb")).unwrap();
        let is_fused = graph.windows(11).any(|window| window == b"BlockLSTMV2");
        assert_eq!(is_fused, names.contains(name), "{name}");
        if is_fused {
            // A request can be made for the open number of steps.
            let tried = load(&folder, Optimize::Auto);
            assert!(tried.optimization().unwrap().requests > 0, "{name}: it {}", tried.optimization().unwrap());
        }
        let (plain, changed) = (load(&folder, Optimize::Off), load(&exported, Optimize::Off));
        let mut answers = 0;
        for shape in &shapes {
            let (wanted, found) = (ask(&plain, &floats(shape)), ask(&changed, &floats(shape)));
            answers += usize::from(wanted.is_some());
            assert!(is_same(&found, &wanted), "{name} {shape:?}: {wanted:?} became {found:?}");
        }
        assert!(answers > 0, "{name}");
    }
}

/// An image smaller than a kernel is refused, whether TensorFlow computes a convolution alone or with a bias. Without a
/// check, the second answers with memory that nobody wrote.
#[test]
fn images_smaller_than_a_kernel_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let name = "small_images_biased";
    python::run("checks.make_rewrite_models", [work.path(), Path::new(name)]);
    let folder = work.path().join(name);
    for optimize in [Optimize::Off, Optimize::On] {
        let model = load(&folder, optimize);
        let run = |shape: &[usize]| model.default_signature().unwrap().run([("x", floats(shape))]);
        assert_eq!(run(&[1, 3, 50, 3]).unwrap()["y"].shape(), [1, 1, 48, 4]);
        let error = run(&[1, 2, 50, 3]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model(ModelErrorKind::WrongAnswer));
        let message = "output `y` of signature `serving_default` is of the shape [-1, -1, -1, 4], and TensorFlow gave [1, 2, 50, 3]";
        assert_eq!(error.to_string(), message);
    }
}
