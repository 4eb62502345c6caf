//! Models that are changed in memory to be faster give the recorded answers, and every model that loads as it is loads
//! with every way of changing it.

use std::fs;
use std::path::Path;

use tensorflow::{DataType, Operation, Output, Scope, Shape, ops};
use tf_persist_core::runtime::Runtime;
use tf_persist_core::tensor::Tolerance;
use tf_persist_core::warmup::Recorder;
use tf_persist_core::{
    Asserts, GraphSignature, LoadOptions, LoadedModel, ModelBuilder, NO_INPUTS, Optimization, Optimize, RunOptions,
    SaveOptions, SavedModel, Tensor,
};
use tf_persist_testing::{copy_folder, corpus, model};

use crate::recorded::{Recorded, models};

#[test]
fn our_models_answer_the_same() {
    let constants = answer_the_same(&models());
    assert!(constants.len() >= 12, "{constants:?}");
    // Its signatures write variables.
    assert!(!constants.contains(&"counter".to_owned()), "{constants:?}");
}

#[test]
fn real_models_answer_the_same() {
    let Some(corpus) = corpus("real_models_answer_the_same") else { return };
    let plain = Recorded::all(&corpus.join("dev")).into_iter().filter(|it| it.meta.custom_op_libs.is_empty());
    let constants = answer_the_same(&plain.collect::<Vec<_>>());
    assert!(constants.len() >= 15, "{constants:?}");
}

/// Runs all cases with every way of changing a model, and returns the models whose variables became constants.
#[expect(clippy::print_stdout, reason = "shows what was done to each")]
fn answer_the_same(all: &[Recorded]) -> Vec<String> {
    let mut constants = Vec::new();
    for recorded in all {
        for optimize in [Optimize::On, Optimize::Auto] {
            let options = recorded.options().optimize(optimize);
            recorded.check_with(&recorded.model, &options);
            let loaded = LoadedModel::load(&recorded.model, options.tags(&recorded.meta.tags)).unwrap();
            let done = loaded.optimization().unwrap();
            println!("{} {optimize:?}: it {done}", recorded.name);
            assert_eq!(done.reason.is_none(), done.constants, "{}: {done:?}", recorded.name);
            if optimize == Optimize::On && done.constants {
                constants.push(recorded.name.clone());
            }
        }
    }
    constants
}

/// The largest difference between the answers of a model as it is and simplified, relative to the largest number.
fn difference_of_simplified(folder: &Path, input: (&str, &Tensor)) -> f32 {
    let answer = |optimize: Optimize| {
        let loaded = LoadedModel::load(folder, LoadOptions::default().optimize(optimize)).unwrap();
        let (_, first) = loaded.default_signature().unwrap().run([input]).unwrap().into_vec().remove(0);
        assert_eq!(loaded.optimization().is_some_and(|done| done.simplified), optimize == Optimize::On);
        first.view::<f32>().unwrap().to_vec()
    };
    let (plain, changed) = (answer(Optimize::Off), answer(Optimize::On));
    let largest = plain.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = plain.iter().zip(&changed).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    assert!(largest > 0.1 && plain.len() == changed.len(), "{largest}");
    difference / largest
}

/// A new graph. A test may be the first of its process to use TensorFlow.
fn new_scope() -> Scope {
    Runtime::open().unwrap();
    Scope::new_root_scope()
}

