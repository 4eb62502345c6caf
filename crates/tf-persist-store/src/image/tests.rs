//! Images without a registry; `python/checks/check_image.py` runs them, and pushes them to one.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::config::config;
use super::{Image, ImageAddress, ImageConfig, ImageLayer, ImageOptions, ImageWritten, LayerEntry, Platform};
use crate::error::Result;
use crate::manifest::hex;
use crate::oci::manifest::Descriptor;
use crate::remote::RemoteOptions;

fn address(folder: &Path, tag: &str) -> ImageAddress {
    format!("oci:{}:{tag}", folder.display()).parse().unwrap()
}

fn layer(name: &str, contents: &str) -> ImageLayer {
    ImageLayer { created_by: format!("a layer with {name}"), entries: vec![LayerEntry::bytes(name, 0o644, contents)] }
}

fn image(layers: Vec<ImageLayer>) -> Image {
    let config = ImageConfig { user: "65532".into(), entrypoint: vec!["/bin/server".into()], ..ImageConfig::default() };
    Image { layers, config, platform: Platform::of_this_program(), created: Timestamp::UNIX_EPOCH }
}

fn write(image: &Image, to: &ImageAddress, options: &ImageOptions) -> Result<ImageWritten> {
    image.write(to, options, &RemoteOptions::default())
}

/// The manifest and the config of an image in a folder.
fn read(folder: &Path, digest: &str) -> (Value, Value) {
    let blob = |digest: &Value| -> Value {
        let name = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(folder.join("blobs/sha256").join(name)).unwrap()).unwrap()
    };
    let manifest = blob(&digest.into());
    let config = blob(&manifest["config"]["digest"]);
    (manifest, config)
}

/// A layout with an image of one layer, which tests damage.
struct Base {
    folder: TempDir,
}

impl Base {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&image(vec![layer("lib", "the C library")]), &address(folder.path(), "base"), &ImageOptions::default())
            .unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path().join("index.json")).unwrap()).unwrap()
    }

    fn set_index(&self, index: &Value) {
        fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    fn add(&self, bytes: &[u8]) -> Descriptor {
        let blob = Descriptor::of("application/vnd.oci.image.manifest.v1+json", bytes);
        fs::write(self.blob(&blob.digest), bytes).unwrap();
        blob
    }

    fn manifest(&self) -> (Value, Value) {
        read(self.path(), self.index()["manifests"][0]["digest"].as_str().unwrap())
    }

    /// Makes the manifest the only image.
    fn set_manifest(&self, manifest: &Value) {
        let blob = self.add(manifest.to_string().as_bytes());
        let mut index = self.index();
        index["manifests"][0]["digest"] = blob.digest.into();
        index["manifests"][0]["size"] = blob.size.into();
        self.set_index(&index);
    }

    /// Makes the config that of the image.
    fn set_config(&self, config: &Value) {
        let (mut manifest, _) = self.manifest();
        let blob = self.add(config.to_string().as_bytes());
        manifest["config"]["digest"] = blob.digest.into();
        manifest["config"]["size"] = blob.size.into();
        self.set_manifest(&manifest);
    }

    /// Writes an image on this base, and gives the error; nothing is published then.
    fn refused(&self) -> String {
        let target = tempfile::tempdir().unwrap();
        let options = ImageOptions::default().base(address(self.path(), "base"));
        let written = write(&image(vec![layer("model", "weights")]), &address(target.path(), "on"), &options);
        assert!(!target.path().join("index.json").exists());
        written.unwrap_err().to_string()
    }
}

