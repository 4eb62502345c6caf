//! Finds op libraries in installed Python packages by reading folders, without Python.
//!
//! Source of the layout: the packaging guide's "Recording installed projects" (`NAME-VERSION.dist-info` with `RECORD`
//! and `METADATA`), "Recording the Direct URL Origin of installed distributions" (`direct_url.json`) and "Names and
//! normalization"; setuptools' "The Internal Structure of Python Eggs" (`NAME-VERSION.egg-info` with `PKG-INFO`,
//! `requires.txt` and `top_level.txt`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::info::LibraryInfo;
use crate::error::TensorFlowRequirement;
use crate::runtime::{Origin, Runtime, Search};

/// The most entries of a folder of packages that are read.
const MAX_PACKAGES: usize = 20_000;
/// The longest `RECORD` that is read; that of TensorFlow has 3 MB.
const MAX_RECORD_BYTES: u64 = 64 << 20;
/// The bytes of `METADATA` that are read; a long description may follow.
const MAX_METADATA_BYTES: u64 = 256 << 10;
/// The depth and the number of files of the search in a package without a `RECORD`.
const MAX_PACKAGE_DEPTH: usize = 12;
const MAX_PACKAGE_FILES: usize = 100_000;
/// The most folders above a file that are searched for its package.
const MAX_DEPTH: usize = 12;

/// The suffixes of folders with metadata.
const INFO_FOLDERS: [&str; 2] = [".dist-info", ".egg-info"];

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name, normalised.
    pub(super) name: String,
    /// The folder `NAME-VERSION.dist-info` or `NAME-VERSION.egg-info`, or that of the package itself.
    pub(super) info: PathBuf,
}

/// Normalises the name of a package: lower case, with one `-` for each run of `-`, `_` and `.`.
pub(super) fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Whether a package is a build of TensorFlow itself.
pub(super) fn is_tensorflow(name: &str) -> bool {
    let others = ["tf-nightly", "tf-nightly-cpu", "intel-tensorflow", "intel-tensorflow-avx512"];
    let builds = ["", "-cpu", "-gpu", "-rocm", "-macos", "-intel", "-cpu-aws"];
    others.contains(&name) || name.strip_prefix("tensorflow").is_some_and(|rest| builds.contains(&rest))
}

/// The folders of packages: first that of the libtensorflow in use, because op libraries are built for one version;
/// then those of the environments that are searched for libtensorflow.
pub(super) fn site_packages(runtime: &Runtime) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let of_runtime = runtime
        .file()
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "site-packages" || name == "dist-packages"));
    let environments =
        Search::default().locations().into_iter().filter(|location| *location.origin() == Origin::VirtualEnvironment);
    let environments = environments.flat_map(|location| of_environment(location.folder()));
    for folder in of_runtime.map(Path::to_path_buf).into_iter().chain(environments) {
        let known = |other: &PathBuf| other.canonicalize().ok() == folder.canonicalize().ok();
        if folder.is_dir() && !folders.iter().any(known) {
            folders.push(folder);
        }
    }
    folders
}

/// The folders of packages of an environment, one per version of Python.
fn of_environment(environment: &Path) -> Vec<PathBuf> {
    let pythons = entries(&environment.join("lib")).into_iter();
    let pythons = pythons.filter(|name| name.starts_with("python3"));
    pythons.map(|name| environment.join("lib").join(name).join("site-packages")).collect()
}

/// The names in a folder, sorted; empty if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_PACKAGES);
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// The packages that are installed in a folder.
pub(super) fn installed(site_packages: &Path) -> Vec<Package> {
    let package = |entry: String| {
        let whole = INFO_FOLDERS.iter().find_map(|end| entry.strip_suffix(end))?;
        let (name, _) = whole.split_once('-').unwrap_or((whole, ""));
        Some(Package { name: normalised(name), info: site_packages.join(&entry) })
    };
    entries(site_packages).into_iter().filter_map(package).collect()
}

