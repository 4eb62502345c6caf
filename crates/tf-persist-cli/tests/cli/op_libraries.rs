//! `--op-library`: files and packages, and a sentence for each that cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tf_persist_testing::{libtensorflow, root, skipped};

use crate::command::Ran;
use crate::support::{Dir, TF_PERSIST};

/// A model with an op that nothing but `examples/haversine_op` has.
const HAVERSINE: &str = "examples/haversine_op/models/haversine/model";

/// The op in Rust, which cargo builds because these tests depend on it.
fn haversine() -> PathBuf {
    let name = if cfg!(target_os = "macos") { "libhaversine_op.dylib" } else { "libhaversine_op.so" };
    Path::new(TF_PERSIST).parent().unwrap().join("deps").join(name)
}

/// Compiles a shared library of C.
#[track_caller]
fn compile(dir: &Dir, name: &str, code: &str, flags: &[&str]) -> PathBuf {
    let source = dir.write(format!("{name}.c"), code);
    let library = dir.path(format!("{name}.so"));
    let cc =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).args(flags).output().unwrap();
    assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));
    library
}

/// A run that needs no library, with one that cannot be used.
#[track_caller]
fn refused(dir: &Dir, library: impl AsRef<Path>) -> Ran {
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1] --op-library").arg(library.as_ref()).run().fails();
    ran.says("the op library `").prints_only("")
}

#[test]
fn an_op_in_rust_runs() {
    let dir = Dir::new();
    let cmd = |library: Option<PathBuf>| {
        let options = ["--input", "start=[[52.52,13.405]]", "--input", "end=[[48.8566,2.3522]]", "--format", "json"];
        let library = library.iter().flat_map(|path| ["--op-library".into(), path.clone()]);
        dir.cmd("run").arg(root().join(HAVERSINE)).args(options).args(library)
    };
    let ran = cmd(Some(haversine())).run().ok();
    let kilometres = ran.json()["outputs"]["kilometres"][0].as_f64().unwrap();
    ran.check((kilometres - 877.46).abs() < 0.1, "that is not from Berlin to Paris");
    // By the environment, and twice.
    let both = format!("{0}:{0}", haversine().display());
    cmd(None).env("TF_PERSIST_OP_LIBRARIES", both).run().ok();
    // Without it, the op is named before it is run.
    let missed = cmd(None).run().fails();
    let missed =
        missed.says("`Haversine` (2 nodes, such as `Haversine` in function `").says("of signature `serving_default`");
    missed.hints("--op-library FILE.so");
}

#[test]
fn an_op_in_cc_runs() {
    let dir = Dir::new();
    if !root().join(".venv/bin/python").exists() {
        return skipped("an_op_in_cc_runs", "scripts/setup has not run");
    }
    let library = Path::new(TF_PERSIST).with_file_name("custom_op_for_cli_tests").join("libmoving_average.so");
    let source = "examples/moving_average_op/moving_average.cc";
    let built = Command::new(root().join("scripts/build_custom_op")).arg(source).arg(&library).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let models = root().join("examples/moving_average_op/models");
    let run = |model: &str, input: &str| {
        let cmd = dir.cmd("run --format json --input").arg(input).arg(models.join(model).join("model"));
        cmd.arg("--op-library").arg(&library).run().ok().json()["outputs"]["y"].clone()
    };
    assert_eq!(run("moving_average", "x=[[4,0],[4,8]]"), json!([[8.0, 6.0], [2.0, 2.5]]));
    assert_eq!(run("no_shape_function", "x=[4,0]"), json!(3.0));
}

#[test]
fn other_files_are_refused_as_libraries() {
    let dir = Dir::new();
    refused(&dir, "missing.so").says("`missing.so`").says("there is no such file");
    refused(&dir, "models").says("`models`").says("it is a folder");
    refused(&dir, dir.write("text.so", "int main;")).says("it is not a shared library");
    refused(&dir, dir.write("empty.so", "")).says("it is empty");
    refused(&dir, dir.write("ops.whl", "PK\x03\x04")).says("install it, and name the package");
    refused(&dir, TF_PERSIST).says("cannot be used");
    let whole = fs::read(haversine()).unwrap();
    refused(&dir, dir.write("cut.so", &whole[..whole.len() / 2])).says("damaged");
    let mut other = whole;
    // `e_machine` of the ELF header: a SPARC.
    other[18..20].copy_from_slice(&2_u16.to_le_bytes());
    refused(&dir, dir.write("other.so", other)).says("cannot be used");
    // It must not wait for a pipe without a writer.
    assert!(Command::new("mkfifo").arg(dir.path("pipe.so")).status().unwrap().success());
    refused(&dir, "pipe.so").says("not a regular file");
    let closed = dir.write("closed.so", "x");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read(&closed).is_ok() {
        return skipped("a library without the right to read it", "this user may read everything");
    }
    refused(&dir, closed).says("no permission");
}