/// Numbers between -1 and 1 as a constant.
fn noise(shape: &[u64], scope: &mut Scope) -> Output {
    let count = usize::try_from(shape.iter().product::<u64>()).unwrap();
    let values: Vec<f32> = (0..count).map(|index| ((index * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect();
    ops::constant(tensorflow::Tensor::new(shape).with_values(&values).unwrap(), scope).unwrap().into()
}

/// Batch normalisation as Keras writes it.
fn normalised(input: impl Into<Output>, channels: u64, scope: &mut Scope) -> Output {
    let epsilon = ops::constant(1e-3_f32, scope).unwrap();
    let variance = ops::square(noise(&[channels], scope), scope).unwrap();
    let scale = ops::rsqrt(ops::add_v2(variance, epsilon, scope).unwrap(), scope).unwrap();
    let scale = ops::mul(scale, noise(&[channels], scope), scope).unwrap();
    let shift = ops::mul(noise(&[channels], scope), scale.clone(), scope).unwrap();
    let shift = ops::sub(noise(&[channels], scope), shift, scope).unwrap();
    let scaled = ops::mul(input, scale, scope).unwrap();
    ops::add_v2(scaled, shift, scope).unwrap().into()
}

#[test]
fn batch_normalisation_is_folded_within_rounding() {
    let scope = &mut new_scope();
    let image = Shape::from(Some(vec![None, Some(6), Some(6), Some(3)]));
    let x = ops::Placeholder::new().dtype(DataType::Float).shape(image).build(&mut scope.with_op_name("x")).unwrap();
    let strides = [1_i64, 1, 1, 1];
    let filter = noise(&[3, 3, 3, 8], scope);
    let convolved = ops::Conv2D::new().strides(strides).padding("SAME").build(x, filter, scope).unwrap();
    let relu = ops::relu(normalised(convolved, 8, scope), scope).unwrap();
    let filter = noise(&[3, 3, 8, 2], scope);
    let depthwise = ops::DepthwiseConv2dNative::new().strides(strides).padding("VALID");
    let convolved = depthwise.build(relu, filter, scope).unwrap();
    let convolved = ops::bias_add(convolved, noise(&[16], scope), scope).unwrap();
    let relu = ops::relu6(normalised(convolved, 16, scope), scope).unwrap();
    let flat = ops::constant(&[-1_i32, 256][..], scope).unwrap();
    let rows = ops::reshape(relu, flat, scope).unwrap();
    let product = ops::mat_mul(rows, noise(&[256, 5], scope), scope).unwrap();
    let last = normalised(product, 5, scope);
    ops::identity(last, &mut scope.with_op_name("y")).unwrap();
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    let signature = GraphSignature::new("serving_default").input("x", "x").output("y", "y");
    ModelBuilder::new(scope.graph().graph_def().unwrap()).unwrap().signature(signature).save(&folder).unwrap();
    let values: Vec<f32> = (0..216).map(|index| (index % 37) as f32 / 18.0 - 1.0).collect();
    let input = Tensor::from_slice(&[2, 6, 6, 3], &values).unwrap();
    let difference = difference_of_simplified(&folder, ("x", &input));
    assert!(difference < 1e-5, "{difference}");
}

/// A node that refuses numbers below zero; `axes` are those of the tensor.
fn refuses_negatives(x: Output, axes: &[i32], scope: &mut Scope) -> Operation {
    let zero = ops::constant(0.0_f32, scope).unwrap();
    let fits = ops::greater_equal(x.clone(), zero, scope).unwrap();
    let axes = ops::constant(axes, scope).unwrap();
    let all: Output = ops::all(fits, axes, scope).unwrap().into();
    let mut graph = scope.graph_mut();
    let mut node = graph.new_operation("Assert", "assert").unwrap();
    node.add_input(all);
    node.add_input_list(&[x]);
    node.finish().unwrap()
}

/// Saves the graph from `x` to `y`.
fn save_graph(scope: &Scope, folder: &Path) {
    let signature = GraphSignature::new("serving_default").input("x", "x").output("y", "y");
    ModelBuilder::new(scope.graph().graph_def().unwrap()).unwrap().signature(signature).save(folder).unwrap();
}

fn placeholder(sizes: &[Option<i64>], scope: &mut Scope) -> Output {
    let shape = Shape::from(Some(sizes.to_vec()));
    ops::Placeholder::new().dtype(DataType::Float).shape(shape).build(&mut scope.with_op_name("x")).unwrap().into()
}

/// A root that refuses numbers below zero.
fn save_checked_root(folder: &Path) {
    let scope = &mut new_scope();
    let x = placeholder(&[None], scope);
    let assert = refuses_negatives(x.clone(), &[0], scope);
    ops::Sqrt::new().add_control_input(assert).build(x, &mut scope.with_op_name("y")).unwrap();
    save_graph(scope, folder);
}

/// A matrix product whose bias, or whose scale behind the bias, waits for an assertion.
#[test]
fn folded_nodes_still_wait_for_assertions() {
    for (waits, name) in [(0, "bias"), (1, "scale")] {
        let scope = &mut new_scope();
        let x = placeholder(&[None, Some(3)], scope);
        let assert = refuses_negatives(x.clone(), &[0, 1], scope);
        let product = ops::mat_mul(x, noise(&[3, 2], scope), scope).unwrap();
        let (mut bias, mut mul) = (ops::BiasAdd::new(), ops::Mul::new());
        match waits {
            0 => bias = bias.add_control_input(assert),
            _ => mul = mul.add_control_input(assert),
        }
        let biased = bias.build(product, noise(&[2], scope), scope).unwrap();
        let scaled = mul.build(biased, noise(&[2], scope), scope).unwrap();
        ops::relu(scaled, &mut scope.with_op_name("y")).unwrap();
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("model");
        save_graph(scope, &folder);
        for optimize in [Optimize::Off, Optimize::On] {
            let loaded = LoadedModel::load(&folder, LoadOptions::default().optimize(optimize)).unwrap();
            let run = |value: f32| {
                let x = Tensor::from_slice(&[1, 3], &[value; 3]).unwrap();
                loaded.default_signature().unwrap().run([("x", &x)])
            };
            run(1.0).unwrap();
            let refusal = run(-1.0).unwrap_err().to_string();
            assert!(refusal.contains("assertion failed"), "{name} {optimize:?}: {refusal}");
        }
    }
}

/// An op of two inputs, or one, with a declared shape.
fn shaped(op: &str, inputs: &[Output], frame: bool, sizes: &[Option<i64>], scope: &mut Scope) -> Output {
    let name = scope.get_unique_name_for_op(op);
    let mut graph = scope.graph_mut();
    let mut node = graph.new_operation(op, &name).unwrap();
    inputs.iter().for_each(|input| node.add_input(input.clone()));
    if frame {
        node.set_attr_string("frame_name", "frame").unwrap();
    }
    node.set_attr_shape_list("_output_shapes", &[Shape::from(Some(sizes.to_vec()))]).unwrap();
    node.finish().unwrap().into()
}

/// A loop of TensorFlow 1 that runs once. The constants of a product in it have to be in it as well.
#[test]
fn products_in_loops_of_tensorflow_1_answer_the_same() {
    let scope = &mut new_scope();
    let (rows, result) = ([None, Some(5), Some(3)], [None, Some(5), Some(2)]);
    let x = placeholder(&rows, scope);
    let weights = noise(&[3, 2], scope);
    let left = shaped("Enter", &[x], true, &rows, scope);
    let right = shaped("Enter", &[weights], true, &[Some(3), Some(2)], scope);
    let product = shaped("BatchMatMulV2", &[left, right], false, &result, scope);
    let left = shaped("Exit", &[product], false, &result, scope);
    ops::relu(left, &mut scope.with_op_name("y")).unwrap();
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    save_graph(scope, &folder);
    let values: Vec<f32> = (0..30).map(|index| (index % 7) as f32 / 3.0 - 1.0).collect();
    let input = Tensor::from_slice(&[2, 5, 3], &values).unwrap();
    assert!(difference_of_simplified(&folder, ("x", &input)) < 1e-6);
}

/// A request need not have the declared sizes: TensorFlow Serving's clients may send others.
#[test]
fn requests_of_other_shapes_answer_the_same() {
    let scope = &mut new_scope();
    let x = placeholder(&[None, Some(5), Some(3)], scope);
    let x = shaped("Abs", &[x], false, &[None, Some(5), Some(3)], scope);
    let weights = noise(&[3, 2], scope);
    let product = shaped("BatchMatMulV2", &[x, weights], false, &[None, Some(5), Some(2)], scope);
    let activated = ops::relu(ops::bias_add(product, noise(&[2], scope), scope).unwrap(), scope).unwrap();
    let mut reshaped = |input: Output, sizes: &[i32]| -> Output {
        let sizes = ops::constant(sizes, scope).unwrap();
        ops::reshape(input, sizes, scope).unwrap().into()
    };
    let flat = reshaped(activated.into(), &[-1]);
    let rows = reshaped(flat, &[-1, 2, 5]);
    let axes = |axes: &[i32], scope: &mut Scope| ops::constant(axes, scope).unwrap();
    let first = axes(&[0, 2, 1], scope);
    let transposed = ops::transpose(rows, first.clone(), scope).unwrap();
    let back = ops::transpose(transposed, first, scope).unwrap();
    let last = axes(&[1, 0, 2], scope);
    ops::transpose(back, last, &mut scope.with_op_name("y")).unwrap();
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    save_graph(scope, &folder);
    let load = |optimize: Optimize| LoadedModel::load(&folder, LoadOptions::default().optimize(optimize)).unwrap();
    let (plain, changed) = (load(Optimize::Off), load(Optimize::On));
    assert!(changed.optimization().unwrap().simplified);
    let run = |loaded: &LoadedModel, shape: &[usize]| -> tf_persist_core::Result<_> {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|index| (index % 7) as f32 - 3.0).collect();
        let input = Tensor::from_slice(shape, &values).unwrap();
        let options = RunOptions::default().skip_shape_check(true);
        let (_, answer) = loaded.default_signature()?.run_with([("x", &input)], &options)?.into_vec().remove(0);
        Ok((answer.shape().to_vec(), answer.view::<f32>().unwrap().to_vec()))
    };
    let mut answers = 0;
    for shape in [&[2, 5, 3][..], &[2, 10, 3], &[0, 5, 3], &[5, 3], &[2, 5, 1, 3], &[2, 5, 6], &[2, 3, 3], &[2, 5, 1]] {
        match (run(&plain, shape), run(&changed, shape)) {
            (Ok((wanted_shape, wanted)), Ok((found_shape, found))) => {
                assert_eq!(found_shape, wanted_shape, "{shape:?}");
                assert!(wanted.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5), "{shape:?}");
                answers += 1;
            }
            (Err(_), Err(_)) => {}
            (wanted, found) => panic!("{shape:?}: {wanted:?} became {found:?}"),
        }
    }
    assert_eq!(answers, 5);
}

#[test]
fn assertions_refuse_until_they_are_given_up() {
    let work = tempfile::tempdir().unwrap();
    let (folder, exported) = (work.path().join("model"), work.path().join("exported"));
    save_checked_root(&folder);
    let optimized = SaveOptions::default().optimized(true).asserts(Asserts::Drop);
    SavedModel::open(&folder).unwrap().save(&exported, optimized).unwrap();
    let root = |folder: &Path, options: LoadOptions, x: f32| {
        let loaded = LoadedModel::load(folder, options).unwrap();
        let answer = loaded.default_signature().unwrap().run([("x", &Tensor::from_slice(&[1], &[x]).unwrap())]);
        answer.map(|outputs| outputs.into_vec().remove(0).1.view::<f32>().unwrap()[0])
    };
    let default = LoadOptions::default;
    for options in [default(), default().asserts(Asserts::Drop), default().optimize(Optimize::On)] {
        assert_eq!(root(&folder, options.clone(), 4.0).unwrap(), 2.0);
        let refusal = root(&folder, options, -1.0).unwrap_err().to_string();
        assert!(refusal.contains("assertion failed"), "{refusal}");
    }
    let dropped = default().optimize(Optimize::On).asserts(Asserts::Drop);
    for (folder, options) in [(&folder, dropped), (&exported, default())] {
        assert_eq!(root(folder, options.clone(), 4.0).unwrap(), 2.0);
        assert!(root(folder, options, -1.0).unwrap().is_nan());
    }
}

#[test]
fn loops_become_their_steps_in_an_optimized_export() {
    let work = tempfile::tempdir().unwrap();
    let target = work.path().join("lstm");
    SavedModel::open(model("lstm")).unwrap().save(&target, SaveOptions::default().optimized(true)).unwrap();
    let has = |folder: &Path, op: &[u8]| {
        let graph = fs::read(folder.join("saved_model.pb")).unwrap();
        graph.windows(op.len()).any(|window| window == op)
    };
    assert!(has(&model("lstm"), b"_while_body") && !has(&target, b"_while_body"));
    Recorded::read(model("lstm").parent().unwrap()).check(&target);
}

fn loaded(name: &str, options: LoadOptions) -> (LoadedModel, Optimization) {
    let loaded = LoadedModel::load(model(name), options).unwrap();
    let done = loaded.optimization().unwrap().clone();
    (loaded, done)
}

#[test]
fn small_models_are_faster_in_the_calling_thread() {
    let (_, done) = loaded("half_plus_two", LoadOptions::default().optimize(Optimize::Auto));
    assert!(done.calling_thread && done.speedup.unwrap() > 1.0 && done.requests >= 1, "{done:?}");
    // The caller decided.
    let (_, done) = loaded("half_plus_two", LoadOptions::default().optimize(Optimize::Auto).inter_op_threads(2));
    assert!(!done.calling_thread, "{done:?}");
    let plain = LoadedModel::load(model("half_plus_two"), LoadOptions::default()).unwrap();
    assert_eq!(plain.optimization(), None);
}

#[test]
fn models_with_state_are_left_as_they_are() {
    for optimize in [Optimize::On, Optimize::Auto] {
        let (counter, done) = loaded("counter", LoadOptions::default().optimize(optimize));
        assert!(!done.constants && done.speedup.is_none(), "{done:?}");
        assert!(done.reason.as_ref().unwrap().contains("signature `"), "{done:?}");
        // The trial has not counted.
        let fresh = LoadedModel::load(model("counter"), LoadOptions::default()).unwrap();
        let count = |model: &LoadedModel| model.signature("value").unwrap().run(NO_INPUTS).unwrap().into_vec();
        assert_eq!(count(&counter), count(&fresh));
    }
}

#[test]
fn answers_beyond_the_tolerance_are_not_used() {
    let exact = LoadOptions::default().optimize(Optimize::Auto).optimize_tolerance(Tolerance::EXACT);
    let work = tempfile::tempdir().unwrap();
    // A recorded request that the model answers with rounding: constants are folded in another order.
    let folder = work.path().join("digits");
    copy_folder(&model("digits"), &folder);
    let (plain, changed) = (LoadedModel::load(&folder, LoadOptions::default()), LoadedModel::load(&folder, exact));
    let (plain, changed) = (plain.unwrap(), changed.unwrap());
    let input = Tensor::from_slice(&[1, 8, 8, 1], &[0.5_f32; 64]).unwrap();
    let run = |model: &LoadedModel| {
        let signature = model.default_signature().unwrap();
        let name = signature.inputs().next().unwrap().0.to_owned();
        signature.run([(name.as_str(), &input)]).unwrap().into_vec()
    };
    assert_eq!(run(&plain), run(&changed), "equal bits: {:?}", changed.optimization());
}

#[test]
fn recorded_requests_are_tried() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("half_plus_two");
    copy_folder(&model("half_plus_two"), &folder);
    let saved_model = SavedModel::open(&folder).unwrap();
    let plain = LoadedModel::load(&folder, LoadOptions::default()).unwrap();
    let mut recorder = Recorder::begin(&saved_model, plain.meta_graph(), true).unwrap();
    for value in [1.0_f32, 2.0, 3.0] {
        let x = Tensor::from_slice(&[1], &[value]).unwrap();
        recorder.add(&plain, "serving_default", vec![("x".to_owned(), x)]).unwrap();
    }
    recorder.write().unwrap();
    let changed = LoadedModel::load(&folder, LoadOptions::default().optimize(Optimize::Auto)).unwrap();
    assert_eq!(changed.optimization().unwrap().requests, 3);
}

