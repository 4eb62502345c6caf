//! Models built and trained with the tensorflow crate and written by our exporter behave the same in Python.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};
use tensorflow::{DataType, Operation, Scope, Session, SessionOptions, SessionRunArgs, Shape, ops};
use tf_persist_core::runtime::Runtime;
use tf_persist_core::saved_model::TrainingKind;
use tf_persist_core::tensor::npz;
use tf_persist_core::{
    GraphSignature, LoadOptions, LoadSavedModel, LoadedModel, ModelBuilder, PartialShape, SaveOptions, Tensor,
};
use tf_persist_testing::root;

use crate::born_in_rust::{Born, Digits};
use crate::python;
use crate::recorded::Recorded;

/// The answers of the tensorflow crate's session, in order, in the format of recorded models.
#[derive(Default)]
struct Recording {
    cases: Vec<Value>,
    arrays: Vec<(String, Tensor)>,
}

impl Recording {
    fn case(&mut self, signature: &str, inputs: &[(&str, &Tensor)], outputs: &[(&str, Tensor)]) {
        let index = self.cases.len();
        let mut entry = |kind: &str, key: &str, tensor: &Tensor| {
            let name = format!("{index}.{kind}.{key}");
            self.arrays.push((name.clone(), tensor.clone()));
            (key.to_owned(), json!({ "dtype": tensor.dtype().name(), "shape": tensor.shape(), "npz": name }))
        };
        let inputs: serde_json::Map<_, _> = inputs.iter().map(|(key, tensor)| entry("in", key, tensor)).collect();
        let outputs: serde_json::Map<_, _> = outputs.iter().map(|(key, tensor)| entry("out", key, tensor)).collect();
        self.cases.push(json!({ "signature": signature, "inputs": inputs, "outputs": outputs }));
    }

    /// Runs the same requests on the model in `folder`, on its export, and on both in Python, eagerly and in a v1
    /// session; every bit must be the same.
    fn check(self, folder: &Path) {
        let meta = json!({ "tags": ["serve"], "tolerance": { "atol": 0.0, "rtol": 0.0 }, "cases": self.cases });
        fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
        let arrays = self.arrays.iter().map(|(name, tensor)| (name.as_str(), tensor));
        npz::write("io.npz", File::create(folder.join("io.npz")).unwrap(), arrays).unwrap();

        let recorded = Recorded::read(folder);
        assert_eq!(recorded.check(&recorded.model), 0.0);
        let exported = folder.join("exported");
        let model = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
        model.save(&exported, SaveOptions::default()).unwrap();
        assert_eq!(recorded.check(&exported), 0.0);
        let pairs = [&recorded.model, &exported].map(|model| format!("{}={}", model.display(), folder.display()));
        let said = python::run("checks.check_export", pairs);
        assert_eq!(said.matches("largest difference 0 (eager), 0 (session)").count(), 2, "{said}");
    }
}

/// The variables that Python finds in a model: in a session, the trainable ones of these, and eagerly.
fn variables_in_python(model: &Path) -> [Vec<String>; 3] {
    let said = python::run("checks.check_variables", [model]);
    let names: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    ["global", "trainable", "eager"].map(|kind| {
        let names = names[kind].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    })
}

#[test]
fn the_example_continues_in_python_as_in_rust() {
    let work = tempfile::tempdir().unwrap();
    let born = Born::new().unwrap();
    let data = root().join("models/digits_trainable");
    let training = Digits::read(data.to_str().unwrap(), "train.npz").unwrap();
    let held_out = Digits::read(data.to_str().unwrap(), "validate.npz").unwrap();
    let first = born.train_epoch(&training).unwrap();
    let saved = born.save(&work.path().join("model")).unwrap();
    assert_eq!(saved.training(&saved.meta_graphs()[0]).kind(), TrainingKind::Signature);
    assert_eq!(saved.training(&saved.meta_graphs()[0]).optimizer_variables, 8);

    let mut recording = Recording::default();
    let served = |recording: &mut Recording| {
        let probabilities = born.probabilities(&held_out).unwrap();
        recording.case("serving_default", &[("image", &held_out.image)], &[("probabilities", probabilities)]);
    };
    served(&mut recording);
    for start in [0, 320, 640, 960, 1280] {
        let batch = training.batch(start).unwrap();
        let loss = Tensor::scalar(born.step(&batch).unwrap()).unwrap();
        recording.case("train", &[("image", &batch.image), ("label", &batch.label)], &[("loss", loss)]);
    }
    served(&mut recording);
    recording.check(work.path());
    let [all, trained, _] = variables_in_python(saved.path());
    assert_eq!(
        (all.len(), trained),
        (12, ["hidden", "logits"].map(|it| [format!("{it}/kernel"), format!("{it}/bias")]).concat())
    );
    assert!(born.train_epoch(&training).unwrap() < first);
}

