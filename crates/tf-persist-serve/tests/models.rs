//! Real models in TensorFlow: swapped, rolled back, broken, copied slowly, warmed up, and their memory given back.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tf_persist_core::runtime::Search;
use tf_persist_core::warmup::{FILE, tfrecord};
use tf_persist_core::{Code, LoadOptions, SaveOptions, SavedModel, Tensor};
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_proto::tensorflow::tensor_shape::tensor_shape_proto::Dim;
use tf_persist_proto::tensorflow::{DataType, Example, Feature, FloatList, TensorProto, TensorShapeProto};
use tf_persist_serve::internals::State::{Available, End};
use tf_persist_serve::internals::{self, Metrics, Models, State, Version};
use tf_persist_serve::{ModelSettings, ModelSource, RunSettings, Status};

/// The tests share a process, whose memory one of them measures.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Where libtensorflow is; `None` if there is none, which is said.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn libtensorflow(test: &str) -> Option<PathBuf> {
    let folder = env::var_os("TF_PERSIST_LIBTENSORFLOW").map_or_else(|| root().join(".venv"), PathBuf::from);
    if !folder.exists() {
        println!("SKIPPED {test}: there is no libtensorflow");
        return None;
    }
    Some(folder)
}

/// A folder of versions of `models/half_plus_two`.
struct Base(TempDir);

impl Base {
    fn path(&self) -> PathBuf {
        self.0.path().join("base")
    }

