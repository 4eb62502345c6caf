//! A model born in Rust: built with the tensorflow crate's ops, trained by its Adadelta on handwritten digits, and
//! written as a SavedModel that Python, TensorFlow Serving and `tf-persist` load, run and train on.
//!
//! ```sh
//! cargo run --example born_in_rust -- my_digits
//! tf-persist inspect my_digits
//! python -c 'import tensorflow as tf; print(tf.saved_model.load("my_digits").signatures["train"])'
//! ```
//!
//! The data are `train.npz` and `validate.npz` of `models/digits_trainable`: `image` (float32, n × 8 × 8 × 1, 0 to 1)
//! and `y`, the labels (int64, n).

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::env;
use std::path::Path;

use tensorflow::train::{AdadeltaOptimizer, ApplyGradientsOptions, ComputeGradientsOptions, Optimizer};
use tensorflow::{DataType, Operation, Output, Scope, Session, SessionOptions, SessionRunArgs, Shape, Variable, ops};
use tf_persist_core::runtime::Runtime;
use tf_persist_core::tensor::npz;
use tf_persist_core::{GraphSignature, LoadOptions, LoadSavedModel, ModelBuilder, SavedModel, Tensor};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The gradient of the loss by a variable, where the loss depends on it.
type Gradient = (Option<Output>, Variable);

const PIXELS: usize = 64;
const HIDDEN: usize = 48;
const DIGITS: usize = 10;
const BATCH: usize = 32;

fn main() -> Result<()> {
    let target = env::args().nth(1).unwrap_or_else(|| "born_in_rust".into());
    let data = env::args().nth(2).unwrap_or_else(|| "models/digits_trainable".into());

    let born = Born::new()?;
    let (training, held_out) = (Digits::read(&data, "train.npz")?, Digits::read(&data, "validate.npz")?);
    for epoch in 1..=12 {
        println!("epoch {epoch:2}: loss {:.4}", born.train_epoch(&training)?);
    }
    println!("{:.1} % of {} held-out digits right", 100.0 * born.accuracy(&held_out)?, held_out.len());

    let saved = born.save(target.as_ref())?;
    println!(
        "saved to `{target}`: {}\n{}",
        saved.training(saved.meta_graph(None)?),
        saved.signature("serving_default")?
    );

    // As anybody else would: from the folder, in a session of its own.
    let answer = saved.load(LoadOptions::default())?.signature("serving_default")?.run([("image", &held_out.image)])?;
    let same = answer["probabilities"] == born.probabilities(&held_out)?;
    println!("loaded again, its probabilities are {}", if same { "the same, bit for bit" } else { "others" });
    if same { Ok(()) } else { Err("the model changed on its way".into()) }
}

/// Images with their labels.
pub(crate) struct Digits {
    pub(crate) image: Tensor,
    pub(crate) label: Tensor,
}

impl Digits {
    pub(crate) fn read(folder: &str, file: &str) -> Result<Self> {
        let path = Path::new(folder).join(file);
        let mut arrays = npz::read_file(&path)?;
        let mut take = |name: &str| {
            let index = arrays.iter().position(|(array, _)| array == name);
            index.map(|index| arrays.swap_remove(index).1).ok_or(format!("{} lacks `{name}`", path.display()))
        };
        Ok(Self { image: take("image")?, label: take("y")? })
    }

    pub(crate) fn len(&self) -> usize {
        self.label.len()
    }

    /// The examples from `start` on, at most `BATCH` of them.
    pub(crate) fn batch(&self, start: usize) -> Result<Self> {
        let rows = start..(start + BATCH).min(self.len());
        let image = &self.image.view::<f32>()?[rows.start * PIXELS..rows.end * PIXELS];
        let label = &self.label.view::<i64>()?[rows.clone()];
        Ok(Self {
            image: Tensor::from_slice(&[rows.len(), 8, 8, 1], image)?,
            label: Tensor::from_slice(&[rows.len()], label)?,
        })
    }
}

