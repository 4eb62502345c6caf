//! Certificates of both interfaces.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::Tls;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM of a part cannot be read.
    #[error("the {part} is no PEM that can be read: {source}")]
    Pem {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The PEM of a part has nothing in it.
    #[error("the {part} is empty")]
    Empty {
        /// Which part.
        part: &'static str,
    },
    /// The parts do not fit.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(rustls::Error),
    /// The clients' authorities cannot be used.
    #[error("the authorities of clients cannot be used: {0}")]
    Authorities(String),
}

/// The certificates that new connections get; they can be replaced while the server runs.
pub(crate) struct Certificates {
    rest: Option<ArcSwap<ServerConfig>>,
    grpc: ArcSwap<ServerConfig>,
}

impl Certificates {
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let rest = if tls.grpc_only { None } else { Some(ArcSwap::new(config(tls, b"http/1.1")?)) };
        Ok(Self { rest, grpc: ArcSwap::new(config(tls, b"h2")?) })
    }

    /// Puts others in their place; if they cannot be used, those that are there stay.
    pub(crate) fn replace(&self, tls: &Tls) -> Result<(), TlsError> {
        let (rest, grpc) = (config(tls, b"http/1.1")?, config(tls, b"h2")?);
        if let Some(slot) = &self.rest {
            slot.store(rest);
        }
        self.grpc.store(grpc);
        Ok(())
    }

    /// For a connection to the REST port.
    pub(crate) fn rest(&self) -> Option<TlsAcceptor> {
        self.rest.as_ref().map(|config| TlsAcceptor::from(config.load_full()))
    }

    /// For a connection to the gRPC port.
    pub(crate) fn grpc(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.grpc.load_full())
    }
}

/// What TLS says of one interface, whose protocol is the only one that is offered.
fn config(tls: &Tls, protocol: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key).map_err(|source| TlsError::Pem { part: "key", source })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authorities, "certificate of clients' authorities")? {
                roots.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder
                .with_client_cert_verifier(verifier.build().map_err(|error| TlsError::Authorities(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], part: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|source| TlsError::Pem { part, source })?;
    if found.is_empty() { Err(TlsError::Empty { part }) } else { Ok(found) }
}