/// A graph with both kinds of variables, written by hand: a line fitted with momentum, a step counter and a table.
struct Line {
    runtime: Runtime,
    scope: Scope,
    session: Session,
    train: Operation,
    loss: Operation,
}

/// The variables, their shapes, and whether they are trained.
const VARIABLES: [(&str, &[u64], bool); 3] =
    [("slope", &[], true), ("offset", &[], true), ("slope/Momentum", &[], false)];

impl Line {
    fn new(vocabulary: &Path) -> Self {
        let runtime = Runtime::open().unwrap();
        let mut root = Scope::new_root_scope();
        let scope = &mut root;
        let placeholder = |name: &str, scope: &Scope| {
            let open = Shape::from(Some(vec![None]));
            ops::Placeholder::new().dtype(DataType::Float).shape(open).build(&mut scope.with_op_name(name)).unwrap()
        };
        let (x, y) = (placeholder("x", scope), placeholder("y", scope));
        let one = ops::constant(1.0_f32, scope).unwrap();
        let mut initial = Vec::new();
        let [slope, offset, momentum] = VARIABLES.map(|(name, shape, _)| {
            let handle = ops::VarHandleOp::new().dtype(DataType::Float).shape(shape).shared_name(name);
            let handle = handle.build(&mut scope.with_op_name(name)).unwrap();
            let assign = ops::AssignVariableOp::new().dtype(DataType::Float);
            initial.push(assign.build(handle.clone(), one.clone(), scope).unwrap());
            handle
        });
        let steps = tensorflow::Variable::builder().const_initial_value(0_i64);
        let steps = steps.build(&mut scope.with_op_name("steps")).unwrap();
        initial.push(steps.initializer().clone());

        let read = |handle: &Operation, name: &str, scope: &Scope| {
            let read = ops::ReadVariableOp::new().dtype(DataType::Float);
            read.build(handle.clone(), &mut scope.with_op_name(name)).unwrap()
        };
        // The names that Python would use: added nodes, and those of the saver, must avoid them.
        let at_slope = read(&slope, "slope/Read/ReadVariableOp", scope);
        let at_offset = read(&offset, "at_offset", scope);
        read(&momentum, "slope/Momentum/value", scope);
        ops::identity(one.clone(), &mut scope.with_op_name("save/RestoreV2")).unwrap();
        let product = ops::mul(x.clone(), at_slope.clone(), scope).unwrap();
        let line = ops::add(product, at_offset.clone(), &mut scope.with_op_name("line")).unwrap();
        let off = ops::squared_difference(line, y, scope).unwrap();
        let all = ops::constant(&[0_i32][..], scope).unwrap();
        let loss = ops::mean(off, all, &mut scope.with_op_name("loss")).unwrap();

        let by = [at_slope.into(), at_offset.into()];
        let gradients = scope.graph_mut().add_gradients(None, &[loss.clone().into()], &by, None).unwrap();
        let [slope_gradient, offset_gradient] = <[_; 2]>::try_from(gradients).unwrap().map(Option::unwrap);
        let rate = ops::constant(0.05_f32, scope).unwrap();
        let keep = ops::constant(0.9_f32, scope).unwrap();
        let moved = ops::resource_apply_momentum(slope, momentum, rate.clone(), slope_gradient, keep, scope).unwrap();
        let shifted = ops::resource_apply_gradient_descent(offset, rate, offset_gradient, scope).unwrap();
        let counted = ops::constant(1_i64, scope).unwrap();
        let counted = ops::assign_add(steps.output().clone(), counted, scope).unwrap();
        let train = [moved, shifted, counted].into_iter().fold(ops::NoOp::new(), ops::NoOp::add_control_input);
        let train = train.build(&mut scope.with_op_name("step")).unwrap();

        let words = ops::Placeholder::new().dtype(DataType::String).build(&mut scope.with_op_name("words")).unwrap();
        let table =
            ops::HashTableV2::new().key_dtype(DataType::String).value_dtype(DataType::Int64).shared_name("table");
        let table = table.build(scope).unwrap();
        let path = ops::constant(vocabulary.display().to_string(), &mut scope.with_op_name("vocabulary")).unwrap();
        let fill = ops::InitializeTableFromTextFileV2::new().key_index(-2).value_index(-1);
        fill.build(table.clone(), path, &mut scope.with_op_name("fill")).unwrap();
        let none = ops::constant(-1_i64, scope).unwrap();
        let find = ops::LookupTableFindV2::new().Tin(DataType::String).Tout(DataType::Int64);
        find.build(table, words, none, &mut scope.with_op_name("ids")).unwrap();

        let session = Session::new(&SessionOptions::new(), &scope.graph()).unwrap();
        let mut args = SessionRunArgs::new();
        initial.iter().for_each(|initial| args.add_target(initial));
        session.run(&mut args).unwrap();
        Self { runtime, scope: root, session, train, loss }
    }

