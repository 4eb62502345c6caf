//! Signatures. `python/checks/check_signing.py` compares with Python's model-signing.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tf_persist_store::signing::{
    Authorities, PublicKey, SIGNATURE_FILE, Signer, SigningKey, Trusted, sign_folder, verify_folder,
};
use tf_persist_store::{PublishOptions, StoreError, What};
use tf_persist_testing::copy_folder;

use crate::{TestStore, model, model_folder};

/// A new key in a folder: the private file, and who trusts the public one.
fn key(folder: &Path, name: &str) -> (PathBuf, Trusted) {
    let path = folder.join(name);
    let public = SigningKey::create(&path).unwrap();
    assert_eq!(PublicKey::read(folder.join(format!("{name}.pub"))).unwrap(), public);
    (path, Trusted::Key(public))
}

#[test]
fn a_version_is_signed_as_this_version_of_this_model() {
    let it = TestStore::with_versions(1);
    let (path, trusted) = key(it.folder.path(), "key.pem");
    let first = it.find("m@1");
    let unsigned = first.verify_signature(&trusted, false).unwrap_err();
    assert!(matches!(unsigned, StoreError::NotSigned { .. }), "{unsigned}");
    it.store.sign(&first, &SigningKey::read(&path).unwrap()).unwrap();
    first.verify_signature(&trusted, false).unwrap();
    assert_eq!(it.store.verify(&first).unwrap(), []);

    let options = PublishOptions::default().sign(SigningKey::read(&path).unwrap());
    let second = it.store.publish(&model("m"), first.path(), options).unwrap();
    second.verify_signature(&trusted, false).unwrap();
    let signed = it.store.log(&model("m")).unwrap().into_iter().filter_map(|event| match event.what {
        What::Signed { version, .. } => Some(version),
        _ => None,
    });
    assert_eq!(signed.collect::<Vec<_>>(), [1, 2]);

    // Only on request does another signature take the place of one.
    let other = SigningKey::create(it.folder.path().join("second.pem")).unwrap();
    let second_key = SigningKey::read(it.folder.path().join("second.pem")).unwrap();
    let Trusted::Key(public) = &trusted else { unreachable!() };
    let refused = it.store.sign(&first, &second_key).unwrap_err();
    assert!(matches!(refused, StoreError::Signed { signer: Signer::Key(hint), .. } if hint == public.hint()));
    first.verify_signature(&trusted, false).unwrap();
    assert_eq!(it.store.replace_signature(&first, &second_key).unwrap(), Some(Signer::Key(public.hint())));
    first.verify_signature(&Trusted::Key(other), false).unwrap();
    it.store.replace_signature(&first, &SigningKey::read(&path).unwrap()).unwrap();

    // A version that is published with the signature of another one is not signed as itself.
    let third = it.store.publish(&model("m"), first.path(), PublishOptions::default()).unwrap();
    let error = third.verify_signature(&trusted, true).unwrap_err().to_string();
    assert_eq!(error, "the signature of version 3 of `m` is that of version 1 of `m`");
    let (_, stranger) = key(it.folder.path(), "other.pem");
    let error = first.verify_signature(&stranger, false).unwrap_err().to_string();
    assert!(error.ends_with("is not trusted: it was made by another key"), "{error}");
}

#[test]
fn signatures_of_other_tools_name_no_model() {
    let it = TestStore::with_versions(1);
    let (path, trusted) = key(it.folder.path(), "key.pem");
    let version = it.find("m@1");
    let signature = sign_folder(version.path(), &SigningKey::read(path).unwrap(), None).unwrap();
    fs::write(version.path().join(SIGNATURE_FILE), signature).unwrap();
    let error = version.verify_signature(&trusted, false).unwrap_err().to_string();
    assert_eq!(error, "the signature of version 1 of `m` does not say of which model it is");
    version.verify_signature(&trusted, true).unwrap();
}

