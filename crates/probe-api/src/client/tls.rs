//! Which certificates of agents a client trusts.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::ClientError;

/// Whom a client believes to be the agent, by its certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trust {
    /// Certificates as PEM that sign the agent's, or its own if it is self-signed; those of the system
    /// by default.
    pub ca_file: Option<PathBuf>,
    /// Name or IP address that the certificate must be for; by default the one that is connected to.
    pub server_name: Option<String>,
}

/// What a connection is encrypted with.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Trust {
    pub(super) fn connector(&self, host: &str) -> Result<Tls, ClientError> {
        let wanted = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(wanted.to_owned());
        let name = name.map_err(|_| ClientError::ServerName(wanted.to_owned()))?;
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => add_file(&mut roots, path)?,
            None => {
                // What it cannot read of the system's it leaves out; a missing root is told at the
                // connection.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    let refused = |reason: String| ClientError::CaFile {
        path: path.to_owned(),
        reason,
    };
    let pem = fs::read(path).map_err(|error: io::Error| refused(error.to_string()))?;
    for cert in CertificateDer::pem_slice_iter(&pem) {
        let cert = cert.map_err(|error| refused(error.to_string()))?;
        let added = roots.add(cert);
        added.map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("it has no certificate as PEM".to_owned()));
    }
    Ok(())
}
