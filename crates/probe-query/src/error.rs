//! What keeps a question from its answer. Each sentence names the thing, the cause and the remedy.

use std::{
    io,
    path::{Path, PathBuf},
};

use datafusion::error::DataFusionError;

/// Errors of a question.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question itself is wrong: a word, a time, a column, the filter. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The directory is no store of Parquet files.
    #[error("{path} is no store of flows: {why}", path = path.display())]
    NoStore {
        /// The directory, as it was given.
        path: PathBuf,
        /// What is missing there, and what helps.
        why: String,
    },
    /// A directory of the store cannot be read.
    #[error("cannot read {path}: {source}; {remedy}", path = path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What helps, as an imperative.
        remedy: &'static str,
    },
    /// The question needs more memory than it may take.
    #[error(
        "the answer needs more memory than {limit}: {source}; allow more (`--memory`), ask for a \
         shorter time, or for fewer columns"
    )]
    Memory {
        /// How much was allowed, in MiB.
        limit: String,
        /// What the engine said.
        source: DataFusionError,
    },
    /// The statement of `--sql` is wrong.
    #[error("{0}")]
    Sql(String),
    /// Files went away while they were read, again and again.
    #[error("{path} went away while it was read, as compaction and retention do; ask again", path = path.display())]
    Gone {
        /// The last of them.
        path: PathBuf,
    },
    /// The engine failed, and not for memory.
    #[error("the query failed: {0}")]
    Engine(#[from] DataFusionError),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
    /// The file of `--output` cannot be made.
    #[error("cannot write {path}: {source}; give another file by --output", path = path.display())]
    Output {
        /// Path of the file that cannot be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody has pressed Ctrl-C.
    #[error("cancelled")]
    Cancelled,
}

impl QueryError {
    /// The error of reading a path, with the remedy that fits.
    pub fn reading(path: PathBuf, source: io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "run as a user that may read it, such as root or a member of the store's group"
            }
            io::ErrorKind::NotFound => "name an existing directory",
            _ => "see whether its disk or mount is well (`dmesg`)",
        };
        Self::Unreadable {
            path,
            source,
            remedy,
        }
    }

    /// The error of the file that an answer goes to.
    pub fn output(path: &Path, source: io::Error) -> Self {
        Self::Output {
            path: path.to_owned(),
            source,
        }
    }

    /// Exit code of the program: 2 for a wrong question, 130 where it was cancelled, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Sql(_) => 2,
            Self::Cancelled => 130,
            _ => 1,
        }
    }
}
