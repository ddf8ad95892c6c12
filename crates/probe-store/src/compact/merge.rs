//! Many files of a day into one: all rows, sorted, and the ledgers of all intervals.

use std::{fs::File, sync::Arc};

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    data_type::{BoolType, ByteArrayType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{
        metadata::{FileMetaData, KeyValue},
        properties::{EnabledStatistics, WriterProperties},
        reader::{FileReader, SerializedFileReader},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::ColumnPath,
};

use super::table::{Column, Digest, Table, Values, check_columns};
use crate::parquet::{SCHEMA_VERSION, schema::message_type};

/// Most rows in memory, which are sorted together: about a quarter of a day of 1,500 flows in each
/// interval.
const ROWS_PER_PART: usize = 128 << 10;
/// Rows per row group. Readers skip row groups by minimum, maximum and Bloom filter.
const ROWS_PER_GROUP: usize = 32 << 10;
/// Rows per page, which readers with the page index skip.
const ROWS_PER_PAGE: usize = 16 << 10;
/// Rows whose values are gathered for the encoder at a time.
const ROWS_PER_BATCH: usize = 4 << 10;
/// Level of zstd. Higher ones save little and cost much.
const ZSTD_LEVEL: i32 = 3;

/// Rows of a part are sorted by these columns. Parts follow each other in time. So a port or a host
/// is in few row groups of each part, and a time in few parts.
const ORDER: [&str; 6] = [
    "ip_protocol",
    "dst_port",
    "src_addr",
    "dst_addr",
    "src_port",
    "interval_start",
];
/// Columns of many values: zstd sees more in them where octets of the same weight are neighbours.
const SPLIT_COLUMNS: [&str; 6] = [
    "packets_rcvd",
    "packets_sent",
    "bytes_rcvd",
    "bytes_sent",
    "first_seen",
    "last_seen",
];
/// Columns of whose values minimum and maximum say little.
const BLOOM_COLUMNS: [&str; 2] = ["src_addr", "dst_addr"];
/// Share of the row groups without a value that its Bloom filter does not exclude.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Key of the ledger of an interval: there are as many pairs of it as intervals.
const LEDGER: &str = "probe.ledger";
/// Key of all ledgers in one JSON array, for readers that see only one pair of a key.
const LEDGERS: &str = "probe.ledgers";
/// Keys that are of the file and not of its rows.
const OWN_KEYS: [&str; 5] = [
    "probe.schema_version",
    "probe.interval_start",
    "probe.interval_end",
    LEDGER,
    LEDGERS,
];

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

/// Writes all rows and ledgers of the sources to an empty file, and returns what was read.
///
/// # Errors
///
/// A source is damaged, or has what this version does not know; or the file did not take the bytes.
pub(super) fn merge(sources: &dyn Sources, into: &mut File) -> Result<Contents> {
    let mut plan = Plan::new(sources)?;
    let schema = message_type(&plan.optional)?;
    let properties = properties()?;
    let mut writer = SerializedFileWriter::new(into, schema, Arc::new(properties))?;
    let mut table = Table::new();
    let mut digest = Digest::default();
    for index in 0..sources.number() {
        let reader = sources.open(index)?;
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group)?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
            if rows > ROWS_PER_PART {
                return Err(ParquetError::General(format!(
                    "a row group of {rows} rows, beyond {ROWS_PER_PART}"
                )));
            }
            if table.rows > 0 && table.rows + rows > plan.rows_per_part {
                digest.add(flush(&table, &plan, &mut writer)?);
                table.clear();
            }
            table.read(&*group)?;
        }
    }
    if table.rows > 0 {
        digest.add(flush(&table, &plan, &mut writer)?);
    }
    for pair in plan.metadata()? {
        writer.append_key_value_metadata(pair);
    }
    writer.close()?;
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
    let mut ledgers = ledgers(reader.metadata().file_metadata());
    ledgers.sort_unstable();
    Ok(Contents { digest, ledgers })
}

fn ledgers(file: &FileMetaData) -> Vec<String> {
    let pairs = file.key_value_metadata().into_iter().flatten();
    let ledgers = pairs.filter(|pair| pair.key == LEDGER);
    ledgers.filter_map(|pair| pair.value.clone()).collect()
}

/// What is known of all sources before the first row is read.
struct Plan {
    /// Columns that a source lacks, or may have nulls in.
    optional: Vec<&'static str>,
    rows_per_part: usize,
    /// Ledgers of all intervals, in the order of the sources.
    ledgers: Vec<String>,
    /// What the sources say otherwise, each pair once.
    pairs: Vec<KeyValue>,
}

impl Plan {
    fn new(sources: &dyn Sources) -> Result<Self> {
        let mut plan = Self {
            optional: Vec::new(),
            rows_per_part: ROWS_PER_PART,
            ledgers: Vec::new(),
            pairs: Vec::new(),
        };
        let mut rows = 0_usize;
        for index in 0..sources.number() {
            let reader = sources.open(index)?;
            let file = reader.metadata().file_metadata();
            for name in check_columns(file)? {
                if !plan.optional.contains(&name) {
                    plan.optional.push(name);
                }
            }
            let found = ledgers(file);
            if found.is_empty() {
                return Err(ParquetError::General("a file without a ledger".to_owned()));
            }
            plan.ledgers.extend(found);
            for pair in file.key_value_metadata().into_iter().flatten() {
                if !OWN_KEYS.contains(&&*pair.key) && !plan.pairs.contains(pair) {
                    plan.pairs.push(pair.clone());
                }
            }
            rows = rows.saturating_add(usize::try_from(file.num_rows()).unwrap_or(0));
        }
        // Parts of the same size.
        let parts = rows.div_ceil(ROWS_PER_PART).max(1);
        plan.rows_per_part = rows.div_ceil(parts).max(1);
        Ok(plan)
    }

