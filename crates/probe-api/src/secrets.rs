//! Files with keys and certificates, read before anything is served.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::named_file::open_to_read;
use crate::options::{ApiKey, KeySource, Role, Secret, TlsConfig};

/// No key or certificate is larger.
const MAX_BYTES: u64 = 1 << 20;

/// Rights that nobody but the owner may have to a file with a secret.
const OTHERS: u32 = 0o077;

/// Why a key or a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such file, no permission …
    #[error("cannot read {key} from {path}: {source}; give a readable file", path = path.display())]
    Read {
        /// Key of the configuration.
        key: &'static str,
        /// Path of the key's file.
        path: PathBuf,
        /// Cause, as the system tells it.
        source: io::Error,
    },
    /// Somebody else can read or replace it.
    #[error(
        "{path} holds a secret ({key}), and has owner {uid} and mode {mode:03o}; make it root's or \
         the agent's own, and `chmod 600` it", path = path.display()
    )]
    Exposed {
        /// Key of the configuration.
        key: &'static str,
        /// Path of the key's file.
        path: PathBuf,
        /// User id of the file's owner.
        uid: u32,
        /// Permission bits of the file.
        mode: u32,
    },
    /// What is in it is of no use.
    #[error("{key}: {path} {problem}", path = path.display())]
    Content {
        /// Key of the configuration.
        key: &'static str,
        /// Path of the key's file.
        path: PathBuf,
        /// End of the sentence.
        problem: String,
    },
}

/// Reads the configured keys, from the configuration or their files.
pub(super) fn keys(configured: &[ApiKey]) -> Result<Vec<(Role, Secret)>, SecretError> {
    let keys = configured.iter().map(|key| {
        let secret = match &key.source {
            KeySource::Inline(secret) => secret.clone(),
            KeySource::File(path) => key_of_file(path)?,
        };
        Ok((key.role, secret))
    });
    keys.collect()
}

impl SecretError {
    /// Whether the asking user may not read the file. Another one, the agent's, may.
    pub fn is_permission_denied(&self) -> bool {
        let Self::Read { source, .. } = self else {
            return false;
        };
        source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// What is wrong with the file of a key of the API: what does not exist, what others may read, and what
/// holds no key. Who owns a file is no matter here, since the agent may run as another user.
pub fn api_key_mistake(path: &Path) -> Option<SecretError> {
    key_of_file(path).err().filter(is_mistake)
}

/// What is wrong with a file of certificates, as [`api_key_mistake`] tells it.
pub fn certificate_mistake(path: &Path) -> Option<SecretError> {
    certificates(path).err().filter(is_mistake)
}

/// What is wrong with the file of a private key, as [`api_key_mistake`] tells it.
pub fn private_key_mistake(path: &Path) -> Option<SecretError> {
    private_key(path).err().filter(is_mistake)
}

/// What is wrong with a pair whose files are good each: the key is not that of the certificate.
pub fn tls_mistake(config: &TlsConfig) -> Option<SecretError> {
    acceptor(config).err().filter(is_mistake)
}

fn is_mistake(error: &SecretError) -> bool {
    match error {
        SecretError::Exposed { mode, .. } => mode & OTHERS != 0,
        SecretError::Read { .. } | SecretError::Content { .. } => true,
    }
}

fn key_of_file(path: &Path) -> Result<Secret, SecretError> {
    let key = "api.keys[].file";
    let bytes = read_secret(key, path)?;
    let text = String::from_utf8_lossy(&bytes);
    Secret::new(text.trim_end()).map_err(|problem| SecretError::Content {
        key,
        path: path.to_owned(),
        problem: format!("holds no key: it {problem}"),
    })
}

const CERT: &str = "api.tls.cert";
const PRIVATE_KEY: &str = "api.tls.key";

/// An acceptor of TLS connections.
pub(super) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, SecretError> {
    let chain = certificates(&config.cert)?;
    let private = private_key(&config.key)?;
    let unusable = |error| unusable(CERT, &config.cert, &error);
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let pem = read(CERT, open(CERT, path)?, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    chain.map_err(|error| unusable(CERT, path, &error))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SecretError> {
    let pem = read_secret(PRIVATE_KEY, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(PRIVATE_KEY, path, &error))
}

fn unusable(key: &'static str, path: &Path, problem: &dyn std::fmt::Display) -> SecretError {
    SecretError::Content {
        key,
        path: path.to_owned(),
        problem: format!("cannot be used: {problem}"),
    }
}

/// Reads a file that only its owner may know. Rights are those of the file that was opened.
fn read_secret(key: &'static str, path: &Path) -> Result<Vec<u8>, SecretError> {
    let file = open(key, path)?;
    let metadata = file.metadata().map_err(|source| SecretError::Read {
        key,
        path: path.to_owned(),
        source,
    })?;
    let own = rustix::process::geteuid().as_raw();
    let is_owned = metadata.uid() == 0 || metadata.uid() == own;
    if !is_owned || metadata.mode() & OTHERS != 0 {
        return Err(SecretError::Exposed {
            key,
            path: path.to_owned(),
            uid: metadata.uid(),
            mode: metadata.mode() & 0o777,
        });
    }
    read(key, file, path)
}

fn open(key: &'static str, path: &Path) -> Result<File, SecretError> {
    open_to_read(path).map_err(|source| SecretError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}

fn read(key: &'static str, file: File, path: &Path) -> Result<Vec<u8>, SecretError> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|source| SecretError::Read {
        key,
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}
