//! What a document names on the host, for those who may look at it. Reading a document looks at nothing.

use std::path::PathBuf;

use probe_store::options::SinkFormat;

/// A file or directory, with the place where it is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OnHost {
    /// Number of the node in the document.
    pub(super) number: usize,
    /// The key that names it.
    pub key: String,
    /// What it is for.
    pub what: Named,
}

/// What something that is named is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// The directory of a sink.
    Directory {
        /// Format of the sink, where the document says it.
        format: Option<SinkFormat>,
        /// The directory, an absolute path.
        path: PathBuf,
    },
    /// A directory that may take so much, on a file system that need not keep anything free.
    SizeLimit {
        /// The directory, an absolute path.
        path: PathBuf,
        /// Most that it may take, in bytes.
        max_size_bytes: u64,
    },
    /// A file that holds a key of the API.
    ApiKey(PathBuf),
    /// A file of certificates as PEM, that of the agent first.
    Certificate(PathBuf),
    /// A file that holds a private key as PEM.
    PrivateKey(PathBuf),
}