    fn step(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let [x, y] = [x, y].map(|it| self.runtime.to_tensorflow_rust::<f32>(it).unwrap());
        let graph = self.scope.graph();
        let mut args = SessionRunArgs::new();
        args.add_feed(&graph.operation_by_name_required("x").unwrap(), 0, &x);
        args.add_feed(&graph.operation_by_name_required("y").unwrap(), 0, &y);
        args.add_target(&self.train);
        let token = args.request_fetch(&self.loss, 0);
        self.session.run(&mut args).unwrap();
        self.runtime.from_tensorflow_rust(&args.fetch::<f32>(token).unwrap()).unwrap()
    }

    fn value(&self, operation: &str) -> Tensor {
        let operation = self.scope.graph().operation_by_name_required(operation).unwrap();
        let mut args = SessionRunArgs::new();
        let token = args.request_fetch(&operation, 0);
        self.session.run(&mut args).unwrap();
        match args.fetch::<f32>(token) {
            Ok(value) => self.runtime.from_tensorflow_rust(&value).unwrap(),
            Err(_) => self.runtime.from_tensorflow_rust(&args.fetch::<i64>(token).unwrap()).unwrap(),
        }
    }

    fn builder(&self, vocabulary: &Path) -> ModelBuilder {
        let fed = |name: &str| GraphSignature::new(name).input("x", "x").input("y", "y:0");
        let mut model = ModelBuilder::new(self.scope.graph().graph_def().unwrap())
            .unwrap()
            .signature(GraphSignature::new("serving_default").input("x", "x").output("y", "line"))
            .signature(fed("train").output("loss", "loss").runs("step"))
            .signature(GraphSignature::new("steps").output("steps", "steps"))
            .signature(fed("train and look").output("steps", "steps").runs("step"))
            .signature(GraphSignature::new("ids").input("words", "words").output("ids", "ids"))
            .asset("vocabulary:0", vocabulary)
            .init_op("fill");
        for (name, read) in [("slope", "slope/Read/ReadVariableOp"), ("offset", "at_offset")] {
            model = model.variable(name, self.value(read));
        }
        model.state("slope/Momentum", self.value("slope/Momentum/value")).state("steps", self.value("steps"))
    }
}

