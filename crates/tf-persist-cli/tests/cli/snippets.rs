//! Every snippet of the READMEs, of CONTRIBUTING.md, SECURITY.md and docs/ is run, or listed with the reason why it is
//! not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tf_persist_core::tensor::npz;
use tf_persist_core::{DType, Tensor};
use tf_persist_testing::{libtensorflow, root, skipped};

use crate::serve::Running;
use crate::support::{Dir, TF_PERSIST};

/// A fenced block of a page.
struct Snippet {
    /// The page and the line of the fence, for messages.
    place: String,
    page: String,
    language: String,
    text: String,
}

/// Those that are not run: the page, what the first line begins with, and why.
const NOT_RUN: [(&str, &str, &str); 55] = [
    ("CONTRIBUTING.md", "scripts/setup", "it fetches over the network, and runs the demo and all tests"),
    ("CONTRIBUTING.md", "scripts/test", "it runs all tests"),
    ("README.md", "./scripts/demo", "it sets itself up over the network, and trains for minutes"),
    ("README.md", "cargo install", "it compiles everything once more, and fetches over the network"),
    ("README.md", "$ tf-persist train", "it is run, with what it prints, in tour.rs"),
    ("README.md", "$ tf-persist store init", "it is run, with what it prints, in tour.rs"),
    ("README.md", "[dependencies]", "the path is the reader's"),
    ("crates/tf-persist-savedmodel/README.md", "cargo run -p", "it compiles an example"),
    ("docs/architecture.md", "                     tf-persist-cli", "it is a drawing"),
    ("docs/architecture.md", "   REST: HTTP/1.1", "it is a drawing"),
    (
        "docs/born_in_rust.md",
        "cargo run --example",
        "it compiles an example, which the tests in tests/interop/born.rs run",
    ),
    ("docs/born_in_rust.md", "let given_both", "it is a part of that example"),
    ("docs/cli.md", "$ tf-persist diff before trained", "its two models are not in the repository"),
    ("docs/cli.md", "tf-persist completions", "it writes to the reader's folders; help.rs runs the command"),
    ("docs/cli.md", "tf-persist man", "it writes to the reader's folders; help.rs runs the command"),
    ("docs/flags.md", "gpu_options {", "flag_tests.rs of tf-persist-cli reads such files"),
    ("docs/flags.md", "platform_configs {", "flag_tests.rs of tf-persist-cli reads such files"),
    (
        "docs/cloud.md",
        "FROM python",
        "it needs Docker and the network; python/checks/check_cloud.py calls the server as platforms do",
    ),
    ("docs/cloud.md", "$ tar czf model.tar.gz", "it needs an account at AWS"),
    ("docs/cloud.md", "$ gcloud storage", "it needs an account at Google Cloud"),
    (
        "docs/deploy.md",
        "$ tf-persist image",
        "it needs a registry and a cluster; check_deploy.py checks what is printed",
    ),
    ("docs/deploy.md", "$ tf-persist deploy kserve", "python/checks/check_deploy.py checks what is printed"),
    ("docs/deploy.md", "$ tf-persist deploy batch", "it needs a cluster; check_deploy.py runs what the pods run"),
    ("docs/deploy.md", "$ helm install", "it needs a cluster; check_deploy.py renders the chart"),
    ("docs/image.md", "tf-persist image digits@production", "check_image.py writes images, some into a registry"),
    ("docs/image.md", "tf-persist image digits@3", "it needs bases; python/checks/check_image.py makes one"),
    ("docs/image.md", "$ podman run", "it needs podman; python/checks/check_image.py runs images without it"),
    ("docs/keras.md", "let keras = tf_persist_keras", "the example digits.rs of tf-persist-core has the same calls"),
    (
        "docs/keras.md",
        "$ tf-persist export old.h5",
        "no file of Keras 2 is in the repository; the checks in Python convert such",
    ),
    ("docs/keras_exporter.md", "pip install", "it fetches over the network; python/tests run the exporter"),
    ("docs/keras_exporter.md", "serving_default: image", "it is what the exporter prints"),
    ("docs/loop.md", "store = ", "tests of tf-persist-loop read it"),
    ("docs/loop.md", "[promote]", "tests of tf-persist-loop read it"),
    ("docs/loop.md", "$ tf-persist serve-local", "it goes on; python/checks/check_loop.py runs loops beside servers"),
    ("docs/loop.md", "$ tf-persist loop loop.toml --once", "it goes on; python/checks/check_loop.py runs such"),
    ("docs/loop.md", "2026-11-29", "it is a part of a log"),
    (
        "docs/monitor.md",
        "$ tf-persist monitor reference",
        "its logs are not in the repository; monitor.rs and python/checks/check_monitor.py make such",
    ),
    ("docs/op_libraries.md", "", "its models need op libraries; op_libraries.rs runs such"),
    ("docs/optimize.md", "$ tf-persist run", "its array is the reader's; tests/interop/optimize.rs runs the options"),
    ("docs/remotes.md", "tf-persist run s3://", "it needs a bucket; python/checks/check_remotes.py has one"),
    (
        "docs/remotes.md",
        "$ tf-persist store push digits@1 mlflow",
        "it needs a server of MLflow; python/checks/check_mlflow.py starts one",
    ),
    (
        "docs/request_log.md",
        "$ tf-persist serve-local",
        "its files are named by the time; request_log.rs runs the commands",
    ),
    ("docs/request_log.md", "for record in", "python/checks/check_request_log.py reads files so"),
    ("docs/request_log.md", "config {", "request_log.rs of tf-persist-serve has such a configuration"),
    (
        "docs/serve_store.md",
        "tf-persist serve-local --model_base_path s3://",
        "it needs a bucket; check_remotes.py has one",
    ),
    ("docs/store.md", "models.store/store.json", "it is a list of files"),
    ("docs/store.md", "$ tf-persist store push digits@1 oci", "it needs a registry; checks/check_oci.py starts one"),
    ("docs/scan.md", "$ tf-persist scan evil", "no model that does harm is in the repository; scan.rs makes such"),
    ("docs/traffic.md", "$ tf-persist serve-local", "serve_traffic.rs starts such a server with the file above"),
    ("docs/v2.md", "$ tf-persist serve-local", "python/checks/check_v2.py asks such a server"),
    ("docs/v2.md", "import numpy", "python/checks/v2_examples.py has programs of the same shape"),
    ("docs/v2.md", "{\"parameters\"", "the tests of tf-persist-serve send such requests"),
    ("docs/traces.md", "$ OTEL_EXPORTER", "it needs a collector; python/checks/check_traces.py is one"),
    ("python/README.md", "pip install", "it fetches over the network; python/tests run the exporter"),
    ("models/README.md", "export PYTHONPATH=python", "it makes all models once more, with Python's TensorFlow"),
];