#[test]
fn a_changed_model_is_saved_as_it_was() {
    let (changed, done) = loaded("digits", LoadOptions::default().optimize(Optimize::On));
    assert!(done.constants, "{done:?}");
    let work = tempfile::tempdir().unwrap();
    changed.save(work.path().join("copy"), SaveOptions::default()).unwrap();
    for file in ["saved_model.pb", "variables/variables.data-00000-of-00001"] {
        assert_eq!(
            fs::read(work.path().join("copy").join(file)).unwrap(),
            fs::read(model("digits").join(file)).unwrap()
        );
    }
    assert_eq!(changed.saved_model().path(), model("digits"));
}

#[test]
fn an_optimized_export_says_of_which_model_it_was_made() {
    let work = tempfile::tempdir().unwrap();
    let target = work.path().join("optimized");
    let source = SavedModel::open(model("digits")).unwrap();
    source.save(&target, SaveOptions::default().optimized(true)).unwrap();
    let exported = SavedModel::open(&target).unwrap();
    let optimized = exported.optimized().unwrap().unwrap();
    let fingerprint = source.fingerprint().unwrap().unwrap();
    assert_eq!(optimized.from.saved_model_checksum, Some(fingerprint.saved_model_checksum.to_string()));
    assert_eq!(optimized.from.checkpoint_hash, Some(fingerprint.checkpoint_hash.to_string()));
    assert_eq!(
        (optimized.changes, optimized.from.graph_sha256.len()),
        (vec!["constants".to_owned(), "calls".to_owned(), "weights".to_owned()], 64)
    );
    assert_eq!(source.optimized().unwrap(), None);
    let names = |model: &SavedModel| -> Vec<String> {
        model.meta_graphs()[0].signatures().iter().map(|signature| signature.name.clone()).collect()
    };
    assert_eq!(names(&exported), names(&source));
    Recorded::read(model("digits").parent().unwrap()).check(&target);
    // Nothing is left to do when it is loaded.
    let options = LoadOptions::default().inter_op_threads(-1).optimize(Optimize::Auto);
    let done = LoadedModel::load(&target, options).unwrap().optimization().unwrap().clone();
    assert_eq!((done.constants, done.reason.as_deref()), (false, Some("it was optimised when it was exported")));
    for optimize in [Optimize::Off, Optimize::On, Optimize::Auto] {
        let options = LoadOptions::default().optimize(optimize);
        Recorded::read(model("digits").parent().unwrap()).check_with(&target, &options);
    }
    // A signature that trains cannot be kept.
    let error = SavedModel::open(model("digits_trainable"))
        .unwrap()
        .save(work.path().join("trainable"), SaveOptions::default().optimized(true));
    assert!(error.unwrap_err().to_string().contains("does something else with the variable"));
}

