//! What is in an image, and how it is started.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use tf_persist_core::OpLibrary;
use tf_persist_core::runtime::Runtime;
use tf_persist_store::image::{Healthcheck, ImageConfig, ImageLayer, LayerEntry, with_folders};

use super::libraries::{self, Needed};
use super::models::Model;
use super::system;

/// The user and group of the server.
pub(super) const USER: u32 = 65532;
pub(super) const GROUP_NAME: &str = "nonroot";

/// Folders of the image.
const BIN: &str = "tf-persist/bin";
const LIB: &str = "tf-persist/lib";
const OPS: &str = "tf-persist/ops";
const PRIVATE: &str = "tf-persist/ops/lib";
pub(super) const HOME: &str = "tf-persist/home";
pub(super) const MODELS: &str = "models";

/// The file that lists several models.
const CONFIG_FILE: &str = "models/models.config";

/// The file that turns metrics on, for `--monitoring_config_file`, and what it says.
const MONITORING_FILE: &str = "tf-persist/etc/monitoring.config";
const MONITORING: &str = "prometheus_config { enable: true }\n";

/// Ports of the server.
const GRPC_PORT: u16 = 8500;
const REST_PORT: u16 = 8501;

/// The library that libtensorflow needs beside it.
const FRAMEWORK: &str = "libtensorflow_framework.so.2";

/// The files of this machine that go into an image.
pub(super) struct Files {
    program: PathBuf,
    tensorflow: Vec<PathBuf>,
    tensorflow_version: String,
    op_libraries: Vec<PathBuf>,
    needed: Needed,
}

impl Files {
    /// Finds the files. libtensorflow and the op libraries are opened, so that an image only has what works.
    pub(super) fn find(runtime: &Runtime, op_libraries: &[PathBuf]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let core = runtime.file().to_path_buf();
        let framework = core.with_file_name(FRAMEWORK);
        let tensorflow: Vec<PathBuf> = [core, framework].into_iter().filter(|file| file.is_file()).collect();
        let mut libraries: Vec<PathBuf> = Vec::new();
        for name in op_libraries {
            let loaded = OpLibrary::load_named(runtime, name)?;
            libraries.extend(loaded.iter().map(|library| library.path().to_path_buf()));
        }
        libraries.sort();
        libraries.dedup();
        let all: Vec<PathBuf> = [&program].into_iter().chain(&tensorflow).chain(&libraries).cloned().collect();
        let needed = libraries::needed(&all)?;
        let tensorflow_version = runtime.version().to_owned();
        Ok(Self { program, tensorflow, tensorflow_version, op_libraries: libraries, needed })
    }

    /// The layers, from that which changes least to that which changes most.
    pub(super) fn layers(&self, models: &[Model], has_base: bool) -> anyhow::Result<Vec<ImageLayer>> {
        let mut layers = Vec::new();
        let mut add = |created_by: String, entries: Vec<LayerEntry>| layers.push(ImageLayer { created_by, entries });
        if !has_base {
            add("tf-persist image: the C library".to_owned(), system::entries(&self.needed)?);
        }
        add(
            format!("tf-persist image: libtensorflow {}", self.tensorflow_version),
            with_folders(below(LIB, &self.tensorflow)?),
        );
        if !self.op_libraries.is_empty() || !self.needed.private.is_empty() {
            let mut entries = below(OPS, &self.op_libraries)?;
            for (name, path) in &self.needed.private {
                entries.push(LayerEntry::file(format!("{PRIVATE}/{name}"), 0o755, path));
            }
            add("tf-persist image: op libraries".to_owned(), with_folders(entries));
        }
        let program = vec![
            LayerEntry::file(format!("{BIN}/tf-persist"), 0o755, &self.program),
            LayerEntry::bytes(MONITORING_FILE, 0o644, MONITORING),
            LayerEntry::folder(HOME, 0o700).owner(USER),
        ];
        add(format!("tf-persist image: tf-persist {}", env!("CARGO_PKG_VERSION")), with_folders(program));
        for model in models {
            add(format!("tf-persist image: {}", model.reference()), model.entries.clone());
        }
        if models.len() > 1 {
            let config = LayerEntry::bytes(CONFIG_FILE, 0o644, config_file(models));
            add("tf-persist image: the list of models".to_owned(), with_folders(vec![config]));
        }
        Ok(layers)
    }