/// The pages of the documentation, sorted: the READMEs, CONTRIBUTING.md, SECURITY.md and docs/.
pub(crate) fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "models/README.md", "python/README.md"]
            .map(str::to_owned)
            .into();
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap())).collect()
    };
    pages.extend(names("docs").into_iter().filter(|name| name.ends_with(".md")));
    pages.extend(names("crates").into_iter().map(|name| format!("{name}/README.md")));
    pages.retain(|page| root().join(page).is_file());
    pages.sort();
    pages
}

/// All snippets, in the order of their pages.
fn snippets() -> Vec<Snippet> {
    let mut all: Vec<Snippet> = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let mut open: Option<Snippet> = None;
        for (number, line) in text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, &mut open) {
                (Some(language), None) => {
                    let (place, language) = (format!("{page}:{}", number + 1), language.to_owned());
                    open = Some(Snippet { place, page: page.clone(), language, text: String::new() });
                }
                (Some(rest), Some(snippet)) => {
                    assert!(rest.is_empty(), "{}: it is not closed before the next one opens", snippet.place);
                    all.extend(open.take());
                }
                (None, Some(snippet)) => snippet.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: it is never closed", open.unwrap().place);
    }
    all
}

/// The one snippet of a page that begins like this.
fn snippet(page: &str, begin: &str) -> Snippet {
    let mut found: Vec<_> = snippets().into_iter().filter(|it| it.page == page && it.text.starts_with(begin)).collect();
    assert_eq!(found.len(), 1, "{page} has {} snippets that begin with `{begin}`", found.len());
    found.remove(0)
}

