//! What is pushed, without a registry; `python/checks/check_oci.py` pushes it to one.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::address::OciAddress;
use super::manifest::Descriptor;
use super::model_pack::pack;
use super::modelcar::{Base, image, write_layer};
use super::push::base_options;
use super::registry::{Access, Registry};
use crate::remote::api::wait;
use crate::remote::{RemoteErrorKind, RemoteOptions};
use crate::{ModelName, PublishOptions, Store, StoreError, Version};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits/model");

fn published() -> (tempfile::TempDir, Version) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(folder.path().join("store")).unwrap();
    let digits: ModelName = "digits".parse().unwrap();
    let version = store.publish(&digits, MODEL, PublishOptions::default().note("first")).unwrap();
    (folder, version)
}

#[test]
fn a_pack_has_a_layer_for_each_file() {
    let (_folder, version) = published();
    let packed = pack(&version, "{}", None).unwrap();
    assert_eq!(packed.manifest_bytes, pack(&version, "{}", None).unwrap().manifest_bytes);
    let files = &version.manifest().files;
    assert_eq!(packed.manifest.layers.len(), files.len());
    for (layer, file) in packed.manifest.layers.iter().zip(files) {
        assert_eq!((layer.sha256(), layer.size, layer.file()), (Some(&*file.sha256), file.size, Some(&*file.name)));
    }
    let config: Value = serde_json::from_slice(&packed.config_bytes).unwrap();
    assert_eq!(config["descriptor"]["version"], "1");
    assert_eq!(config["descriptor"]["description"], "first");
    let digests: Vec<&str> = packed.manifest.layers.iter().map(|layer| layer.digest.as_str()).collect();
    assert_eq!(config["modelfs"]["diffIds"], json!(digests));
    let text = "x".repeat(5 << 20);
    assert!(pack(&version, &text, None).unwrap_err().to_string().contains("too many files"));
}

#[test]
fn layers_of_images_are_always_the_same() {
    let (folder, version) = published();
    let path = folder.path().join("layer");
    for gzip in [false, true] {
        let first = write_layer(&version, false, &path, gzip).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(first.descriptor.size, bytes.len() as u64);
        let second = write_layer(&version, false, &path, gzip).unwrap();
        assert_eq!(first.descriptor, second.descriptor);
        let image = image(&version, "{}", second, None).unwrap();
        let config: Value = serde_json::from_slice(&image.config_bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
        if !gzip {
            assert_eq!(config["rootfs"]["diff_ids"][0], first.descriptor.digest);
            let mut archive = tar::Archive::new(&bytes[..]);
            let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
            let wanted: Vec<String> =
                version.manifest().files.iter().map(|file| format!("models/1/{}", file.name)).collect();
            assert_eq!(names.collect::<Vec<_>>(), wanted);
        }
    }
    let base = Base { layers: Vec::new(), config: json!({"rootfs": {"diff_ids": ["sha256:0"]}}) };
    let layer = write_layer(&version, false, &path, false).unwrap();
    assert!(image(&version, "{}", layer, Some(base)).is_err());
}

#[test]
fn changed_files_are_not_pushed_in_an_image() {
    let (folder, version) = published();
    let file = version.path().join("variables/variables.index");
    let mut bytes = fs::read(&file).unwrap();
    bytes[10] ^= 1;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, bytes).unwrap();
    let written = write_layer(&version, false, &folder.path().join("layer"), false);
    assert!(matches!(written, Err(StoreError::Changed { .. })));
}

#[test]
fn uploads_stay_with_the_registry_or_go_to_hosts_with_tls() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = format!("http://{}/upload", elsewhere.local_addr().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("oci://{}/m:1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        write!(stream, "HTTP/1.1 202 Accepted\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let options = RemoteOptions::default().retries(0);
    let registry = Registry::new(&address.parse().unwrap(), Access::Push, &options).unwrap();
    let sent = wait(registry.upload_bytes(&Descriptor::of("", b"weights"), "weights".into()));
    let Err(StoreError::Remote(error)) = sent else { panic!("it was sent") };
    assert_eq!(*error.kind(), RemoteErrorKind::UploadRedirected { host: "http://127.0.0.1".to_owned() });
    assert!(elsewhere.accept().is_err(), "nothing goes there");

    let registry = Registry::new(&"oci://registry.example/m:1".parse().unwrap(), Access::Push, &options).unwrap();
    let may = |url: &str| registry.may_upload_to(&url.parse().unwrap());
    assert!(may("https://registry.example/v2/m/blobs/uploads/1") && may("https://storage.example/1"));
    assert!(!may("http://registry.example/v2/m/blobs/uploads/1") && !may("http://storage.example/1"));
}

#[test]
fn a_base_elsewhere_is_read_with_tls() {
    let address = |text: &str| text.parse::<OciAddress>().unwrap();
    let target = address("oci://plain.example/m:1");
    let options = RemoteOptions::default().plain_http(true);
    for (base, scheme) in [("oci://plain.example/base:1", "http"), ("oci://docker.io/library/busybox:1", "https")] {
        let base = address(base);
        let registry = Registry::new(&base, Access::Pull, &base_options(&options, &target, &base)).unwrap();
        assert_eq!(registry.url("tags").unwrap().scheme(), scheme);
    }
}