#[test]
fn an_image_is_the_same_wherever_it_is_written() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layers = || vec![layer("lib", "tensorflow"), layer("model", "weights")];
    let first = write(&image(layers()), &address(one.path(), "a"), &ImageOptions::default()).unwrap();
    assert_eq!((first.layers, first.written), (2, 2));
    let second = write(&image(layers()), &address(other.path(), "b"), &ImageOptions::default()).unwrap();
    assert_eq!(first.digest, second.digest);
    let again = write(&image(layers()), &address(one.path(), "a"), &ImageOptions::default()).unwrap();
    assert_eq!((&again.digest, again.written, again.moved_from), (&first.digest, 0, None));
    let changed = image(vec![layer("lib", "tensorflow"), layer("model", "other weights")]);
    let moved = write(&changed, &address(one.path(), "a"), &ImageOptions::default()).unwrap();
    assert_eq!((moved.written, moved.moved_from.as_ref()), (1, Some(&first.digest)));
    // Other images of the folder, and what other tools say of them, stay.
    let path = one.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"]
        .as_array_mut()
        .unwrap()
        .push(json!({"digest": "sha256:0", "size": 1, "mediaType": "x", "urls": ["y"]}));
    fs::write(&path, index.to_string()).unwrap();
    write(&image(layers()), &address(one.path(), "c"), &ImageOptions::default()).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((index["manifests"].as_array().unwrap().len(), &index["manifests"][1]["urls"][0]), (3, &json!("y")));
    let hidden = fs::read_dir(one.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes().starts_with(b"."));
    assert_eq!(hidden.count(), 0, "nothing half-written stays");
}

#[test]
fn compressed_layers_are_remembered() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = || ImageOptions::default().gzip(true).cache(cache.path().join("layers"));
    let first = write(&image(vec![layer("lib", "tensorflow")]), &address(folder.path(), "a"), &options()).unwrap();
    let (manifest, config) = read(folder.path(), &first.digest);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let known = cache.path().join("layers");
    let known = fs::read_dir(&known).unwrap().next().unwrap().unwrap().path();
    let id = config["rootfs"]["diff_ids"][0].as_str().unwrap();
    assert_eq!(known.file_name().unwrap().to_str().unwrap(), format!("{}.gzip.json", &id["sha256:".len()..]));
    let again = write(&image(vec![layer("lib", "tensorflow")]), &address(folder.path(), "a"), &options()).unwrap();
    assert_eq!((again.written, &again.digest), (0, &first.digest));
    // What the cache says of a blob that is not there, or says wrongly, counts for nothing.
    for text in [json!({"digest": format!("sha256:{}", "0".repeat(64)), "size": 3}).to_string(), "no JSON".into()] {
        fs::write(&known, text).unwrap();
        let again = write(&image(vec![layer("lib", "tensorflow")]), &address(folder.path(), "a"), &options()).unwrap();
        assert_eq!((again.written, &again.digest), (0, &first.digest));
    }
}

#[test]
fn layers_are_put_on_those_of_a_base() {
    let base = Base::new();
    let target = tempfile::tempdir().unwrap();
    let (of_base, mut config) = base.manifest();
    config["config"]["Env"] = json!(["PATH=/usr/bin", "LANG=C"]);
    config["config"]["Labels"] = json!({"theirs": "1", "both": "1"});
    config["config"]["Volumes"] = json!({"/data": {}});
    config["history"] = json!([{"created_by": "somebody"}]);
    base.set_config(&config);
    let mut image = image(vec![layer("model", "weights")]);
    image.config.variables = vec![("LANG".into(), "C.UTF-8".into()), ("OWN".into(), "a=b".into())];
    image.config.path = Some("/own/bin".into());
    image.config.labels = [("both".to_owned(), "2".to_owned())].into();
    let options = ImageOptions::default().base(address(base.path(), "base"));
    let written = write(&image, &address(target.path(), "on"), &options).unwrap();
    let (manifest, config) = read(target.path(), &written.digest);
    assert_eq!((written.layers, &manifest["layers"][0]), (2, &of_base["layers"][0]));
    let run = &config["config"];
    assert_eq!(run["Env"], json!(["PATH=/usr/bin:/own/bin", "LANG=C.UTF-8", "OWN=a=b"]));
    assert_eq!(run["Labels"], json!({"theirs": "1", "both": "2"}));
    assert_eq!((&run["Volumes"], &run["User"]), (&json!({"/data": {}}), &json!("65532")));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
}