/// The text of that snippet.
pub(crate) fn snippet_text(page: &str, begin: &str) -> String {
    snippet(page, begin).text
}

fn is_not_run(snippet: &Snippet) -> bool {
    NOT_RUN.iter().any(|(page, begin, _)| snippet.page == *page && snippet.text.starts_with(begin))
}

/// Those that tests of their own run: the page, and what they begin with. Rust is run by `tests/readme.rs` of
/// tf-persist-core, everything else below.
const RUN: [(&str, &str); 19] = [
    ("README.md", "$ tf-persist inspect models/digits_keras"),
    ("README.md", "use tf_persist_core"),
    ("crates/tf-persist-core/README.md", "use tf_persist_core"),
    ("docs/cli.md", "$ tf-persist export models/digits/model digits"),
    ("docs/keras.md", "# A layer"),
    ("docs/keras.md", "# A SavedModel as a layer"),
    ("docs/keras.md", "# Another model"),
    ("docs/keras.md", "$ tf-persist inspect models/digits_keras"),
    ("docs/pack.md", "tf-persist export models/digits/model"),
    ("docs/pack.md", "unzip -q digits.tfpack"),
    ("docs/pack.md", "let bytes: Vec<u8>"),
    ("docs/scan.md", "tf-persist run PATH --trust"),
    ("docs/serve.md", "$ tf-persist serve-local"),
    ("docs/remotes.md", "$ tf-persist store init"),
    ("docs/store.md", "$ tf-persist store init"),
    ("docs/store.md", "$ tf-persist store key new"),
    ("docs/serve.md", "model_config_list {"),
    ("docs/serve_store.md", "tf-persist store init"),
    ("docs/traffic.md", "[digits]"),
];

#[test]
fn every_snippet_is_run_or_listed_with_a_reason() {
    for snippet in snippets() {
        let is_run = RUN.iter().any(|(page, begin)| snippet.page == *page && snippet.text.starts_with(begin));
        let by_language = ["jsonc", "yaml"].contains(&snippet.language.as_str());
        let count = [is_run, by_language, is_not_run(&snippet)].iter().filter(|is| **is).count();
        assert_eq!(count, 1, "{}: run it here, or list it in NOT_RUN with the reason", snippet.place);
    }
    for (page, begin, why) in NOT_RUN {
        assert!(!why.is_empty());
        assert!(snippets().iter().any(|it| it.page == page && it.text.starts_with(begin)), "{page}: `{begin}` is gone");
    }
}

#[test]
fn reports_that_are_shown_are_json() {
    let all: Vec<_> = snippets().into_iter().filter(|snippet| snippet.language == "jsonc").collect();
    assert!(all.len() >= 5);
    for Snippet { place, text, .. } in all {
        let plain: String = text.lines().map(|line| without_comment(line) + "\n").collect();
        serde_json::from_str::<serde_json::Value>(&plain).unwrap_or_else(|error| panic!("{place}: {error}\n{plain}"));
    }
}

/// A line of JSON without the remark at its end.
fn without_comment(line: &str) -> String {
    let (mut is_text, mut before) = (false, ' ');
    for (at, letter) in line.char_indices() {
        match letter {
            '"' if before != '\\' => is_text = !is_text,
            '/' if before == '/' && !is_text => return line[..at - 1].to_owned(),
            _ => {}
        }
        before = letter;
    }
    line.to_owned()
}

