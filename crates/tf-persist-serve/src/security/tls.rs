//! The certificates of both interfaces.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use super::{Pem, Tls};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM of a part is malformed.
    #[error("{name} cannot be used as the {part}, it is malformed PEM: {source}")]
    Pem {
        /// The name of the file.
        name: String,
        /// The part: "certificate", "key", ….
        part: &'static str,
        /// The parser's error.
        source: rustls::pki_types::pem::Error,
    },
    /// The PEM of a part has no such item.
    #[error("{name} cannot be used as the {part}, it has no {wanted}{instead}")]
    Empty {
        /// The name of the file.
        name: String,
        /// The part: "certificate", "key", ….
        part: &'static str,
        /// The missing item.
        wanted: &'static str,
        /// What the file has instead.
        instead: &'static str,
    },
    /// The certificate and the key do not fit each other.
    #[error("the certificate in {certificate} and the key in {key} cannot be used: {source}")]
    Unusable {
        /// The name of the certificate's file.
        certificate: String,
        /// The name of the key's file.
        key: String,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The authorities of clients' certificates cannot be used.
    #[error("the certificate authorities of clients in {name} cannot be used: {why}")]
    Authorities {
        /// The name of their file.
        name: String,
        /// The error of rustls.
        why: String,
    },
}

/// The certificates of new connections. They can be replaced while the server runs.
pub(crate) struct Certificates {
    rest: Option<ArcSwap<ServerConfig>>,
    grpc: ArcSwap<ServerConfig>,
    /// Their description in the log.
    described: ArcSwap<Described>,
}

/// A description of certificates.
struct Described {
    /// Their file.
    file: String,
    /// The SHA-256 digest of the server's certificate, as `openssl x509 -fingerprint -sha256` prints it.
    fingerprint: String,
    /// The length of its chain.
    chain: usize,
    /// The file of the authorities of clients' certificates.
    client_ca: Option<String>,
    grpc_only: bool,
}

impl Described {
    fn new(tls: &Tls) -> Result<Self, TlsError> {
        let chain = certificates(&tls.certificate, "certificate")?;
        let digest = chain.first().map(Sha256::digest).unwrap_or_default();
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(Self {
            file: tls.certificate.name.clone(),
            fingerprint: pairs.join(":"),
            chain: chain.len(),
            client_ca: tls.client_ca.as_ref().map(|authorities| authorities.name.clone()),
            grpc_only: tls.grpc_only,
        })
    }
}

impl Certificates {
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let rest = if tls.grpc_only { None } else { Some(ArcSwap::new(config(tls, b"http/1.1")?)) };
        let described = ArcSwap::from_pointee(Described::new(tls)?);
        Ok(Self { rest, grpc: ArcSwap::new(config(tls, b"h2")?), described })
    }

    /// Replaces the certificates. If the new ones cannot be used, the old ones stay.
    pub(crate) fn replace(&self, tls: &Tls) -> Result<(), TlsError> {
        let (rest, grpc) = (config(tls, b"http/1.1")?, config(tls, b"h2")?);
        if let Some(slot) = &self.rest {
            slot.store(rest);
        }
        self.grpc.store(grpc);
        self.described.store(Arc::new(Described::new(tls)?));
        Ok(())
    }

    /// Logs the certificate that is in effect.
    pub(crate) fn log_active(&self) {
        let Described { file, fingerprint, chain, client_ca, grpc_only } = &**self.described.load();
        let (sha256, client_ca, ports) = (fingerprint, client_ca.as_deref(), if *grpc_only { "gRPC" } else { "all" });
        tracing::info!(%file, %sha256, chain, client_ca, ports, "TLS certificate in effect");
    }

    /// The acceptor of a connection to the REST port; `None` for no TLS.
    pub(crate) fn rest(&self) -> Option<TlsAcceptor> {
        self.rest.as_ref().map(|config| TlsAcceptor::from(config.load_full()))
    }

    /// The acceptor of a connection to the gRPC port.
    pub(crate) fn grpc(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.grpc.load_full())
    }
}

/// The TLS configuration of one interface, with its protocol as the only one in ALPN.
fn config(tls: &Tls, protocol: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.certificate, "certificate")?;
    let key = key(&tls.key)?;
    let unusable = |source| {
        let (certificate, key) = (tls.certificate.name.clone(), tls.key.name.clone());
        TlsError::Unusable { certificate, key, source }
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let refused = |why: String| TlsError::Authorities { name: authorities.name.clone(), why };
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authorities, "certificate of clients' authorities")? {
                roots.add(certificate).map_err(|error| refused(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &Pem, part: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    let found = found.map_err(|source| TlsError::Pem { name: pem.name.clone(), part, source })?;
    if !found.is_empty() {
        return Ok(found);
    }
    let is_key = PrivateKeyDer::from_pem_slice(&pem.bytes).is_ok();
    let instead = if is_key { ", but a private key; are the certificate and the key swapped?" } else { " in PEM" };
    Err(TlsError::Empty { name: pem.name.clone(), part, wanted: "certificate", instead })
}

fn key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&pem.bytes).map_err(|source| {
        let (name, part) = (pem.name.clone(), "key");
        if !matches!(source, rustls::pki_types::pem::Error::NoItemsFound) {
            return TlsError::Pem { name, part, source };
        }
        let is_certificate = CertificateDer::from_pem_slice(&pem.bytes).is_ok();
        let instead =
            if is_certificate { ", but a certificate; are the certificate and the key swapped?" } else { " in PEM" };
        TlsError::Empty { name, part, wanted: "private key", instead }
    })
}
