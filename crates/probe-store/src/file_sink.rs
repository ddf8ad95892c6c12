//! A sink that writes one file per interface and interval, in any [`FileFormat`].
//!
//! A file is written under a hidden name, synced, renamed, and its directory synced. So readers
//! see whole files only, and after a crash every visible file is whole. An existing file is never
//! overwritten.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::{debug, info, warn};

use super::{
    Cause, Clock, Interval, WriteoutError, WriteoutHandler,
    compact::{
        Compactor,
        background::{Background, QUIET},
    },
    layout::{FileName, date_dir, iface_dir, is_iface_dir, parse_date_dir},
    parquet::Parquet,
    partition::{Directory, FileSize},
    place::{Place, check_writable},
    retention::{Bounds, Pruner, Tree},
};
use crate::{
    options::{Retention, SinkFormat},
    report::StoreReport,
};

/// What is in the files.
pub trait FileFormat: Send {
    /// Format of the files, whose name is the sink's name.
    const FORMAT: SinkFormat;
    /// Extension of the files, without the dot.
    const EXTENSION: &'static str;

    /// Writes the interval to an empty file.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Io`]: the file did not take the bytes. [`EncodeError::Format`]: the format cannot
    /// hold the interval.
    fn encode(&self, interval: &Interval, file: &mut File) -> Result<(), EncodeError>;
}

/// Why a file could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The file did not take the bytes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The encoder did not take the interval.
    #[error(transparent)]
    Format(Cause),
}

/// Writes intervals as files below a directory.
pub struct FileSink<F> {
    /// Name in the log.
    name: String,
    files: Files<F>,
    pruner: Pruner<Tree>,
    clock: Clock,
    stored_bytes: u64,
    compaction: Compaction,
    /// `None` if the system does not tell.
    place: Option<Place>,
    /// Where it lies instead, as of the last look.
    moved: Option<Arc<str>>,
    /// Directory of the day whose interval could not be written last, until one can.
    refused: Option<PathBuf>,
}

/// Whether closed days are compacted.
enum Compaction {
    Off,
    /// From the first upkeep on: the sink has its name by then.
    Begins,
    Runs(Background),
}

/// How files are written, apart from what keeps them.
struct Files<F> {
    format: F,
    root: PathBuf,
}

impl FileSink<Parquet> {
    /// Compacts closed days on a thread of its own, or deletes what a killed agent left that did.
    #[must_use]
    pub fn compacting(mut self, is_wanted: bool) -> Self {
        self.compaction = if is_wanted {
            Compaction::Begins
        } else {
            let root = &self.files.root;
            if let Err(error) = Compactor::new(root.clone(), 0).clean()
                && !error.is_of_disk()
            {
                warn!(%error, "files of a killed compaction are left");
            }
            Compaction::Off
        };
        self
    }
}

impl<F: FileFormat> FileSink<F> {
    /// Creates the directory, proves that files can be written there and deletes what a crash left
    /// in the making. Retention goes by `clock`.
    ///
    /// # Errors
    ///
    /// [`WriteoutError::NotWritable`]: the directory cannot be made, written or cleaned.
    pub fn open(
        format: F,
        root: PathBuf,
        retention: Retention,
        clock: Clock,
    ) -> Result<Self, WriteoutError> {
        try_to_write::<F>(&root)
            // Retention may make room, and until then every failed write is told.
            .or_else(|error| {
                if error.is_no_space() {
                    Ok(())
                } else {
                    Err(error)
                }
            })
            .and_then(|()| remove_abandoned_files::<F>(&root))
            .map_err(|error| WriteoutError::NotWritable {
                sink: F::FORMAT.name(),
                path: root.clone(),
                source: Box::new(error),
            })?;
        let tree = Tree::new(root.clone(), F::EXTENSION);
        // Empty where there is none: then every start counts as one after a boot.
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot_id = boot_id.unwrap_or_default().trim_end().to_owned();
        let place = Place::of(&root).ok();
        Ok(Self {
            name: F::FORMAT.name().to_owned(),
            files: Files { format, root },
            pruner: Pruner::new(tree, F::FORMAT.name(), retention, boot_id),
            clock,
            stored_bytes: 0,
            compaction: Compaction::Off,
            place,
            moved: None,
            refused: None,
        })
    }
}

impl<F: FileFormat> FileSink<F> {
    /// Logs each change once.
    fn look_where_it_lies(&mut self) {
        let moved = self.place.as_ref().and_then(Place::moved);
        let moved = moved.map(Arc::<str>::from);
        if moved == self.moved {
            return;
        }
        if let Some(moved) = &moved {
            warn!(sink = self.name, "{moved}");
        } else {
            info!(sink = self.name, "the store lies where it did at the start");
        }
        self.moved = moved;
        self.pruner.recount();
    }