/// Runs a script in the folder of the test, with the binary and the repository's Python on the path.
fn bash(dir: &Dir, script: &str) -> (bool, String) {
    let binary = Path::new(TF_PERSIST).parent().unwrap();
    let python = root().join(".venv/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", binary.display(), python.display());
    // A wait for a server ends when the server has failed.
    let script = script.replace("; do sleep 0.1; done", "; do sleep 0.1; kill -0 %1; done");
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]).current_dir(dir.path("")).env("PATH", path);
    command.env("HOME", dir.home()).env_remove("XDG_CACHE_HOME").env("TF_PERSIST_LIBTENSORFLOW", libtensorflow());
    // gRPC's port may be another test's.
    command.env("TF_PERSIST_PORT", "0").stdin(Stdio::null());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    (done.status.success(), if done.status.success() { said } else { said + &String::from_utf8_lossy(&done.stderr) })
}

/// The commands of a console, each with the lines that it prints.
fn console(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, printed))) => printed.push(line),
            (None, None) => panic!("`{line}` belongs to no command"),
        }
    }
    commands
}

/// Runs the commands of a console block, and compares their output. Decimal numbers may differ in the last digits.
fn run_console(dir: &Dir, snippet: &Snippet) {
    for (command, shown) in console(&snippet.text) {
        let (is_done, printed) = bash(dir, command);
        let place = &snippet.place;
        assert!(is_done, "{place}: `{command}`: {printed}");
        let is_number = |word: &str| word.trim_matches(['[', ']', ',']).parse::<f64>().is_ok();
        let words = |line: &str| -> Vec<String> {
            line.split(' ')
                .map(|word| if is_number(word) && word.contains('.') { "#" } else { word }.to_owned())
                .collect()
        };
        // `…` in place of the last lines leaves them out.
        let (is_cut, shown) = shown.split_last().map_or((false, &shown[..]), |(last, lines)| {
            if *last == "…" { (true, lines) } else { (false, &shown[..]) }
        });
        for (printed, shown) in printed.lines().zip(shown) {
            assert_eq!(words(printed), words(shown), "{place}: `{command}`");
        }
        let count = printed.lines().count();
        let is_whole = if is_cut { count > shown.len() } else { count == shown.len() };
        assert!(is_whole, "{place}: `{command}` prints: {printed}");
    }
}

#[test]
fn the_consoles_print_what_they_show() {
    let dir = Dir::new();
    run_console(&dir, &snippet("README.md", "$ tf-persist inspect models/digits_keras"));
    run_console(&dir, &snippet("docs/cli.md", "$ tf-persist export models/digits/model digits"));
    run_console(&Dir::new(), &snippet("docs/keras.md", "$ tf-persist inspect models/digits_keras"));
    let dir = Dir::new();
    run_console(&dir, &snippet("docs/store.md", "$ tf-persist store init"));
    run_console(&dir, &snippet("docs/store.md", "$ tf-persist store key new"));
    run_console(&Dir::new(), &snippet("docs/remotes.md", "$ tf-persist store init"));
}

#[test]
fn the_recipes_give_what_python_gave() {
    let folder = root().join("models/custom_keras");
    for (begin, recipes) in [("# A layer", "recipes.toml"), ("# Another model", "encoder.toml")] {
        let shown = snippet("docs/keras.md", begin).text;
        assert_eq!(shown, fs::read_to_string(folder.join(recipes)).unwrap());
    }
    let dir = Dir::new();
    let missing = ["layers.\"my_package>GatedUnit\"", "lambdas.plus_one"];
    compare_with_python(&dir, "custom.keras", "io.npz", "models/custom_keras/recipes.toml", &missing);
    let (is_done, said) = bash(&dir, "tf-persist export models/custom_keras/encoder.keras encoder");
    assert!(is_done, "{said}");
    fs::write(dir.path("saved.toml"), snippet("docs/keras.md", "# A SavedModel as a layer").text).unwrap();
    for (name, recipes) in [
        ("with_encoder", "models/custom_keras/encoder.toml"),
        ("with_tuned_encoder", "models/custom_keras/encoder.toml"),
        ("with_encoder", "saved.toml"),
    ] {
        let (file, arrays) = (format!("{name}.keras"), format!("{name}.npz"));
        compare_with_python(&dir, &file, &arrays, recipes, &["layers.\"my_package>Encoder\""]);
    }
}

