//! The store: writing rotated intervals to where they are kept, and keeping no more than wanted.
//!
//! [`Writeout`] hands each interval to every sink, through a bounded queue and on a thread of its
//! own. The file sinks ([`parquet`], [`json_lines`]) share their directory layout, their way of
//! publishing a file only when it is whole (`file_sink`), and `retention`.
//!
//! The crate never captures, and never speaks HTTP or to the kernel's programs: it takes a
//! [`probe_flow::interval::Interval`], and hands out counts. The agent calls it.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod address_text;
pub mod compact;
pub mod examine;
pub mod file_sink;
#[cfg(test)]
mod fixture;
mod host;
pub mod json_lines;
mod layout;
mod ledger;
pub mod options;
pub mod parquet;
mod partition;
mod place;
pub mod queue;
pub mod report;
mod retention;
pub mod stats;

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use probe_flow::{interval::Interval, moment::Moment};

use self::{file_sink::FileSink, json_lines::JsonLines, parquet::Parquet, report::StoreReport};
pub use self::{
    queue::{QueuePolicy, SinkReport, Writeout},
    stats::SinkStats,
};
use crate::options::{SinkConfig, SinkFormat};

/// Whatever made an operation fail. Each kind of store has errors of its own; a caller that knows the kind can
/// downcast it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Reads the wall clock and the time since the boot. The clock is the caller's.
pub type Clock = fn() -> Moment;

/// Errors of a sink, each a sentence that names the operation, the object and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum WriteoutError {
    /// An operation on what keeps the interval failed, be it a file, an object in a remote store or
    /// a table.
    #[error("cannot {operation} {object}: {source}")]
    Store {
        /// What was tried, as a verb: "create", "write", "publish".
        operation: &'static str,
        /// On what: a path, an address, the name of a table.
        object: String,
        /// Why the operation failed, as the system tells it.
        source: Cause,
        /// Another try may end well: the disk may get room, the mount or the server come back.
        is_transient: bool,
    },
    /// The interval could not be encoded. Another try would end the same.
    #[error("cannot encode the flows of {iface}: {source}")]
    Encode {
        /// Interface of the interval.
        iface: Arc<str>,
        /// What the encoder said.
        source: Cause,
    },
    /// The sink panicked over an interval.
    #[error("the sink panicked while it wrote an interval of {iface}: {reason}")]
    Panic {
        /// Interface of the interval.
        iface: Arc<str>,
        /// Message that the panic came with.
        reason: String,
    },
    /// The directory of a sink cannot be used, found out before anything is captured.
    #[error(
        "the {sink} sink cannot store files below {path}: {source}; {remedy}, or set another `path`",
        path = path.display(),
        remedy = source.remedy()
    )]
    NotWritable {
        /// Name of the sink.
        sink: &'static str,
        /// Directory of the sink, as configured.
        path: PathBuf,
        /// The operation that failed, and why.
        #[source]
        source: Box<Self>,
    },
    /// The thread of a sink could not be started.
    #[error(
        "cannot start the thread of the {sink} sink: {source}; raise the limit of threads \
         (`ulimit -u`, `TasksMax=`)"
    )]
    Thread {
        /// Name of the sink.
        sink: String,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteoutError {
    /// An operation on a file or directory failed, which always is worth another try.
    pub fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Store {
            operation,
            object: path.display().to_string(),
            source: Box::new(source),
            is_transient: true,
        }
    }

    /// Whether the disk, or what the agent may use of it, is full.
    pub fn is_no_space(&self) -> bool {
        let Self::Store { source, .. } = self else {
            return false;
        };
        source.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        })
    }

    /// Whether another user might succeed.
    pub fn is_permission_denied(&self) -> bool {
        match self {
            Self::NotWritable { source, .. } => source.is_permission_denied(),
            Self::Store { source, .. } => source
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied),
            _ => false,
        }
    }

    /// Kind of the error that the system gave.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        let Self::Store { source, .. } = self else {
            return None;
        };
        source.downcast_ref::<io::Error>().map(io::Error::kind)
    }

    /// Whether the file system may be read only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Whether [`WriteoutHandler::look`] sees it, and sees when it is over.
    pub(crate) fn is_of_place(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
        let kinds = [
            NotADirectory,
            NotFound,
            PermissionDenied,
            ReadOnlyFilesystem,
        ];
        self.io_kind().is_some_and(|kind| kinds.contains(&kind))
    }

    /// What helps, as an imperative.
    pub fn remedy(&self) -> &'static str {
        let Self::Store { source, .. } = self else {
            return "report it, with the agent's log (`journalctl -u probe-agent`)";
        };
        if self.is_no_space() {
            return "free space (or inodes: `df -i`) on its file system, lower its \
                    retention.max_size, or set its retention.min_free";
        }
        match source.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => "let the agent's user write there",
            Some(io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) => {
                "move away what is in the place of the directory"
            }
            Some(io::ErrorKind::FileTooLarge) => {
                "raise the limit of file sizes (`ulimit -f`, `LimitFSIZE=`)"
            }
            Some(io::ErrorKind::ReadOnlyFilesystem) => {
                "mount its file system for writing; after a disk error it may be read-only (`dmesg`)"
            }
            _ => "see whether its disk or mount is well (`dmesg`)",
        }
    }

    /// Whether the same interval may be written by trying again.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Store {
                is_transient: true,
                ..
            }
        )
    }
}