    /// Counts anew where others have changed what is stored.
    fn look_for_changes(&mut self) {
        self.look_where_it_lies();
        if let Compaction::Runs(background) = &self.compaction
            && background.take_change()
        {
            self.pruner.recount();
        }
    }
}

impl<F: FileFormat> Files<F> {
    fn write(&self, interval: &Interval) -> Result<FileSize, WriteoutError> {
        let name = FileName {
            end: interval.end,
            start: interval.start,
            serial: 0,
            extension: F::EXTENSION,
        };
        let partition = Directory::create_root(&self.root)?.create_partition(interval)?;
        let mut pending = partition.create_file(&name)?;
        self.format
            .encode(interval, pending.file())
            .map_err(|error| match error {
                EncodeError::Io(source) => WriteoutError::file("write", &pending.path(), source),
                EncodeError::Format(source) => WriteoutError::Encode {
                    iface: interval.iface.clone(),
                    source,
                },
            })?;
        pending.publish(&name)
    }
}

impl<F: FileFormat> WriteoutHandler for FileSink<F> {
    fn name(&self) -> &'static str {
        F::FORMAT.name()
    }

    fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.pruner.rename(name);
    }

    fn write(&mut self, interval: &Interval) -> Result<(), WriteoutError> {
        self.look_for_changes();
        let Self {
            name,
            files,
            pruner,
            clock,
            stored_bytes,
            compaction,
            refused,
            ..
        } = self;
        let day = files.root.join(iface_dir(&interval.iface));
        *refused = Some(day.join(date_dir(interval.start)));
        let bounds = Bounds {
            start: interval.start,
            end: interval.end,
            end_since_boot: interval.end_since_boot,
        };
        pruner.write_with_room(bounds, clock(), |_| {
            let size = files.write(interval)?;
            debug!(
                sink = name,
                iface = &*interval.iface,
                start = %interval.start,
                flows = interval.flows.len(),
                bytes = size.length,
                "interval written"
            );
            *stored_bytes += size.length;
            Ok(size.allocated)
        })?;
        *refused = None;
        if let Compaction::Runs(background) = compaction {
            background.trust(pruner.trust());
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), WriteoutError> {
        self.look_for_changes();
        check_writable(&self.files.root)?;
        self.refused.as_deref().map_or(Ok(()), check_writable)
    }

    fn maintain(&mut self) {
        self.pruner.look_after((self.clock)());
        let trust = self.pruner.trust();
        match &self.compaction {
            Compaction::Off => {}
            Compaction::Begins => {
                let (root, min_free) = (self.files.root.clone(), self.pruner.min_free());
                let (sink, clock) = (&self.name, self.clock);
                let background = Background::start(sink, root, min_free, clock, QUIET, trust);
                self.compaction = Compaction::Runs(background);
            }
            Compaction::Runs(background) => background.trust(trust),
        }
    }

    fn confirm_clock(&mut self) {
        self.pruner.confirm_clock((self.clock)());
        if let Compaction::Runs(background) = &self.compaction {
            background.trust(self.pruner.trust());
            // By the clock other days may be closed.
            background.look_now();
        }
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.files.root)
    }

    fn report(&self) -> Option<StoreReport> {
        let mut report = self.pruner.report().cloned()?;
        report.moved.clone_from(&self.moved);
        if let Compaction::Runs(background) = &self.compaction {
            report.compaction = background.report();
        }
        Some(report)
    }

    fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }
}

/// Creates the root and, for a moment, a file in it.
fn try_to_write<F: FileFormat>(root: &Path) -> Result<(), WriteoutError> {
    let name = FileName {
        end: jiff::Timestamp::UNIX_EPOCH,
        start: jiff::Timestamp::UNIX_EPOCH,
        serial: 0,
        extension: F::EXTENSION,
    };
    Directory::create_root(root)?.create_file(&name).map(drop)
}

/// Searches where the last writer may have been: in the root, and in the two newest days of every
/// interface (an interval belongs to the day on which it starts). So the start does not take longer
/// with every day that is kept; what is elsewhere, because the clock was set back, goes when
/// retention deletes its day.
fn remove_abandoned_files<F: FileFormat>(path: &Path) -> Result<(), WriteoutError> {
    let extension = F::EXTENSION;
    let root = Directory::open_root(path)?;
    let mut removed = root.remove_abandoned_files(extension)?;
    for iface in root.names(is_iface_dir)? {
        // Not a directory, or not to be followed: none of ours.
        let Ok(iface) = root.open_dir(&iface) else {
            continue;
        };
        let dates = iface.names(|name| parse_date_dir(name).is_some())?;
        for date in dates.iter().rev().take(2) {
            if let Ok(date) = iface.open_dir(date) {
                removed += date.remove_abandoned_files(extension)?;
            }
        }
    }
    if removed > 0 {
        info!(
            sink = F::FORMAT.name(),
            path = %path.display(),
            removed,
            "deleted unfinished files of an agent that was killed"
        );
    }
    Ok(())
}