/// Runs a model of `models/custom_keras`, without the recipes that it says to be missing, and with them.
fn compare_with_python(dir: &Dir, file: &str, arrays: &str, recipes: &str, missing: &[&str]) {
    let arrays = npz::read_file(root().join("models/custom_keras").join(arrays)).unwrap();
    let array = |wanted: &str| arrays.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
    npz::write("x.npz", fs::File::create(dir.path("x.npz")).unwrap(), [("x", &array("x"))]).unwrap();
    let run = format!("tf-persist run models/custom_keras/{file} --inputs x.npz --output y.npz");
    let (is_done, said) = bash(dir, &run);
    assert!(!is_done && missing.iter().all(|name| said.contains(name)), "{said}");
    let (is_done, said) = bash(dir, &format!("{run} --custom-objects {recipes}"));
    assert!(is_done, "{said}");
    let ours = npz::read_file(dir.path("y.npz")).unwrap().remove(0).1;
    let python = array("output_0");
    let pairs = ours.view::<f32>().unwrap().iter().zip(python.view::<f32>().unwrap());
    let difference = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
    assert!(ours.shape() == python.shape() && difference < 1e-5, "{difference}");
}

#[test]
fn packs_go_back_and_forth_as_shown() {
    let dir = Dir::new();
    let image = Tensor::zeros(DType::Float32, &[1, 8, 8, 1]).unwrap();
    npz::write("image.npz", fs::File::create(dir.path("image.npz")).unwrap(), [("image", &image)]).unwrap();
    let (is_done, said) = bash(&dir, &snippet("docs/pack.md", "tf-persist export models/digits/model").text);
    assert!(is_done && said.contains("probabilities"), "{said}");
    // Two alternatives, each in its own folder.
    let text = snippet("docs/pack.md", "unzip -q digits.tfpack").text;
    for line in text.lines() {
        let tool = line.split(' ').next().unwrap();
        if !bash(&dir, &format!("command -v {tool}")).0 {
            skipped("packs_go_back_and_forth_as_shown", &format!("there is no `{tool}`"));
            continue;
        }
        fs::remove_dir_all(dir.path("digits")).unwrap();
        let (is_done, said) = bash(&dir, line);
        assert!(is_done && dir.path("digits/saved_model.pb").is_file(), "{line}: {said}");
    }
}

#[test]
fn trust_is_given_as_shown() {
    let dir = Dir::new();
    let text = snippet("docs/scan.md", "tf-persist run PATH --trust").text;
    let script = text.replace("PATH", "models/half_plus_two/model --input x=[1,2]");
    let (is_done, said) = bash(&dir, &script);
    assert!(is_done && said.matches("[2.5, 3.0]").count() == 2, "{said}");
}

/// A port that was free a moment ago.
fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// A folder with `site/models/m/1` and `2`.
fn site() -> Dir {
    let dir = Dir::new();
    for version in ["1", "2"] {
        dir.copy_model("half_plus_two", format!("site/models/m/{version}"));
    }
    dir
}

#[test]
fn the_guides_first_server_answers() {
    let dir = site();
    let text = snippet("docs/serve.md", "$ tf-persist serve-local").text.replace("8501", &free_port());
    let commands = console(&text);
    let [(serve, _), (curl, _)] = commands[..] else { panic!("{text}") };
    let ready = curl.split_once("/v1/").unwrap().0.replace("curl ", "");
    let script = format!(
        "cd site; {serve} & trap 'kill %1; wait' EXIT\n until curl -sf {ready}/readyz; do sleep 0.1; kill -0 %1; done\n {curl}"
    );
    let (is_done, said) = bash(&dir, &script);
    let said: String = said.split_whitespace().collect();
    assert!(is_done && said.contains("{\"predictions\":[2.5,3.0]}"), "{said}");
}