/// The graph, and the session in which it is trained.
pub(crate) struct Born {
    runtime: Runtime,
    scope: Scope,
    session: Session,
    image: Operation,
    label: Operation,
    probabilities: Operation,
    loss: Operation,
    accuracy: Operation,
    train: Operation,
    /// What is trained, and what the optimizer remembers.
    weights: Vec<Variable>,
    slots: Vec<Variable>,
}

impl Born {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Runtime::open()?; // Before this, every call of the tensorflow crate panics.
        let mut root = Scope::new_root_scope();
        let scope = &mut root;

        let images = Shape::from(Some(vec![None, Some(8), Some(8), Some(1)]));
        let image = ops::Placeholder::new().dtype(DataType::Float).shape(images);
        let image = image.build(&mut scope.with_op_name("image"))?;
        let label = ops::Placeholder::new().dtype(DataType::Int64).shape(Shape::from(Some(vec![None])));
        let label = label.build(&mut scope.with_op_name("label"))?;

        let flat = ops::constant(&[-1, PIXELS as i32][..], scope)?;
        let pixels = ops::reshape(image.clone(), flat, scope)?;
        let (mut weights, hidden) = dense("hidden", pixels, [PIXELS, HIDDEN], scope)?;
        let hidden = ops::relu(hidden, scope)?;
        let (more, logits) = dense("logits", hidden, [HIDDEN, DIGITS], scope)?;
        weights.extend(more);
        let probabilities = ops::softmax(logits.clone(), &mut scope.with_op_name("probabilities"))?;

        // The sparse cross entropy, which takes labels as they are, has no gradient in TensorFlow's C++.
        let depth = ops::constant(DIGITS as i32, scope)?;
        let (on, off) = (ops::constant(1.0_f32, scope)?, ops::constant(0.0_f32, scope)?);
        let wanted = ops::one_hot(label.clone(), depth, on, off, scope)?;
        let losses = ops::softmax_cross_entropy_with_logits(logits.clone(), wanted, scope)?;
        let all = ops::constant(&[0_i32][..], scope)?;
        let loss = ops::mean(losses, all.clone(), &mut scope.with_op_name("loss"))?;

        let last = ops::constant(1_i32, scope)?;
        let right = ops::equal(ops::arg_max(logits, last, scope)?, label.clone(), scope)?;
        let right = ops::Cast::new().SrcT(DataType::Bool).DstT(DataType::Float).build(right, scope)?;
        let accuracy = ops::mean(right, all, &mut scope.with_op_name("accuracy"))?;

        let mut optimizer = AdadeltaOptimizer::new();
        optimizer.set_learning_rate(ops::constant(1.0_f32, scope)?);
        optimizer.set_epsilon(ops::constant(1e-6_f32, scope)?);
        let options = ComputeGradientsOptions::default().with_variables(&weights);
        let gradients = optimizer.compute_gradients(scope, loss.clone().into(), options)?;
        let gradients = all_before_any(gradients, scope)?;
        let options = ApplyGradientsOptions::default().with_grads_and_vars(&gradients);
        let (slots, train) = optimizer.apply_gradients(scope, options)?;

