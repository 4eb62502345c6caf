//! Small models, written and read back. `python/checks/check_keras_models.py` loads them in Python.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tf_persist_savedmodel::saved_model::Unrestored;
use tf_persist_savedmodel::scan::Level;
use tf_persist_savedmodel::{DType, SaveOptions, SavedModel, Tensor};

use super::{Endpoint, ModelParts, Structure, Value};
use crate::graph::{Function, Graph, Program, Resource, Shape, Signature, Table, TensorRef, Variable};
use crate::reason::Result;

/// A program with values of its variables.
struct Model {
    program: Rc<Program>,
    values: Vec<Tensor>,
    signatures: Vec<Signature>,
    serve: Option<Endpoint>,
    assets: Vec<(String, Vec<u8>)>,
}

impl Model {
    fn new() -> Self {
        Self { program: Program::new(), values: Vec::new(), signatures: Vec::new(), serve: None, assets: Vec::new() }
    }

    fn variable(&mut self, name: &str, value: Tensor) -> Resource {
        let (dtype, shape) = (value.dtype(), value.shape().to_vec());
        self.values.push(value);
        let trainable = name.starts_with("weights/");
        self.program.add_variable(Variable { name: name.into(), dtype, shape, trainable })
    }

    /// A variable of small, different floats.
    fn weight(&mut self, name: &str, shape: &[usize]) -> Resource {
        let seed = self.values.len() as f32;
        let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * 0.7 + seed).sin() * 0.5).collect();
        self.variable(name, Tensor::from_slice(shape, &values).unwrap())
    }

    fn signature(
        &mut self,
        name: &str,
        inputs: &[(&str, DType, Shape)],
        outputs: &[&str],
        build: impl FnOnce(&Graph, &[TensorRef]) -> Result<Vec<TensorRef>>,
    ) {
        let graph = Graph::new(&self.program);
        let arguments = inputs.iter().map(|(name, dtype, shape)| graph.argument(name, *dtype, shape.clone()));
        let arguments: Vec<TensorRef> = arguments.collect::<Result<_>>().unwrap();
        let results = build(&graph, &arguments).unwrap();
        self.signatures.push(Signature {
            name: name.into(),
            inputs: inputs.iter().map(|(name, ..)| (*name).to_owned()).collect(),
            outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
            function: Function { name: name.into(), graph, outputs: results },
        });
    }

    fn write(&self, target: &Path) -> tf_persist_savedmodel::Result<()> {
        let parts = ModelParts {
            program: &self.program,
            signatures: &self.signatures,
            value: &|index| Ok(Value::Tensor(self.values[index].clone())),
            serve: self.serve,
            assets: self.assets.clone(),
            extra_files: &|_| Ok(vec![("keras/config.json".into(), b"{}".to_vec())]),
        };
        parts.write(target, true)
    }
}

/// Where the models are written: a temporary folder, or one that is kept for Python.
fn folder() -> (PathBuf, Option<tempfile::TempDir>) {
    match std::env::var_os("TF_PERSIST_KERAS_MODELS") {
        Some(kept) => (kept.into(), None),
        None => {
            let folder = tempfile::tempdir().unwrap();
            (folder.path().to_path_buf(), Some(folder))
        }
    }
}

fn batch(size: u64) -> Shape {
    Shape::new([None, Some(size)])
}

fn dense(graph: &Graph, x: &TensorRef, kernel: Resource, bias: Resource) -> Result<TensorRef> {
    graph.bias_add(&graph.mat_mul(x, &graph.read(kernel)?)?, &graph.read(bias)?)
}

/// Two dense layers with a loop between them, which reads a variable itself.
fn loops() -> Model {
    let mut model = Model::new();
    let kernel = model.weight("weights/dense/kernel", &[3, 4]);
    let bias = model.weight("weights/dense/bias", &[4]);
    let step = model.weight("weights/loop 1.0/step", &[4, 4]);
    let kernel_1 = model.weight("weights/dense_1/kernel", &[4, 2]);
    let bias_1 = model.weight("weights/dense_1/bias", &[2]);
    model.weight("weights/Dense_1/bias", &[2]);
    let steps = 5;
    model.signature("serving_default", &[("x", DType::Float32, batch(3))], &["probabilities", "Hidden"], |graph, x| {
        let hidden = graph.relu(&dense(graph, &x[0], kernel, bias)?)?;
        let limit = graph.scalar_i32(steps)?;
        let initial = [graph.scalar_i32(0)?, hidden.clone()];
        let last = graph.while_loop(
            "loop",
            &initial,
            None,
            |graph, state| graph.less(&state[0], &limit),
            |graph, state| {
                let next = graph.tanh(&graph.add_v2(&graph.mat_mul(&state[1], &graph.read(step)?)?, &hidden)?)?;
                Ok(vec![graph.add_v2(&state[0], &graph.scalar_i32(1)?)?, next])
            },
        )?;
        let logits = dense(graph, &last[1], kernel_1, bias_1)?;
        Ok(vec![graph.softmax(&logits)?, last[1].clone()])
    });
    model.serve = Some(Endpoint { inputs: Structure::Tensor, outputs: Structure::Dict });
    model
}