#[test]
fn unloadable_libraries_are_explained() {
    let dir = Dir::new();
    let tensorflow = "extern void _ZN10tensorflow12OpDefBuilder7RemovedEv(void); void (*use)(void) = _ZN10tensorflow12OpDefBuilder7RemovedEv;";
    let other = refused(&dir, compile(&dir, "other", tensorflow, &[]));
    let other = other.says("it was built for another TensorFlow than 2.").says("`tensorflow::OpDefBuilder::Removed`");
    other.hints("install the release of the package for TensorFlow 2.");
    let unlinked = "extern void TF_NewStatus(void); void (*use)(void) = TF_NewStatus;";
    let unlinked = refused(&dir, compile(&dir, "unlinked", unlinked, &[])).says("it needs `TF_NewStatus`");
    unlinked.hints("it was not linked with TensorFlow");
    let symbol = "extern void own_function(void); void (*use)(void) = own_function;";
    refused(&dir, compile(&dir, "symbol", symbol, &[])).says("it needs `own_function`");
    let neighbour = compile(&dir, "libneighbour", "void own_function(void) {}", &[]);
    let needs = compile(&dir, "needs", symbol, &[neighbour.to_str().unwrap()]);
    fs::remove_file(&neighbour).unwrap();
    refused(&dir, needs).says("it needs the library `").says("libneighbour.so`, which was not found");
    refused(&dir, compile(&dir, "plain", "int answer = 42;", &[])).says("registers no ops");
}

#[test]
fn a_package_for_another_tensorflow_says_which_it_wants() {
    let dir = Dir::new();
    let code = "extern void _ZN10tensorflow12OpDefBuilderC1Ev(void); extern void _ZN10tensorflow4goneEv(void);
                void (*use[])(void) = {_ZN10tensorflow12OpDefBuilderC1Ev, _ZN10tensorflow4goneEv};";
    let library = compile(&dir, "_ops", code, &[]);
    let site = "env/lib/python3.12/site-packages";
    let file = dir.write(format!("{site}/own_ops/_ops.so"), fs::read(library).unwrap());
    dir.write(format!("{site}/own_ops-1.5.dist-info/RECORD"), "own_ops/_ops.so,,\nown_ops/__init__.py,,\n");
    let metadata = "Name: own-ops\nVersion: 1.5\nRequires-Dist: tensorflow<2.16,>=2.15\n\nText.\n";
    dir.write(format!("{site}/own_ops-1.5.dist-info/METADATA"), metadata);
    refused(&dir, file).says("`own-ops` 1.5 requires TensorFlow <2.16,>=2.15");
    // The same by its name, from the active environment.
    let cmd = dir
        .cmd("run models/half_plus_two/model --input x=[1] --op-library Own_Ops")
        .env("VIRTUAL_ENV", dir.path("env"));
    cmd.run().fails().says("`own-ops` 1.5 requires TensorFlow");
    // A name that is unknown lists those that are not, with where it looked.
    let cmd =
        dir.cmd("run models/half_plus_two/model --input x=[1] --op-library none").env("VIRTUAL_ENV", dir.path("env"));
    cmd.run().fails().says("env/lib/python3.12/site-packages").says("`own-ops`");
    refused(&dir, "tensorflow").says("TensorFlow itself");
    // A list of files that leads out of the folder leads nowhere.
    dir.write(format!("{site}/own_ops-1.5.dist-info/RECORD"), "../../../../_ops.so,,\n/etc/passwd,,\n");
    let cmd = dir
        .cmd("run models/half_plus_two/model --input x=[1] --op-library own-ops")
        .env("VIRTUAL_ENV", dir.path("env"));
    cmd.run().fails().says("has no op libraries");
}