        let session = Session::new(&SessionOptions::new(), &scope.graph())?;
        let mut args = SessionRunArgs::new();
        weights.iter().chain(&slots).for_each(|variable| args.add_target(variable.initializer()));
        session.run(&mut args)?;
        Ok(Self { runtime, scope: root, session, image, label, probabilities, loss, accuracy, train, weights, slots })
    }

    /// Trains on all examples once; the mean loss.
    pub(crate) fn train_epoch(&self, digits: &Digits) -> Result<f32> {
        let mut sum = 0.0;
        for start in (0..digits.len()).step_by(BATCH) {
            let batch = digits.batch(start)?;
            sum += self.step(&batch)? * batch.len() as f32;
        }
        Ok(sum / digits.len() as f32)
    }

    /// One step of training; the loss from before it.
    pub(crate) fn step(&self, batch: &Digits) -> Result<f32> {
        Ok(self.run(batch, &self.loss, Some(&self.train))?.view::<f32>()?[0])
    }

    pub(crate) fn accuracy(&self, digits: &Digits) -> Result<f32> {
        Ok(self.run(digits, &self.accuracy, None)?.view::<f32>()?[0])
    }

    pub(crate) fn probabilities(&self, digits: &Digits) -> Result<Tensor> {
        self.run(digits, &self.probabilities, None)
    }

    fn run(&self, digits: &Digits, fetch: &Operation, target: Option<&Operation>) -> Result<Tensor> {
        let image = self.runtime.to_tensorflow_rust::<f32>(&digits.image)?;
        let label = self.runtime.to_tensorflow_rust::<i64>(&digits.label)?;
        let mut args = SessionRunArgs::new();
        args.add_feed(&self.image, 0, &image);
        args.add_feed(&self.label, 0, &label);
        let token = args.request_fetch(fetch, 0);
        if let Some(target) = target {
            args.add_target(target);
        }
        self.session.run(&mut args)?;
        Ok(self.runtime.from_tensorflow_rust(&args.fetch::<f32>(token)?)?)
    }

    /// Writes the model: the graph, the variables as they are now, and three ways to call it.
    pub(crate) fn save(&self, target: &Path) -> Result<SavedModel> {
        let given = |name: &str| GraphSignature::new(name).input("image", "image");
        let mut model = ModelBuilder::new(self.scope.graph().graph_def()?)?
            .overwrite(true)
            .signature(given("serving_default").output("probabilities", "probabilities"))
            .signature(given("evaluate").input("label", "label").output("loss", "loss").output("accuracy", "accuracy"))
            .signature(given("train").input("label", "label").output("loss", "loss").runs(self.train.name()?));
        for variable in &self.weights {
            model = model.variable(variable.name(), self.value(variable)?);
        }
        for variable in &self.slots {
            model = model.state(variable.name(), self.value(variable)?);
        }
        Ok(model.save(target)?)
    }

    pub(crate) fn value(&self, variable: &Variable) -> Result<Tensor> {
        let mut args = SessionRunArgs::new();
        let token = args.request_fetch(&variable.output().operation, variable.output().index);
        self.session.run(&mut args)?;
        Ok(self.runtime.from_tensorflow_rust(&args.fetch::<f32>(token)?)?)
    }
}

/// A dense layer: `input` × kernel + bias. Its variables, and what comes out of it.
fn dense(name: &str, input: impl Into<Output>, size: [usize; 2], scope: &mut Scope) -> Result<(Vec<Variable>, Output)> {
    let scope = &mut scope.new_sub_scope(name);
    let shape = ops::constant(&size.map(|it| it as i32)[..], scope)?;
    // A seed, so that everybody gets the same model.
    let noise = ops::TruncatedNormal::new().dtype(DataType::Float).seed(1).seed2(size[1] as i64).build(shape, scope)?;
    let spread = ops::constant((2.0 / size[0] as f32).sqrt(), scope)?;
    let kernel = Variable::builder()
        .initial_value(ops::mul(noise, spread, scope)?)
        .data_type(DataType::Float)
        .shape(size.map(|it| it as u64))
        .build(&mut scope.with_op_name("kernel"))?;
    let bias = Variable::builder()
        .const_initial_value(tensorflow::Tensor::<f32>::new(&[size[1] as u64]))
        .build(&mut scope.with_op_name("bias"))?;
    let sum = ops::mat_mul(input, kernel.output().clone(), scope)?;
    let sum = ops::bias_add(sum, bias.output().clone(), scope)?;
    Ok((vec![kernel, bias], sum.into()))
}

/// Gradients that wait for each other. `Optimizer::minimize` would change a layer's kernel while the gradient of the
/// layer before it is still read through it, and the steps would differ from run to run.
fn all_before_any(gradients: Vec<Gradient>, scope: &mut Scope) -> Result<Vec<Gradient>> {
    let all: Vec<Operation> =
        gradients.iter().flat_map(|(gradient, _)| gradient).map(|it| it.operation.clone()).collect();
    let mut scope = scope.with_control_dependencies(&all);
    let mut waiting = |(gradient, variable): Gradient| {
        let copy = gradient.map(|it| ops::identity(it, &mut scope)).transpose()?;
        Ok((copy.map(Output::from), variable))
    };
    gradients.into_iter().map(&mut waiting).collect()
}