    /// How the image is started. `variables` are those of the user, which win.
    pub(super) fn config(&self, models: &[Model], variables: &[(String, String)], has_base: bool) -> ImageConfig {
        let mut environment = vec![("TF_PERSIST_LIBTENSORFLOW", format!("/{LIB}")), ("HOME", format!("/{HOME}"))];
        if !self.op_libraries.is_empty() {
            let files = self.op_libraries.iter().filter_map(|path| path.file_name()?.to_str());
            let files: Vec<String> = files.map(|name| format!("/{OPS}/{name}")).collect();
            environment.push(("TF_PERSIST_OP_LIBRARIES", files.join(":")));
        }
        if !self.needed.private.is_empty() {
            environment.push(("LD_LIBRARY_PATH", format!("/{PRIVATE}")));
        }
        match models {
            [model] => {
                environment.push(("TF_PERSIST_MODEL_NAME", model.name.to_string()));
                environment.push(("TF_PERSIST_MODEL_BASE_PATH", format!("/{MODELS}/{}", model.name)));
            }
            [] => {}
            _ => environment.push(("TF_PERSIST_MODEL_CONFIG_FILE", format!("/{CONFIG_FILE}"))),
        }
        let own = environment.into_iter().map(|(name, value)| (name.to_owned(), value));
        let program = format!("/{BIN}/tf-persist");
        ImageConfig {
            user: format!("{USER}:{USER}"),
            ports: [GRPC_PORT, REST_PORT].map(|port| format!("{port}/tcp")).to_vec(),
            variables: own.chain(variables.iter().cloned()).collect(),
            path: Some(if has_base { format!("/{BIN}") } else { format!("/{BIN}:/usr/bin:/bin") }),
            entrypoint: vec![program.clone()],
            // As arguments, since SageMaker and Vertex AI replace them and say by variables which port they want.
            arguments: ["serve-local", "--host=0.0.0.0", &format!("--rest_api_port={REST_PORT}")]
                .map(str::to_owned)
                .to_vec(),
            labels: self.labels(models),
            healthcheck: Some(Healthcheck {
                command: vec![program, "ready".to_owned(), format!("http://127.0.0.1:{REST_PORT}")],
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(5),
                start_period: Duration::from_secs(120),
                retries: 3,
            }),
        }
    }

    fn labels(&self, models: &[Model]) -> BTreeMap<String, String> {
        let listed = models.iter().map(|model| match model.digest() {
            Some(digest) => format!("{}=sha256:{digest}", model.reference()),
            None => model.reference(),
        });
        let names: Vec<&str> = names(models).into_iter().collect();
        let title = if names.is_empty() { "tf-persist".to_owned() } else { names.join(", ") };
        let mut labels = vec![
            ("org.opencontainers.image.title", title),
            ("io.tf-persist.models", listed.collect::<Vec<_>>().join(", ")),
            ("io.tf-persist.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("io.tf-persist.libtensorflow", self.tensorflow_version.clone()),
        ];
        if let [model] = models {
            labels.push(("org.opencontainers.image.version", model.number.to_string()));
            labels.extend(model.digest().map(|digest| ("org.opencontainers.image.revision", digest.to_owned())));
        }
        labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

fn names(models: &[Model]) -> BTreeSet<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

/// Files by their own names in a folder of the image.
fn below(folder: &str, files: &[PathBuf]) -> anyhow::Result<Vec<LayerEntry>> {
    let mut known = BTreeSet::new();
    let entry = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("the name of `{}` is not UTF-8", file.display()))?;
        if !known.insert(name.to_owned()) {
            bail!("two op libraries have the name `{name}`, and an image has them in one folder");
        }
        // A link of a package manager, for example.
        let path = file.canonicalize().unwrap_or_else(|_| file.clone());
        Ok(LayerEntry::file(format!("{folder}/{name}"), 0o755, path))
    };
    files.iter().map(entry).collect()
}

/// A `ModelServerConfig` in text format. Of a model with several versions, all are served.
fn config_file(models: &[Model]) -> String {
    let mut text = String::from("model_config_list {\n");
    for name in names(models) {
        // Names of models need no quotes within quotes.
        let _ = write!(
            text,
            "  config {{\n    name: \"{name}\"\n    base_path: \"/{MODELS}/{name}\"\n    model_platform: \"tensorflow\"\n    \
             model_version_policy {{ all {{}} }}\n  }}\n"
        );
    }
    text.push_str("}\n");
    text
}
