//! Which certificates of agents a client trusts.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        CertificateError, ClientConfig, Error, RootCertStore,
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

/// What to try where a handshake failed, as an imperative.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    match cause {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "give the name that the certificate is for by --server-name",
        Some(Error::InvalidCertificate(_)) => {
            "give the certificate that signs the agent's by --ca-file, or its own if it is self-signed"
        }
        Some(Error::InvalidMessage(_)) => {
            "is this the port of api.addr, and does it speak TLS? Without api.tls, leave https:// out, \
             and api.metrics_addr never does"
        }
        Some(_) => "is this the port of api.addr? The agent speaks TLS 1.2 and 1.3",
        // The connection ended.
        None => {
            "is this the port of api.addr, and does it speak TLS? Without api.tls, leave https:// out, \
             and api.metrics_addr never does. An agent without room for a connection ends it, too: \
             ask again later"
        }
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    use crate::client::{AgentAddr, Client};

    /// What a client says of an address whose other end does that with the first octets.
    fn told(act: impl FnOnce(TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let addr = listener.local_addr().expect("an address");
        let other = thread::spawn(move || act(listener.accept().expect("a client").0));
        let addr = format!("https://{addr}").parse::<AgentAddr>();
        let client = Client::new(addr.expect("an address"), None).expect("a client");
        let told = client.info().expect_err("no TLS").to_string();
        other.join().expect("it ends");
        told
    }

    #[test]
    fn who_speaks_no_tls_is_not_asked_for_a_certificate() {
        let ended = told(|mut io| {
            let mut hello = [0; 4096];
            assert!(io.read(&mut hello).expect("a hello") > 0);
        });
        // Octets that nobody has read: the end is a reset.
        let reset = told(|io| {
            io.peek(&mut [0]).expect("a hello");
        });
        let plain = told(|mut io| {
            let mut hello = [0; 4096];
            assert!(io.read(&mut hello).expect("a hello") > 0);
            io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .expect("sent");
        });
        for told in [ended, reset, plain] {
            assert!(told.contains("is this the port of api.addr"), "{told}");
            assert!(told.contains("leave https:// out"), "{told}");
            assert!(!told.contains("--ca-file"), "{told}");
        }
    }

    /// An alert: no certificate is to blame.
    #[test]
    fn who_refuses_the_handshake_is_not_asked_for_a_certificate() {
        // Fatal, handshake_failure (RFC 8446, section 6).
        let told = told(|mut io| {
            let mut hello = [0; 4096];
            assert!(io.read(&mut hello).expect("a hello") > 0);
            io.write_all(&[21, 3, 3, 0, 2, 2, 40]).expect("sent");
        });
        assert!(told.contains("TLS 1.2 and 1.3"), "{told}");
        assert!(!told.contains("--ca-file"), "{told}");
    }
}