/// A step that changes variables, with a signature that reads them.
fn trained() -> Model {
    let mut model = Model::new();
    let kernel = model.weight("weights/dense/kernel", &[3, 2]);
    let iteration = model.variable("optimizer/iteration", Tensor::scalar(7_i64).unwrap());
    let inputs = [("x", DType::Float32, batch(3)), ("a_target", DType::Float32, batch(2))];
    model.signature("serving_default", &inputs[..1], &["y"], |graph, x| {
        Ok(vec![graph.mat_mul(&x[0], &graph.read(kernel)?)?])
    });
    model.signature("train", &inputs, &["loss", "before", "after"], |graph, x| {
        let error = graph.sub(&graph.mat_mul(&x[0], &graph.read(kernel)?)?, &x[1])?;
        let loss = graph.mean(&graph.square(&error)?, &[0, 1], false)?;
        let gradient = graph.mat_mul_with(&x[0], &error, true, false)?;
        let rate = graph.scalar(0.01, DType::Float32)?;
        graph.assign_sub(kernel, &graph.mul(&gradient, &rate)?)?;
        let before = graph.read(iteration)?;
        graph.assign_add(iteration, &graph.scalar(1.0, DType::Int64)?)?;
        Ok(vec![loss, before, graph.read_again(iteration)?])
    });
    model
}

/// Tables that are filled from a file and from constants, and no variables.
fn tables() -> Model {
    let mut model = Model::new();
    let words = ["the", "quick", "brown", "fox"];
    let values: Vec<i64> = (2..6).collect();
    let table = |name: &str, keys: Tensor, values: Tensor, asset: Option<&str>| {
        let asset = asset.map(str::to_owned);
        model.program.add_table(Table { name: name.into(), keys, values, asset })
    };
    let words_tensor = Tensor::from_strings(&[4], words).unwrap();
    let values = Tensor::from_slice(&[4], &values).unwrap();
    let ids = table("tables/ids", words_tensor.clone(), values.clone(), Some("vocabulary.txt"));
    let back = table("tables/words", values, words_tensor, None);
    model.assets.push(("vocabulary.txt".into(), b"the\nquick\nbrown\nfox\n".to_vec()));
    let unknown = Shape::new([None]);
    let inputs = [("words", DType::String, unknown)];
    model.signature("serving_default", &inputs, &["ids", "words", "size"], |graph, x| {
        let found = graph.table_find(ids, &x[0], &graph.scalar(1.0, DType::Int64)?)?;
        let missing = graph.constant(Tensor::from_strings(&[], ["[UNK]"])?)?;
        let again = graph.table_find(back, &found, &missing)?;
        Ok(vec![found, again, graph.table_size(ids)?])
    });
    model
}

/// Variables whose names continue each other or are not names of nodes, an input that is an output, a loop in a loop.
fn names() -> Model {
    let mut model = Model::new();
    let outer = model.weight("a", &[2]);
    let inner = model.weight("a/b", &[2]);
    model.weight("a/b/Ünïcode: c.d", &[1]);
    model.weight("a/c", &[]);
    let counter = model.variable("counter", Tensor::scalar(0_i32).unwrap());
    let inputs = [("z", DType::Float32, batch(2)), ("Class", DType::Float32, batch(2))];
    model.signature("serving_default", &inputs, &["same", "a: sum", "again"], |graph, x| {
        let sum = graph.add_v2(&graph.mul(&x[0], &graph.read(outer)?)?, &graph.mul(&x[1], &graph.read(inner)?)?)?;
        Ok(vec![x[0].clone(), sum.clone(), sum])
    });
    model.signature("count", &[], &["steps"], |graph, _| {
        let (zero, two) = (graph.scalar_i32(0)?, graph.scalar_i32(2)?);
        let one = graph.scalar_i32(1)?;
        let below = |graph: &Graph, state: &[TensorRef]| graph.less(&state[0], &two);
        graph.while_loop("outer", std::slice::from_ref(&zero), None, below, |graph, state| {
            graph.while_loop("inner", std::slice::from_ref(&zero), None, below, |graph, state| {
                graph.assign_add(counter, &one)?;
                Ok(vec![graph.add_v2(&state[0], &one)?])
            })?;
            Ok(vec![graph.add_v2(&state[0], &one)?])
        })?;
        Ok(vec![graph.read_again(counter)?])
    });
    model.serve = Some(Endpoint { inputs: Structure::List, outputs: Structure::List });
    model
}