/// A sink: keeps intervals. Called from a thread of its own, so it may block.
pub trait WriteoutHandler: Send {
    /// Short name for logs and metrics, such as `parquet`.
    fn name(&self) -> &'static str;

    /// It is called otherwise in logs and metrics: `parquet-2` for the second of a name. Called before
    /// it has anything to do.
    fn rename(&mut self, _name: &str) {}

    /// Stores one interval, durably, or not at all.
    ///
    /// # Errors
    ///
    /// The interval is not stored. If the error [is transient](WriteoutError::is_transient), the
    /// same interval is handed over again later.
    fn write(&mut self, interval: &Interval) -> Result<(), WriteoutError>;

    /// Bytes stored since the start; 0 where the sink does not know.
    fn stored_bytes(&self) -> u64 {
        0
    }

    /// Sees whether intervals can be stored, without storing any. Called at the start, and about every five
    /// seconds while there is nothing to write.
    ///
    /// # Errors
    ///
    /// What the next write would most likely fail with.
    fn look(&mut self) -> Result<(), WriteoutError> {
        Ok(())
    }

    /// Deletes what is to be kept no longer, and sees what there is. Called at the start, and about
    /// every five seconds while there is nothing to write.
    fn maintain(&mut self) {}

    /// A person says that the clock is right, whatever it said before.
    fn confirm_clock(&mut self) {}

    /// The directory that it stores in; `None` where it has none.
    fn root(&self) -> Option<&Path> {
        None
    }

    /// What is stored and what will be deleted when; `None` where the sink does not know.
    fn report(&self) -> Option<StoreReport> {
        None
    }
}

/// Opens all configured sinks: creates their directories, proves that files can be written there
/// and removes what a crash left behind. Retention goes by `clock`.
///
/// # Errors
///
/// One [`WriteoutError::NotWritable`] for each sink that cannot be opened, not just for the first.
pub fn open_sinks(
    configs: &[SinkConfig],
    clock: Clock,
) -> Result<Vec<Box<dyn WriteoutHandler>>, Vec<WriteoutError>> {
    let mut sinks = Vec::with_capacity(configs.len());
    let mut errors = Vec::new();
    for config in configs {
        match open_sink(config, clock) {
            Ok(sink) => sinks.push(sink),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(sinks)
    } else {
        Err(errors)
    }
}

fn open_sink(config: &SinkConfig, clock: Clock) -> Result<Box<dyn WriteoutHandler>, WriteoutError> {
    let (path, retention) = (config.path.clone(), config.retention);
    Ok(match config.format {
        SinkFormat::Parquet => {
            let sink = FileSink::open(Parquet::new(), path, retention, clock)?;
            Box::new(sink.compacting(config.compact))
        }
        SinkFormat::Json => Box::new(FileSink::open(JsonLines::new(), path, retention, clock)?),
    })
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, io};

    use super::WriteoutError;

    #[test]
    fn an_object_that_is_no_file_is_named_and_keeps_its_cause() {
        let error = WriteoutError::Store {
            operation: "put",
            object: "https://store.example/flows/1.parquet".to_owned(),
            source: Box::new(io::Error::from(io::ErrorKind::PermissionDenied)),
            is_transient: false,
        };
        assert!(!error.is_transient());
        assert_eq!(
            error.to_string(),
            "cannot put https://store.example/flows/1.parquet: permission denied"
        );
        let cause = error.source().and_then(|it| it.downcast_ref::<io::Error>());
        assert!(cause.is_some_and(|it| it.kind() == io::ErrorKind::PermissionDenied));
    }
}