/// The packages with a name in these folders. Without metadata, a folder of this name is the package.
pub(super) fn named(folders: &[PathBuf], name: &str) -> Vec<Package> {
    let recorded = folders.iter().flat_map(|folder| installed(folder)).filter(|package| package.name == name);
    let recorded: Vec<Package> = recorded.collect();
    if !recorded.is_empty() {
        return recorded;
    }
    let unrecorded = |folder: &PathBuf| {
        let entry = entries(folder).into_iter().find(|entry| normalised(entry) == name && folder.join(entry).is_dir());
        entry.map(|entry| Package { name: name.to_owned(), info: folder.join(entry) })
    };
    folders.iter().filter_map(unrecorded).collect()
}

/// The packages in these folders that have op libraries.
pub(super) fn candidates(folders: &[PathBuf]) -> Vec<String> {
    let packages = folders.iter().flat_map(|folder| installed(folder));
    let packages = packages.filter(|package| !is_tensorflow(&package.name));
    let holding = packages.filter(|package| package.libraries().any(|(_, info)| info.is_op_library()));
    holding.map(|package| package.name).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The package of a file, and the TensorFlow that it requires.
pub(super) fn requirement_of(library: &Path) -> Option<TensorFlowRequirement> {
    for folder in library.ancestors().skip(1).take(MAX_DEPTH) {
        let Ok(relative) = library.strip_prefix(folder) else { continue };
        for package in installed(folder) {
            if package.files().iter().any(|file| file == relative) {
                return package.requirement();
            }
        }
    }
    None
}

impl Package {
    /// The folder that it is installed in.
    pub(super) fn folder(&self) -> &Path {
        self.info.parent().unwrap_or(&self.info)
    }

    /// Its op libraries, sorted.
    pub(super) fn op_libraries(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            self.libraries().filter(|(_, info)| info.is_op_library()).map(|(path, _)| path).collect();
        paths.sort();
        paths
    }

    /// Its shared libraries.
    fn libraries(&self) -> impl Iterator<Item = (PathBuf, LibraryInfo)> + '_ {
        let files = self.files().into_iter();
        let files = files.filter(|file| is_named_like_a_library(file));
        files.filter_map(|file| {
            let path = self.folder().join(file);
            LibraryInfo::read(&path).ok().map(|info| (path, info))
        })
    }

    /// Its files, relative to the folder of packages. Without a `RECORD`, only its libraries.
    fn files(&self) -> Vec<PathBuf> {
        let record = beginning(&self.info.join("RECORD"), MAX_RECORD_BYTES);
        if record.is_empty() {
            return self.unlisted_libraries();
        }
        let files = record.lines().map(|line| PathBuf::from(first_of_csv(line)));
        // Files outside the folder are scripts.
        files.filter(|file| stays_below(file)).collect()
    }

    /// The libraries in its top-level folders, or in the folder of its name.
    fn unlisted_libraries(&self) -> Vec<PathBuf> {
        let own = beginning(&self.info.join("top_level.txt"), MAX_METADATA_BYTES);
        let mut own: Vec<PathBuf> = own.lines().map(PathBuf::from).filter(|folder| stays_below(folder)).collect();
        if own.is_empty() {
            own.extend(
                entries(self.folder()).into_iter().filter(|entry| normalised(entry) == self.name).map(PathBuf::from),
            );
        }
        let (mut found, mut left) = (Vec::new(), MAX_PACKAGE_FILES);
        for folder in own {
            libraries_below(self.folder(), &folder, MAX_PACKAGE_DEPTH, &mut left, &mut found);
        }
        found
    }

    /// The folder of its sources, if it was installed as a link to them.
    pub(super) fn sources(&self) -> Option<PathBuf> {
        let origin = beginning(&self.info.join("direct_url.json"), MAX_METADATA_BYTES);
        let origin: serde_json::Value = serde_json::from_str(&origin).ok()?;
        let is_link = origin["dir_info"]["editable"].as_bool().unwrap_or(false);
        is_link.then(|| origin["url"].as_str()?.strip_prefix("file://").map(PathBuf::from))?
    }

    /// The TensorFlow that its metadata requires: `Requires-Dist: tensorflow<2.22,>=2.21.0`.
    fn requirement(&self) -> Option<TensorFlowRequirement> {
        let text = |name| beginning(&self.info.join(name), MAX_METADATA_BYTES);
        let is_egg = self.info.extension().is_some_and(|end| end == "egg-info");
        let metadata = text(if is_egg { "PKG-INFO" } else { "METADATA" });
        // An egg has a separate file; sections for extras follow.
        let requires = if is_egg { text("requires.txt") } else { String::new() };
        let requires = requires.lines().take_while(|line| !line.starts_with('['));
        // The description follows the headers.
        let headers = || metadata.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": "));
        let header = |name: &str| headers().find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned());
        let needs = headers().filter(|(key, _)| *key == "Requires-Dist").map(|(_, value)| value);
        let needs = needs.chain(requires).filter_map(|value| {
            // A condition may follow, such as a platform or an extra.
            let (requirement, condition) = value.split_once(';').unwrap_or((value, ""));
            let end = requirement.find(|it: char| !(it.is_ascii_alphanumeric() || "-_.".contains(it)));
            let (name, versions) = requirement.split_at(end.unwrap_or(requirement.len()));
            let is_it = is_tensorflow(&normalised(name)) && !condition.contains("extra");
            let versions = versions.trim().trim_matches(['(', ')']);
            (is_it && !versions.is_empty()).then(|| versions.to_owned())
        });
        let tensorflow = { needs }.next();
        Some(TensorFlowRequirement { package: header("Name")?, version: header("Version")?, tensorflow })
    }
}