    fn metadata(&self) -> Result<Vec<KeyValue>> {
        let parsed = self.ledgers.iter().map(|it| serde_json::from_str(it));
        let parsed: Vec<serde_json::Value> = parsed
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        let bounds = |key: &str| {
            let times = parsed.iter().filter_map(|ledger| ledger.get(key)?.as_str());
            let times = times.filter_map(|time| time.parse::<jiff::Timestamp>().ok());
            times.collect::<Vec<_>>()
        };
        let mut metadata = vec![KeyValue::new(
            "probe.schema_version".to_owned(),
            SCHEMA_VERSION.to_string(),
        )];
        let start = bounds("start").into_iter().min();
        let end = bounds("end").into_iter().max();
        for (key, time) in [("start", start), ("end", end)] {
            metadata.extend(
                time.map(|time| KeyValue::new(format!("probe.interval_{key}"), time.to_string())),
            );
        }
        metadata.extend(self.pairs.iter().cloned());
        let ledgers = self.ledgers.iter();
        metadata.extend(ledgers.map(|it| KeyValue::new(LEDGER.to_owned(), it.clone())));
        let array = format!("[{}]", self.ledgers.join(","));
        metadata.push(KeyValue::new(LEDGERS.to_owned(), array));
        Ok(metadata)
    }
}

fn properties() -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_created_by(concat!("probe-agent version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(ROWS_PER_BATCH);
    for name in SPLIT_COLUMNS {
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
    }
    for name in BLOOM_COLUMNS {
        properties =
            properties.set_column_bloom_filter_fpp(ColumnPath::from(name), BLOOM_FALSE_POSITIVES);
    }
    Ok(properties.build())
}

/// Writes the rows, sorted.
fn flush(
    table: &Table,
    plan: &Plan,
    writer: &mut SerializedFileWriter<&mut File>,
) -> Result<Digest> {
    let order = sorted(table);
    // Groups of the same size.
    let groups = order.len().div_ceil(ROWS_PER_GROUP).max(1);
    for rows in order.chunks(order.len().div_ceil(groups).max(1)) {
        let mut group = writer.next_row_group()?;
        for column in &table.columns {
            let Some(mut column_writer) = group.next_column()? else {
                return Err(ParquetError::General(
                    "the schema lacks a column".to_owned(),
                ));
            };
            let is_optional = plan.optional.contains(&column.name);
            for batch in rows.chunks(ROWS_PER_BATCH) {
                write_batch(&mut column_writer, table, column, is_optional, batch)?;
            }
            column_writer.close()?;
        }
        group.close()?;
    }
    Ok(table.digest())
}

/// Numbers of the rows, in the order of the file.
fn sorted(table: &Table) -> Vec<u32> {
    let ranks = table.texts.ranks();
    let mut rows: Vec<([u64; ORDER.len()], u32)> = (0..table.rows)
        .map(|row| ([0; ORDER.len()], u32::try_from(row).unwrap_or(u32::MAX)))
        .collect();
    for (place, name) in ORDER.into_iter().enumerate() {
        let Some(column) = table.columns.iter().find(|column| column.name == name) else {
            continue;
        };
        for (row, (key, _)) in rows.iter_mut().enumerate() {
            key[place] = match &column.values {
                _ if column.is_null(row) => 0,
                Values::Bool(values) => values[row].into(),
                Values::Int32(values) => values[row].cast_unsigned().into(),
                Values::Int64(values) => values[row].cast_unsigned(),
                Values::Text(values) => ranks[values[row] as usize].into(),
            };
        }
    }
    rows.sort_unstable();
    rows.into_iter().map(|(_, row)| row).collect()
}

fn write_batch(
    writer: &mut SerializedColumnWriter<'_>,
    table: &Table,
    column: &Column,
    is_optional: bool,
    rows: &[u32],
) -> Result<()> {
    let levels: Option<Vec<i16>> = is_optional.then(|| {
        let level = |row: &u32| i16::from(!column.is_null(*row as usize));
        rows.iter().map(level).collect()
    });
    let levels = levels.as_deref();
    // Nulls have no values.
    let rows = rows.iter().map(|row| *row as usize);
    let rows = rows.filter(|row| !column.is_null(*row));
    match &column.values {
        Values::Bool(values) => {
            let batch: Vec<_> = rows.map(|row| values[row]).collect();
            let writer = writer.typed::<BoolType>();
            writer.write_batch(&batch, levels, None)
        }
        Values::Int32(values) => {
            let batch: Vec<_> = rows.map(|row| values[row]).collect();
            let writer = writer.typed::<Int32Type>();
            writer.write_batch(&batch, levels, None)
        }
        Values::Int64(values) => {
            let batch: Vec<_> = rows.map(|row| values[row]).collect();
            let writer = writer.typed::<Int64Type>();
            writer.write_batch(&batch, levels, None)
        }
        Values::Text(values) => {
            let text = |row: usize| table.texts.get(values[row]).clone();
            let batch: Vec<_> = rows.map(text).collect();
            let writer = writer.typed::<ByteArrayType>();
            writer.write_batch(&batch, levels, None)
        }
    }
    .map(drop)
}