#[test]
fn the_guides_configuration_starts_and_its_probes_answer() {
    let dir = site();
    let config = snippet("docs/serve.md", "model_config_list {").text;
    let base = dir.path("site/models/m");
    dir.write("models.config", config.replace("/models/m", base.to_str().unwrap()));
    let server = Running::start(&dir, "--model_config_file=models.config");
    server.waits_for("ready: every model answers");
    for of in ["", "/versions/2", "/labels/stable"] {
        let (code, body) = server.ask("POST", &format!("/v1/models/m{of}:predict"), "{\"instances\": [1.0]}");
        assert_eq!(code, 200, "{of}: {body}");
    }
    let (_, models) = server.ask("GET", "/models", "");
    assert!(models.contains("\"labels\":{\"stable\":\"1\"}"), "{models}");
    let probes = snippets().into_iter().find(|snippet| snippet.language == "yaml").unwrap().text;
    let paths: Vec<&str> = probes.split("path: ").skip(1).map(|rest| rest.split([',', '}']).next().unwrap()).collect();
    assert_eq!(paths, ["/readyz", "/healthz"]);
    for path in paths {
        assert_eq!(server.ask("GET", path, "").0, 200, "{path}");
    }
}

#[test]
fn the_guides_store_is_served_promoted_and_rolled_back() {
    let dir = Dir::new();
    let port = free_port();
    let text = snippet("docs/serve_store.md", "tf-persist store init").text.replace("8501", &port);
    let wait = |version: u64| {
        format!(
            "until curl -s http://127.0.0.1:{port}/models | grep -q '\"labels\":{{\"production\":\"{version}\"}}'; do sleep 0.1; kill -0 %1; done"
        )
    };
    let (before, rollback) = text.trim_end().rsplit_once('\n').unwrap();
    let script = format!("trap 'kill %1; wait' EXIT; {before}\n{}\n{rollback}\n{}", wait(2), wait(1));
    let (is_done, said) = bash(&dir, &script);
    assert!(is_done && said.contains("digits@production is 1; it was 2"), "{said}");
    let said: String = said.split_whitespace().collect();
    assert!(said.contains("\"state\":\"AVAILABLE\""), "{said}");
}

/// Lines without the blanks at their ends, and without remarks.
fn code(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.split(" //").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect()
}

/// Set for the process that runs the Rust of docs/pack.md in its own folder.
const IN_ITS_FOLDER: &str = "TF_PERSIST_TEST_SNIPPETS";

#[test]
fn the_rust_of_packs_compiles_and_runs() {
    if std::env::var_os(IN_ITS_FOLDER).is_some() {
        return pack().unwrap();
    }
    // The text between these marks is shown on the page.
    let (_, rest) = include_str!("snippets.rs").split_once("// pack.md begins.\n").unwrap();
    let (below, _) = rest.split_once("// pack.md ends.\n").unwrap();
    let shown = snippet("docs/pack.md", "let bytes: Vec<u8>").text;
    assert_eq!(code(below), code(&shown), "docs/pack.md: what it shows is not what is run here");
    let dir = Dir::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "snippets::the_rust_of_packs_compiles_and_runs", "--nocapture"]);
    command.env(IN_ITS_FOLDER, "1").env("TF_PERSIST_LIBTENSORFLOW", libtensorflow()).current_dir(dir.path(""));
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

fn pack() -> tf_persist_core::Result<()> {
    use tf_persist_core::{LoadOptions, LoadSavedModel, SavedModel};

    // pack.md begins.
    let bytes: Vec<u8> = SavedModel::open("models/digits/model")?.to_bytes()?;
    let model = SavedModel::from_bytes(bytes)?.load(LoadOptions::default())?;
    // pack.md ends.
    model.signature("serving_default").map(drop)
}
