//! What a file says of itself: ledgers, host, version of the schema, columns, statistics.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use datafusion::parquet::{
    basic::Type as PhysicalType,
    errors::ParquetError,
    file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader},
};
use probe_flow::schema::{FIELDS, Read};

use crate::{
    error::QueryError, ledger::StoredLedger, parallel, progress::Progress, store::StoredFile,
    time::Range,
};

/// Version of the schema that this program knows. docs/STORAGE.md: later ones only add columns.
pub const SCHEMA_VERSION: u32 = 3;

/// A file whose footer was read.
#[derive(Clone, Debug)]
pub struct ReadFile {
    /// Where it is, and what its path says.
    pub file: StoredFile,
    /// Its size in bytes.
    pub bytes: u64,
    /// Names of the hosts that captured its flows; more than one only where stores were mixed.
    pub host: Arc<str>,
    /// Whether that is one host, whose name is known.
    pub has_one_host: bool,
    /// Version of its schema.
    pub schema_version: u32,
    /// Ledgers of all its intervals, or their sum.
    pub ledgers: Arc<[StoredLedger]>,
    /// Where its columns lie, without what is in the fields above.
    pub metadata: Arc<ParquetMetaData>,
}

/// A file that is left out, and why.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Skipped {
    /// Where the file is.
    pub path: PathBuf,
    /// Why it cannot be read.
    pub why: String,
}

/// Footers of all files of a question.
#[derive(Debug, Default)]
pub struct Footers {
    /// Those that can be read, in the order of the files.
    pub read: Vec<ReadFile>,
    /// Those that are damaged, or no files of flows.
    pub skipped: Vec<Skipped>,
}

/// Why a footer was not read.
enum Trouble {
    /// The file is no longer there.
    Gone,
    /// The system refuses to read.
    System(io::Error),
    Damaged(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::System(error),
        }
    }
}

impl From<ParquetError> for Trouble {
    fn from(error: ParquetError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Which ledgers of a file are read.
#[derive(Clone, Copy, Debug)]
pub enum WantedLedgers {
    /// That of each interval.
    Each,
    /// The sum of all, where the file has one and lies in the time as a whole.
    Sum(Range),
}

/// Reads the footers of files, on as many threads as there are CPUs.
///
/// # Errors
///
/// [`QueryError::Gone`]: a file is no longer there, so that the store has to be listed anew.
/// [`QueryError::Cancelled`]: somebody wants no answer any more.
pub fn read_all(
    files: &[StoredFile],
    wanted: WantedLedgers,
    progress: &Progress,
) -> Result<Footers, QueryError> {
    progress.begin("reading ledgers", files.len());
    let outcomes = parallel::map(files.len(), |place| {
        if progress.is_cancelled() {
            return None;
        }
        progress.step();
        Some(read(&files[place], wanted))
    });
    if progress.is_cancelled() {
        return Err(QueryError::Cancelled);
    }
    let mut footers = Footers::default();
    for (file, outcome) in files.iter().zip(outcomes.into_iter().flatten()) {
        let path = || file.path.clone();
        match outcome {
            Ok(file) => footers.read.push(file),
            Err(Trouble::Gone) => return Err(QueryError::Gone { path: path() }),
            Err(Trouble::System(error)) => footers.skipped.push(Skipped {
                path: path(),
                why: error.to_string(),
            }),
            Err(Trouble::Damaged(why)) => footers.skipped.push(Skipped { path: path(), why }),
        }
    }
    Ok(footers)
}

fn read(file: &StoredFile, wanted: WantedLedgers) -> Result<ReadFile, Trouble> {
    let handle = File::open(&file.path)?;
    let bytes = handle.metadata()?.len();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&handle)?;
    let header = metadata.file_metadata();
    check_columns(header).map_err(Trouble::Damaged)?;
    let pairs = header.key_value_metadata().map_or(&[][..], Vec::as_slice);
    let ledgers = ledgers(pairs, wanted)
        .map_err(|why| Trouble::Damaged(format!("its ledger cannot be read: {why}")))?;
    if ledgers.is_empty() {
        return Err(Trouble::Damaged(
            "it has no ledger, so no agent wrote it".to_owned(),
        ));
    }
    let version = values(pairs, "probe.schema_version").next();
    let mut hosts: Vec<_> = values(pairs, "probe.host").collect();
    hosts.sort_unstable();
    hosts.dedup();
    Ok(ReadFile {
        has_one_host: hosts.len() == 1,
        host: hosts.join("+").into(),
        schema_version: version.and_then(|it| it.parse().ok()).unwrap_or(1),
        ledgers: ledgers.into(),
        file: file.clone(),
        bytes,
        metadata: Arc::new(without_pairs(&metadata)),
    })
}

fn ledgers(pairs: &[KeyValue], wanted: WantedLedgers) -> Result<Vec<StoredLedger>, String> {
    if let (WantedLedgers::Sum(range), Some(text)) =
        (wanted, values(pairs, "probe.ledgers_sum").next())
    {
        let sum = StoredLedger::read(text)?;
        if range.since <= sum.start && sum.end <= range.until {
            return Ok(vec![sum]);
        }
    }
    if let Some(text) = values(pairs, "probe.ledgers").next() {
        return StoredLedger::read_array(text);
    }
    values(pairs, "probe.ledger")
        .map(StoredLedger::read)
        .collect()
}

fn values<'a>(pairs: &'a [KeyValue], key: &'a str) -> impl Iterator<Item = &'a str> {
    let found = pairs.iter().filter(move |pair| pair.key == key);
    found.filter_map(|pair| pair.value.as_deref())
}

/// A compacted day has hundreds of kilobytes of ledgers, which are read once.
fn without_pairs(metadata: &ParquetMetaData) -> ParquetMetaData {
    let header = metadata.file_metadata();
    let header = FileMetaData::new(
        header.version(),
        header.num_rows(),
        header.created_by().map(str::to_owned),
        None,
        header.schema_descr_ptr(),
        header.column_orders().cloned(),
    );
    ParquetMetaData::new(header, metadata.row_groups().to_vec())
}

/// Whether the columns that we know have the types that we know. Others are of no interest.
fn check_columns(header: &FileMetaData) -> Result<(), String> {
    let found = header.schema_descr().columns();
    for field in FIELDS.iter().filter(|field| field.is_column()) {
        let column = found
            .iter()
            .find(|column| column.path().string() == field.name);
        let Some(column) = column else {
            // Files of older versions lack them.
            if matches!(field.read, Read::Tick(_) | Read::Host) {
                continue;
            }
            return Err(format!("it has no column {}", field.name));
        };
        let wanted = match field.read {
            Read::Bool(_) => PhysicalType::BOOLEAN,
            Read::U8(_) | Read::U16(_) => PhysicalType::INT32,
            Read::U64(_) | Read::Bound(_) | Read::Tick(_) => PhysicalType::INT64,
            _ => PhysicalType::BYTE_ARRAY,
        };
        if column.physical_type() != wanted || column.max_rep_level() > 0 {
            return Err(format!("its column {} is of another type", field.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_that_of_the_writer() {
        assert_eq!(super::SCHEMA_VERSION, probe_store::parquet::SCHEMA_VERSION);
    }
}
