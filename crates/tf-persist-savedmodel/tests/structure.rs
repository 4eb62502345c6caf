//! The crates keep their order: no circles between the folders of a crate, and no TensorFlow below `tf-persist-core`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders and files of a crate's `src`, each with those that it imports and the file of one such import.
type Imports = BTreeMap<String, BTreeMap<String, PathBuf>>;

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust files below a folder, without those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let root = ["mod.rs", "lib.rs", "main.rs"].into_iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
    let root = root.unwrap_or_default();
    let tests: Vec<&str> = root
        .split("#[cfg(test)]\n")
        .skip(1)
        .filter_map(|rest| rest.lines().next()?.strip_suffix(';')?.rsplit(' ').next())
        .collect();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || tests.iter().any(|test| stem == *test));
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// The code of a file, without its comments and its module of tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths in the tree of a `use`: `a::{b, c::{d, e}}`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, character) in body.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&body[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&body[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(paths).map(|path| format!("{prefix}{path}")).collect()
}

/// What follows `crate::` in a file: whole paths of `use`, and first names elsewhere.
fn references(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if code[..at].ends_with("use ") {
            found.extend(paths(rest.split(';').next().unwrap_or_default()));
        } else {
            found
                .extend(paths(rest.split(|it: char| !it.is_alphanumeric() && !"_:".contains(it)).next().unwrap_or("")));
        }
    }
    found
}

/// Where the names come from that the crate's root exports.
fn exported(src: &Path) -> BTreeMap<String, String> {
    let root = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().find(|path| path.exists());
    let code = code(&root.unwrap());
    let uses = code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()).flat_map(paths);
    let uses = uses.filter_map(|path| {
        let (module, rest) = path.split_once("::")?;
        Some((rest.rsplit([':', ' ']).next()?.to_owned(), module.to_owned()))
    });
    uses.collect()
}

fn imports(src: &Path) -> Imports {
    let exported = exported(src);
    let mut files = Vec::new();
    sources(src, &mut files);
    let mut imports = Imports::new();
    for file in files {
        let name = file.strip_prefix(src).unwrap().components().next().unwrap();
        let module = Path::new(name.as_os_str()).file_stem().unwrap().to_string_lossy().into_owned();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        for path in references(&code(&file)) {
            let first = path.split([':', ' ']).next().unwrap_or_default();
            let other = exported.get(first).map_or(first, String::as_str);
            if other != module && (src.join(other).with_extension("rs").exists() || src.join(other).is_dir()) {
                imports.entry(module.clone()).or_default().entry(other.to_owned()).or_insert_with(|| file.clone());
            }
        }
    }
    imports
}

/// A way from `from` back to itself, if there is one.
fn circle(imports: &Imports, from: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![from.to_owned()]];
    while let Some(way) = ways.pop() {
        for other in imports.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            let mut longer = way.clone();
            longer.push(other.clone());
            if other == from {
                return Some(longer);
            }
            if seen.insert(other.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

#[test]
fn no_folders_of_a_crate_import_each_other() {
    for name in ["tf-persist-savedmodel", "tf-persist-core", "tf-persist-monitor", "tf-persist-serve", "tf-persist-cli"]
    {
        let src = crates().join(name).join("src");
        let mut imports = imports(&src);
        if name == "tf-persist-serve" {
            // Files at its root, such as `settings.rs` and `state.rs`, connect the folders; only folders are compared.
            imports.retain(|module, _| src.join(module).is_dir());
        }
        assert!(imports.len() >= 5, "{name}: {imports:?}");
        for module in imports.keys() {
            let Some(circle) = circle(&imports, module) else { continue };
            let files: Vec<_> = circle.windows(2).map(|pair| &imports[&pair[0]][&pair[1]]).collect();
            panic!("{name}: {} by {files:#?}", circle.join(" → "));
        }
    }
}

#[test]
fn paths_of_a_tree_and_circles_are_found() {
    assert_eq!(paths("a::{b, c::{d, e as f},\n}"), ["a::b", "a::c::d", "a::c::e as f"]);
    assert_eq!(references("use crate::a::{b, c};\nfn f() -> crate::d::E<crate::F> {}"), ["a::b", "a::c", "d::E", "F"]);
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeMap::from([(to.to_owned(), PathBuf::new())]));
    let imports = Imports::from([edge("a", "b"), edge("b", "c"), edge("c", "b")]);
    assert_eq!(circle(&imports, "a"), None);
    assert_eq!(circle(&imports, "b").unwrap(), ["b", "c", "b"]);
}

/// `inspect` and `scan` must build without TensorFlow's bindings.
#[test]
fn no_tensorflow_is_needed() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--package",
        "tf-persist-savedmodel",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--offline",
        "--locked",
    ]);
    let out = tree.current_dir(crates()).output().unwrap();
    let tree = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && tree.contains("protobuf "), "{}", String::from_utf8_lossy(&out.stderr));
    for name in ["tensorflow", "tensorflow-sys-runtime", "libloading"] {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(name)), "{name} in\n{tree}");
    }
}