#[test]
fn both_kinds_of_variables_tables_and_assets_are_exported() {
    let work = tempfile::tempdir().unwrap();
    let vocabulary = work.path().join("vocabulary.txt");
    fs::write(&vocabulary, "null\neins\nzwei\n").unwrap();
    let line = Line::new(&vocabulary);
    let x = Tensor::from_slice(&[4], &[0.0_f32, 1.0, 2.0, 3.0]).unwrap();
    let y = Tensor::from_slice(&[4], &[-1.0_f32, 1.0, 3.0, 5.0]).unwrap();
    (0..3).for_each(|_| drop(line.step(&x, &y)));

    let model = work.path().join("model");
    let saved = line.builder(&vocabulary).save(&model).unwrap();
    let meta_graph = saved.meta_graph(None).unwrap();
    assert_eq!(saved.training(meta_graph).optimizer_variables, 1);
    assert_eq!(meta_graph.saver().unwrap().filename_tensor, "save_1/Const:0");
    assert_eq!(meta_graph.init_op().unwrap().operation, "fill");
    assert_eq!(meta_graph.tensorflow_version(), line.runtime.version());
    assert!(meta_graph.producer() > 1000);
    assert_eq!(saved.signature("train").unwrap().output("loss").unwrap().shape.to_string(), "[]");
    assert_eq!(saved.signature("serving_default").unwrap().input("x").unwrap().shape.to_string(), "[-1]");
    let [asset] = &saved.assets(meta_graph).unwrap().files[..] else { panic!("one asset") };
    assert_eq!((asset.name.as_str(), asset.declared), ("vocabulary.txt", true));
    // The model has its own copy.
    fs::remove_file(&vocabulary).unwrap();

    let mut recording = Recording::default();
    recording.case("steps", &[], &[("steps", Tensor::scalar(3_i64).unwrap())]);
    for _ in 0..4 {
        recording.case("train", &[("x", &x), ("y", &y)], &[("loss", line.step(&x, &y))]);
    }
    recording.case("steps", &[], &[("steps", Tensor::scalar(7_i64).unwrap())]);
    // An output that is a variable has the value after the signature's operations.
    recording.case("train and look", &[("x", &x), ("y", &y)], &[("steps", Tensor::scalar(8_i64).unwrap())]);
    recording.check(work.path());

    let [all, trained, eager] = variables_in_python(&model);
    assert_eq!(all, ["slope", "offset", "slope/Momentum", "steps"]);
    assert_eq!(trained, ["slope", "offset"]);
    assert_eq!(eager, ["slope", "offset", "slope/Momentum"], "it lists resource variables only");

    let loaded = saved.load(LoadOptions::default()).unwrap();
    let words = Tensor::from_strings(&[3], ["zwei", "drei", "null"]).unwrap();
    let ids = loaded.signature("ids").unwrap().run([("words", words)]).unwrap();
    assert_eq!(ids["ids"].view::<i64>().unwrap(), [2, -1, 0]);
}

/// A bytes field of a protobuf message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

#[test]
fn invalid_models_are_refused_before_anything_is_written() {
    let work = tempfile::tempdir().unwrap();
    let vocabulary = work.path().join("vocabulary.txt");
    fs::write(&vocabulary, "a\n").unwrap();
    let line = Line::new(&vocabulary);
    let target = work.path().join("model");
    let refused = |builder: ModelBuilder, words: &str| {
        let said = builder.save(&target).unwrap_err().to_string();
        assert!(said.contains(words) && !target.exists(), "`{said}` does not say `{words}`");
    };
    let with = |signature: GraphSignature| line.builder(&vocabulary).signature(signature);
    let more = || GraphSignature::new("more").input("x", "x");
    refused(with(more().output("y", "line:1")), "output `y` of signature `more`: the operation `line` has no output 1");
    refused(with(more().output("y", "slope")), "output `y` of signature `more`");
    refused(with(more().input("steps", "steps").output("y", "line")), "`steps` is a variable, which cannot be fed");
    let wrong = PartialShape::new(vec![Some(2), None]);
    refused(with(more().shape(wrong).output("y", "line")), "the shape [2, -1] is declared, and the graph has [-1]");
    refused(line.builder(&vocabulary).asset("x", &vocabulary), "`x` is float32, and a path is a string");
    // A node of an unknown op.
    let node = |op: &[u8]| field(1, &[field(1, b"a"), field(2, op)].concat());
    refused(ModelBuilder::new(node(b"AlienOp42")).unwrap(), "AlienOp42");
    // `NodeDef.experimental_type` nested 98 messages deep: valid in a graph, but too deep in a model.
    let deep = (0..97).fold(Vec::new(), |inner, _| field(2, &inner));
    let nested = field(1, &[field(1, b"a"), field(2, b"NoOp"), field(7, &deep)].concat());
    refused(ModelBuilder::new(nested).unwrap(), "nested more than 100 deep");
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1, "nothing was left beside it");

    // A graph without a version counts as one of this TensorFlow; without variables there is no saver.
    let least = ModelBuilder::new(node(b"NoOp")).unwrap().tags(["train", "gpu"]);
    let least = least.save(work.path().join("least")).unwrap();
    let meta_graph = least.meta_graph(None).unwrap();
    assert!(meta_graph.producer() > 1000 && meta_graph.saver().is_none() && meta_graph.has_tags(&["gpu", "train"]));
    assert!(!least.path().join("variables").exists());
    least.load(LoadOptions::default().tags(["train", "gpu"])).unwrap();

    // The signature may declare a size that the graph leaves open.
    let declared = more().shape(PartialShape::new(vec![Some(2)])).output("y", "line");
    let saved = with(declared).save(&target).unwrap();
    assert_eq!(saved.signature("more").unwrap().input("x").unwrap().shape.to_string(), "[2]");
}