fn models() -> [(&'static str, Model); 4] {
    [("loops", loops()), ("trained", trained()), ("tables", tables()), ("names", names())]
}

#[test]
fn models_are_opened_scanned_and_saved_again() {
    let (folder, _kept) = folder();
    for (name, model) in models() {
        let target = folder.join(name);
        model.write(&target).unwrap();
        let opened = SavedModel::open(&target).unwrap();
        let names: Vec<&str> = opened.signatures().unwrap().iter().map(|signature| signature.name.as_str()).collect();
        let mut expected: Vec<&str> = model.signatures.iter().map(|signature| signature.name.as_str()).collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let found = &opened.variables().unwrap().all;
        assert_eq!(found.len(), model.values.len());
        for (variable, value) in model.program.variables.borrow().iter().zip(&model.values) {
            if !variable.name.starts_with("a/") && !variable.name.contains('.') {
                assert_eq!(opened.read_variable(&variable.name).unwrap(), *value);
            }
        }
        let findings = opened.scan().unwrap().findings;
        assert!(findings.iter().all(|finding| finding.level == Level::Info), "{name}: {findings:?}");
        let meta_graph = opened.meta_graph(None).unwrap();
        assert_eq!(opened.unrestored_variables(meta_graph).unwrap(), Unrestored::default());
        assert!(opened.assets(meta_graph).unwrap().missing.is_empty());
        for (kind, options) in
            [("frozen", SaveOptions::default().frozen(true)), ("pruned", SaveOptions::default().inference_only(true))]
        {
            let report = opened.save(folder.join(format!("{name}_{kind}")), options.overwrite(true)).unwrap();
            assert!(report.signatures.contains(&"serving_default".to_owned()));
        }
    }
}

#[test]
fn variables_are_paths_of_dictionaries() {
    let folder = tempfile::tempdir().unwrap();
    let keys = |model: &Model| {
        model.write(&folder.path().join("model")).unwrap();
        let variables = SavedModel::open(folder.path().join("model")).unwrap().variables().unwrap().clone();
        variables.all.into_iter().map(|variable| variable.name).collect::<Vec<_>>()
    };
    let names = ["a.Sb.SÜnïcode: c..d", "a.Sb", "a.Sc", "a", "counter"];
    assert_eq!(keys(&self::names()), names);
    let trained = trained();
    assert_eq!(keys(&trained), ["optimizer/iteration", "weights/dense/kernel"]);
    let opened = SavedModel::open(folder.path().join("model")).unwrap();
    let training = opened.training(opened.meta_graph(None).unwrap());
    assert_eq!((training.signatures, training.optimizer_variables), (vec!["train".to_owned()], 1));
}

#[test]
fn equal_models_make_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in models() {
        let files = ["one", "other"].map(|target| {
            let (_, model) = models().into_iter().find(|(other, _)| *other == name).unwrap();
            model.write(&folder.path().join(target)).unwrap();
            ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
                .map(|file| std::fs::read(folder.path().join(target).join(file)).unwrap())
        });
        assert!(files[0] == files[1], "{name}");
    }
}

#[test]
fn asset_files_are_used_where_they_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let has_asset = |change: &dyn Fn(&mut Table)| {
        let model = tables();
        change(&mut model.program.tables.borrow_mut()[0]);
        model.write(&folder.path().join("model")).unwrap();
        folder.path().join("model/assets/vocabulary.txt").exists()
    };
    let keys = |words: [&str; 4]| Tensor::from_strings(&[4], words).unwrap();
    assert!(has_asset(&|_| ()));
    assert!(!has_asset(&|table| table.keys = keys(["the", "quick", "brown", "dog"])));
    assert!(!has_asset(&|table| table.keys = keys(["the", "quick", "", "fox"])));
    assert!(!has_asset(&|table| table.values = Tensor::from_slice(&[4], &[2_i64, 3, 4, 6]).unwrap()));
    assert!(!has_asset(&|table| table.asset = None));
}

#[test]
fn refuses_what_no_loader_reads() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model");
    let refusal = |change: &dyn Fn(&mut Model)| {
        let mut model = trained();
        change(&mut model);
        let error = model.write(&target).unwrap_err().to_string();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
        error
    };
    let outputs = |names: [&'static str; 3]| {
        move |model: &mut Model| model.signatures[1].outputs = names.map(str::to_owned).to_vec()
    };
    assert!(refusal(&outputs(["loss", "loss", "y"])).contains("the signature `train` has two outputs `loss`"));
    assert!(refusal(&|model| model.signatures[1].outputs.clear()).contains("does not name each"));
    assert!(refusal(&|model| model.signatures[1].name = "serving_default".into()).contains("two signatures"));
    assert!(refusal(&|model| model.signatures[0].name = "__saved_model_init_op".into()).contains("cannot be the name"));
    assert!(refusal(&|model| model.values[0] = Tensor::scalar(1.0_f32).unwrap()).contains("and its value float32[]"));
    let renamed =
        |name: &'static str| move |model: &mut Model| model.program.variables.borrow_mut()[1].name = name.into();
    assert!(refusal(&renamed("weights/dense/kernel")).contains("two variables"));
    assert!(refusal(&renamed("signatures")).contains("two variables"));
    let two = |model: &mut Model| {
        *model = names();
        model.serve = Some(Endpoint { inputs: Structure::Tensor, outputs: Structure::List });
    };
    assert!(refusal(&two).contains("2 tensors are not one"));
}