#[test]
fn bases_that_lie() {
    let base = Base::new();
    let (manifest, _) = base.manifest();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let path = base.blob(&digest);
    let bytes = fs::read(&path).unwrap();
    let mut other = bytes.clone();
    other[5] ^= 1;
    fs::write(&path, other).unwrap();
    assert!(base.refused().contains("lacks the blob"), "another blob");
    fs::write(&path, &bytes[..100]).unwrap();
    assert!(base.refused().contains("lacks the blob"), "a cut blob");
    fs::remove_file(&path).unwrap();
    assert!(base.refused().contains("lacks the blob"), "no blob");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(base.refused().contains("lacks the blob"), "a pipe");
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let options = ImageOptions::default().base(address(base.path(), "base"));
    let target = tempfile::tempdir().unwrap();
    write(&image(Vec::new()), &address(target.path(), "on"), &options).unwrap();
}

#[test]
fn manifests_that_cannot_be_a_base() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let base = Base::new();
        let (mut manifest, _) = base.manifest();
        change(&mut manifest);
        base.set_manifest(&manifest);
        base.refused()
    };
    for digest in ["sha256:../../../etc/passwd", "sha512:00", "", &format!("sha256:{}", "Z".repeat(64))] {
        let error = changed(&|it| it["layers"][0]["digest"] = digest.into());
        assert!(error.contains("a layer has no SHA-256"), "{error}");
        let error = changed(&|it| it["config"]["digest"] = digest.into());
        assert!(error.contains("its config has no SHA-256"), "{error}");
    }
    let error = changed(&|it| it["layers"] = json!([]));
    assert!(error.contains("its manifest has 0 layers, and its config 1"), "{error}");
    let error = changed(&|it| it["layers"] = vec![it["layers"][0].clone(); 200].into());
    assert!(error.contains("200 layers"), "{error}");
    let error = changed(&|it| it["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+encrypted".into());
    assert!(error.contains("cannot be copied as it is"), "{error}");
    let error = changed(&|it| it["config"]["mediaType"] = "application/vnd.cncf.model.config.v1+json".into());
    assert!(error.contains("not an image that runs"), "{error}");
    let error = changed(&|it| it["config"]["size"] = (1_u64 << 40).into());
    assert!(error.contains("more than"), "{error}");
    let error = changed(&|it| *it = json!({"manifests": 3}));
    assert!(error.contains("no config and layers"), "{error}");
    let error = changed(&|it| it["annotations"] = json!({"a": "x".repeat(5 << 20)}));
    assert!(error.contains("more than 4194304"), "{error}");
}

/// What a test does to a config.
type Change = fn(&mut Value);

#[test]
fn configs_that_cannot_be_a_base() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let base = Base::new();
        let (_, mut config) = base.manifest();
        change(&mut config);
        base.set_config(&config);
        base.refused()
    };
    let changes: [(Change, &str); 11] = [
        (|it| it["architecture"] = "s390x".into(), "it is for linux/s390x"),
        (|it| it["os"] = "windows".into(), "it is for windows/"),
        (|it| *it = json!([1]), "it is for unknown/unknown"),
        (|it| it["rootfs"] = json!(7), "no `rootfs`"),
        (|it| it["rootfs"]["diff_ids"] = json!(["sha256:0"]), "not a SHA-256"),
        (|it| it["rootfs"]["diff_ids"] = json!([]), "and its config 0"),
        (|it| it["config"] = json!("x"), "`config` is not an object"),
        (|it| it["config"]["Env"] = json!("x"), "`Env` is not a list"),
        (|it| it["config"]["Env"] = json!(["x"]), "not `NAME=VALUE`"),
        (|it| it["config"]["Labels"] = json!(["x"]), "`Labels` is not an object"),
        (|it| it["config"]["ExposedPorts"] = json!(3), "`ExposedPorts` is not an object"),
    ];
    for (change, reason) in changes {
        let error = changed(&change);
        assert!(error.contains(reason), "{error}");
    }
    let base = Base::new();
    base.set_config(&json!("x"));
    assert!(base.refused().contains("it is for unknown/unknown"));
}

