//! A folder for a test, and its files.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_testing::{copy_folder, root};

use crate::command::Cmd;

/// The binary under test.
pub(crate) const TF_PERSIST: &str = env!("CARGO_BIN_EXE_tf-persist");

/// The folder of one test. Commands run in `work`, where `models` is the repository's; their home and temporary files
/// are beside it.
pub(crate) struct Dir {
    root: TempDir,
}

impl Dir {
    pub(crate) fn new() -> Self {
        let dir = Self { root: tempfile::Builder::new().prefix("tf-persist-cli-").tempdir().unwrap() };
        for folder in ["work", "home", "tmp"] {
            fs::create_dir(dir.root.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(root().join("models"), dir.path("models")).unwrap();
        dir
    }

    /// A path in the folder where commands run.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// The home of the commands.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Where the commands put temporary files.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// Writes a file, and creates its folders.
    pub(crate) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Copies one of the repository's models to the folder `to`.
    pub(crate) fn copy_model(&self, name: &str, to: impl AsRef<Path>) -> PathBuf {
        let to = self.path(to);
        copy_folder(&self.path("models").join(name).join("model"), &to);
        to
    }

    /// Writes a model made of `models/sparse`, which has no variables, changed.
    pub(crate) fn write_proto(&self, name: &str, change: impl FnOnce(&mut pb::SavedModel)) -> PathBuf {
        let bytes = fs::read(self.path("models/sparse/model/saved_model.pb")).unwrap();
        let mut model = pb::SavedModel::parse_from_bytes(&bytes).unwrap();
        change(&mut model);
        self.write(format!("{name}/saved_model.pb"), model.write_to_bytes().unwrap());
        self.path(name)
    }

    /// The files below the folder where commands run, with sizes; links are not followed.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut all = Vec::new();
        list(&self.path(""), &self.path(""), &mut all);
        all.sort();
        all
    }

    /// The names of the entries of a folder, including hidden ones.
    pub(crate) fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A command line, split at spaces. Arguments with spaces are added with [`Cmd::arg`].
    pub(crate) fn cmd(&self, line: &str) -> Cmd<'_> {
        Cmd::new(self, Command::new(TF_PERSIST)).args(line.split_whitespace())
    }

    /// A command line that a script of bash starts as `"$@"`.
    pub(crate) fn bash(&self, script: &str, line: &str) -> Cmd<'_> {
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", TF_PERSIST]);
        Cmd::new(self, command).args(line.split_whitespace())
    }
}

fn list(base: &Path, folder: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(base).unwrap_or(&path).display().to_string();
        match entry.metadata() {
            Ok(found) if found.is_dir() => {
                all.push(format!("{name}/"));
                list(base, &path, all);
            }
            Ok(found) if found.is_file() => all.push(format!("{name}  {} bytes", found.len())),
            _ => all.push(name),
        }
    }
}

/// An array in numpy's .npy form, version 1.0.
pub(crate) fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(bytes);
    file
}

/// An archive of such arrays, as `np.savez` writes it.
pub(crate) fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), stored).unwrap();
        archive.write_all(array).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Numbers as the bytes of an array.
pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