    /// Puts a version there, whole or not at all; `edit` may change it before.
    fn put(&self, version: i64, edit: impl FnOnce(&Path)) -> PathBuf {
        let hidden = self.path().join(format!(".{version}"));
        copy(&root().join("models/half_plus_two/model"), &hidden);
        edit(&hidden);
        let path = self.path().join(version.to_string());
        fs::rename(hidden, &path).unwrap();
        path
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn start(base: &Base, folder: &Path) -> Models {
    let source = ModelSource::BasePath { name: "m".into(), path: base.path() };
    let mut settings = ModelSettings::default().source(source).poll(Duration::from_millis(50));
    settings.load.retries = 0;
    settings.load.options = LoadOptions::default().search(Search::only(folder)).inter_op_threads(-1);
    Models::start(settings, RunSettings::default(), Metrics::new(), internals::warm_up).unwrap()
}

#[track_caller]
fn wait(models: &Models, wanted: &[(i64, State)]) {
    let begun = Instant::now();
    loop {
        let statuses = models.status("m", None).unwrap_or_default();
        let states: Vec<_> = statuses.iter().map(|status| (status.version, status.state)).take(wanted.len()).collect();
        if states == wanted {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "wanted {wanted:?}, and there are {statuses:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn error(models: &Models, version: i64) -> Status {
    models.status("m", Some(version)).unwrap()[0].error.clone().unwrap()
}

/// Half of it plus two, by whichever version answers.
fn ask(models: &Models) -> f32 {
    let servable = models.find("m", &Version::Latest).unwrap();
    let signature = servable.model().default_signature().unwrap();
    let (input, _) = signature.inputs().next().unwrap();
    let answer = signature.run([(input, Tensor::from_slice(&[1], &[2.0_f32]).unwrap())]).unwrap();
    answer.iter().next().unwrap().1.view::<f32>().unwrap()[0]
}

#[test]
fn versions_of_a_real_model() {
    let Some(folder) = libtensorflow("versions_of_a_real_model") else { return };
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let base = Base(tempfile::tempdir().unwrap());
    base.put(1, |_| {});
    let models = start(&base, &folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(models.ready()).unwrap();
    assert_eq!(ask(&models), 3.0);

    // Swapped and rolled back.
    base.put(2, |_| {});
    wait(&models, &[(2, Available), (1, End)]);
    assert_eq!(models.find("m", &Version::Latest).unwrap().version(), 2);
    fs::rename(base.path().join("2"), base.path().join(".gone")).unwrap();
    wait(&models, &[(2, End), (1, Available)]);

    // Broken in three ways, each with a sentence; the old one answers.
    base.put(3, |path| fs::write(path.join("saved_model.pb"), b"\xff\xff this is no model").unwrap());
    wait(&models, &[(3, End), (2, End), (1, Available)]);
    assert!(error(&models, 3).message.contains("saved_model.pb"), "{}", error(&models, 3));
    base.put(4, |path| {
        let data = path.join("variables/variables.data-00000-of-00001");
        let length = fs::metadata(&data).unwrap().len();
        fs::File::options().write(true).open(data).unwrap().set_len(length / 2).unwrap();
    });
    wait(&models, &[(4, End), (3, End), (2, End), (1, Available)]);
    assert!(!error(&models, 4).message.is_empty());
    let five = base.put(5, |path| fs::remove_file(path.join("saved_model.pb")).unwrap());
    wait(&models, &[(5, End)]);
    assert_eq!(error(&models, 5).code, Code::NotFound);
    assert_eq!(ask(&models), 3.0);

    // Whole at last.
    fs::copy(root().join("models/half_plus_two/model/saved_model.pb"), five.join("saved_model.pb")).unwrap();
    wait(&models, &[(5, Available), (4, End), (3, End), (2, End), (1, End)]);

    // A pack.
    let pack = base.path().join("6.tfpack");
    let artefact = SavedModel::open(base.path().join("1")).unwrap();
    artefact.save(&pack, SaveOptions::default()).unwrap();
    wait(&models, &[(6, Available), (5, End)]);
    assert_eq!(ask(&models), 3.0);
    warm_up(&base, &models);
    #[cfg(target_os = "linux")]
    only_loading_stands_back();
    models.stop();
    assert_eq!(models.find("m", &Version::Latest).err().unwrap().code, Code::NotFound);
}

/// TensorFlow's threads have the priority of whoever answers requests, though threads that load have started them.
#[cfg(target_os = "linux")]
fn only_loading_stands_back() {
    let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        let niceness: i32 = rest.split_whitespace().nth(16)?.parse().ok()?;
        Some((name.split_once('(')?.1.to_owned(), niceness))
    });
    let threads: Vec<(String, i32)> = threads.collect();
    let own = threads.iter().find(|(name, _)| name == "models").unwrap().1;
    let back: Vec<_> = threads.iter().filter(|(_, niceness)| *niceness > own).collect();
    // Threads of TensorFlow's have the name of the thread that started them.
    assert!(back.len() <= 1 && back.iter().all(|(name, _)| name == "load-1"), "{threads:?}");
}

/// Warm-up requests, right and wrong.
fn warm_up(base: &Base, models: &Models) {
    let with = |records: &[Vec<u8>]| {
        let mut file = Vec::new();
        for record in records {
            tfrecord::write_record(&mut file, record).unwrap();
        }
        move |path: &Path| {
            fs::create_dir_all(path.join(FILE).parent().unwrap()).unwrap();
            fs::write(path.join(FILE), &file).unwrap();
        }
    };
    let input = models.find("m", &Version::Latest).unwrap();
    let signature = input.model().default_signature().unwrap();
    let name = signature.inputs().next().unwrap().0.to_owned();
    let good = predict(&name);
    let expect = |version: i64, records: &[Vec<u8>], refused: Option<(Code, &str)>| {
        base.put(version, with(records));
        let Some((code, text)) = refused else { return wait(models, &[(version, Available)]) };
        wait(models, &[(version, End)]);
        let error = error(models, version);
        assert!(error.code == code && error.message.contains(text), "{error}");
    };
    expect(10, std::slice::from_ref(&good), None);
    expect(11, &vec![good.clone(); 1000], None);
    expect(
        12,
        &vec![good.clone(); 1001],
        Some((Code::InvalidArgument, "Number of warmup records exceeds the maximum (1000)")),
    );
    expect(
        13,
        &[good.clone(), b"\xff\xff\xff".to_vec()],
        Some((Code::InvalidArgument, "Failed to parse warmup record")),
    );
    expect(14, &[predict("no_such_input")], Some((Code::InvalidArgument, "no_such_input")));
    expect(
        15,
        &[log(|log| log.mut_session_run_log().request = MessageField::some(Default::default()))],
        Some((Code::Unimplemented, "Unsupported log_type for warmup: 5")),
    );
    expect(
        16,
        &[log(|log| log.mut_predict_streamed_log().request.push(Default::default()))],
        Some((Code::Unimplemented, "Unsupported log_type for warmup: 7")),
    );
    // The model has no signature for examples.
    let classify = log(|log| {
        let request = log.mut_classify_log().request.mut_or_insert_default();
        request.input = MessageField::some(examples());
    });
    expect(17, &[classify], Some((Code::InvalidArgument, "warm-up record 1")));
    expect(18, &[multi(&[("predict", "")])], Some((Code::Unimplemented, "Unsupported signature method_name")));
    expect(19, &[multi(&[("regress", "")])], Some((Code::InvalidArgument, "warm-up record 1")));
    base.put(20, |path| {
        with(&[good])(path);
        let file = fs::read(path.join(FILE)).unwrap();
        fs::write(path.join(FILE), &file[..file.len() - 1]).unwrap();
    });
    wait(models, &[(20, End)]);
    assert_eq!(error(models, 20).code, Code::DataLoss);
    assert!(error(models, 20).message.contains("Please verify your warmup data is in TFRecord format"));
    // What says nothing is nothing.
    expect(21, &[Vec::new()], None);

    // A model of TensorFlow Serving's, with signatures for examples.
    let Some(conformance) = conformance() else { return };
    let model = conformance.join("testdata/saved_model_half_plus_two_cpu/00000123");
    let expect = |version: i64, record: Vec<u8>, refused: Option<&str>| {
        base.put(version, |path| {
            fs::remove_dir_all(path).unwrap();
            copy(&model, path);
            with(&[record])(path);
        });
        let Some(text) = refused else { return wait(models, &[(version, Available)]) };
        wait(models, &[(version, End)]);
        assert!(error(models, version).message.contains(text), "{}", error(models, version));
    };
    let (classify, regress) = (("classify", "classify_x_to_y"), ("regress", "regress_x_to_y"));
    expect(30, multi(&[classify, regress]), None);
    expect(31, multi(&[regress, regress]), Some("Duplicate evaluation of signature: regress_x_to_y"));
    expect(32, multi(&[("regress", "classify_x_to_y")]), Some("No regression outputs found in SignatureDef: inputs {"));
    expect(33, multi(&[("regress", "nothing")]), Some("Requested signature not found in model graph: nothing"));
    let regress = |input: pb::Input| {
        log(|log| {
            let request = log.mut_regress_log().request.mut_or_insert_default();
            request.model_spec.mut_or_insert_default().signature_name = "regress_x_to_y".into();
            request.input = MessageField::some(input);
        })
    };
    expect(34, regress(examples()), None);
    expect(35, regress(pb::Input::new()), Some("Input is empty."));
    let classify = |signature: &str| {
        log(|log| {
            let request = log.mut_classify_log().request.mut_or_insert_default();
            request.model_spec.mut_or_insert_default().signature_name = signature.into();
            request.input = MessageField::some(examples());
        })
    };
    expect(36, classify("nothing"), Some("No signature was found with the name: nothing"));
    expect(
        37,
        classify("regress_x_to_y"),
        Some("Expected classification signature outputs to contain at least one of"),
    );
    expect(38, classify("classify_x_to_y"), None);
}

/// The conformance cases and their models, which stand beside the corpus.
fn conformance() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("TF_PERSIST_CORPUS")?).join("../conformance");
    folder.exists().then_some(folder)
}

/// A request of these methods of these signatures over the same examples.
fn multi(tasks: &[(&str, &str)]) -> Vec<u8> {
    log(|log| {
        let request = log.mut_multi_inference_log().request.mut_or_insert_default();
        request.input = MessageField::some(examples());
        for (method, signature) in tasks {
            let mut task = pb::InferenceTask::new();
            let spec = task.model_spec.mut_or_insert_default();
            (spec.name, spec.signature_name) = ("m".into(), (*signature).into());
            task.method_name = format!("tensorflow/serving/{method}");
            request.tasks.push(task);
        }
    })
}

fn log(fill: impl FnOnce(&mut pb::PredictionLog)) -> Vec<u8> {
    let mut log = pb::PredictionLog::new();
    fill(&mut log);
    log.write_to_bytes().unwrap()
}

fn predict(input: &str) -> Vec<u8> {
    log(|log| {
        let request = log.mut_predict_log().request.mut_or_insert_default();
        let mut tensor = TensorProto::new();
        tensor.dtype = DataType::DT_FLOAT.into();
        let mut shape = TensorShapeProto::new();
        shape.dim.push(Dim { size: 1, ..Default::default() });
        tensor.tensor_shape = MessageField::some(shape);
        tensor.float_val.push(2.0);
        request.inputs.insert(input.to_owned(), tensor);
    })
}

fn examples() -> pb::Input {
    let mut feature = Feature::new();
    feature.set_float_list(FloatList { value: vec![2.0], ..Default::default() });
    let mut example = Example::new();
    example.features.mut_or_insert_default().feature.insert("x".into(), feature);
    let mut input = pb::Input::new();
    input.mut_example_list().examples.push(example);
    input
}

/// What the process has in memory, in kB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A model is swapped again and again: as often as `TF_PERSIST_SWAPS` says, or some times.
#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "it measures")]
fn memory_is_given_back() {
    let Some(folder) = libtensorflow("memory_is_given_back") else { return };
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let swaps: i64 = env::var("TF_PERSIST_SWAPS").map_or(25, |swaps| swaps.parse().unwrap());
    let model =
        env::var_os("TF_PERSIST_SWAP_MODEL").map_or_else(|| root().join("models/half_plus_two/model"), PathBuf::from);
    let base = Base(tempfile::tempdir().unwrap());
    fs::create_dir(base.path()).unwrap();
    let models = start(&base, &folder);
    let mut after_five = 0;
    for version in 1..=swaps {
        let hidden = base.path().join(".new");
        copy(&model, &hidden);
        fs::rename(hidden, base.path().join(version.to_string())).unwrap();
        if version == 1 {
            wait(&models, &[(1, Available)]);
        } else {
            wait(&models, &[(version, Available), (version - 1, End)]);
            fs::remove_dir_all(base.path().join((version - 1).to_string())).unwrap();
        }
        if env::var_os("TF_PERSIST_SWAP_MODEL").is_none() {
            assert_eq!(ask(&models), 3.0);
        }
        if version == 5 {
            after_five = resident();
        }
        if version % 5 == 0 {
            println!("after {version} versions: {} kB", resident());
        }
    }
    let (before, after) = (after_five, resident());
    assert!(after <= before + before / 10, "after 5 versions {before} kB, after {swaps} {after} kB");
}