#[test]
fn indexes_of_bases() {
    let base = Base::new();
    let index = base.index();
    let entry = index["manifests"][0].clone();
    let own = Platform::of_this_program();
    // An index for several platforms under the name.
    let foreign = json!({"mediaType": "m", "digest": format!("sha256:{}", "0".repeat(64)), "size": 3,
        "platform": {"os": "linux", "architecture": "s390x"}});
    let several = |entries: Vec<Value>| {
        let blob = base.add(json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes());
        let mut index = index.clone();
        index["manifests"][0]["digest"] = blob.digest.into();
        index["manifests"][0]["size"] = blob.size.into();
        base.set_index(&index);
    };
    several(vec![foreign.clone(), entry.clone()]);
    let options = ImageOptions::default().base(address(base.path(), "base"));
    let target = tempfile::tempdir().unwrap();
    write(&image(Vec::new()), &address(target.path(), "on"), &options).unwrap();
    several(vec![foreign.clone()]);
    assert!(base.refused().contains(&format!("no image for {} on {}", own.os(), own.architecture())));
    several(vec![]);
    assert!(base.refused().contains("it has no image for"));
    // One that names another image under the platform.
    let mut absent = entry.clone();
    absent["digest"] = foreign["digest"].clone();
    several(vec![absent]);
    assert!(base.refused().contains("lacks the blob"));
    let mut huge = index.clone();
    huge["manifests"][0]["size"] = (1_u64 << 50).into();
    base.set_index(&huge);
    assert!(base.refused().contains("more than"));
    for text in ["{}", "[", r#"{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "base"}}]}"#] {
        fs::write(base.path().join("index.json"), text).unwrap();
        assert!(base.refused().contains("`index.json`"), "{text}");
    }
    fs::write(base.path().join("index.json"), " ".repeat(5 << 20)).unwrap();
    assert!(base.refused().contains("more than"));
    fs::remove_file(base.path().join("index.json")).unwrap();
    assert!(base.refused().contains("it has no image `base`"));
    fs::write(base.path().join("oci-layout"), r#"{"imageLayoutVersion": "9.0.0"}"#).unwrap();
    assert!(base.refused().contains("version 1.0.0"));
    fs::remove_file(base.path().join("oci-layout")).unwrap();
    assert!(base.refused().contains("not an OCI image layout"));
}

#[test]
fn folders_with_other_contents_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter"), "dear").unwrap();
    let error = write(&image(Vec::new()), &address(folder.path(), "a"), &ImageOptions::default()).unwrap_err();
    assert!(error.to_string().contains("has `letter`"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_failure_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(&image(vec![layer("a", "1")]), &address(folder.path(), "a"), &ImageOptions::default()).unwrap();
    let index = fs::read(folder.path().join("index.json")).unwrap();
    let absent = LayerEntry::file("model/weights", 0o644, folder.path().join("absent"));
    let other = ImageLayer { created_by: "a model".into(), entries: vec![absent] };
    write(&image(vec![layer("b", "2"), other]), &address(folder.path(), "a"), &ImageOptions::default()).unwrap_err();
    assert_eq!(fs::read(folder.path().join("index.json")).unwrap(), index);
}

#[test]
fn configs_without_a_base() {
    let own = ImageConfig { user: "1".into(), ports: vec!["80/tcp".into()], ..ImageConfig::default() };
    let platform: Platform = "linux/amd64".parse().unwrap();
    let id = hex(&[7; 32]);
    let built = config(None, &own, &platform, Timestamp::UNIX_EPOCH, &[(id.clone(), "a layer".into())]).unwrap();
    assert_eq!(built["rootfs"], json!({"type": "layers", "diff_ids": [format!("sha256:{id}")]}));
    assert_eq!(built["config"]["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(
        (&built["created"], &built["history"][0]["created_by"]),
        (&json!("1970-01-01T00:00:00Z"), &json!("a layer"))
    );
    for text in ["linux", "linux/", "/amd64", "linux/arm/v7", "linux/a b"] {
        assert!(text.parse::<Platform>().is_err(), "{text}");
    }
}
