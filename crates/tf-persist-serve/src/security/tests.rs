use std::fs;

use http::{HeaderMap, HeaderName, HeaderValue};
use tf_persist_core::Code;

use super::*;

fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    headers
}

#[test]
fn limit_counts_and_refuses() {
    let limit = ConcurrencyLimit::new(2);
    let (first, _second) = (limit.try_acquire().unwrap(), limit.try_acquire().unwrap());
    assert_eq!(limit.try_acquire().unwrap_err().code, Code::Unavailable);
    assert_eq!(limit.in_flight(), 2);
    drop(first);
    let _third = limit.try_acquire().unwrap();
}

#[test]
fn every_client_is_accepted_without_a_file() {
    ApiKeys::open(None).unwrap().check(&HeaderMap::new()).unwrap();
    ApiKeys::default().check(&HeaderMap::new()).unwrap();
}

#[test]
fn keys_are_checked_and_reloaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs::write(&file, "# ours\n\n secret-one \r\nsecret-two\n").unwrap();
    let keys = ApiKeys::open(Some(&file)).unwrap();
    for (name, value) in
        [("authorization", "Bearer secret-one"), ("authorization", "bearer  secret-two "), ("x-api-key", "secret-two")]
    {
        keys.check(&headers(name, value)).unwrap();
    }
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("authorization", "Bearer "),
        ("authorization", "Basic secret-one"),
        ("authorization", "secret-one"),
        ("x-api-key", "# ours"),
        ("x-api-key", ""),
        ("accept", "secret-one"),
    ] {
        let refused = keys.check(&headers(name, value)).unwrap_err();
        assert_eq!(refused.code, Code::Unauthenticated, "{name}: {value}");
        assert!(!refused.message.contains("secret"), "{refused}");
    }
    let bearer = headers("authorization", "Bearer secret-one");
    fs::write(&file, "# none\n").unwrap();
    assert!(keys.reload().unwrap_err().to_string().contains("no key"));
    keys.check(&bearer).unwrap();
    fs::write(&file, "another\n").unwrap();
    keys.reload().unwrap();
    keys.check(&bearer).unwrap_err();
    keys.check(&headers("x-api-key", "another")).unwrap();
}

#[test]
fn file_without_keys_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    assert!(matches!(ApiKeys::open(Some(&file)).unwrap_err(), ApiKeysError::Read { .. }));
    for text in [Vec::new(), b"#\n".to_vec(), vec![b'x'; 2 << 20], vec![b'y'; 5000]] {
        fs::write(&file, text).unwrap();
        assert!(matches!(ApiKeys::open(Some(&file)).unwrap_err(), ApiKeysError::Invalid { .. }));
    }
}

#[test]
fn invalid_certificates_are_errors() {
    let tls = |certificate: &str, key: &str| Tls {
        certificate: Pem::new("`c.pem`", certificate),
        key: Pem::new("`k.pem`", key),
        client_ca: None,
        grpc_only: false,
    };
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let error = |certificate: &str, key: &str| Certificates::new(&tls(certificate, key)).err().unwrap().to_string();
    assert_eq!(error("", ""), "`c.pem` cannot be used as the certificate, it has no certificate in PEM");
    assert_eq!(error("garbage", ""), "`c.pem` cannot be used as the certificate, it has no certificate in PEM");
    assert!(matches!(Certificates::new(&tls(broken, "")), Err(TlsError::Pem { part: "certificate", .. })));
    let shell = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(error(shell, "garbage"), "`k.pem` cannot be used as the key, it has no private key in PEM");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let swapped = "are the certificate and the key swapped?";
    let expected =
        format!("`c.pem` cannot be used as the certificate, it has no certificate, but a private key; {swapped}");
    assert_eq!(error(key, shell), expected);
    let expected = format!("`k.pem` cannot be used as the key, it has no private key, but a certificate; {swapped}");
    assert_eq!(error(shell, shell), expected);
    assert!(error(shell, key).starts_with("the certificate in `c.pem` and the key in `k.pem` cannot be used"));
}