/// Eggs, unrecorded folders, and links to sources: an installed package may have no list of files.
#[test]
fn a_package_without_a_list_of_its_files_is_found() {
    let dir = Dir::new();
    let site = "env/lib/python3.11/site-packages";
    let whole = fs::read(haversine()).unwrap();
    dir.write(format!("{site}/Egg_Ops/ops.so"), &whole);
    dir.write(format!("{site}/egg.ops-1.0-py3.11.egg-info/PKG-INFO"), "Name: egg-ops\nVersion: 1.0\n");
    dir.write(format!("{site}/bare_ops/below/ops.so"), &whole);
    let linked = format!("{site}/linked_ops-1.0.dist-info");
    dir.write(format!("{linked}/RECORD"), "__editable__.linked_ops.pth,,\nlinked_ops-1.0.dist-info/RECORD,,\n");
    dir.write(format!("{linked}/direct_url.json"), r#"{"url": "file:///src/own", "dir_info": {"editable": true}}"#);
    let cmd = |package: &str| {
        let cmd = dir.cmd("run --format json --input start=[[0,0]] --input end=[[0,0]]").arg(root().join(HAVERSINE));
        cmd.arg("--op-library").arg(package).env("VIRTUAL_ENV", dir.path("env")).run()
    };
    cmd("EGG-ops").ok();
    cmd("bare_ops").ok();
    cmd("linked-ops").fails().says("has no op libraries").hints("a link to `/src/own`: name the `.so` file in there");
    // Leftovers of another version do not matter.
    dir.write(format!("{site}/bare_ops-0.9.dist-info/RECORD"), "bare_ops/gone.so,,\n");
    dir.write(format!("{site}/bare_ops-1.0.dist-info/RECORD"), "bare_ops/below/ops.so,,\n");
    cmd("bare_ops").ok();
}

#[test]
fn tensorflow_and_python_modules_are_refused() {
    let dir = Dir::new();
    let module = "extern void PyExc_ValueError(void); void (*use)(void) = PyExc_ValueError;";
    refused(&dir, compile(&dir, "module", module, &[])).says("it is a module for Python");
    let report = dir.cmd("runtime --format json").run().ok().json();
    refused(&dir, report["file"].as_str().unwrap()).says("it is TensorFlow itself");
}

/// Nothing can catch it: the process ends with what the library does. What is promised is that it ends.
#[test]
fn a_library_that_aborts_ends_the_process() {
    let dir = Dir::new();
    let code = "#include <stdlib.h>\n__attribute__((constructor)) static void begin(void) { abort(); }";
    let library = compile(&dir, "aborts", code, &[]);
    let ran = dir.cmd("run models/half_plus_two/model --input x=[1] --op-library").arg(library).run();
    ran.check(ran.status.code().is_none(), "it goes on");
}

/// TensorFlow's wheel has op libraries that are only loaded if they are named.
#[test]
fn the_same_ops_from_two_files_are_refused() {
    let dir = Dir::new();
    let below = "tensorflow/lite/experimental/microfrontend/python/ops/_audio_microfrontend_op.so";
    let lib = libtensorflow().join("lib");
    let pythons = fs::read_dir(&lib).into_iter().flatten().flatten();
    let found = pythons.map(|python| python.path().join("site-packages").join(below)).find(|path| path.exists());
    let Some(library) = found else {
        return skipped("the_same_ops_from_two_files", "this libtensorflow is not from a wheel");
    };
    let run = |second: &Path| {
        let cmd = dir.cmd("run models/half_plus_two/model --input x=[1] --op-library").arg(&library);
        cmd.arg("--op-library").arg(second).run()
    };
    run(&library).ok();
    std::os::unix::fs::symlink(&library, dir.path("link.so")).unwrap();
    run(&dir.path("link.so")).ok();
    let copy = dir.write("copy.so", fs::read(&library).unwrap());
    run(&copy)
        .fails()
        .says("copy.so` cannot be used: `")
        .says("_audio_microfrontend_op.so` has registered its ops already");
    let other = dir.write("other.so", [fs::read(&library).unwrap(), vec![0]].concat());
    run(&other).fails().says("runs of these ops fail in this process from now on");
}

/// An op of a name that is taken, which does something else.
#[test]
fn other_ops_of_the_same_name_are_refused() {
    let dir = Dir::new();
    let report = dir.cmd("runtime --format json").run().ok().json();
    let tensorflow = report["file"].as_str().unwrap();
    let framework = tensorflow.replace("libtensorflow_cc", "libtensorflow_framework");
    let library = |name: &str, ops: &[(&str, &str)]| {
        let ops: Vec<String> = ops.iter().map(|(op, input)| format!("own(\"{op}\", \"{input}\");")).collect();
        let code = format!(
            "void *TF_NewOpDefinitionBuilder(const char *); void TF_OpDefinitionBuilderAddInput(void *, const char *);
             void TF_RegisterOpDefinition(void *, void *); void *TF_NewStatus(void);
             static void own(const char *op, const char *input) {{ void *it = TF_NewOpDefinitionBuilder(op);
             TF_OpDefinitionBuilderAddInput(it, input); TF_RegisterOpDefinition(it, TF_NewStatus()); }}
             __attribute__((constructor)) static void begin(void) {{ {} }}",
            ops.concat()
        );
        let mut libraries = vec![tensorflow];
        libraries.extend(Path::new(&framework).exists().then_some(framework.as_str()));
        compile(&dir, name, &code, &libraries)
    };
    refused(&dir, library("of_tensorflow", &[("MatMul", "x: double")]))
        .says("TensorFlow or this process has registered its ops already");
    refused(&dir, library("twice", &[("OwnOp", "x: float"), ("OwnOp", "x: double")]))
        .says("has registered its ops already");
    refused(&dir, library("senseless", &[("OwnOp", "x: nonsense")])).says("unknown attr 'nonsense'");
}