/// Whether a relative path stays below its folder.
fn stays_below(name: &Path) -> bool {
    !name.as_os_str().is_empty() && name.components().all(|part| matches!(part, Component::Normal(_)))
}

fn is_named_like_a_library(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "so" || end == "dylib")
}

/// Adds the libraries in a folder and below it, relative to `root`. Links to folders are not followed.
fn libraries_below(root: &Path, folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
    for name in entries(&root.join(folder)) {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let path = folder.join(name);
        let Ok(metadata) = fs::symlink_metadata(root.join(&path)) else { continue };
        if metadata.is_dir() && depth > 0 {
            libraries_below(root, &path, depth - 1, left, found);
        } else if is_named_like_a_library(&path) {
            found.push(path);
        }
    }
}

/// The first field of a line of comma-separated values, which may be quoted.
fn first_of_csv(line: &str) -> String {
    match line.strip_prefix('"') {
        None => line.split(',').next().unwrap_or_default().to_owned(),
        // Inner quotes are doubled.
        Some(rest) => {
            let end = rest.replace("\"\"", "\u{1}\u{1}").find('"').unwrap_or(rest.len());
            rest[..end].replace("\"\"", "\"")
        }
    }
}

/// The beginning of a text file; empty if it cannot be read.
fn beginning(path: &Path, limit: u64) -> String {
    let mut bytes = Vec::new();
    if path.is_file()
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_pip_does() {
        for name in ["tensorflow-text", "tensorflow_text", "TensorFlow.Text", "tensorflow-_text"] {
            assert_eq!(normalised(name), "tensorflow-text");
        }
        assert!(is_tensorflow("tensorflow") && is_tensorflow("tensorflow-cpu") && is_tensorflow("tf-nightly"));
        assert!(!is_tensorflow("tensorflow-text") && !is_tensorflow("ydf-tf"));
    }

    #[test]
    fn requirement_is_read_from_the_metadata() {
        let site = tempfile::tempdir().unwrap();
        let info = site.path().join("own_ops-1.5.dist-info");
        fs::create_dir_all(&info).unwrap();
        let record = "own/_ops.so,sha256=x,1\n\"own/a,\"\"b.so\",,\n../../bin/own,,\n/etc/x.so,,\nown_ops-1.5.dist-info/RECORD,,\n";
        fs::write(info.join("RECORD"), record).unwrap();
        let metadata = "Metadata-Version: 2.1\nName: own-ops\nVersion: 1.5\nRequires-Dist: tensorflow-cpu<3; extra == 'cpu'\n\
                        Requires-Dist: tensorflow (<2.16,>=2.15)\n\nRequires-Dist: tensorflow==1.0\n";
        fs::write(info.join("METADATA"), metadata).unwrap();
        let packages = installed(site.path());
        assert_eq!(packages, [Package { name: "own-ops".into(), info }]);
        let files = packages[0].files();
        assert_eq!(files[..2], [PathBuf::from("own/_ops.so"), PathBuf::from("own/a,\"b.so")]);
        assert_eq!(files.len(), 3);
        let requirement = requirement_of(&site.path().join("own/_ops.so")).unwrap();
        assert_eq!((requirement.package.as_str(), requirement.version.as_str()), ("own-ops", "1.5"));
        assert_eq!(requirement.tensorflow.as_deref(), Some("<2.16,>=2.15"));
        assert!(super::requirement_of(&site.path().join("own/other.so")).is_none());
        // Missing files are not libraries.
        assert!(packages[0].op_libraries().is_empty() && candidates(&[site.path().to_path_buf()]).is_empty());
    }

    #[test]
    fn packages_without_a_record_are_searched() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        // An egg that names its folder, one that does not, and a folder without metadata.
        file("named_ops-1.0-py3.11.egg-info/top_level.txt", "other\n../away\n");
        file("named_ops-1.0-py3.11.egg-info/PKG-INFO", "Name: named-ops\nVersion: 1.0\n\nText\n");
        file("named_ops-1.0-py3.11.egg-info/requires.txt", "tensorflow<2.5,>=2.4\n\n[gpu]\ntensorflow-gpu==1.0\n");
        file("other/deep/a.so", "");
        file("other/read.me", "");
        file("Plain_Ops/b.so", "");
        file("plain.ops.egg-info/PKG-INFO", "");
        file("bare_ops/ops/c.so", "");
        let folders = [root.path().to_path_buf()];
        let files = |name: &str| named(&folders, name).iter().flat_map(Package::files).collect::<Vec<_>>();
        assert_eq!(files("named-ops"), [Path::new("other/deep/a.so")]);
        assert_eq!(files("plain-ops"), [Path::new("Plain_Ops/b.so")]);
        assert_eq!(files("bare-ops"), [Path::new("bare_ops/ops/c.so")]);
        assert!(named(&folders, "none").is_empty());
        let requirement = requirement_of(&root.path().join("other/deep/a.so")).unwrap();
        assert_eq!(
            (requirement.package.as_str(), requirement.tensorflow.as_deref()),
            ("named-ops", Some("<2.5,>=2.4"))
        );
        // The depth is limited, and links to folders are not followed.
        std::os::unix::fs::symlink(root.path(), root.path().join("bare_ops/loop")).unwrap();
        file(&format!("bare_ops/{}d.so", "x/".repeat(MAX_PACKAGE_DEPTH + 1)), "");
        assert_eq!(files("bare-ops").len(), 1);
    }

    #[test]
    fn link_to_sources_is_found() {
        let root = tempfile::tempdir().unwrap();
        let info = root.path().join("own_ops-1.0.dist-info");
        fs::create_dir(&info).unwrap();
        let package = Package { name: "own-ops".into(), info: info.clone() };
        assert_eq!(package.sources(), None);
        let origin = |text: &str| fs::write(info.join("direct_url.json"), text).unwrap();
        origin(r#"{"url": "file:///src/own", "dir_info": {"editable": true}}"#);
        assert_eq!(package.sources(), Some(PathBuf::from("/src/own")));
        for other in
            [r#"{"url": "file:///src/own", "dir_info": {}}"#, r#"{"url": 1, "dir_info": {"editable": true}}"#, "[", ""]
        {
            origin(other);
            assert_eq!(package.sources(), None, "{other}");
        }
    }
}
