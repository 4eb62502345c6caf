//! Proof that a version is what was published.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tf_persist_store::{Fault, StoreError};

use crate::{TestStore, reference};

fn writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn every_change_is_found() {
    const SHARD: &str = "variables/variables.data-00000-of-00001";
    type Change = (fn(&Path), Fault);
    let changes: [Change; 5] = [
        (
            |it| {
                writable(&it.join(SHARD));
                let mut bytes = fs::read(it.join(SHARD)).unwrap();
                bytes[3] ^= 0x10;
                fs::write(it.join(SHARD), bytes).unwrap();
            },
            Fault::Contents(SHARD.to_owned()),
        ),
        (|it| fs::remove_file(it.join("saved_model.pb")).unwrap(), Fault::Missing("saved_model.pb".to_owned())),
        (|it| fs::write(it.join("assets.txt"), "").unwrap(), Fault::Extra("assets.txt".to_owned())),
        (
            |it| {
                writable(&it.join(SHARD));
                fs::write(it.join(SHARD), "1").unwrap();
            },
            Fault::Size { name: SHARD.to_owned(), published: 227, found: 1 },
        ),
        (
            |it| {
                fs::rename(it.join(SHARD), it.join("../shard")).unwrap();
                symlink("../../shard", it.join(SHARD)).unwrap();
            },
            Fault::Contents(SHARD.to_owned()),
        ),
    ];
    for (change, fault) in changes {
        let it = TestStore::with_versions(1);
        let version = it.find("m@1");
        assert_eq!(it.store.verify(&version).unwrap(), []);
        change(version.path());
        assert_eq!(it.store.verify(&version).unwrap(), std::slice::from_ref(&fault));
        // Names and sizes are compared whenever a version is opened.
        let opened = it.store.resolve(&reference("m@1"));
        match fault {
            Fault::Contents(_) if !version.path().join(SHARD).is_symlink() => assert!(opened.is_ok()),
            _ => assert!(matches!(opened, Err(StoreError::Changed { .. })), "{fault}"),
        }
    }
}

#[test]
fn an_edited_manifest_is_found() {
    let it = TestStore::with_versions(1);
    let path = it.store.path().join("m/.store/1.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"parent\": null", "\"parent\": 7", 1)).unwrap();
    let version = it.find("m@1");
    assert_eq!(it.store.verify(&version).unwrap(), [Fault::Manifest]);
    let refused = |text: String| {
        fs::write(&path, text).unwrap();
        it.store.resolve(&reference("m@1")).unwrap_err().to_string()
    };
    assert!(refused(text.replace("\"saved_model.pb\"", "\"../m\"")).contains("leads out of the version's folder"));
    assert!(refused(text.replace("\"version\": 1", "\"version\": 2")).contains("it is of version 2 of `m`"));
    assert!(refused(text.replace("\"format\": 1", "\"format\": 9")).contains("has format 9"));
    assert!(refused("{".to_owned()).contains("is damaged"));
}