#[test]
fn a_choice_is_remembered() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("new");
    let auto = || LoadOptions::default().optimize(Optimize::Auto).optimize_cache(&folder);
    let files = || fs::read_dir(&folder).map_or(0, Iterator::count);
    let mut first = loaded("digits", auto()).1;
    // On a busy machine the time may be over before all was tried, which nobody should remember.
    for _ in 0..5 {
        if files() > 0 {
            break;
        }
        first = loaded("digits", auto()).1;
    }
    assert!(!first.remembered && files() == 1, "{first:?}");
    let (model_again, again) = loaded("digits", auto());
    assert!(again.remembered && again.to_string().contains("in an earlier trial"), "{again:?}");
    let choice = |done: &Optimization| (done.constants, done.simplified, done.calling_thread, done.requests);
    assert_eq!((choice(&again), &again.reason), (choice(&first), &first.reason));
    // JSON does not keep the last bit of every number.
    assert!((again.speedup.unwrap() - first.speedup.unwrap()).abs() < 1e-9, "{again:?} {first:?}");
    let recorded = Recorded::read(model("digits").parent().unwrap());
    recorded.check_with(&recorded.model, &auto());
    drop(model_again);
    // Other options are another trial, and so is a damaged file.
    assert!(!loaded("digits", auto().optimize_tolerance(Tolerance::Within(1e-3))).1.remembered);
    for file in fs::read_dir(&folder).unwrap() {
        fs::write(file.unwrap().path(), "{").unwrap();
    }
    assert!(!loaded("digits", auto()).1.remembered);
}