#[test]
fn every_changed_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trusted) = key(folder.path(), "key.pem");
    let model = folder.path().join("model");
    let refused = |change: &dyn Fn(&Path)| {
        let _ = fs::remove_dir_all(&model);
        copy_folder(&model_folder("half_plus_two"), &model);
        let signature = sign_folder(&model, &SigningKey::read(&path).unwrap(), None).unwrap();
        fs::write(model.join(SIGNATURE_FILE), signature).unwrap();
        change(&model);
        verify_folder(&model, model.join(SIGNATURE_FILE), &trusted).map_err(|error| error.to_string())
    };
    assert!(refused(&|_| {}).is_ok());
    let added = refused(&|it| fs::write(it.join("extra"), "").unwrap());
    assert!(added.unwrap_err().ends_with("is not what was signed: `extra` was added"));
    let missing = refused(&|it| fs::remove_file(it.join("fingerprint.pb")).unwrap());
    assert!(missing.unwrap_err().ends_with("`fingerprint.pb` is missing"));
    let changed = refused(&|it| fs::write(it.join("fingerprint.pb"), "x").unwrap());
    assert!(changed.unwrap_err().ends_with("`fingerprint.pb` has other contents"));
    let link = refused(&|it| {
        fs::rename(it.join("fingerprint.pb"), it.join("../f")).unwrap();
        std::os::unix::fs::symlink("../f", it.join("fingerprint.pb")).unwrap();
    });
    assert!(link.unwrap_err().ends_with("`fingerprint.pb` has other contents"));
    // The format does not sign files of git; a model has none.
    let git = refused(&|it| fs::write(it.join(".gitignore"), "").unwrap());
    assert!(git.unwrap_err().ends_with("`.gitignore` was added"));
}

#[test]
fn changed_signatures_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trusted) = key(folder.path(), "key.pem");
    let files = model_folder("half_plus_two");
    let bundle: Value =
        serde_json::from_str(&sign_folder(&files, &SigningKey::read(&path).unwrap(), None).unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = bundle.clone();
        change(&mut changed);
        let path = folder.path().join("changed.sig");
        fs::write(&path, changed.to_string()).unwrap();
        verify_folder(&files, &path, &trusted).unwrap_err().to_string()
    };
    // Another statement, under the old signature.
    let statement = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let other = String::from_utf8(statement).unwrap().replacen("\"sha256\":\"", "\"sha256\":\"0", 1);
    let said = refused(&|it| it["dsseEnvelope"]["payload"] = json!(STANDARD.encode(&other)));
    assert!(said.ends_with("it was not made by this key, or the statement was changed"), "{said}");
    let said = refused(&|it| it["dsseEnvelope"]["payloadType"] = json!("text/plain"));
    assert!(said.contains("it signs `text/plain`"), "{said}");
    let said = refused(&|it| it["dsseEnvelope"]["signatures"] = json!([]));
    assert!(said.ends_with("it has not one signature"), "{said}");
    let said = refused(&|it| it["dsseEnvelope"]["signatures"][0]["sig"] = json!("!"));
    assert!(said.ends_with("it is not valid base64"), "{said}");
    let said = refused(&|it| it["verificationMaterial"] = json!({"certificate": {"rawBytes": ""}}));
    assert!(said.contains("it is a keyless signature"), "{said}");
    let said = refused(&|it| *it = json!([]));
    assert!(said.contains("it is not a Sigstore bundle"), "{said}");
    // A hint is optional.
    let mut without = bundle.clone();
    without["verificationMaterial"] = json!({"publicKey": {}});
    fs::write(folder.path().join("without.sig"), without.to_string()).unwrap();
    verify_folder(&files, folder.path().join("without.sig"), &trusted).unwrap();
}

#[test]
fn files_that_are_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let said = |text: &str| {
        fs::write(&path, text).unwrap();
        let said = [
            SigningKey::read(&path).unwrap_err().to_string(),
            PublicKey::read(&path).unwrap_err().to_string(),
            Authorities::read(&path).unwrap_err().to_string(),
        ];
        said.map(|said| said.split_once("as a key: ").unwrap().1.to_owned())
    };
    let [private, public, authority] = said("text");
    assert_eq!(private, "it has no private key in PEM (`BEGIN PRIVATE KEY`)");
    assert_eq!(public, "it has no public key in PEM (`BEGIN PUBLIC KEY`)");
    assert_eq!(authority, "it has no certificate in PEM (`BEGIN CERTIFICATE`)");
    let pem =
        |label: &str, der: &[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
    let curves = "only keys on the curves P-256 and P-384 are supported";
    for der in [&[0x30, 0x03, 0x02, 0x01, 0x01][..], &[0x30, 0x80], &[0x30, 0x81, 0xff, 0x04], &[]] {
        assert_eq!(said(&pem("EC PRIVATE KEY", der))[0], curves);
        assert_eq!(said(&pem("PRIVATE KEY", der))[0], curves);
        assert_eq!(said(&pem("PUBLIC KEY", der))[1], curves);
    }
    assert!(said(&pem("ENCRYPTED PRIVATE KEY", &[1]))[0].starts_with("it is encrypted"));
    assert!(matches!(SigningKey::read(folder.path().join("absent")), Err(StoreError::Io { .. })));
    let (existing, _) = key(folder.path(), "key.pem");
    let before = fs::read(&existing).unwrap();
    assert!(SigningKey::create(&existing).is_err());
    assert_eq!(fs::read(&existing).unwrap(), before);
}
