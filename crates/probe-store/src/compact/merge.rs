//! Many files of a day into one: all rows, sorted, and the ledgers of all intervals.

use std::{fs::File, sync::Arc};

use parquet::{
    errors::{ParquetError, Result},
    file::{
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
};

use super::{
    plan::{Plan, ledgers},
    table::{Digest, Table},
    write::{flush, properties},
};
use crate::parquet::schema::message_type;

/// Most rows in memory, which are sorted together: about a quarter of a day of 1,500 flows in each
/// interval.
pub(super) const ROWS_PER_PART: usize = 128 << 10;

/// The files that become one.
pub(super) trait Sources {
    /// How many there are.
    fn number(&self) -> usize;

    /// Opens one, of any number below. Errors name the file.
    fn open(&self, index: usize) -> Result<SerializedFileReader<File>>;
}

/// What is in files: what they must have in common before one takes the place of others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Contents {
    /// The rows, in whatever order.
    pub(super) digest: Digest,
    /// Ledgers of the intervals, as they are stored, sorted.
    pub(super) ledgers: Vec<String>,
}

/// Why files did not become one.
#[derive(Debug)]
pub(super) enum MergeError {
    /// The source that was opened last.
    Source(ParquetError),
    /// The new file did not take the bytes.
    New(ParquetError),
}

impl From<ParquetError> for MergeError {
    fn from(error: ParquetError) -> Self {
        Self::Source(error)
    }
}

/// Writes all rows and ledgers of the sources to an empty file, and returns what was read.
///
/// # Errors
///
/// A source is damaged, or has what this version does not know; or the file did not take the bytes.
pub(super) fn merge(
    sources: &dyn Sources,
    into: &mut File,
) -> std::result::Result<Contents, MergeError> {
    let mut plan = Plan::new(sources)?;
    let schema = message_type(&plan.optional)?;
    let properties = Arc::new(properties()?);
    let writer = SerializedFileWriter::new(into, schema, properties);
    let mut writer = writer.map_err(MergeError::New)?;
    let mut table = Table::new();
    let mut digest = Digest::default();
    for index in 0..sources.number() {
        let reader = sources.open(index)?;
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group)?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
            if rows > ROWS_PER_PART {
                let text = format!("a row group of {rows} rows, beyond {ROWS_PER_PART}");
                return Err(ParquetError::General(text).into());
            }
            if table.rows > 0 && table.rows + rows > plan.rows_per_part {
                digest.add(flush(&table, &plan, &mut writer).map_err(MergeError::New)?);
                table.clear();
            }
            table.read(&*group)?;
        }
    }
    if table.rows > 0 {
        digest.add(flush(&table, &plan, &mut writer).map_err(MergeError::New)?);
    }
    for pair in plan.metadata() {
        writer.append_key_value_metadata(pair);
    }
    writer.close().map_err(MergeError::New)?;
    plan.ledgers.sort_unstable();
    Ok(Contents {
        digest,
        ledgers: plan.ledgers,
    })
}

/// Reads what is in a file.
///
/// # Errors
///
/// It is damaged.
pub(super) fn contents(file: File) -> Result<Contents> {
    let reader = SerializedFileReader::new(file)?;
    let mut table = Table::new();
    let mut digest = Digest::default();
    for group in 0..reader.num_row_groups() {
        table.clear();
        table.read(&*reader.get_row_group(group)?)?;
        digest.add(table.digest());
    }
    let mut ledgers = ledgers(reader.metadata().file_metadata())?;
    ledgers.sort_unstable();
    Ok(Contents { digest, ledgers })
}
